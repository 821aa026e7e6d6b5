"""Calls the sandbox by Pyrogram 2, which speaks layer 158, and prints what it got as JSON.

Takes the name of the transport; a line of the sandbox's sessions comes on standard input.
"""

import asyncio
import base64
import json
import logging
import socket
import struct
import sys

# Left to itself, the client dials Telegram's own addresses.
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")

logging.disable(logging.INFO)
# It wants a loop at once, which later interpreters make for nobody.
asyncio.set_event_loop(asyncio.new_event_loop())

import pyrogram
import pyrogram.connection
import pyrogram.session.session
from pyrogram import raw


async def main():
    line = json.load(sys.stdin)
    told = base64.urlsafe_b64decode(line["session"][1:] + "==")
    dc, host, port = told[0], ".".join(map(str, told[1:5])), int.from_bytes(told[5:7], "big")
    key = told[7:]

    class Local(pyrogram.connection.Connection):
        def __init__(self, dc_id, test_mode, ipv6, proxy, media=False):
            super().__init__(dc_id, test_mode, ipv6, proxy, media)
            self.address = (host, port)

    pyrogram.session.session.Connection = Local
    string = struct.pack(">BI?256sQ?", dc, 1, False, key, 1, False)
    string = base64.urlsafe_b64encode(string).decode().rstrip("=")
    client = pyrogram.Client("sandbox", session_string=string, in_memory=True, no_updates=True)
    await client.connect()
    pongs = []
    for number in range(20):
        state = await client.invoke(raw.functions.updates.GetState())
        pongs.append(number + state.pts - 1)
    users = await client.invoke(raw.functions.users.GetUsers(id=[raw.types.InputUserSelf()]))
    full = await client.invoke(raw.functions.users.GetFullUser(id=raw.types.InputUserSelf()))
    assert full.full_user.id == users[0].id, full
    print(json.dumps({"pongs": pongs, "is_self": [user.is_self for user in users], "pts": state.pts}))
    await client.disconnect()


asyncio.get_event_loop().run_until_complete(main())
