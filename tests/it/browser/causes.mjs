// The cause of each fault of the sandbox, found from the first view within three clicks.

import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { command, moves, open, says, serve, until } from './browser.mjs';

/** Where the details of the account with the most errors are. */
const ACCOUNT = ['#tile-failures a', '#accounts a.row'];
const LOST = ['[data-alert=accounts_quarantined]', '#accounts a.row'];
const DOWN = ['[data-alert=address_down]'];
const UNREACHED = 'see whether the address can be reached from here';

/** Each fault as a rule, the clicks that lead to its cause, what is said of it there, and what would help. */
const CAUSES = [
  { on: 'messages.sendMessage', fault: 'fault = "flood_wait"\nseconds = 3000', clicks: ['[data-alert=flooded]', '#accounts a.row'], words: /Cooldowns.*messages\.sendMessage(49|50) min/, remedy: 'call the method less often' },
  { on: 'users.getUsers', fault: 'fault = "error"\ncode = 401\nmessage = "SESSION_REVOKED"\nlimit = 2', clicks: LOST, words: 'quarantined: needs login', remedy: /log in/ },
  { on: 'users.getUsers', fault: 'fault = "error"\ncode = 406\nmessage = "AUTH_KEY_DUPLICATED"\nlimit = 2', clicks: LOST, words: 'quarantined: key duplicated', remedy: /log in|session/ },
  { on: 'users.getUsers', fault: 'fault = "error"\ncode = 500\nmessage = "RPC_CALL_FAIL"', clicks: ACCOUNT, words: 'RPC_CALL_FAIL', remedy: '5xx pass by themselves' },
  { on: 'ping', fault: 'fault = "close"', clicks: ACCOUNT, words: /an error of a connection \(io\).*(broken|closed|end of file|eof)/i, remedy: 'see what ends them' },
  { on: 'ping', fault: 'fault = "reset"', clicks: ACCOUNT, words: /an error of a connection \(io\).*reset/i, remedy: 'see what ends them' },
  { on: 'ping', fault: 'fault = "bad_crc"', clicks: ACCOUNT, words: /an error of a connection \(protocol\).*(crc|checksum|damaged)/i, remedy: 'see what alters data on the way' },
  { on: 'ping', fault: 'fault = "transport"\ncode = 429', clicks: ACCOUNT, words: /an error of a connection .*429/i, remedy: /dial less often|see what/ },
  { on: 'users.getUsers', fault: 'fault = "silence"', clicks: ACCOUNT, words: /an error of a connection \(timeout\)/, remedy: 'packets are lost on the way' },
  { on: 'users.getUsers', fault: 'fault = "black_hole"', clicks: ACCOUNT, words: /an error of a connection \(timeout\)/, remedy: 'packets are lost on the way' },
  { on: '*', fault: 'fault = "delay"\ntime = "3s"', clicks: [], words: /p99 [2-9]/, remedy: 'call less at once', where: '#tile-calls .below' },
  { on: 'connect', fault: 'fault = "close"', clicks: DOWN, words: /does not answer.*(closed|eof|end of file|read 0 bytes)/i, remedy: UNREACHED },
  { on: 'connect', fault: 'fault = "reset"', clicks: DOWN, words: /does not answer.*reset/i, remedy: UNREACHED },
  { on: 'connect', fault: 'fault = "silence"', clicks: DOWN, words: /does not answer.*no answer within/, remedy: UNREACHED },
  { on: 'connect', fault: 'fault = "black_hole"', clicks: DOWN, words: /does not answer.*no answer within/, remedy: UNREACHED },
  { on: 'connect', fault: 'fault = "transport"\ncode = 429', clicks: ['[data-alert=breaker_open]'], words: /dial failed.*429/, remedy: 'dialled again by itself' },
];
/** How often each strikes. A ping is in the first packet of each connection: if many failed, an account might show failed
 *  dials alone. */
const CHANCES = { connect: 1, ping: 0.1 };
/** So many servers at once: most of the time is spent waiting for a fault. */
const AT_ONCE = 4;

async function find({ fault, on, clicks, where = clicks.length > 1 ? '#account' : '#events', words, remedy }, index) {
  assert.ok(clicks.length <= 3);
  const file = path.join(process.env.SCRATCH, `${process.pid}-fault-${index}.toml`);
  writeFileSync(file, `[[rule]]\non = "${on}"\n${fault}\nchance = ${CHANCES[on] ?? 0.5}\n`);
  const server = await serve('--accounts=8', '--sessions-per-account=1', '--concurrency=8', '--rate=60', `--faults=${file}`);
  const page = await open(server);
  await moves(page);
  try {
    for (const click of clicks) await page.click(click);
    await says(page, where, words);
    await says(page, where, remedy);
  } catch (error) {
    throw new Error(`the cause of ${fault} on ${on} is not found`, { cause: error });
  }
  await page.context().close();
  await server.kill('SIGKILL');
  rmSync(file);
}

/** A data centre that is gone: no rule of its own says so. */
async function gone() {
  const file = path.join(process.env.SCRATCH, `${process.pid}-gone.jsonl`);
  const sandbox = await command(['datacenter', '--accounts=8', `--out=${file}`], { words: /listens on (\S+)/ });
  await until('the sessions are written', () => readFileSync(file, 'utf8').trim().split('\n').length >= 8);
  const server = await command(['serve', `--sessions=${file}`, '--rate=60', '--concurrency=8', '--listen=127.0.0.1:0'], { env: { TELEPOOL_API_ID: '1' } });
  const page = await open(server);
  await says(page, '#tile-calls b', /^[1-9]/);
  await sandbox.kill('SIGKILL');
  await page.click(DOWN[0]);
  await says(page, '#events', /127\.0\.0\.1:\d+ does not answer, and is tried seldom: .*refused/);
  await says(page, '#events', UNREACHED);
  await page.context().close();
  await server.kill('SIGKILL');
  rmSync(file);
}

export default async function causes() {
  const left = [...CAUSES.entries()];
  const one = async () => {
    for (let next = left.shift(); next; next = left.shift()) await find(next[1], next[0]);
  };
  await Promise.all([gone(), ...Array.from({ length: AT_ONCE }, one)]);
}
