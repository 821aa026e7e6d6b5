"""Listens to the messages of the sandbox by Telethon, whose own rules find what was lost on the way.

Takes how many messages to wait for; a line of the sandbox's sessions comes on standard input. Prints as
JSON how many came one after another, and from how many users whose access hash is known.
"""

import asyncio
import json
import socket
import sys

# A client that misreads an address dials Telegram's own.
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")

from telethon import TelegramClient, events, functions
from telethon.sessions import StringSession


async def main():
    wanted = int(sys.argv[1])
    session = StringSession(json.loads(sys.stdin.read())["session"])
    assert session.server_address == "127.0.0.1"
    client = TelegramClient(session, 1, "hash", connection_retries=0, request_retries=0)
    heard, senders, enough = set(), set(), asyncio.Event()

    @client.on(events.NewMessage(incoming=True))
    async def listen(event):
        heard.add(event.message.id)
        senders.add((await event.get_input_sender()).user_id)
        first = min(heard)
        if all(first + number in heard for number in range(wanted)):
            enough.set()

    await client.connect()
    await client(functions.updates.GetStateRequest())
    await enough.wait()
    await client.disconnect()
    print(json.dumps({"in_a_row": wanted, "senders": len(senders)}))


asyncio.run(main())
