// Operations and settings: refused without a token, done with one, told afterwards; and signing in and out.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import path from 'node:path';

import { api, check, moves, open, print, says, serve, until } from './browser.mjs';

const OPERATIONS = ['close', 'drain', 'pause', 'resume', 'reinstate', 'quarantine'];
/** What Chromium itself says of an answer that is a refusal. */
const REFUSED = /status of 40[0139]/;

const buttons = (page) => page.locator('#account-operations button').evaluateAll((all) => all.map((it) => it.dataset.operation));

/** Asks for every change as the page does, but for the token that it has not; returns what is said to each. */
function askAll(page) {
  return page.evaluate(async (operations) => {
    const account = `/api/v1/accounts/${encodeURIComponent(new URL(location).searchParams.get('account'))}`;
    const paths = [...operations.map((name) => `${account}/${name}`), `${account}/connections/1/close`];
    const send = (path, method, body) => fetch(path, { method, headers: { 'Content-Type': 'application/json' }, body });
    const answers = await Promise.all([...paths.map((path) => send(path, 'POST')), send('/api/v1/config', 'PATCH', '{"pool.max_connections":"5"}')]);
    return Promise.all(answers.map(async (answer) => ({ status: answer.status, remedy: (await answer.json()).remedy })));
  }, OPERATIONS);
}

/** That nobody may change anything, and that the page says what would help. */
async function mayNot(server, page, status) {
  await page.waitForSelector('#account-may-not');
  await says(page, '#account-may-not', 'sign in with a token of the scope operate: telepool token create makes one');
  assert.deepEqual(await buttons(page), []);
  await page.waitForSelector('#connections tbody tr');
  assert.equal(await page.locator('#connections button').count(), 0);
  const answers = await askAll(page);
  assert.equal(answers.length, OPERATIONS.length + 2);
  for (const answer of answers) {
    assert.equal(answer.status, status);
    assert.match(answer.remedy, /telepool token create/);
  }
  assert.deepEqual((await api(server, 'events?kind=operation')).events, [], 'nothing was done');
}

async function signIn(page, token) {
  await page.waitForSelector('#sign-in[open]');
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
}

/** Does an operation by its button, and waits until the page says what it came to. */
async function operate(page, name, words, { keys = false, reason = null } = {}) {
  if (await page.isVisible('#report')) await page.click('#report-close');
  const button = `#account-operations [data-operation=${name}]`;
  await page.waitForSelector(button);
  if (keys) {
    await page.focus(button);
    await page.keyboard.press('Enter');
  } else {
    await page.click(button);
  }
  await page.waitForSelector('#confirm[open]');
  assert.ok((await page.textContent('#confirm-text')).length > 40, 'it says what will happen');
  if (reason) await page.fill('#confirm-input', reason);
  if (keys) await page.keyboard.press('Enter');
  else await page.click('#confirm-do');
  await page.waitForSelector('#report');
  await says(page, '#report-text', words);
}

async function accounts(page) {
  await page.click('#account-operations [data-operation=pause]');
  await check(page, 'the question before an operation');
  await page.click('#confirm button[value=cancel]');
  await page.waitForSelector('#confirm', { state: 'hidden' });
  await operate(page, 'pause', 'its acquires wait until it is resumed', { keys: true });
  await says(page, '#account-state', /^paused$/);
  assert.ok(!(await buttons(page)).includes('pause'));
  await until('the focus is on an operation', () => page.evaluate(() => document.querySelector('#account-operations').contains(document.activeElement)));
  await operate(page, 'resume', 'its acquires are served again');
  await says(page, '#account-state', /^(ready|cooling|resting)$/);
  await operate(page, 'close', 'connections are closed');
  await operate(page, 'drain', 'it is out of service');
  await says(page, '#account-state', /^draining$/);
  await operate(page, 'reinstate', 'it is back in service');
  await says(page, '#account-state', /^ready$/);
  await operate(page, 'quarantine', 'it is quarantined until it is reinstated', { reason: 'its owner <b>asked</b>' });
  await says(page, '#account-state', /^quarantined$/);
  await says(page, '#account-remedy', 'reinstate');
  assert.ok(!(await buttons(page)).includes('quarantine'));
  await operate(page, 'reinstate', 'it is back in service', { keys: true });
  await says(page, '#account-events', /quarantine by ops: its owner <b>asked<\/b>/);
  for (const name of OPERATIONS) await says(page, '#account-events', new RegExp(`${name} by ops`));
}

