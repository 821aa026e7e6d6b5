// The numbers: full at load, moving, over a stream or by polls, in any time zone, and still while hidden.

import assert from 'node:assert/strict';

import { addressed, api, history, moves, open, says, serve, until } from './browser.mjs';

const CHARTS = ['connections', 'acquires', 'waits', 'calls', 'opens', 'closes'];

const points = (page, id) => page.locator(`#chart-${id}`).getAttribute('data-points').then(Number);

/** The time that a chart's legend shows. */
const shown = (page, id) => page.textContent(`#chart-${id} .u-legend .u-series:first-child .u-value`);

async function charts(server) {
  await history(server, 8);
  const page = await open(server);
  await page.waitForSelector('#chart-closes canvas');
  for (const id of CHARTS) assert.ok(await points(page, id) >= 8, `${id} is full at load`);
  for (const id of CHARTS) await says(page, `#summary-${id}`, /now, .* to .* in this range/);
  const before = await points(page, 'connections');
  await page.waitForFunction((least) => Number(document.querySelector('#chart-connections').dataset.points) > least, before + 2);
  await says(page, '#status', 'Live');
  await says(page, '#tile-acquires b', /^[1-9]/);
  await says(page, '#tile-calls b', /^[1-9]/);
  await says(page, '#tile-active .unit', /of \d/);

  const over = await page.locator('#chart-waits .u-over').boundingBox();
  await page.mouse.move(over.x + over.width / 3, over.y + 40);
  await until('one cursor over all charts', async () => {
    const times = await Promise.all(CHARTS.map((id) => shown(page, id)));
    const last = await page.evaluate(() => Number(document.body.dataset.sample));
    return new Set(times).size === 1 && !times[0].endsWith(new Date(last).toISOString().slice(17, 19)) ? times[0] : null;
  });

  await page.click('#ranges >> text=15 min');
  await addressed(page, '?range=15m');
  await page.selectOption('#group', 'bots');
  await addressed(page, '?range=15m&group=bots');
  const { groups } = await api(server, 'snapshot');
  const bots = Object.values(groups.find(({ name }) => name === 'bots').totals.accounts).reduce((all, one) => all + one);
  await says(page, '#tile-quarantined .below', `of ${bots} known`);
  await page.reload();
  await says(page, '#tile-quarantined .below', `of ${bots} known`);
  await page.goBack();
  await addressed(page, '?range=15m');
  await page.goBack();
  await addressed(page, '');
  return page;
}

async function zones(server) {
  const page = await open(server, '', { timezoneId: 'Asia/Tokyo' });
  await page.waitForSelector('#chart-closes canvas');
  const hour = async () => Number((await shown(page, 'waits')).slice(0, 2));
  const local = await hour();
  await page.selectOption('#zone', 'utc');
  await addressed(page, '?zone=utc');
  await until('nine hours between Tokyo and UTC', async () => (local - await hour() + 24) % 24 === 9);
}

/** Says to the page that its tab is hidden, or seen again. */
async function hide(page, hidden) {
  await page.evaluate((is) => {
    Object.defineProperty(document, 'hidden', { value: is, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
}

async function hidden(page) {
  const streams = [];
  page.on('requestfailed', (request) => streams.push(request.url()));
  await hide(page, true);
  await says(page, '#status', 'Paused while hidden');
  await until('the stream is closed', () => streams.some((url) => url.endsWith('/events/stream')));
  await hide(page, false);
  await says(page, '#status', 'Live');
  await moves(page);
}

async function polls(server) {
  const ending = new AbortController();
  const streams = [];
  // All that the server has, and one of our page's that was there before.
  await until('no stream is left', async () => {
    const response = await fetch(`${server.address}/api/v1/events/stream`, { signal: ending.signal });
    streams.push(response);
    return response.status === 503;
  });
  const page = await open(server, '', { allowed: /503/ });
  await says(page, '#status', 'Live, by polls');
  await moves(page);
  await moves(page);
  await says(page, '#status', 'Live, by polls');
  ending.abort();
  await until('a stream again', async () => (await page.textContent('#status')) === 'Live');
}

export default async function live() {
  const server = await serve('--accounts=40', '--concurrency=8', '--rate=200');
  const page = await charts(server);
  await hidden(page);
  await zones(server);
  await polls(server);
}
