/* What is shown, as the address has it: reload, back and a copied address all lead to the same. */

import { attribute, el } from './dom.js';

/** All that an address may say, and what holds where it says nothing. */
const DEFAULTS = {
  tab: 'overview', range: '5m', group: '', q: '', state: '', reason: '', sort: 'name', order: 'asc', size: '50',
  kind: '', level: '', of: '', account: '', theme: '', zone: 'local',
};
const CHOICES = {
  tab: ['overview', 'accounts', 'events', 'configuration'], range: ['5m', '15m', '1h'], order: ['asc', 'desc'],
  size: ['25', '50', '100', '250'], theme: ['', 'light', 'dark'], zone: ['local', 'utc'],
};

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
  return settings;
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
    attribute(anchor, 'href', address({ ...current, ...links.get(anchor) }));
  }
  for (const listener of listeners) listener(before, current);
}

/** Changes the view. With `replace` the address is no step of its own for the back button. */
export function set(changes, { replace = false } = {}) {
  const before = current;
  current = { ...current, ...changes };
  const to = address(current);
  if (to === address(before)) return;
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  moved(before);
}

/** Makes an element a link to the view with `changes`. It opens in a tab of its own as any link does. */
export function lead(anchor, changes) {
  links.set(anchor, changes);
  anchor.dataset.view = '';
  attribute(anchor, 'href', address({ ...current, ...changes }));
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
