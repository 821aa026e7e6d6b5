// Names and errors that are markup, and addresses of nothing: they are shown as the text that they are.

import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { command, open, says, until } from './browser.mjs';

const MARKUP = '<img src=x onerror="document.title=`taken`">';

export default async function hostile() {
  const file = path.join(process.env.SCRATCH, `${process.pid}-hostile.jsonl`);
  const sandbox = await command(['datacenter', '--accounts=4', `--out=${file}`], { words: /listens on (\S+)/ });
  await until('the sessions are written', () => readFileSync(file, 'utf8').trim().split('\n').length >= 4);
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  writeFileSync(file, lines.map((line) => JSON.stringify({ ...JSON.parse(line), group: MARKUP })).join('\n'));
  const server = await command(['serve', `--sessions=${file}`, '--rate=20', '--concurrency=2', '--listen=127.0.0.1:0'], { env: { TELEPOOL_API_ID: '1' } });

  const page = await open(server, '?tab=accounts');
  await page.waitForSelector('#accounts tbody tr');
  assert.equal(await page.textContent('#accounts tbody tr:first-child td:nth-child(4)'), MARKUP);
  await page.selectOption('#group', MARKUP);
  await says(page, '#accounts-count', 'that match');
  assert.equal(new URL(page.url()).searchParams.get('group'), MARKUP);

  const other = await open(server, `?${new URLSearchParams({ account: MARKUP, of: MARKUP, q: MARKUP, kind: MARKUP, tab: 'events' })}`, { allowed: /404|400/ });
  await says(other, '#account-title', MARKUP);
  await says(other, '#event-of-name', MARKUP);
  for (const it of [page, other]) {
    assert.equal(await it.locator('img').count(), 0);
    assert.equal(await it.title(), 'telepool');
  }
  // A stream that is cut would be told on the console.
  await Promise.all([page, other].map((it) => it.close()));
  await server.kill('SIGKILL');
  await sandbox.kill('SIGKILL');
  rmSync(file);
}
