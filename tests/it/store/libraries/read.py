"""Opens a session by the library whose it is, and prints what that finds in it as JSON.

`read.py LIBRARY FILE.session`, or `read.py LIBRARY -` with a string on standard input. Of the key a digest is printed.
"""

import asyncio
import hashlib
import json
import socket
import sys
from pathlib import Path

# The folder of this file has modules of its own in it.
sys.path.pop(0)
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")
asyncio.set_event_loop(asyncio.new_event_loop())

LIBRARY, PATH = sys.argv[1], sys.argv[2]
USER, CHANNEL = 777000, -1001987654321


def digest(key):
    return hashlib.sha256(key).hexdigest()


def telethon():
    from telethon.sessions import SQLiteSession, StringSession

    is_file = PATH != "-"
    session = SQLiteSession(PATH) if is_file else StringSession(sys.stdin.read().strip())
    found = {
        "dc": session.dc_id,
        "address": session.server_address,
        "port": session.port,
        "key": digest(session.auth_key.key),
    }
    if is_file:
        found["user_id"] = session.get_entity_rows_by_id(0)[1]
        found["hashes"] = [session.get_input_entity(it).access_hash for it in (USER, CHANNEL)]
        found["states"] = [
            [id, state.pts, state.qts, int(state.date.timestamp()), state.seq]
            for id, state in session.get_update_states()
        ]
        session.close()
    return found


def storage():
    """The storages that the client of each chooses."""
    string = None if PATH != "-" else sys.stdin.read().strip()
    path = Path(PATH)
    try:
        from pyrogram.storage import FileStorage, MemoryStorage
    except ImportError:
        from pyrogram.storage import SQLiteStorage

        if string:
            return SQLiteStorage("memory", Path("."), session_string=string, in_memory=True)
        return SQLiteStorage(path.stem, path.parent)
    return MemoryStorage("memory", string) if string else FileStorage(path.stem, path.parent)


async def pyrogram():
    opened = storage()
    await opened.open()
    found = {
        "dc": await opened.dc_id(),
        "api_id": await opened.api_id(),
        "test_mode": bool(await opened.test_mode()),
        "user_id": await opened.user_id(),
        "is_bot": bool(await opened.is_bot()),
        "key": digest(await opened.auth_key()),
    }
    if PATH != "-":
        peers = [await opened.get_peer_by_id(it) for it in (USER, CHANNEL)]
        found["hashes"] = [peer.access_hash for peer in peers]
    await opened.close()
    return found


found = telethon() if LIBRARY == "telethon" else asyncio.get_event_loop().run_until_complete(pyrogram())
print(json.dumps(found))
