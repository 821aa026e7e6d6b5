"""Writes sessions by whichever of Pyrogram and its descendants is installed: `pyrogram.py FOLDER NAME`."""

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

# The folder of this file has our own name in it.
sys.path.pop(0)
asyncio.set_event_loop(asyncio.new_event_loop())

import pyrogram

try:
    from pyrogram.storage import FileStorage as Storage
except ImportError:
    from pyrogram.storage import SQLiteStorage as Storage

FOLDER, NAME = Path(sys.argv[1]), sys.argv[2]
OWN, BOT, PHONE = 1234567890, 5000000001, "447700900123"
PEERS = [
    (OWN, 11, "user", "own_name", PHONE),
    (777000, -9223372036854775808, "user", None, None),
    (BOT, 33, "bot", "SomeBot", None),
    (-4512345678, None, "group", None, None),
    (-1001987654321, 55, "channel", "some_channel", None),
    (-1000000123456, -66, "supergroup", None, None),
]


def key(label):
    return b"".join(hashlib.sha512(f"{label} {i}".encode()).digest() for i in range(4))


async def peers(storage):
    if NAME == "pyrotgfork":
        await storage.update_peers([(i, h, t, [n] if n else [], p) for i, h, t, n, p in PEERS])
    elif NAME == "kurigram":
        await storage.update_peers([(i, h, t, p) for i, h, t, n, p in PEERS])
        await storage.update_usernames([(i, [n, "second_name"]) for i, h, t, n, p in PEERS if n])
    else:
        await storage.update_peers(PEERS)
    if NAME == "pyrofork":
        await storage.update_usernames([(-1000000123456, "by_name_alone")])


async def states(storage):
    rows = [(0, 101, None, 1700000001, 103), (-1001987654321, 201, None, 1700000001, None)]
    if NAME == "kurigram":
        from pyrogram.storage.storage import UpdateState
        await storage.set_update_state([UpdateState(*row) for row in rows])
    elif NAME in ("pyrofork", "pyrotgfork"):
        for row in rows:
            await storage.update_state(row)


async def write(name, dc, test_mode, user_id, is_bot):
    storage = Storage(name, FOLDER)
    await storage.open()
    await storage.dc_id(dc)
    if hasattr(storage, "api_id"):
        await storage.api_id(12345)
    if hasattr(storage, "server_address"):
        await storage.server_address("149.154.167.51")
        await storage.port(443)
    await storage.test_mode(test_mode)
    await storage.auth_key(key(name))
    await storage.user_id(user_id)
    await storage.is_bot(is_bot)
    await peers(storage)
    await states(storage)
    await storage.save()
    string = await storage.export_session_string()
    await storage.close()
    with open(FOLDER / "strings.txt", "a") as file:
        file.write(f"# {name}\n{string}\n")


async def main():
    name = {"pyrogram": "pyrogram-" + pyrogram.__version__[0]}.get(NAME, NAME)
    await write(name, 2, False, OWN, False)
    if name == "pyrogram-2":
        await write("pyrogram-2-test", 3, True, BOT, True)
        new = Storage("pyrogram-2-new", FOLDER)
        await new.open()
        await new.close()
        shutil.copy(FOLDER / "pyrogram-2.session", FOLDER / "pyrogram-2-to-kurigram.session")
    if name == "kurigram":
        changed = Storage("pyrogram-2-to-kurigram", FOLDER)
        await changed.open()
        await changed.save()
        await changed.close()


asyncio.get_event_loop().run_until_complete(main())
