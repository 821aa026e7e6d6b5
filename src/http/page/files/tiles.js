/* The tiles, the alerts and the groups: what the last sample says at a glance. */

import { numbersOf } from './charts.js';
import { attribute, each, el, mark, say } from './dom.js';
import { count, duration, moment, rate, sum } from './format.js';
import { table } from './table.js';
import * as view from './view.js';

const accountsBy = (sort, order = 'desc') => ({ tab: 'accounts', sort, order, state: '', reason: '', q: '', account: '' });
const accountsOf = (state) => ({ tab: 'accounts', state, reason: '', q: '', account: '' });
const failed = (rates) => (rates.acquires_failed ?? 0) + (rates.calls_failed ?? 0) + (rates.opens_failed ?? 0);

/** What fails most. */
function mostly(rates) {
  const [[value, name]] = ['acquires', 'calls', 'opens'].map((kind) => [rates[`${kind}_failed`] ?? 0, kind]).sort(([one], [other]) => other - one);
  return value > 0 ? `mostly ${name}` : 'acquires, calls, opens';
}

/** Whether answers take longer than a server needs for them, in seconds. */
const isSlow = ({ call_p99_s: p99 }) => p99 > 2;

/** Each tile: what it shows, its unit, the words below, where it leads, and when it calls for attention. */
const TILES = [
  { id: 'active', title: 'Active', value: ({ totals }) => count(totals.connections?.active), unit: ({ totals }) => `of ${count(totals.connections_max)}`, below: ({ totals }) => `connections, ${count(totals.leases)} leases`, to: accountsBy('active') },
  { id: 'idle', title: 'Idle', value: ({ totals }) => count(totals.connections?.idle), unit: () => 'connections', below: ({ totals }) => `${count(totals.connections?.connecting)} connecting` },
  { id: 'waiting', title: 'Waiting', value: ({ totals }) => count(totals.waiting), unit: () => 'acquires', below: ({ totals }) => `${count(totals.saturated)} saturated`, to: accountsBy('waiting'), warn: ({ totals }) => totals.waiting > 0 },
  { id: 'oldest', title: 'Oldest wait', value: ({ totals }) => duration(totals.oldest_wait_s), unit: () => '', below: ({ rates }) => `p99 ${duration(rates.wait_p99_s)}`, to: accountsBy('oldest_wait'), warn: ({ totals }) => totals.oldest_wait_s > 5 },
  { id: 'acquires', title: 'Acquires', value: ({ rates }) => rate(rates.acquires), unit: () => '/s', below: ({ totals }) => `${count(sum(totals.acquires))} in all` },
  { id: 'calls', title: 'Calls', value: ({ rates }) => rate(rates.calls), unit: () => '/s', below: ({ rates }) => `p99 ${duration(rates.call_p99_s)}${isSlow(rates) ? ': answers come late; call less at once' : ''}`, warn: ({ rates }) => isSlow(rates) },
  { id: 'failures', title: 'Failures', value: ({ rates }) => rate(failed(rates)), unit: () => '/s', below: ({ rates }) => mostly(rates), to: accountsBy('errors'), warn: ({ rates }) => failed(rates) > 0 },
  { id: 'floods', title: 'Floods', value: ({ totals }) => count(sum(totals.floods)), unit: () => 'in all', below: ({ rates, totals }) => `${rate(rates.floods)}/s, ${count(totals.accounts?.cooling)} cooling`, to: accountsOf('cooling'), warn: ({ rates }) => rates.floods > 0 },
  { id: 'quarantined', title: 'Quarantined', value: ({ totals }) => count(totals.accounts?.quarantined), unit: () => 'accounts', below: ({ totals }) => `of ${count(sum(totals.accounts))} known`, to: accountsOf('quarantined'), bad: ({ totals }) => totals.accounts?.quarantined > 0 },
];

function makeTile(tile) {
  const parts = [el('span', { class: 'title' }, tile.title), el('span', { class: 'figure' }, el('b'), ' ', el('span', { class: 'unit' })), el('span', { class: 'below' })];
  const inner = tile.to ? view.lead(el('a', {}, ...parts), tile.to) : el('div', {}, ...parts);
  return el('li', { class: 'tile', id: `tile-${tile.id}` }, inner);
}

