/* Charts: full at load from the history, then moved on by each sample. One cursor is over all of them. */

import { ask } from './api.js';
import { attribute, el, say } from './dom.js';
import { count, duration, NONE, rate, sum, time, words } from './format.js';
import * as view from './view.js';

const RANGES = { '5m': 300, '15m': 900, '1h': 3600 };
const perSecond = (value) => `${rate(value)}/s`;

/** Each chart: which series of the history it takes, by the beginning of their names or one by one. */
const CHARTS = [
  { id: 'connections', title: 'Connections by state', say: count, of: ['connections.active', 'connections.idle', 'connections.connecting', 'connections.disconnected', 'connections.error'], always: 3 },
  { id: 'acquires', title: 'Acquires by result, per second', say: perSecond, begin: 'acquires.', always: ['acquires.ok'] },
  { id: 'waits', title: 'Wait for a lease', say: duration, of: ['wait_p50_s', 'wait_p99_s', 'oldest_wait_s'], always: 3, names: { wait_p50_s: 'p50', wait_p99_s: 'p99', oldest_wait_s: 'oldest' } },
  { id: 'calls', title: 'Calls by outcome, per second', say: perSecond, begin: 'calls.', always: ['calls.ok'] },
  { id: 'opens', title: 'Connections opened, per second', say: perSecond, begin: 'opens.', always: ['opens.ok', 'opens.failed'] },
  { id: 'closes', title: 'Connections closed by reason, per second', say: perSecond, begin: 'closes.', always: ['closes.idle'] },
];
/** Lines differ by their dashes as well as by their colours. */
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4]];

const data = { at: [], series: {} };
let last = null;
let loads = 0;
let frame = null;
const drawn = new Map();

function colour(name) {
  const probe = el('span', { class: name });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** The names of a chart's series: those that are always there, and those that were anything but zero. */
function seriesOf(chart) {
  const always = Array.isArray(chart.always) ? chart.always : chart.of.slice(0, chart.always);
  const names = chart.of ?? Object.keys(data.series).filter((name) => name.startsWith(chart.begin)).sort();
  const others = names.filter((name) => !always.includes(name) && data.series[name]?.some((value) => value));
  return [...always, ...others].slice(0, 10);
}

/** A value in words. Without a cursor the legend has the last ones. */
function said(chart, value) {
  return value === null || value === undefined ? NONE : chart.say(value);
}

function options(chart, names, width) {
  const ink = colour('ink-soft');
  const grid = colour('ink-grid');
  const axis = { stroke: ink, font: '12px system-ui, sans-serif', grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
  return {
    width, height: 190, padding: [8, 8, 0, 0],
    cursor: { sync: { key: 'telepool' }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, space: 80, values: (_, ticks, __, ___, step) => ticks.map((tick) => time(tick * 1000).slice(0, step < 60 ? undefined : -3)) },
      { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => chart.say(tick).replace('/s', '')) },
    ],
    series: [
      { label: 'at', value: (plot, at) => time(1000 * (at ?? plot.data[0].at(-1) ?? NaN) || null) },
      ...names.map((name, index) => ({
        label: chart.names?.[name] ?? words(name.slice(name.indexOf('.') + 1)),
        stroke: colour(`line-${index % 10}`), width: 1.5, dash: DASHES[index % DASHES.length],
        fill: index === 0 ? colour('line-fill') : undefined, points: { show: false }, value: (plot, value, series, at) => said(chart, at === null ? plot.data[series].at(-1) : value),
      })),
    ],
  };
}

/** What a chart says to whoever does not see it. */
function summary(chart, names) {
  const said = names.map((name) => {
    const known = (data.series[name] ?? []).filter((value) => value !== null && value !== undefined);
    const label = chart.names?.[name] ?? words(name.slice(name.indexOf('.') + 1));
    if (!known.length) return `${label}: nothing known`;
    const most = known.reduce((one, other) => Math.max(one, other));
    const least = known.reduce((one, other) => Math.min(one, other));
    return `${label}: ${chart.say(known.at(-1))} now, ${chart.say(least)} to ${chart.say(most)} in this range`;
  });
  return `${chart.title}. ${said.join('. ')}.`;
}

