/* What is shown, as the address has it: reload, back and a copied address all lead to the same. */

import { attribute, el } from './dom.js';

/** All that an address may say, and what holds where it says nothing. */
const DEFAULTS = {
  tab: 'overview', range: '5m', group: '', q: '', state: '', reason: '', sort: 'name', order: 'asc', size: '50',
  cursor: '', from: '', kind: '', level: '', of: '', account: '', theme: '', zone: 'local',
};
const CHOICES = {
  tab: ['overview', 'accounts', 'events', 'configuration'], range: ['5m', '15m', '1h'], order: ['asc', 'desc'],
  size: ['25', '50', '100', '250'], theme: ['', 'light', 'dark'], zone: ['local', 'utc'],
};
/** What a page of the table depends on: where one of them changes, the first page is shown. */
const LIST = ['group', 'q', 'state', 'reason', 'sort', 'order', 'size'];

const listeners = [];
const links = new WeakMap();
let current = read();

function read() {
  const given = new URLSearchParams(location.search);
  const settings = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = given.get(name);
    if (value !== null && (CHOICES[name]?.includes(value) ?? true)) settings[name] = value.slice(0, 200);
  }
  if (!settings.cursor || !/^\d{1,9}$/.test(settings.from)) settings.from = '';
  return settings;
}

function changed(changes) {
  const to = { ...current, ...changes };
  if (!('cursor' in changes) && LIST.some((name) => to[name] !== current[name])) to.cursor = to.from = '';
  return to;
}

function address(settings) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) if (value !== DEFAULTS[name]) given.set(name, value);
  const query = given.toString();
  return query ? `?${query}` : location.pathname;
}

/** The view as it is. */
export function get() {
  return current;
}

/** Calls `listener` with the view before and after each change. */
export function onChange(listener) {
  listeners.push(listener);
}

function moved(before) {
  for (const anchor of document.querySelectorAll('a[data-view]')) {
    attribute(anchor, 'href', address(changed(links.get(anchor))));
  }
  for (const listener of listeners) listener(before, current);
}

/** The places of the pages before this one, where this browser has turned them. Each has a `cursor` and a `from`. */
export function trail() {
  return history.state?.trail ?? [];
}

/**
 * Changes the view. With `replace` the address is no step of its own for the back button. `trail` is what
 * `trail()` shall be; without it, it stays while the page of the table does.
 */
export function set(changes, { replace = false, trail: pages = null } = {}) {
  const before = current;
  current = changed(changes);
  const to = address(current);
  if (to === address(before)) return;
  const state = { trail: pages ?? (current.cursor === before.cursor ? trail() : []) };
  if (replace) history.replaceState(state, '', to);
  else history.pushState(state, '', to);
  moved(before);
}

/** Makes an element a link to the view with `changes`. It opens in a tab of its own as any link does. */
export function lead(anchor, changes) {
  links.set(anchor, changes);
  anchor.dataset.view = '';
  attribute(anchor, 'href', address(changed(changes)));
  return anchor;
}

/** A link to the view with `changes`. */
export function link(changes, text, attributes = {}) {
  return lead(el('a', attributes, text), changes);
}

document.addEventListener('click', (event) => {
  const anchor = event.target.closest?.('a');
  const changes = anchor && links.get(anchor);
  if (!changes || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  set(changes);
});

addEventListener('popstate', () => {
  const before = current;
  current = read();
  moved(before);
});
