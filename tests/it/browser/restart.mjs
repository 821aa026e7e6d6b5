// A server that is killed and started again: the page says so, comes back by itself, and has kept its view.

import assert from 'node:assert/strict';

import { history, moves, open, says, serve } from './browser.mjs';

export default async function restart() {
  const first = await serve('--accounts=20', '--concurrency=4', '--rate=100');
  await history(first, 5);
  const allowed = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/;
  const page = await open(first, '?zone=utc', { allowed });
  await says(page, '#status', 'Live');
  await page.waitForSelector('#chart-closes canvas');
  await first.kill('SIGKILL');
  await says(page, '#status', 'Reconnecting');
  const last = await page.evaluate(() => Number(document.body.dataset.sample));

  const listen = `--listen=${new URL(first.address).host}`;
  const second = await serve('--accounts=20', '--concurrency=4', '--rate=100', listen);
  await says(page, '#status', /^Live$/);
  await moves(page);
  assert.ok(await page.evaluate(() => Number(document.body.dataset.sample)) > last);
  await history(second, 5);
  await page.waitForFunction(() => Number(document.querySelector('#chart-connections').dataset.points) >= 5);
  assert.equal(new URL(page.url()).search, '?zone=utc');
  // What the second has, and nothing of the first: its counters began anew.
  await says(page, '#status', /^Live$/);
  await moves(page);
}
