// 100,000 accounts: the page shows what is asked for and never holds them all, and goes on while it does.

import assert from 'node:assert/strict';

import { addressed, command, moves, open, says, until } from './browser.mjs';

const { MANY_PROGRAM: program, MANY_TEST: test } = process.env;
/** The most rows that the page offers, with some for all else. */
const ELEMENTS_MAX = 250 * 30 + 2_000;
const ANSWER_MAX = 250_000;

const names = (page) => page.locator('#accounts tbody th').allTextContents();
const column = (page, number) => page.locator(`#accounts tbody td:nth-child(${number})`).allTextContents();

/** That frames are drawn while samples come, and that nothing grows with the accounts. */
async function alive(page) {
  const before = await page.evaluate(() => document.body.dataset.sample);
  await page.waitForFunction((then) => {
    window.frames_ = (window.frames_ ?? 0) + 1;
    return document.body.dataset.sample !== then && window.frames_ > 20;
  }, before, { polling: 'raf' });
  await page.evaluate(() => { window.frames_ = 0; });
  const elements = await page.evaluate(() => document.querySelectorAll('*').length);
  assert.ok(elements < ELEMENTS_MAX, `${elements} elements`);
}

async function search(page) {
  await says(page, '#accounts-count', '1 to 50 of 100,000 that match, 100,000 known');
  await page.focus('#search');
  await page.keyboard.type('bot:1054321');
  await says(page, '#accounts-count', '1 to 1 of 1 that match, 100,000 known');
  assert.deepEqual(await names(page), ['bot:1054321']);
  assert.equal(await page.inputValue('#search'), 'bot:1054321');
  await page.click('#filters-clear');
  await page.selectOption('#filter-state', 'quarantined');
  await says(page, '#accounts-count', '1 to 30 of 30 that match, 100,000 known');
  await page.click('#accounts a.row');
  await says(page, '#account-title', 'bot:1099970');
  await says(page, '#account-reason', 'quarantined');
  await page.keyboard.press('Escape');
  await page.click('#filters-clear');
  await page.selectOption('#group', 'team-07');
  await says(page, '#accounts-count', '1 to 50 of 2,000 that match, 100,000 known');
  await page.selectOption('#group', '');
}

async function sort(page) {
  for (const [name, place] of [['active', 5], ['created', 10], ['errors', 12]]) {
    await page.click(`#accounts th[data-sort=${name}] button`);
    await until(`the most ${name} first`, async () => {
      const values = (await column(page, place)).map((text) => parseInt(text, 10));
      return values.length === 50 && values.every((value, index) => index === 0 || values[index - 1] >= value);
    });
  }
  await page.click('#accounts th[data-sort=active] button');
  await until('those that work', async () => (await column(page, 5)).every((text) => text === '1 of 2'));
  await page.click('#accounts th[data-sort=name] button');
  await until('by name', async () => (await names(page))[0] === 'bot:1000000');
}

async function turn(page) {
  await page.selectOption('#filter-size', '250');
  await says(page, '#accounts-count', '1 to 250 of 100,000');
  for (const wanted of ['251 to 500', '501 to 750', '751 to 1,000']) {
    await page.click('#page-next');
    await says(page, '#accounts-count', wanted);
  }
  assert.deepEqual((await names(page)).slice(0, 2), ['bot:1000750', 'bot:1000751']);
  await alive(page);
  await page.reload();
  await says(page, '#accounts-count', '751 to 1,000 of 100,000');
  await page.click('#page-previous');
  await says(page, '#accounts-count', '501 to 750');
  // The last ones are the first from the other end.
  await page.click('#accounts th[data-sort=name] button');
  await until('from the end', async () => (await names(page))[0] === 'bot:1099999');
}

export default async function many() {
  const server = await command([test, '--exact', '--ignored', '--nocapture'], { program, env: { SERVES_MANY_ACCOUNTS: '1' } });
  const page = await open(server);
  const answers = [];
  page.on('response', async (response) => {
    if (response.url().includes('/api/v1/accounts')) answers.push((await response.body().catch(() => '')).length);
  });
  await page.waitForSelector('#chart-closes canvas');
  await says(page, '#tile-quarantined .below', 'of 100,000 known');
  await says(page, '#tile-active b', /^2\d\d$/);
  await alive(page);
  await page.click('nav [data-to=accounts]');
  await addressed(page, '?tab=accounts');
  await search(page);
  await sort(page);
  await turn(page);
  await moves(page);
  await alive(page);
  assert.ok(answers.length > 10 && Math.max(...answers) < ANSWER_MAX, `answers of ${answers} bytes`);
}
