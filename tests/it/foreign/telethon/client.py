"""Calls the sandbox by Telethon over one transport, and prints what it got as JSON.

Takes the name of the transport; a line of the sandbox's sessions comes on standard input,
or the name of a file with one as `file`.
"""

import asyncio
import json
import socket
import sys

# A client that misreads an address dials Telegram's own.
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")

from telethon import TelegramClient, functions, types
from telethon.network.connection.connection import ObfuscatedConnection
from telethon.network.connection.tcpabridged import ConnectionTcpAbridged
from telethon.network.connection.tcpfull import ConnectionTcpFull
from telethon.network.connection.tcpintermediate import (
    ConnectionTcpIntermediate,
    IntermediatePacketCodec,
    RandomizedIntermediatePacketCodec,
)
from telethon.network.connection.tcpobfuscated import ConnectionTcpObfuscated
from telethon.sessions import SQLiteSession, StringSession


class PaddedCodec(RandomizedIntermediatePacketCodec):
    tag = RandomizedIntermediatePacketCodec.obfuscate_tag


class Padded(ConnectionTcpIntermediate):
    packet_codec = PaddedCodec


class ObfuscatedIntermediate(ConnectionTcpObfuscated):
    packet_codec = IntermediatePacketCodec


class ObfuscatedPadded(ConnectionTcpObfuscated):
    packet_codec = RandomizedIntermediatePacketCodec


TRANSPORTS = {
    "full": ConnectionTcpFull,
    "abridged": ConnectionTcpAbridged,
    "intermediate": ConnectionTcpIntermediate,
    "padded": Padded,
    "obfuscated abridged": ConnectionTcpObfuscated,
    "obfuscated intermediate": ObfuscatedIntermediate,
    "obfuscated padded": ObfuscatedPadded,
}


async def main():
    transport = TRANSPORTS[sys.argv[1]]
    assert issubclass(transport, ObfuscatedConnection) == sys.argv[1].startswith("obfuscated")
    line = json.loads(sys.stdin.read())
    session = SQLiteSession(line["file"]) if "file" in line else StringSession(line["session"])
    assert session.server_address == "127.0.0.1"
    client = TelegramClient(
        session,
        1,
        "hash",
        connection=transport,
        connection_retries=0,
        request_retries=0,
    )
    await client.connect()
    pongs = [(await client(functions.PingRequest(ping_id=number))).ping_id for number in range(20)]
    users = await client(functions.users.GetUsersRequest([types.InputUserSelf()]))
    state = await client(functions.updates.GetStateRequest())
    await client.disconnect()
    print(json.dumps({"pongs": pongs, "is_self": [user.is_self for user in users], "pts": state.pts}))


asyncio.run(main())
