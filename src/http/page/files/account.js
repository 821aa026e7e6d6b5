/* One account: why it is out of service and what to do, its cooldowns, sessions, connections and last events. */

import { focusRow } from './accounts.js';
import { ask } from './api.js';
import { el, mark, say } from './dom.js';
import { eventTable } from './events.js';
import { count, duration, words } from './format.js';
import * as operations from './operations.js';
import { table } from './table.js';
import * as view from './view.js';

const at = (id) => document.getElementById(id);
let parts = null;
let account = null;
let asking = null;

const CONNECTIONS = [
  { title: 'Connection', head: true, text: ({ id }) => id },
  { title: 'State', mark: ({ state }) => state },
  { title: 'Session', number: true, text: ({ slot }) => String(slot) },
  { title: 'Data centre', number: true, text: ({ data_centre: dc }) => (dc === null ? '' : String(dc)) },
  { title: 'Age', number: true, text: ({ age_s: age }) => duration(age) },
  { title: 'Last used', number: true, text: ({ last_used_s: ago }) => (ago === null ? 'never' : `${duration(ago)} ago`) },
  { title: 'Uses', number: true, text: ({ uses }) => count(uses) },
  { title: 'Leases', number: true, text: ({ leases }) => count(leases) },
  { title: 'Errors', number: true, text: ({ errors }) => count(errors) },
  { title: 'Last error', class: 'why', text: ({ last_error: error }) => error ?? '' },
  { title: 'Operation', update: (cell, connection) => {
    if (operations.mayOperate() !== (cell.childElementCount > 0)) cell.replaceChildren(...(operations.mayOperate() ? [operations.closeButton(account, connection, refresh)] : []));
  } },
];

function makeParts() {
  const cooldowns = table({ caption: 'Cooldowns', keyOf: ({ method, name }) => `${method} ${name}`, columns: [
    { title: 'Method', head: true, text: ({ method, name }) => name ?? method },
    { title: 'Remaining', number: true, text: ({ remaining_s: left }) => duration(left) }] });
  const quarantines = table({ caption: 'Sessions out of service', keyOf: ({ slot }) => slot, columns: [
    { title: 'Session', head: true, text: ({ slot }) => (slot === null ? 'all' : String(slot)) },
    { title: 'Reason', text: ({ reason }) => words(reason) }, { title: 'Remedy', class: 'why', text: ({ remedy }) => remedy ?? '' }] });
  const connections = table({ id: 'connections', caption: 'Connections', keyOf: ({ id }) => id, columns: CONNECTIONS });
  const events = eventTable('account-events', 'Last events');
  at('account-tables').replaceChildren(...[quarantines, cooldowns, connections, events].map(({ element }) => el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': element.caption.textContent }, element)));
  return { cooldowns, quarantines, connections, events };
}

function facts({ group, kind, sessions, connections, connections_max: most, leases, waiting, oldest_wait_s: wait, created, reused, closed, errors, last_error: error, last_used_s: used }) {
  return [['Group', group || 'none'], ['Kind', kind], ['Sessions', count(sessions)],
    ['Connections', `${connections.active} active, ${connections.idle} idle, ${connections.connecting} connecting, ${most} at most`],
    ['Leases', `${count(leases)} held, ${count(waiting)} waiting${wait === null ? '' : `, the oldest for ${duration(wait)}`}`],
    ['Since the start', `${count(created)} opened, ${count(reused)} reused, ${count(closed)} closed`],
    ['Errors', error ? `${count(errors)}, the last: ${error}` : count(errors)], ['Last used', used === null ? 'never' : `${duration(used)} ago`]];
}

function showWhy({ state, reason, detail, remedy, until_s: left }) {
  const text = [reason && words(reason), detail, left !== null && left !== undefined && `for another ${duration(left)}`].filter(Boolean).join(', ');
  at('account-why').hidden = !text && !remedy;
  say(at('account-reason'), text ? `${state}: ${text}` : state);
  say(at('account-remedy'), remedy ?? '');
}

function showOperations() {
  const place = at('account-operations');
  const may = operations.mayOperate();
  at('account-may-not').hidden = may;
  const wanted = may ? `${account.id} ${account.state}` : '';
  if (place.dataset.shown === wanted) return;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.operation : null;
  place.dataset.shown = wanted;
  place.replaceChildren(...(may ? operations.buttons(account, refresh) : []));
  if (focused) (place.querySelector(`[data-operation="${focused}"]`) ?? place.querySelector('button'))?.focus();
}

function show(answer) {
  account = answer;
  say(at('account-title'), answer.name);
  mark(at('account-state'), answer.state);
  showWhy(answer);
  const list = at('account-facts');
  if (!list.children.length) for (const [name] of facts(answer)) list.append(el('div', {}, el('dt', {}, name), el('dd')));
  facts(answer).forEach(([, value], index) => say(list.children[index].lastChild, value));
  showOperations();
  for (const [name, items] of [['cooldowns', answer.cooldowns], ['quarantines', answer.quarantines], ['connections', answer.connections_list], ['events', [...answer.events].sort((one, other) => Number(other.id) - Number(one.id))]]) {
    parts[name].show(items);
    parts[name].element.parentElement.hidden = items.length === 0;
  }
}

/** Asks for the account again, unless an answer is still awaited. */
export async function refresh() {
  const id = view.get().account;
  if (!id || asking === id) return;
  asking = id;
  try {
    const answer = await ask(`accounts/${encodeURIComponent(id)}`);
    if (view.get().account === id) show(answer);
  } catch (problem) {
    if (problem.status !== 0 && view.get().account === id) {
      say(at('account-title'), id);
      at('account-state').replaceChildren();
      showWhy({ state: 'not shown', detail: problem.message, remedy: problem.remedy });
    }
  } finally {
    if (asking === id) asking = null;
  }
}

function close() {
  const { account: id, tab } = view.get();
  view.set({ account: '' });
  if (tab === 'accounts') focusRow(id);
  else at('main').focus();
}

/** Makes it close by its button and by Escape. */
export function build() {
  at('account-close').addEventListener('click', close);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && view.get().account && !document.querySelector('dialog[open]')) close();
  });
}

/** Follows the view: opens, changes or closes the details. */
export function follow(before, now) {
  const drawer = at('account');
  if (before?.account === now.account) return;
  drawer.hidden = !now.account;
  document.body.classList.toggle('has-account', Boolean(now.account));
  if (!now.account) return;
  account = null;
  at('account-operations').dataset.shown = '';
  at('account-operations').replaceChildren();
  at('account-facts').replaceChildren();
  at('account-why').hidden = true;
  parts = makeParts();
  say(at('account-title'), 'Account');
  view.lead(at('account-all-events'), { tab: 'events', of: now.account, kind: '', level: '', account: '' });
  refresh();
  if (before) at('account-title').focus();
}