function draw(force) {
  if (view.get().tab !== 'overview') return;
  for (const chart of CHARTS) {
    const place = document.getElementById(`chart-${chart.id}`);
    const names = seriesOf(chart);
    const values = [data.at.map((at) => at / 1000), ...names.map((name) => data.series[name] ?? data.at.map(() => null))];
    const before = drawn.get(chart.id);
    if (!force && before?.names.join() === names.join()) {
      before.plot.setData(values);
    } else {
      before?.plot.destroy();
      drawn.set(chart.id, { names, plot: new window.uPlot(options(chart, names, place.clientWidth), values, place) });
    }
    attribute(place, 'data-points', String(data.at.length));
    say(document.getElementById(`summary-${chart.id}`), summary(chart, names));
  }
}

/** Draws at the next frame: several changes at once are one drawing. */
function soon(force = false) {
  if (frame?.force || (frame && !force)) return;
  if (frame) cancelAnimationFrame(frame.id);
  frame = { force, id: requestAnimationFrame(() => { frame = null; draw(force); }) };
}

function trim() {
  const from = data.at.at(-1) - RANGES[view.get().range] * 1000;
  const gone = data.at.findIndex((at) => at >= from);
  if (gone <= 0) return;
  data.at.splice(0, gone);
  for (const values of Object.values(data.series)) values.splice(0, gone);
}

/** Takes the history of the chosen range and group, in place of all that is here. */
export async function load(now) {
  const turn = ++loads;
  const { range, group } = view.get();
  const step = range === '1h' ? 5 : 1;
  const history = await ask('history', { query: { since: Math.floor(now - RANGES[range] * 1000), group, step } });
  if (turn !== loads) return;
  data.at = history.at;
  data.series = history.series;
  last = null;
  soon(true);
}

/** The numbers of a sample: of all, or of the chosen group. */
export function numbersOf(sample) {
  const { group } = view.get();
  return group ? sample.groups.find((it) => it.name === group) ?? { totals: {}, rates: {} } : sample;
}

/** The latest values, of which those that only grow become rates. */
function valuesOf(sample, seconds, before) {
  const { totals, rates } = numbersOf(sample);
  const values = {
    waiting: totals.waiting, leases: totals.leases, oldest_wait_s: totals.oldest_wait_s,
    wait_p50_s: rates.wait_p50_s, wait_p99_s: rates.wait_p99_s,
  };
  const grown = (now, then) => Math.max(0, ((now ?? 0) - (then ?? 0)) / seconds);
  for (const [state, value] of Object.entries(totals.connections ?? {})) values[`connections.${state}`] = value;
  for (const kind of ['acquires', 'calls', 'closes']) {
    for (const [label, value] of Object.entries(totals[kind] ?? {})) values[`${kind}.${label}`] = grown(value, before[kind]?.[label]);
  }
  const opened = (opens) => [opens?.ok ?? 0, sum(opens) - (opens?.ok ?? 0)];
  const [[ok, failed], [okBefore, failedBefore]] = [opened(totals.opens), opened(before.opens)];
  return { ...values, 'opens.ok': grown(ok, okBefore), 'opens.failed': grown(failed, failedBefore) };
}

/** Moves the charts on by a sample. */
export function move(sample) {
  const before = last;
  last = sample;
  if (before === null || sample.at <= before.at || sample.at <= (data.at.at(-1) ?? 0)) return;
  const values = valuesOf(sample, (sample.at - before.at) / 1000, numbersOf(before).totals);
  const places = data.at.length;
  data.at.push(sample.at);
  for (const name of new Set([...Object.keys(data.series), ...Object.keys(values)])) {
    (data.series[name] ??= new Array(places).fill(null)).push(values[name] ?? null);
  }
  trim();
  soon();
}

/** Makes the places of the charts, and keeps them as wide as the page lets them be. */
export function build(place) {
  for (const chart of CHARTS) {
    place.append(el('figure', { class: 'chart', 'aria-labelledby': `title-${chart.id}`, 'aria-describedby': `summary-${chart.id}` },
      el('figcaption', { id: `title-${chart.id}` }, chart.title),
      el('div', { id: `chart-${chart.id}`, class: 'plot', 'aria-hidden': 'true' }),
      el('p', { id: `summary-${chart.id}`, class: 'unseen' })));
  }
  new ResizeObserver(() => {
    for (const [id, { plot }] of drawn) {
      const width = document.getElementById(`chart-${id}`).clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: 190 });
    }
  }).observe(place);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => soon(true));
}

/** Draws all anew, as after a change of colours or of the time zone. */
export function redraw() {
  soon(true);
}
