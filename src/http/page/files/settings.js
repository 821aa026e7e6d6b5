/* The configuration: each setting with its origin; changed together, checked as a whole by the server. */

import { ask, textOf } from './api.js';
import { el, say } from './dom.js';
import * as operations from './operations.js';
import { table } from './table.js';
import * as view from './view.js';

const at = (id) => document.getElementById(id);
let settings = [];
let isEditing = false;

const written = (value) => (value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value));

function showValue(cell, { key, value, origin, applies }) {
  const text = written(value);
  cell.parentElement.classList.toggle('set', origin !== 'default');
  // What is read at the start of the service is not changed here.
  if (!isEditing || applies !== 'now') say(cell, text);
  else if (!cell.querySelector('input')) cell.replaceChildren(el('input', { value: text, 'aria-label': key, 'data-was': text, spellcheck: 'false', autocomplete: 'off' }));
}

const sheet = table({ id: 'settings', caption: 'Settings', keyOf: ({ key }) => key, columns: [
  { title: 'Setting', head: true, text: ({ key }) => key },
  { title: 'Value', class: 'value', update: showValue },
  { title: 'Default', text: ({ default: usual }) => written(usual) },
  { title: 'Origin', text: ({ origin }) => origin },
  { title: 'A change applies', text: ({ applies }) => (applies === 'now' ? 'now' : 'with a restart') },
  { title: 'About', class: 'why', text: ({ about, accepts }) => [about, accepts && `Accepts ${accepts}.`].filter(Boolean).join(' ') }] });

function show() {
  sheet.show(settings);
  at('settings-may-not').hidden = operations.mayOperate();
  at('settings-edit').hidden = isEditing || !operations.mayOperate();
  at('settings-save').hidden = at('settings-cancel').hidden = !isEditing;
}

/** Asks for the configuration. */
export async function load() {
  if (view.get().tab !== 'configuration' || isEditing) return;
  try {
    ({ settings } = await ask('config'));
    say(at('settings-problem'), '');
    show();
  } catch (problem) {
    if (problem.status !== 0) say(at('settings-problem'), textOf(problem));
  }
}

function edit(on) {
  isEditing = on;
  say(at('settings-problem'), '');
  show();
  (on ? document.querySelector('#settings input') : at('settings-edit')).focus();
}

async function save() {
  const changed = [...document.querySelectorAll('#settings input')].filter((input) => input.value !== input.dataset.was);
  if (!changed.length) return edit(false);
  const keys = changed.map((input) => input.getAttribute('aria-label'));
  const lines = changed.map((input, index) => `${keys[index]}: ${input.dataset.was || 'nothing'} becomes ${input.value || 'nothing'}.`);
  const answer = await operations.confirm({ title: 'Change the configuration?', lines: [...lines, 'All are checked together first: either all hold at once or none.'], action: 'Change' });
  if (answer === null) return undefined;
  try {
    const body = Object.fromEntries(changed.map((input, index) => [keys[index], input.value]));
    const taken = await ask('config', { method: 'PATCH', body });
    settings = taken.settings;
    edit(false);
    operations.report(`Changed: ${keys.join(', ')}.`);
  } catch (problem) {
    say(at('settings-problem'), textOf(problem));
    changed.forEach((input, index) => input.setAttribute('aria-invalid', String(problem.message.includes(keys[index]))));
    (changed.find(({ ariaInvalid }) => ariaInvalid === 'true') ?? changed[0]).focus();
  }
  return undefined;
}

/** Puts the table in its place, and wires the buttons. */
export function build() {
  at('settings-place').append(sheet.element);
  at('settings-edit').addEventListener('click', () => edit(true));
  at('settings-cancel').addEventListener('click', () => edit(false));
  at('settings-form').addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
}

/** Follows the view. */
export function follow(before, now) {
  if (before === null || before.tab !== now.tab) {
    if (isEditing) isEditing = false;
    load();
  }
}

/** Shows or hides what only an operator has. */
export function offer() {
  if (view.get().tab === 'configuration' && settings.length) show();
}
