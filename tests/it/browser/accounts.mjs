// The table and the details: searched, sorted, filtered, turned, opened, by mouse and by keys; and the address follows.

import assert from 'node:assert/strict';

import { addressed, api, open, says, serve, until } from './browser.mjs';

const names = (page) => page.locator('#accounts tbody th').allTextContents();
const column = (page, number) => page.locator(`#accounts tbody td:nth-child(${number})`).allTextContents();

async function search(page) {
  await says(page, '#accounts-count', '1 to 25 of 60 that match, 60 known');
  const all = await names(page);
  assert.equal(all.length, 25);
  const wanted = all[3];
  await page.fill('#search', wanted);
  await says(page, '#accounts-count', /^1 to \d+ of \d+ that match, 60 known/);
  await until('only what matches', async () => (await names(page)).every((name) => name.includes(wanted)));
  assert.equal(new URL(page.url()).searchParams.get('q'), wanted);
  await page.reload();
  await until('the same after a reload', async () => (await names(page)).includes(wanted));
  assert.equal(await page.inputValue('#search'), wanted);
  await page.fill('#search', 'nobody is called so');
  await says(page, '#accounts-count', '0 that match, 60 known');
  await page.click('#filters-clear');
  await says(page, '#accounts-count', '1 to 25 of 60 that match, 60 known');
}

async function sort(page) {
  await page.click('#accounts th[data-sort=created] button');
  assert.equal(await page.getAttribute('#accounts th[data-sort=created]', 'aria-sort'), 'descending');
  await until('the most first', async () => {
    const values = (await column(page, 10)).map(Number);
    return values.length === 25 && values.every((value, index) => index === 0 || values[index - 1] >= value);
  });
  await page.click('#accounts th[data-sort=group] button');
  await until('groups in their order', async () => {
    const values = await column(page, 4);
    return values.every((value, index) => index === 0 || values[index - 1] <= value) && values[0] === 'bots';
  });
  await page.goBack();
  assert.equal(await page.getAttribute('#accounts th[data-sort=created]', 'aria-sort'), 'descending');
  await page.goBack();
  assert.equal(await page.getAttribute('#accounts th[data-sort=name]', 'aria-sort'), 'ascending');
}

async function filter(page) {
  await page.selectOption('#filter-state', 'quarantined');
  await says(page, '#accounts-count', '0 that match');
  await page.selectOption('#filter-state', 'ready');
  await says(page, '#accounts-count', '60 that match');
  assert.equal(new URL(page.url()).searchParams.get('state'), 'ready');
  await page.click('#tile-quarantined a');
  assert.equal(await page.inputValue('#filter-state'), 'quarantined');
  await page.goBack();
  assert.equal(await page.inputValue('#filter-state'), 'ready');
  await page.click('#filters-clear');
}

/** The table's page is in the address: after a reload, for whoever is sent it, and on the way back. */
async function turn(server, page) {
  const first = await names(page);
  await page.click('#page-next');
  await says(page, '#accounts-count', '26 to 50 of 60');
  const second = await names(page);
  assert.ok(second.every((name) => !first.includes(name)));
  await page.reload();
  await says(page, '#accounts-count', '26 to 50 of 60');
  assert.deepEqual(await names(page), second);
  await shared(server, new URL(page.url()).search, first, second);

  await page.focus('#page-next');
  await page.keyboard.press('Enter');
  await says(page, '#accounts-count', '51 to 60 of 60');
  assert.ok(await page.isDisabled('#page-next'));
  assert.equal(await focused(page), 'page-previous', 'the focus is not lost');
  await page.goBack();
  await says(page, '#accounts-count', '26 to 50 of 60');
  await page.goForward();
  await says(page, '#accounts-count', '51 to 60 of 60');
  await page.click('#page-previous');
  await says(page, '#accounts-count', '26 to 50 of 60');
  await page.click('#accounts a.row');
  await page.waitForSelector('#account');
  await page.keyboard.press('Escape');
  await says(page, '#page-previous', 'Previous page');
  await page.click('#page-previous');
  await says(page, '#accounts-count', '1 to 25 of 60');
  assert.deepEqual(await names(page), first);

  await page.click('#page-next');
  await says(page, '#accounts-count', '26 to 50 of 60');
  await page.click('#accounts th[data-sort=name] button');
  await says(page, '#accounts-count', '1 to 25 of 60');
  assert.equal(new URL(page.url()).searchParams.get('cursor'), null);
  await page.goBack();
  await says(page, '#accounts-count', '26 to 50 of 60');
  assert.deepEqual(await names(page), second);
  await page.click('#page-previous');
  await says(page, '#accounts-count', '1 to 25 of 60');
}

async function shared(server, address, first, second) {
  const page = await open(server, address);
  await says(page, '#accounts-count', '26 to 50 of 60');
  assert.deepEqual(await names(page), second);
  await says(page, '#page-previous', 'First page');
  await page.click('#page-previous');
  await says(page, '#accounts-count', '1 to 25 of 60');
  assert.deepEqual(await names(page), first);
  await page.context().close();
  const other = await open(server, '?tab=accounts&size=25&cursor=none&from=25', { allowed: /400/ });
  await says(other, '#accounts-count', '1 to 25 of 60');
  await addressed(other, '?tab=accounts&size=25');
  await other.context().close();
}

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);

async function details(page) {
  const row = page.locator('#accounts tbody tr').nth(2);
  const [id, name] = [await row.getAttribute('data-key'), await row.locator('th').textContent()];
  await row.locator('a').click();
  await says(page, '#account-title', name);
  assert.equal(new URL(page.url()).searchParams.get('account'), id);
  await page.waitForSelector('#connections tbody tr');
  await says(page, '#connections tbody tr:first-child', /active|idle/);
  await says(page, '#account-facts', /opened, .* reused/);
  await page.reload();
  await says(page, '#account-title', name);
  await page.keyboard.press('Escape');
  await page.waitForSelector('#account', { state: 'hidden' });
  await page.goBack();
  await says(page, '#account-title', name);
  await page.click('#account-all-events');
  await says(page, '#event-of-name', id);
  await page.click('#event-of-clear');
  await page.waitForSelector('#event-of', { state: 'hidden' });
}

/** From the first key to an account's connections and back, without a mouse. */
async function keys(server) {
  const page = await open(server, '?size=25');
  await page.waitForSelector('#chart-closes canvas');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), 'main');
  await page.keyboard.press('/');
  assert.equal(await focused(page), 'search');
  await addressed(page, '?tab=accounts&size=25');
  await page.waitForSelector('#accounts tbody a.row');
  const order = await names(page);
  // Past the filters and the headers, to the one row that Tab stops at.
  for (let steps = 0; !order.includes(await focused(page)); steps += 1) {
    assert.ok(steps < 30, 'the rows are reached by Tab');
    await page.keyboard.press('Tab');
  }
  assert.equal(await focused(page), order[0]);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(page), order[2]);
  await page.keyboard.press('End');
  assert.equal(await focused(page), order.at(-1));
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await says(page, '#account-title', order.at(-2));
  assert.equal(await focused(page), 'account-title');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#account', { state: 'hidden' });
  assert.equal(await focused(page), order.at(-2), 'the focus is where it came from');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid', 'the focus is seen');
}

export default async function accounts() {
  const server = await serve('--accounts=60', '--concurrency=8', '--rate=300');
  await until('all accounts are known', async () => (await api(server, 'accounts')).known === 60);
  const page = await open(server, '?tab=accounts&size=25');
  await search(page);
  await sort(page);
  await filter(page);
  await turn(server, page);
  await details(page);
  await keys(server);
}