function showTile(element, tile, numbers) {
  const tone = tile.bad?.(numbers) ? 'bad' : tile.warn?.(numbers) ? 'warn' : '';
  attribute(element, 'class', `tile ${tone}`.trim());
  say(element.querySelector('b'), tile.value(numbers));
  say(element.querySelector('.unit'), tile.unit(numbers));
  say(element.querySelector('.below'), tile.below(numbers));
}

/** The kinds of alerts that the last events explain, and the kind of those events. */
const EVENTS = { opens_failing: 'dial_failed', address_down: 'address_down', lease_leaks: 'lease_held', breaker_open: 'dial_failed' };
const ORDERS = { saturated: 'waiting', acquires_stuck: 'oldest_wait' };

/** Where an alert leads: to the events that explain it, or to the accounts that it is about. */
function alertView({ filter, kind }) {
  if (EVENTS[kind]) return { tab: 'events', kind: EVENTS[kind], level: '', of: '', account: '', group: filter?.group ?? '' };
  const { state, reason, group } = filter ?? {};
  return { ...accountsBy(ORDERS[kind] ?? 'errors'), state: state ?? '', reason: reason ?? '', group: group ?? '' };
}

const keyOf = ({ kind, filter }) => [kind, filter?.state, filter?.reason, filter?.group].join(' ');

function makeAlert(alert) {
  return el('li', { class: 'alert' }, el('span', { class: 'severity' }), el('span', { class: 'text' }),
    el('span', { class: 'remedy' }), el('span', { class: 'since' }), view.link(alertView(alert), '', { class: 'go', 'data-alert': alert.kind }));
}

function showAlert(element, alert) {
  attribute(element, 'class', `alert ${alert.severity}`);
  mark(element.querySelector('.severity'), alert.severity);
  say(element.querySelector('.text'), alert.text);
  say(element.querySelector('.remedy'), alert.remedy ?? '');
  say(element.querySelector('.since'), `since ${moment(alert.since)}`);
  say(element.querySelector('.go'), EVENTS[alert.kind] ? 'Show events' : 'Show accounts');
}

let told = new Set();

/** Tells a screen reader of alerts that are new, and of nothing that only goes on. */
function tell(alerts) {
  const fresh = alerts.filter((alert) => !told.has(keyOf(alert)));
  if (fresh.length) say(document.getElementById('told'), fresh.map(({ severity, text }) => `${severity}: ${text}`).join('. '));
  told = new Set(alerts.map(keyOf));
}

const RANK = ['page', 'warn', 'info'];

function showAlerts(alerts) {
  const sorted = [...alerts].sort((one, other) => RANK.indexOf(one.severity) - RANK.indexOf(other.severity));
  each(document.getElementById('alerts'), sorted, keyOf, makeAlert, showAlert);
  document.getElementById('alert-strip').hidden = sorted.length === 0;
  tell(sorted);
}

const groups = table({ id: 'groups-table', caption: 'Groups', keyOf: ({ name }) => name, columns: [
  { title: 'Group', head: true, text: ({ name }) => name || '(none)', to: ({ name }) => ({ tab: 'accounts', group: name, account: '' }) },
  { title: 'Accounts', number: true, text: ({ totals }) => count(sum(totals.accounts)) },
  { title: 'Quarantined', number: true, text: ({ totals }) => count(totals.accounts?.quarantined) },
  { title: 'Active', number: true, text: ({ totals }) => `${count(totals.connections?.active)} of ${count(totals.connections_max)}` },
  { title: 'Waiting', number: true, text: ({ totals }) => count(totals.waiting) },
  { title: 'Oldest wait', number: true, text: ({ totals }) => duration(totals.oldest_wait_s) },
  { title: 'Acquires/s', number: true, text: ({ rates }) => rate(rates.acquires) },
  { title: 'Calls/s', number: true, text: ({ rates }) => rate(rates.calls) },
  { title: 'Failures/s', number: true, text: ({ rates }) => rate(failed(rates)) }] });

/** Puts the table of groups in its place. */
export function build() {
  document.getElementById('groups').append(groups.element);
}

/** Shows a sample. */
export function show(sample) {
  const numbers = numbersOf(sample);
  const place = document.getElementById('tiles');
  each(place, TILES, ({ id }) => id, makeTile, (element, tile) => showTile(element, tile, numbers));
  showAlerts(sample.alerts);
  document.getElementById('groups').hidden = sample.groups.length < 2;
  groups.show(sample.groups.slice(0, 200));
}
