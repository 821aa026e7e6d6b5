// Each view, light and dark, wide and as wide as a phone: nothing sideways, nothing that axe calls serious.

import assert from 'node:assert/strict';
import path from 'node:path';

import { api, check, history, open, says, serve, until } from './browser.mjs';

const pictures = process.env.PAGE_PICTURES;

async function lightness(page) {
  return page.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
    return (red + green + blue) / 3;
  });
}

async function themes(server) {
  const page = await open(server, '', { colorScheme: 'dark' });
  assert.ok(await lightness(page) < 60, 'dark, as the system has it');
  await page.selectOption('#theme', 'light');
  assert.ok(await lightness(page) > 200, 'light, as it was chosen');
  await page.reload();
  await until('light after a reload', async () => (await lightness(page)) > 200);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const moving = await page.evaluate(() => document.getAnimations().length);
  assert.equal(moving, 0);
}

async function looks(page, where, width) {
  const wide = await page.evaluate(() => {
    scrollTo(1000, 0);
    return { by: scrollX, width: document.documentElement.scrollWidth };
  });
  assert.deepEqual(wide, { by: 0, width }, where);
  if (width < 500) {
    const sideways = await page.evaluate(() => [...document.querySelectorAll('.scroll, .plot, #account')].filter((it) => it.getClientRects().length && it.scrollWidth > it.clientWidth + 1).map((it) => it.id || it.ariaLabel));
    assert.deepEqual(sideways, [], `${where}: what scrolls sideways`);
  }
  await check(page, where);
}

/** A view as it is on a screen and on a phone, in both themes. */
async function each(server, query, ready) {
  const page = await open(server, query);
  await page.waitForSelector(ready);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 900 });
      await looks(page, `${query || 'overview'}, ${width} px, ${colorScheme}`, width);
    }
  }
  await page.context().close();
}

async function picture(server, name, colorScheme) {
  const page = await open(server, '?zone=utc', { colorScheme, viewport: { width: 1180, height: 1180 } });
  await page.waitForSelector('#chart-closes canvas');
  await says(page, '#status', 'Live');
  await page.screenshot({ path: path.join(pictures, name) });
}

export default async function all() {
  const server = await serve('--accounts=60', '--concurrency=24', '--faults=mixed', '--rate=400');
  await history(server, pictures ? 290 : 5);
  if (pictures) {
    await picture(server, 'page.png', 'light');
    await picture(server, 'page-dark.png', 'dark');
  }
  const { accounts } = await api(server, 'accounts?limit=1');
  await themes(server);
  const views = [
    ['', '#chart-closes canvas'], ['?tab=accounts', '#accounts tbody tr'], ['?tab=events', '#status[data-status=live]'],
    ['?tab=configuration', '#settings tbody tr'], [`?tab=accounts&account=${encodeURIComponent(accounts[0].id)}`, '#account-facts dd'],
    ['api', 'body[data-ready]'],
  ];
  for (const [query, ready] of views) await each(server, query, ready);
  const page = await open(server);
  await page.click('#session-in');
  await check(page, 'the sign-in');
}
