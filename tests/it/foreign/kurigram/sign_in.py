"""Signs in at the sandbox by Kurigram, from nothing: by phone with a code and a password, and by a bot's token. Prints
who each is, as JSON.

What it needs comes on standard input: the port, the server's public key, the phone number with its code and password,
and the bot's token.
"""

import asyncio
import base64
import hashlib
import json
import socket
import sys

# A client that misreads an address dials Telegram's own.
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")

from pyrogram import Client, errors
from pyrogram.connection import Connection
from pyrogram.crypto import rsa


def numbers(pem):
    """The two numbers of a key, which the library takes apart from their written form."""
    text = "".join(line for line in pem.splitlines() if "-----" not in line)
    body = memoryview(base64.b64decode(text))

    def value(body):
        length, start = body[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(body[2:start], "big")
        return body[start : start + length], body[start + length :]

    modulus, rest = value(value(body)[0])
    exponent, _ = value(rest)
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def written(number):
    """A number as the schema language writes it."""
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    head = bytes([len(body)]) if len(body) < 254 else bytes([254]) + len(body).to_bytes(3, "little")
    return head + body + bytes(-(len(head) + len(body)) % 4)


def add_key(pem):
    modulus, exponent = numbers(pem)
    digest = hashlib.sha1(written(modulus) + written(exponent)).digest()
    fingerprint = int.from_bytes(digest[-8:], "little", signed=True)
    rsa.server_public_keys[fingerprint] = rsa.PublicKey(modulus, exponent)


def client(name, given):
    class Local(Connection):
        def __init__(self, dc_id, server_address, port, *arguments, **options):
            super().__init__(dc_id, "127.0.0.1", given["port"], *arguments, **options)

    return Client(
        name,
        api_id=1234,
        api_hash="hash",
        in_memory=True,
        no_updates=True,
        connection_factory=Local,
    )


async def by_phone(given):
    own = client("phone", given)
    assert not await own.connect()
    sent = await own.send_code(given["phone"])
    try:
        await own.sign_in(given["phone"], sent.phone_code_hash, "00000")
        sys.exit("a wrong code was taken")
    except errors.PhoneCodeInvalid:
        pass
    try:
        await own.sign_in(given["phone"], sent.phone_code_hash, given["code"])
        sys.exit("no password was asked for")
    except errors.SessionPasswordNeeded:
        pass
    try:
        await own.check_password("wrong")
        sys.exit("a wrong password was taken")
    except errors.PasswordHashInvalid:
        pass
    me = await own.check_password(given["password"])
    told = {"id": me.id, "phone": me.phone_number, "bot": me.is_bot}
    await own.disconnect()
    return told


async def by_token(given):
    bot = client("bot", given)
    await bot.connect()
    me = await bot.sign_in_bot(given["token"])
    told = {"id": me.id, "bot": me.is_bot, "asked": (await bot.get_me()).id}
    await bot.disconnect()
    return told


async def main():
    given = json.loads(sys.stdin.read())
    add_key(given["key"])
    print(json.dumps({"phone": await by_phone(given), "token": await by_token(given)}))


asyncio.run(main())
