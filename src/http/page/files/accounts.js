/* The table of accounts: pages of it as the filters and the order have them, never all. */

import { ask } from './api.js';
import { el, say } from './dom.js';
import { count, duration, words } from './format.js';
import { choices, showSort, table } from './table.js';
import * as view from './view.js';

const whole = (name) => (account) => count(account[name]);
const COLUMNS = [
  { title: 'Account', sort: 'name', head: true, text: ({ name }) => name, to: ({ id }) => ({ account: id }) },
  { title: 'State', sort: 'state', mark: ({ state }) => state },
  { title: 'Why', class: 'why', text: ({ reason, detail, until_s: left }) => [reason && words(reason), detail, left && `${duration(left)} left`].filter(Boolean).join(', ') },
  { title: 'Group', sort: 'group', text: ({ group }) => group ?? '' },
  { title: 'Active', sort: 'active', number: true, text: ({ connections, connections_max: most }) => `${count(connections.active)} of ${count(most)}` },
  { title: 'Idle', number: true, text: ({ connections }) => count(connections.idle) },
  { title: 'Leases', number: true, text: whole('leases') },
  { title: 'Waiting', sort: 'waiting', number: true, text: whole('waiting') },
  { title: 'Oldest wait', sort: 'oldest_wait', number: true, text: ({ oldest_wait_s: wait }) => duration(wait) },
  { title: 'Opened', sort: 'created', number: true, text: whole('created') },
  { title: 'Closed', sort: 'closed', number: true, text: whole('closed') },
  { title: 'Errors', sort: 'errors', number: true, text: whole('errors') },
  { title: 'Last used', sort: 'last_used', number: true, text: ({ last_used_s: ago }) => (ago === null ? 'never' : `${duration(ago)} ago`) },
];
const FILTERS = ['q', 'state', 'reason', 'group', 'sort', 'order', 'size'];

const accounts = table({ id: 'accounts', caption: 'Accounts', columns: COLUMNS, keyOf: ({ id }) => id });
const at = (id) => document.getElementById(id);
/** The cursors of the pages up to this one; the first page has none. */
let cursors = [null];
let next = null;
let turn = 0;
let asking = null;

function show(answer) {
  const { size } = view.get();
  const before = (cursors.length - 1) * Number(size);
  const shown = answer.accounts.length;
  accounts.show(answer.accounts);
  next = answer.next;
  at('page-next').disabled = !next;
  at('page-previous').disabled = cursors.length === 1;
  const range = shown ? `${count(before + 1)} to ${count(before + shown)} of ` : '';
  say(at('accounts-count'), `${range}${count(answer.matched)} that match, ${count(answer.known)} known`);
  at('accounts-none').hidden = shown > 0;
}

/** Asks for the page again. */
export async function load() {
  const mine = ++turn;
  const { q, state, reason, group, sort, order, size } = view.get();
  asking?.abort();
  asking = new AbortController();
  try {
    const answer = await ask('accounts', { query: { q, state, reason, group, sort, order, limit: size, cursor: cursors.at(-1) }, signal: asking.signal });
    if (mine === turn) show(answer);
  } catch (problem) {
    if (problem.name === 'AbortError' || mine !== turn) return;
    if (problem.status === 400 && cursors.length > 1) {
      cursors = [null];
      await load();
      return;
    }
    if (problem.status !== 0) say(at('accounts-count'), [problem.message, problem.remedy].filter(Boolean).join(' '));
  } finally {
    if (mine === turn) asking = null;
  }
}

/** Asks again, unless an answer is still awaited. */
export function refresh() {
  if (view.get().tab === 'accounts' && !asking) load();
}

/** The choices of the filters, as the last sample has them. */
export function offer(sample) {
  const { state, reason } = view.get();
  const states = Object.entries(sample.totals.accounts ?? {}).map(([name, value]) => [name, `${name} (${count(value)})`]);
  choices(at('filter-state'), states, state);
  choices(at('filter-reason'), Object.keys(sample.totals.quarantines ?? {}).map((name) => [name, words(name)]), reason);
}

function turnPage(forward) {
  if (forward) cursors.push(next);
  else cursors.pop();
  load().then(() => at('accounts-place').scrollIntoView({ block: 'start' }));
}

/** Puts the table in its place. */
export function build() {
  at('accounts-place').append(accounts.element);
  at('page-next').addEventListener('click', () => turnPage(true));
  at('page-previous').addEventListener('click', () => turnPage(false));
  let typing;
  at('search').addEventListener('input', ({ target }) => {
    clearTimeout(typing);
    typing = setTimeout(() => view.set({ q: target.value.trim() }, { replace: true }), 200);
  });
  for (const name of ['state', 'reason', 'size']) {
    at(`filter-${name}`).addEventListener('change', ({ target }) => view.set({ [name]: target.value }));
  }
  // Where there are no headers to sort by, as on a phone.
  at('sort').append(...COLUMNS.filter(({ sort }) => sort).map(({ sort, title }) => el('option', { value: sort }, title.toLowerCase())));
  at('sort').addEventListener('change', ({ target }) => view.set({ sort: target.value }));
  at('order').addEventListener('click', () => view.set({ order: view.get().order === 'asc' ? 'desc' : 'asc' }));
  at('filters-clear').addEventListener('click', () => view.set({ q: '', state: '', reason: '', group: '' }));
}

/** Follows the view: other filters begin at the first page. */
export function follow(before, now) {
  if (document.activeElement !== at('search')) at('search').value = now.q;
  for (const name of ['state', 'reason', 'size']) at(`filter-${name}`).value = now[name];
  showSort(accounts.element, now);
  at('sort').value = now.sort;
  say(at('order'), now.order === 'asc' ? 'ascending' : 'descending');
  const isOther = before === null || FILTERS.some((name) => before[name] !== now[name]);
  if (isOther) cursors = [null];
  if (now.tab === 'accounts' && (isOther || before?.tab !== 'accounts')) load();
}

/** Gives the focus to the row of an account, if it is shown, as when its details are closed. */
export function focusRow(id) {
  const row = accounts.body.querySelector(`tr[data-key="${CSS.escape(id)}"] a`);
  (row ?? at('search')).focus();
}
