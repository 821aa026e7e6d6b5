/* The last events, by the filters; asked for again when the stream tells of another. */

import { ask, textOf } from './api.js';
import { el, mark, say } from './dom.js';
import { count, moment, words } from './format.js';
import { choices, table } from './table.js';
import * as view from './view.js';

const at = (id) => document.getElementById(id);
const LEVELS = [['warn', 'warn and worse'], ['error', 'error']];
const LIMIT = 200;
const kinds = new Set();
let asking = false;
let isStale = false;

/** A table of events; those of all accounts say whose each is. */
export function eventTable(id, caption, isOfAll = false) {
  const whose = { title: 'Account', make: ({ account, name }) => (account ? view.link({ account }, name ?? account) : ''), class: 'whose' };
  return table({ id, caption, keyOf: (event) => event.id, columns: [
    { title: 'Time', head: true, class: 'when', text: ({ at: when }) => moment(when) },
    { title: 'Level', mark: ({ level }) => level },
    { title: 'Event', text: ({ kind }) => words(kind) },
    ...(isOfAll ? [whose, { title: 'Group', text: ({ group }) => group ?? '' }] : []),
    { title: 'What happened', class: 'why', text: ({ text, by }) => (by ? `${text} (by ${by})` : text) },
    { title: 'Remedy', class: 'why', text: ({ remedy }) => remedy ?? '' }] });
}

const events = eventTable('events', 'Last events', true);

/** Asks for the last events. */
export async function load() {
  if (view.get().tab !== 'events') return;
  if (asking) {
    isStale = true;
    return;
  }
  asking = true;
  isStale = false;
  const { kind, level, of, group } = view.get();
  try {
    const answer = await ask('events', { query: { kind, level, account: of, group, limit: LIMIT } });
    const shown = [...answer.events].sort((one, other) => Number(other.id) - Number(one.id));
    for (const event of shown) kinds.add(event.kind);
    choices(at('event-kind'), [...kinds].sort().map((name) => [name, words(name)]), view.get().kind);
    events.show(shown);
    say(at('events-count'), shown.length === LIMIT ? `the last ${LIMIT}` : `${count(shown.length)} events`);
  } catch (problem) {
    if (problem.status !== 0) say(at('events-count'), textOf(problem));
  }
  asking = false;
  if (isStale) setTimeout(load, 1000);
}

let later = null;

/** Takes an event of the stream: of many in one second the table is asked for once. */
export function arrived(event) {
  kinds.add(event.kind);
  later ??= setTimeout(() => { later = null; load(); }, 500);
}

/** Puts the table and its filters in place. */
export function build() {
  at('events-place').append(events.element);
  choices(at('event-level'), LEVELS, view.get().level);
  choices(at('event-kind'), [], view.get().kind);
  for (const name of ['kind', 'level']) at(`event-${name}`).addEventListener('change', ({ target }) => view.set({ [name]: target.value }));
  at('event-of-clear').addEventListener('click', () => view.set({ of: '' }));
}

/** Follows the view. */
export function follow(before, now) {
  at('event-of').hidden = !now.of;
  say(at('event-of-name'), now.of);
  choices(at('event-level'), LEVELS, now.level);
  choices(at('event-kind'), [...kinds].sort().map((name) => [name, words(name)]), now.kind);
  if (before === null || ['tab', 'kind', 'level', 'of', 'group', 'zone'].some((name) => before[name] !== now[name])) {
    if (before && before.zone !== now.zone) events.show([]);
    load();
  }
}
