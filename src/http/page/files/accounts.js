/* The table of accounts: pages of it as the filters and the order have them, never all. */

import { ask, textOf } from './api.js';
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
const SHOWN = ['q', 'state', 'reason', 'group', 'sort', 'order', 'size', 'cursor'];

const accounts = table({ id: 'accounts', caption: 'Accounts', columns: COLUMNS, keyOf: ({ id }) => id });
const at = (id) => document.getElementById(id);
let next = null;
/** Where this page ends, in rows from the first. */
let end = 0;
let turn = 0;
let asking = null;

/** A button that has the focus and is of no use any more hands it over to the other one. */
function enable(id, isUseful, other) {
  const hadFocus = document.activeElement === at(id);
  at(id).disabled = !isUseful;
  if (hadFocus && !isUseful) {
    at(other).disabled = false;
    at(other).focus();
  }
}

function show(answer) {
  const { cursor, from } = view.get();
  const before = Number(from);
  const shown = answer.accounts.length;
  accounts.show(answer.accounts);
  next = answer.next;
  end = before + shown;
  enable('page-next', next !== null, 'page-previous');
  enable('page-previous', cursor !== '', 'page-next');
  // Whoever was sent the address has turned no page.
  say(at('page-previous'), cursor && !view.trail().length ? 'First page' : 'Previous page');
  const range = shown ? `${count(before + 1)} to ${count(end)} of ` : '';
  say(at('accounts-count'), `${range}${count(answer.matched)} that match, ${count(answer.known)} known`);
  at('accounts-none').hidden = shown > 0;
}

/** Asks for the page again. */
export async function load() {
  const mine = ++turn;
  const { q, state, reason, group, sort, order, size, cursor } = view.get();
  asking?.abort();
  asking = new AbortController();
  try {
    const answer = await ask('accounts', { query: { q, state, reason, group, sort, order, limit: size, cursor }, signal: asking.signal });
    if (mine === turn) show(answer);
  } catch (problem) {
    if (problem.name === 'AbortError' || mine !== turn) return;
    if (problem.status === 400 && cursor) {
      view.set({ cursor: '', from: '' }, { replace: true });
      return;
    }
    if (problem.status !== 0) say(at('accounts-count'), textOf(problem));
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
  const { cursor, from } = view.get();
  const pages = view.trail();
  if (forward && next === null) return;
  if (forward) view.set({ cursor: next, from: String(end) }, { trail: [...pages, { cursor, from }] });
  else view.set(pages.at(-1) ?? { cursor: '', from: '' }, { trail: pages.slice(0, -1) });
  at('accounts-place').scrollIntoView({ block: 'start' });
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

/** Follows the view. */
export function follow(before, now) {
  if (document.activeElement !== at('search')) at('search').value = now.q;
  for (const name of ['state', 'reason', 'size']) at(`filter-${name}`).value = now[name];
  showSort(accounts.element, now);
  at('sort').value = now.sort;
  say(at('order'), now.order === 'asc' ? 'ascending' : 'descending');
  const isOther = before === null || SHOWN.some((name) => before[name] !== now[name]);
  if (isOther) next = null;
  if (now.tab === 'accounts' && (isOther || before?.tab !== 'accounts')) load();
}

/** Gives the focus to the row of an account, if it is shown, as when its details are closed. */
export function focusRow(id) {
  const row = accounts.body.querySelector(`tr[data-key="${CSS.escape(id)}"] a`);
  (row ?? at('search')).focus();
}
