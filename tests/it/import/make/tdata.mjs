// Writes folders of Telegram Desktop by mtcute's converter: `tdata.mjs FOLDER`.

import { createHash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { Long } from '@mtcute/core'
import { Tdata } from '@mtcute/convert'

const folder = process.argv[2]

const key = (label) =>
    Buffer.concat([0, 1, 2, 3].map((i) => createHash('sha512').update(`${label} ${i}`).digest()))

// Of each account: the user, its data centre, the keys, and those that are to be destroyed.
async function write(name, passcode, active, accounts) {
    const order = accounts.map((_, index) => index)
    const keyData = { count: accounts.length, order, active }
    const tdata = await Tdata.create({ path: `${folder}/${name}`, fs, passcode, keyData })
    for (const [index, account] of accounts.entries()) {
        await tdata.writeMtpAuthorization({
            userId: Long.fromNumber(account.user),
            mainDcId: account.dc,
            authKeys: account.keys.map((dc) => ({ dcId: dc, key: key(`${name} ${account.user} ${dc}`) })),
            authKeysToDestroy: [{ dcId: 3, key: key('to destroy') }],
        }, index)
        await tdata.writeEmptyMapFile(index)
        if (account.environment !== undefined) {
            // The beginning of the program's `MTP::Config`: an array of a version and of which servers it is.
            const config = Buffer.alloc(12)
            config.writeInt32BE(8, 0)
            config.writeInt32BE(1, 4)
            config.writeInt32BE(account.environment, 8)
            await tdata.writeEncryptedFile(`${await tdata.computeDataNameKeyHex(index)}/config`, config)
        }
    }
}

await write('tdata', undefined, 0, [{ user: 1234567890, dc: 2, keys: [2, 4] }])
await write('tdata-passcode', 'correct horse', 0, [{ user: 1234567890, dc: 2, keys: [2] }])
await write('tdata-two', undefined, 1, [
    { user: 1234567890, dc: 2, keys: [2, 4, 203], environment: 0 },
    { user: 5000000001, dc: 5, keys: [1, 5], environment: 1 },
])