async function connection(page) {
  const row = page.locator('#connections tbody tr').first();
  await row.waitFor();
  const id = await row.getAttribute('data-key');
  await row.locator('button').click();
  await says(page, '#confirm-title', `Close connection ${id} of`);
  await page.click('#confirm-do');
  await says(page, '#report-text', 'it is closed now if it was idle');
  await page.waitForSelector(`#connections tr[data-key="${id}"]`, { state: 'detached' });
  await says(page, '#account-events', /close_connection #\d+ by ops/);
}

const input = (key) => `#settings input[aria-label="${key}"]`;
const setting = (key, place) => `#settings tr[data-key="${key}"] td:nth-child(${place})`;

async function save(page) {
  await page.click('#settings-save');
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-do');
  await page.waitForSelector('#confirm', { state: 'hidden' });
}

async function settings(page) {
  await page.click('nav [data-to=configuration]');
  await says(page, setting('pool.max_idle_time', 4), 'default');
  await page.click('#settings-edit');
  await page.fill(input('pool.max_idle_time'), 'soon');
  await page.fill(input('pool.max_connections'), '77');
  await save(page);
  await says(page, '#settings-problem', /pool\.max_idle_time.*Remedy: .*what each accepts; nothing was changed/);
  assert.equal(await page.getAttribute(input('pool.max_idle_time'), 'aria-invalid'), 'true');
  assert.equal(await page.getAttribute(input('pool.max_connections'), 'aria-invalid'), 'false');
  assert.equal(await page.inputValue(input('pool.max_connections')), '77', 'what was typed is still there');
  await check(page, 'settings that were refused');
  await page.fill(input('pool.max_idle_time'), '2m');
  await page.click('#settings-save');
  await says(page, '#confirm-text', /pool\.max_idle_time: .* becomes 2m\./);
  await page.click('#confirm-do');
  await says(page, '#report-text', /Changed: pool\.max_connections, pool\.max_idle_time|Changed: pool\.max_idle_time, pool\.max_connections/);
  await says(page, setting('pool.max_idle_time', 2), /^120/);
  await says(page, setting('pool.max_idle_time', 4), 'api');
  await says(page, setting('pool.max_connections', 2), /^77$/);
  await page.click('#settings-edit');
  await page.fill(input('pool.max_connections'), '5');
  await page.click('#settings-cancel');
  await says(page, setting('pool.max_connections', 2), /^77$/);
  await page.goBack();
}

/** Where a sign-in ends, as when the server is started again, the page signs in by itself as long as the token holds. */
async function renewed(page) {
  const cookies = await page.context().cookies();
  assert.equal(cookies.length, 1);
  await page.context().clearCookies();
  await page.reload();
  await until('it is signed in again', async () => (await page.context().cookies()).length === 1);
  await says(page, '#who', 'ops');
  await page.waitForSelector('#account-operations button');
}

/** A token that is taken out of the file lets nobody in: the page says so, and forgets it. */
async function revoked(file, page, token) {
  print('token', 'revoke', '--file', file, token.split('_')[1]);
  await page.waitForSelector('#sign-in[open]');
  await says(page, '#sign-in-why', /token lets nobody in.*Remedy: .*telepool token list/);
  await page.click('#sign-in-cancel');
  await page.waitForSelector('#account-may-not');
  assert.deepEqual(await buttons(page), []);
  await page.waitForSelector('#session-in');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'nothing of the token is left');
}

/** Where reads need a token as well, the page asks for one by itself. */
async function walled(file, token) {
  const server = await serve('--accounts=4', '--sessions-per-account=1', '--rate=20', '--concurrency=2', `--tokens=${file}`, '--plaintext-behind-proxy');
  const page = await open(server, '?tab=accounts', { allowed: REFUSED });
  await page.waitForSelector('#sign-in[open]');
  await says(page, '#sign-in-why', 'this needs a token');
  await check(page, 'the sign-in that is wanted');
  assert.equal(await page.locator('#accounts tbody tr').count(), 0);
  await signIn(page, token);
  await page.waitForSelector('#accounts tbody tr');
  await says(page, '#status', 'Live');
  await page.click('#session-out');
  await page.waitForSelector('#sign-in[open]');
  await page.reload();
  await page.waitForSelector('#sign-in[open]');
  assert.equal(await page.locator('#accounts tbody tr').count(), 0);
  await page.context().close();
  await server.kill('SIGKILL');
}

export default async function operations() {
  const file = path.join(process.env.SCRATCH, `${process.pid}-tokens.jsonl`);
  const token = (name, ...more) => print('token', 'create', '--file', file, '--name', name, '--scope', 'read', ...more);
  const [reader, operator] = [token('reader'), token('ops', '--scope', 'operate', '--phones')];
  await walled(file, reader);
  const server = await serve('--accounts=6', '--sessions-per-account=2', '--concurrency=6', '--rate=60', `--tokens=${file}`);
  const page = await open(server, '?tab=accounts&sort=created&order=desc', { allowed: REFUSED });
  await page.click('#accounts a.row');
  await mayNot(server, page, 401);

  await page.click('#account-may-not [data-sign-in]');
  await signIn(page, 'tp_wrong');
  await says(page, '#sign-in-problem', /no token.*Remedy: /);
  await signIn(page, reader);
  await page.waitForSelector('#sign-in', { state: 'hidden' });
  await says(page, '#who', 'reader');
  await mayNot(server, page, 401);
  await page.click('#account-close');
  await page.click('#session-out');
  await says(page, '#report-text', 'Signed out');
  await page.waitForSelector('#session-in');

  await page.click('#accounts a.row');
  await page.click('#account-may-not [data-sign-in]');
  await signIn(page, operator);
  await says(page, '#who', 'ops');
  await moves(page);
  // First, as the run has no more use for an account that was refused to it.
  await connection(page);
  await accounts(page);
  await settings(page);
  await page.reload();
  await says(page, '#who', 'ops');
  await page.waitForSelector('#account-operations button');
  await renewed(page);
  await revoked(file, page, operator);
  for (const it of [file, `${file}.lock`]) rmSync(it, { force: true });
}
