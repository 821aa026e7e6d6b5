"""Signs in at the sandbox by Telethon, from nothing: by phone with a code and a password, by a bot's token, and by a
code to be scanned. Prints who each is, as JSON.

What it needs comes on standard input: the port, the server's public key, the phone number with its code and password,
and the bot's token.
"""

import asyncio
import json
import socket
import sys

# A client that misreads an address dials Telegram's own.
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    sys.exit(f"this runs with the loopback interface alone, not with {interfaces}")

from telethon import TelegramClient, errors, functions
from telethon.crypto import rsa
from telethon.network.connection.tcpfull import ConnectionTcpFull
from telethon.sessions import StringSession


def client(given):
    session = StringSession()
    session.set_dc(2, "127.0.0.1", given["port"])
    return TelegramClient(
        session, 1234, "hash", connection=ConnectionTcpFull, connection_retries=0, request_retries=1
    )


async def by_phone(given):
    own = client(given)
    await own.connect()
    assert not await own.is_user_authorized()
    await own.send_code_request(given["phone"])
    try:
        await own.sign_in(given["phone"], "00000")
        sys.exit("a wrong code was taken")
    except errors.PhoneCodeInvalidError:
        pass
    try:
        await own.sign_in(given["phone"], given["code"])
        sys.exit("no password was asked for")
    except errors.SessionPasswordNeededError:
        pass
    try:
        await own.sign_in(password="wrong")
        sys.exit("a wrong password was taken")
    except errors.PasswordHashInvalidError:
        pass
    me = await own.sign_in(password=given["password"])
    assert await own.is_user_authorized()
    return own, {"id": me.id, "phone": me.phone, "bot": me.bot}


async def by_token(given):
    bot = client(given)
    await bot.start(bot_token=given["token"])
    me = await bot.get_me()
    sent = await bot.send_message("me", "hello")
    await bot.disconnect()
    return {"id": me.id, "bot": me.bot, "sent": sent.id}


async def by_scan(given, own):
    further = client(given)
    await further.connect()
    login = await further.qr_login()
    waiting = asyncio.ensure_future(login.wait(20))
    await asyncio.sleep(0)
    await own(functions.auth.AcceptLoginTokenRequest(login.token))
    try:
        me = await waiting
    except errors.SessionPasswordNeededError:
        me = await further.sign_in(password=given["password"])
    await further.log_out()
    return {"id": me.id}


async def main():
    given = json.loads(sys.stdin.read())
    rsa.add_key(given["key"], old=False)
    own, phone = await by_phone(given)
    token = await by_token(given)
    scan = await by_scan(given, own)
    await own.disconnect()
    print(json.dumps({"phone": phone, "token": token, "scan": scan}))


asyncio.run(main())
