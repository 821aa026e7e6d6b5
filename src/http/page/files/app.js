/* The page as a whole: what each part is told, and when. */

import * as account from './account.js';
import * as accounts from './accounts.js';
import { ask, textOf } from './api.js';
import * as charts from './charts.js';
import { attribute, el, say } from './dom.js';
import * as events from './events.js';
import { moment, sum } from './format.js';
import * as live from './live.js';
import * as operations from './operations.js';
import * as session from './session.js';
import * as settings from './settings.js';
import { choices } from './table.js';
import * as tiles from './tiles.js';
import * as view from './view.js';

const at = (id) => document.getElementById(id);
const STATUS = { live: 'Live', polling: 'Live, by polls', reconnecting: 'Reconnecting …', hidden: 'Paused while hidden', connecting: 'Connecting …' };
/** The table and the details follow the samples, and ask at most this often. */
const REFRESH_MS = 2_000;

let last = null;
let status = 'connecting';
let startedAt = null;
let refreshed = 0;
let isHistoryWanted = true;

function header({ version, started_at: since, readiness, access }) {
  say(at('version'), version);
  attribute(at('version'), 'title', `running since ${moment(since)}`);
  say(at('readiness'), readiness.text);
  attribute(at('readiness'), 'class', readiness.ready ? 'good' : 'bad');
  session.show(access);
}

function loadHistory() {
  isHistoryWanted = false;
  charts.load(last.at).catch(() => { isHistoryWanted = true; });
}

function sample(taken) {
  if (startedAt !== null && startedAt !== taken.started_at) {
    live.forget();
    isHistoryWanted = true;
  }
  startedAt = taken.started_at;
  last = taken;
  operations.take(taken);
  header(taken);
  tiles.show(taken);
  accounts.offer(taken);
  settings.offer();
  choices(at('group'), taken.groups.map(({ name, totals }) => [name, `${name} (${sum(totals.accounts)})`]), view.get().group);
  if (isHistoryWanted) loadHistory();
  else charts.move(taken);
  if (performance.now() - refreshed > REFRESH_MS) {
    refreshed = performance.now();
    accounts.refresh();
    account.refresh();
  }
  document.body.dataset.sample = String(taken.at);
}

const on = {
  sample,
  event: events.arrived,
  missed: () => events.load(),
  refused: session.renew,
  status(now) {
    if (now === status) return;
    // What was missed meanwhile is in the history.
    if (now === 'live') {
      isHistoryWanted = true;
      events.load();
    }
    status = now;
    say(at('status'), STATUS[now]);
    attribute(at('status'), 'data-status', now);
  },
};

function dress({ theme }) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function showTab({ tab }) {
  for (const place of document.querySelectorAll('[data-tab]')) place.hidden = place.dataset.tab !== tab;
  for (const anchor of document.querySelectorAll('nav [data-to]')) attribute(anchor, 'aria-current', anchor.dataset.to === tab ? 'page' : null);
  for (const anchor of document.querySelectorAll('#ranges a')) attribute(anchor, 'aria-current', anchor.dataset.range === view.get().range ? 'true' : null);
}

function follow(before, now) {
  dress(now);
  showTab(now);
  for (const name of ['theme', 'zone', 'group']) at(name).value = now[name];
  accounts.follow(before, now);
  account.follow(before, now);
  events.follow(before, now);
  settings.follow(before, now);
  if (before === null) return;
  if (before.range !== now.range || before.group !== now.group) {
    if (last) loadHistory();
  } else if (['theme', 'zone', 'tab'].some((name) => before[name] !== now[name])) {
    charts.redraw();
  }
  if (last) {
    tiles.show(last);
    header(last);
  }
}

/** One key to the search, from wherever the focus is not in a field. */
function keys(event) {
  const isTyping = event.target.closest?.('input, select, textarea, dialog');
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (view.get().tab !== 'accounts') view.set({ tab: 'accounts' });
  at('search').focus();
}

function build() {
  for (const anchor of document.querySelectorAll('nav [data-to]')) view.lead(anchor, { tab: anchor.dataset.to, account: '' });
  for (const range of ['5m', '15m', '1h']) {
    const text = { '5m': '5 min', '15m': '15 min', '1h': '1 h' }[range];
    at('ranges').append(view.link({ range }, text, { 'data-range': range }));
  }
  charts.build(at('charts'));
  for (const part of [tiles, accounts, account, events, settings]) part.build();
  for (const name of ['theme', 'zone', 'group']) at(name).addEventListener('change', ({ target }) => view.set({ [name]: target.value }));
  at('report-close').addEventListener('click', () => { at('report').hidden = true; });
  document.addEventListener('keydown', keys);
}

/** The first numbers, before the stream has any. */
async function begin() {
  const taken = await ask('snapshot').catch((problem) => {
    if (problem.status === 401) session.renew(problem);
    else if (problem.status !== 0) operations.report(textOf(problem), true);
  });
  if (taken) sample(taken);
}

let resume = null;
build();
session.build(async () => {
  // What the stream of before says is no longer for whoever asks.
  resume?.();
  await begin();
  follow(null, view.get());
});
view.onChange(follow);
follow(null, view.get());
await begin();
resume = live.start(on);
