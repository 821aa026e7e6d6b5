"""Writes sessions by whichever Telethon is installed: `telethon.py FOLDER VERSION`, of the table in `run`."""

import hashlib
import os
import shutil
import sys
import time

# The folder of this file has our own name in it.
sys.path.pop(0)
time.time = lambda: 1700000000.0

from telethon.crypto import AuthKey
from telethon.tl import types

try:
    from telethon.sessions import SQLiteSession
except ImportError:
    from telethon.tl.session import Session as SQLiteSession

FOLDER, VERSION = sys.argv[1], sys.argv[2]
OWN, PHONE = 1234567890, "447700900123"


def key(label):
    return b"".join(hashlib.sha512(f"{label} {i}".encode()).digest() for i in range(4))


def people():
    """Users with a name and a number, a small group, channels of a new and of an old, short id."""
    users = [
        types.User(id=OWN, is_self=True, access_hash=11, username="own_name", phone=PHONE, first_name="Own"),
        types.User(id=777000, access_hash=-9223372036854775808, first_name="Telegram"),
        types.User(id=5000000001, access_hash=33, username="SomeBot", first_name="Bot", bot=True),
    ]
    return users, [types.InputPeerChat(4512345678), types.InputPeerChannel(1987654321, 55), types.InputPeerChannel(123456, -66)]


class Found:
    """What a session takes entities from."""

    def __init__(self, users, chats):
        self.users, self.chats = users, chats


def write(name, session_key, dc=(2, "149.154.167.51", 443)):
    path = os.path.join(FOLDER, name)
    session = SQLiteSession(path)
    if hasattr(session, "set_dc"):
        session.set_dc(*dc)
        session.auth_key = AuthKey(data=session_key) if session_key else None
    else:
        session._dc_id, session._server_address, session._port = dc
        session._auth_key = AuthKey(data=session_key)
        session._update_session_table()
    return session


def entities(session):
    users, chats = people()
    listed = types.contacts.ResolvedPeer(types.PeerUser(OWN), chats, users)
    session.process_entities(listed)


def close(session):
    session.save()
    if hasattr(session, "close"):
        session.close()
    else:
        session._conn.close()


def main():
    session = write(f"telethon-{VERSION}", key(f"telethon {VERSION}"))
    entities(session)
    if hasattr(session, "set_update_state"):
        import datetime
        when = datetime.datetime.fromtimestamp(1700000001, tz=datetime.timezone.utc)
        state = types.updates.State(pts=101, qts=102, date=when, seq=103, unread_count=0)
        session.set_update_state(0, state)
        if int(VERSION) >= 7:
            session.set_update_state(1987654321, types.updates.State(201, 0, when, 0, unread_count=0))
    if int(VERSION) >= 5:
        session.takeout_id = 99
    close(session)
    if VERSION == "7":
        source = os.path.join(FOLDER, "telethon-7")
        shutil.copy(f"{source}.session", f"{source}-to-8.session")


def more():
    """What only the newest can."""
    from telethon.sessions import StringSession

    path = os.path.join(FOLDER, "telethon-8")
    session = SQLiteSession(path, store_tmp_auth_key_on_disk=True)
    session.tmp_auth_key = AuthKey(data=key("telethon temporary"))
    # As its client does to keep its own id.
    own = types.InputPeerUser(0, OWN)
    session.process_entities(types.contacts.ResolvedPeer(None, [own], []))
    string = StringSession.save(session)
    close(session)

    changed = SQLiteSession(os.path.join(FOLDER, "telethon-7-to-8"))
    changed.process_entities(types.contacts.ResolvedPeer(None, [own], []))
    close(changed)

    six = write("telethon-ipv6", key("telethon ipv6"), (4, "2001:67c:4e8:f004::a", 443))
    string6 = StringSession.save(six)
    close(six)
    close(write("telethon-signed-out", None))
    with open(os.path.join(FOLDER, "strings.txt"), "a") as file:
        file.write(f"# Telethon, IPv4\n{string}\n# Telethon, IPv6\n{string6}\n")


more() if VERSION == "more" else main()
