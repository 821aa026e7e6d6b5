/* Numbers, durations and times as people read them. */

import * as view from './view.js';

/** What stands where nothing is known. */
export const NONE = '–';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** A count, such as 12,345 or 1.2M. */
export function count(value) {
  if (value === null || value === undefined) return NONE;
  return Math.abs(value) < 1e6 ? whole.format(value) : short.format(value);
}

/** A rate or a mean, with as many digits as tell something. */
export function rate(value) {
  if (value === null || value === undefined) return NONE;
  if (value !== 0 && Math.abs(value) < 0.01) return '<0.01';
  return value < 10 ? String(Number(value.toFixed(2))) : value < 100 ? value.toFixed(1) : count(value);
}

const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

/** A duration of so many seconds, in its two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds === 0) return '0 s';
  if (seconds < 0.001) return '<1 ms';
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  if (seconds < 60) return `${Number(seconds.toPrecision(3))} s`;
  const first = UNITS.findIndex(([, length]) => seconds >= length);
  const [unit, length] = UNITS[first];
  const [under, part] = UNITS[first + 1] ?? UNITS.at(-1);
  const rest = Math.floor((seconds % length) / part);
  return `${Math.floor(seconds / length)} ${unit}${rest > 0 ? ` ${rest} ${under}` : ''}`;
}

const zones = new Map();

function parts(ms, withDate) {
  const key = `${view.get().zone}${withDate}`;
  if (!zones.has(key)) {
    const time = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
    const date = withDate ? { year: 'numeric', month: '2-digit', day: '2-digit' } : {};
    const timeZone = view.get().zone === 'utc' ? 'UTC' : undefined;
    zones.set(key, new Intl.DateTimeFormat('en-CA', { ...date, ...time, timeZone }));
  }
  return zones.get(key).format(ms).replace(', ', ' ');
}

/** A time of day in the chosen zone. */
export function time(ms) {
  return ms === null || ms === undefined ? NONE : parts(ms, false);
}

/** A date and a time in the chosen zone. */
export function moment(ms) {
  return ms === null || ms === undefined ? NONE : `${parts(ms, true)}${view.get().zone === 'utc' ? ' UTC' : ''}`;
}

/** A label of the metrics in words. */
export function words(label) {
  return label.replaceAll('_', ' ');
}

/** The sum of the values of an object. */
export function sum(object) {
  return Object.values(object ?? {}).reduce((all, value) => all + value, 0);
}
