// Each view, light and dark, wide and as wide as a phone: nothing sideways, nothing that axe calls serious.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { api, check, history, open, says, serve, until } from './browser.mjs';

const pictures = process.env.PAGE_PICTURES;
/** The most that a picture of the documents may have, in bytes. */
const PICTURE_MAX = 150_000;

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

/** What is wider than its place. */
async function sideways(page, width) {
  return page.evaluate((width) => {
    scrollTo(1000, 0);
    const wide = scrollX > 0 || document.documentElement.scrollWidth !== width ? ['the page'] : [];
    if (width >= 500) return wide;
    const places = [...document.querySelectorAll('.scroll, .plot, #account')].filter((it) => it.getClientRects().length);
    return wide.concat(places.filter((it) => it.scrollWidth > it.clientWidth + 1).map((it) => it.id || it.ariaLabel));
  }, width);
}

/** Charts are drawn anew a moment after the window has another width. */
async function looks(page, where, width) {
  let found = [];
  const fits = async () => {
    found = await sideways(page, width);
    return found.length === 0;
  };
  await until(`${where}: nothing sideways`, fits).catch((error) => {
    assert.deepEqual(found, [], `${error.message}: what scrolls sideways`);
  });
}

/** A view as it is on a screen and on a phone, in both themes. Each theme and each width is looked at by axe once. */
async function each(server, query, ready) {
  const page = await open(server, query);
  await page.waitForSelector(ready);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 900 });
      const where = `${query || 'overview'}, ${width} px, ${colorScheme}`;
      await looks(page, where, width);
      if ((colorScheme === 'dark') === (width === 360)) await check(page, where);
    }
  }
  await page.context().close();
}

/** What a page shows, as a WebP: a third as large as the PNG. */
async function pictureOf(page) {
  const shot = await page.screenshot();
  const blank = await page.context().newPage();
  const data = await blank.evaluate(async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/webp', 0.85);
  }, shot.toString('base64'));
  await blank.close();
  const [type, text] = data.split(',');
  assert.equal(type, 'data:image/webp;base64');
  return Buffer.from(text, 'base64');
}

/** The pictures of the documents, of a time that has seen each fault. Without a folder for them they are made as well, of what there is. */
async function paint(server, id) {
  const [overview, account] = ['?zone=utc', `?zone=utc&tab=accounts&account=${encodeURIComponent(id)}`];
  for (const [name, query, colorScheme, width, height] of [
    ['page', overview, 'light', 1180, 1180], ['page-dark', overview, 'dark', 1180, 1180], ['page-account', account, 'light', 1180, 760],
    ['page-phone', overview, 'light', 390, 844], ['page-phone-dark', overview, 'dark', 390, 844],
  ]) {
    const page = await open(server, query, { colorScheme, viewport: { width, height } });
    await page.waitForSelector(query === account ? '#account-facts dd' : '#chart-closes canvas');
    await says(page, '#status', 'Live');
    const picture = await pictureOf(page);
    assert.ok(picture.length > 5_000 && picture.length < PICTURE_MAX, `${name} has ${picture.length} bytes`);
    if (pictures) writeFileSync(path.join(pictures, `${name}.webp`), picture);
    await page.context().close();
  }
}

export default async function all() {
  const server = await serve('--accounts=60', '--concurrency=24', '--faults=mixed', `--rate=${pictures ? 400 : 100}`);
  await history(server, pictures ? 240 : 5);
  const { accounts: [{ id }] } = await api(server, 'accounts?limit=1&sort=errors&order=desc');
  await paint(server, id);
  await themes(server);
  const views = [
    ['', '#chart-closes canvas'], ['?tab=accounts', '#accounts tbody tr'], ['?tab=events', '#status[data-status=live]'],
    ['?tab=configuration', '#settings tbody tr'], [`?tab=accounts&account=${encodeURIComponent(id)}`, '#account-facts dd'],
    ['api', 'body[data-ready]'],
  ];
  for (const [query, ready] of views) await each(server, query, ready);
  const page = await open(server);
  await page.click('#session-in');
  await check(page, 'the sign-in');
}
