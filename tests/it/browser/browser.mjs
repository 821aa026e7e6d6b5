// A server of the command, and a browser that reads its page: started, watched and ended.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';

const packages = createRequire(path.join(process.env.BROWSER_PACKAGES, 'package.json'));
const { chromium } = packages('playwright-core');
const AXE = readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');
/** How long anything may take: the machine may have much else to do. */
export const PATIENCE_MS = 90_000;
/** What the browser itself would ask for. */
const OPTIONS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const ending = [];

/** Asks again and again until the answer is one, and returns it. */
export async function until(what, ask, patience = PATIENCE_MS) {
  for (const end = Date.now() + patience; Date.now() < end;) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`it did not come to be: ${what}`);
}

/** Starts the command or another program, and waits until it has said where it listens, or `words` of its own. */
export async function command(given, { words = /on (http:\/\/127\.0\.0\.1:\d+)/, env = {}, program = process.env.TELEPOOL } = {}) {
  const child = spawn(program, given, { stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, ...env } });
  const ended = once(child, 'exit');
  let said = '';
  const kill = async (signal) => {
    child.kill(signal);
    await ended;
  };
  ending.push(() => kill('SIGKILL'));
  const told = new Promise((done, fail) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      said += `${line}\n`;
      const found = words.exec(line);
      if (found) done(found[1]);
    });
    ended.then(() => fail(new Error(`it ended: ${said}`)));
  });
  told.catch(() => {});
  return { address: await told, kill, said: () => said };
}

/** Runs the command to its end, and returns what it printed. */
export function print(...given) {
  return execFileSync(process.env.TELEPOOL, given, { encoding: 'utf8' }).trim();
}

/** Starts a run over a sandbox. */
export function serve(...given) {
  const listen = given.some((it) => it.startsWith('--listen')) ? [] : ['--listen=127.0.0.1:0'];
  return command(['serve', '--sandbox', '--json', '--latency=2ms', '--seed=7', ...listen, ...given]);
}

/** Asks the API of a server. */
export async function api(server, route, options) {
  const response = await fetch(`${server.address}/api/v1/${route}`, options);
  assert.ok(response.ok, `${route}: ${response.status} ${response.ok ? '' : await response.text()}`);
  return response.json();
}

/** Waits until the history has so many moments. */
export function history(server, moments) {
  return until(`a history of ${moments} s`, async () => {
    const { at } = await api(server, 'history?since=0');
    return at.length >= moments;
  }, PATIENCE_MS + moments * 1000);
}

let browser = null;

/** Opens the page. Whatever its console says, and whatever it asks of another host, is a failure at the end. */
export async function open(server, query = '', { allowed = null, ...options } = {}) {
  browser ??= chromium.launch({ executablePath: '/usr/bin/chromium', args: OPTIONS });
  const context = await (await browser).newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const failures = [];
  page.on('console', (message) => {
    if (!allowed?.test(message.text())) failures.push(`console: ${message.type()} ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => failures.push(`error: ${error.stack}`));
  page.on('dialog', (dialog) => {
    failures.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.hostname !== '127.0.0.1' && url.protocol !== 'data:') failures.push(`asks for ${url}`);
  });
  ending.push(() => assert.deepEqual(failures, []));
  await page.goto(`${server.address}/${query}`);
  return page;
}

/** Waits until the page has had another sample. */
export async function moves(page) {
  const before = await page.evaluate(() => document.body.dataset.sample ?? null);
  await page.waitForFunction((then) => document.body.dataset.sample && document.body.dataset.sample !== then, before);
}

/** Waits until an element has a text, which may be an expression. */
export async function says(page, selector, words) {
  const expression = words instanceof RegExp ? words.source : words.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  try {
    await page.waitForFunction(([where, source]) => new RegExp(source).test(document.querySelector(where)?.textContent ?? ''), [selector, expression]);
  } catch {
    assert.fail(`${selector} says ${await page.textContent(selector)}, and not ${words}`);
  }
}

/** Waits until the address has these parameters, and no others. */
export async function addressed(page, wanted) {
  await until(`the address ${wanted}`, () => new URL(page.url()).search === wanted);
}

/** What axe finds that is serious. Of a table's rows, which are all alike, it looks at the first. */
export async function check(page, where) {
  // Evaluated, as a script of another origin would be refused by the page's policy.
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run({ exclude: ['tbody tr:nth-child(n+5)'] }));
  assert.ok(passes.length > 10, `${where}: axe looked at nothing`);
  const found = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
  assert.deepEqual(told, [], where);
}

/** Ends all that was started, and fails if anything was wrong on a page. */
export async function end() {
  const failures = [];
  for (const part of ending.splice(0).reverse()) {
    try {
      await part();
    } catch (error) {
      failures.push(error);
    }
  }
  await (await browser)?.close();
  browser = null;
  if (failures.length) throw failures[0];
}
