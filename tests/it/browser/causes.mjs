// The cause of each fault of the sandbox, found from the first view within three clicks.

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { moves, open, says, serve } from './browser.mjs';

/** Each fault as a rule, the clicks that lead to its cause, and what is said there. */
const CAUSES = [
  { fault: 'fault = "flood_wait"\nseconds = 3000', on: 'messages.sendMessage', clicks: ['[data-alert=flooded]', '#accounts a.row'], where: '#account-tables', words: /Cooldowns.*[a-z0-9]{8}.*(49|50) min/ },
  { fault: 'fault = "error"\ncode = 401\nmessage = "SESSION_REVOKED"\nlimit = 2', on: 'users.getUsers', clicks: ['[data-alert=accounts_quarantined]', '#accounts a.row'], where: '#account-why', words: /quarantined: needs login/ },
  { fault: 'fault = "error"\ncode = 406\nmessage = "AUTH_KEY_DUPLICATED"\nlimit = 2', on: 'users.getUsers', clicks: ['[data-alert=accounts_quarantined]', '#accounts a.row'], where: '#account-why', words: /quarantined: key duplicated/ },
  { fault: 'fault = "error"\ncode = 500\nmessage = "RPC_CALL_FAIL"', on: 'users.getUsers', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /RPC_CALL_FAIL/ },
  { fault: 'fault = "close"', on: 'ping', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /broken|closed the connection|end of file|eof|reset/i },
  { fault: 'fault = "reset"', on: 'ping', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /reset/i },
  { fault: 'fault = "bad_crc"', on: 'ping', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /crc|checksum|invalid|protocol/i },
  { fault: 'fault = "transport"\ncode = 429', on: 'ping', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /429|transport/i },
  { fault: 'fault = "close"', on: 'connect', clicks: ['[data-alert=opens_failing]'], where: '#events', words: /dial failed/ },
  { fault: 'fault = "silence"', on: 'connect', clicks: ['[data-alert=opens_failing]'], where: '#events', words: /dial failed.*no answer within/ },
  { fault: 'fault = "black_hole"', on: 'users.getUsers', clicks: ['#tile-failures a', '#accounts a.row'], where: '#account', words: /no answer|timed out|timeout/i },
  { fault: 'fault = "delay"\ntime = "3s"', on: '*', clicks: [], where: '#tile-calls .below', words: /p99 [3-9](\.\d+)? s/ },
];

async function find({ fault, on, clicks, where, words }, index) {
  assert.ok(clicks.length <= 3);
  const file = path.join(process.env.SCRATCH, `${process.pid}-fault-${index}.toml`);
  writeFileSync(file, `[[rule]]\non = "${on}"\n${fault}\nchance = 0.5\n`);
  const server = await serve('--accounts=8', '--sessions-per-account=1', '--concurrency=8', '--rate=60', `--faults=${file}`);
  const page = await open(server);
  await moves(page);
  try {
    for (const click of clicks) await page.click(click);
    await says(page, where, words);
  } catch (error) {
    throw new Error(`the cause of ${fault} on ${on} is not found`, { cause: error });
  }
  await page.context().close();
  await server.kill('SIGKILL');
  rmSync(file);
}

export default async function causes() {
  for (const [index, cause] of CAUSES.entries()) await find(cause, index);
}
