/* The live numbers: one stream while the tab is seen, polls where the server refuses one, and a new try after an end. */

import { ask, problemOf } from './api.js';

/** A stream says something at least this often; one that is silent for longer has been lost. */
const SILENCE_MS = 20_000;
const RETRY_MS = [500, 10_000];
const POLL_MS = 2_000;
/** How long it is polled before a stream is tried again, unless the server says. */
const POLLS_FOR_MS = 30_000;

let lastId = null;
let stop = null;

function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
  });
}

/** Reads the lines of an event stream, and hands each event over. */
async function read(body, onEvent, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { type: 'message', data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (event.data.length) onEvent(event.type, event.data.join('\n'));
        event = { type: 'message', data: [] };
        continue;
      }
      const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === 'event') event.type = text;
      else if (field === 'data') event.data.push(text);
      else if (field === 'id') lastId = text;
    }
  }
}

/** Hands an event over. Whoever fails at one is seen in the console, and costs nobody the stream. */
function hand(on, type, data) {
  try {
    on[type]?.(JSON.parse(data));
  } catch (error) {
    reportError(error);
  }
}

async function stream(on, signal) {
  const ended = new AbortController();
  const end = () => ended.abort();
  signal.addEventListener('abort', end, { once: true });
  let watchdog = setTimeout(end, SILENCE_MS);
  const alive = () => { clearTimeout(watchdog); watchdog = setTimeout(end, SILENCE_MS); };
  try {
    const headers = { Accept: 'text/event-stream' };
    if (lastId !== null) headers['Last-Event-ID'] = lastId;
    const response = await fetch('/api/v1/events/stream', { headers, signal: ended.signal, cache: 'no-store' });
    if (!response.ok) throw await problemOf(response);
    on.status('live');
    await read(response.body, (type, data) => { if (!signal.aborted) hand(on, type, data); }, alive);
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener('abort', end);
  }
}

async function poll(on, signal, forMs) {
  for (const until = Date.now() + forMs; Date.now() < until && !signal.aborted;) {
    on.sample(await ask('snapshot', { signal }));
    on.status('polling');
    await pause(POLL_MS * (0.75 + Math.random() / 2), signal);
  }
}

async function run(on, signal) {
  let retry = RETRY_MS[0];
  while (!signal.aborted) {
    const begun = Date.now();
    try {
      await stream(on, signal);
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status === 401) on.refused(problem);
      if (problem.status === 503 || problem.status === 429) {
        const seconds = problem.retryAfter;
        await poll(on, signal, seconds ? seconds * 1000 : POLLS_FOR_MS).catch(() => {});
      }
    }
    if (signal.aborted) return;
    on.status('reconnecting');
    if (Date.now() - begun > SILENCE_MS) retry = RETRY_MS[0];
    await pause(retry * (0.5 + Math.random()), signal);
    retry = Math.min(retry * 2, RETRY_MS[1]);
  }
}

/**
 * Starts, and goes on until the tab is left. `on` has `sample`, `event` and `missed` for what comes,
 * `status` for how it comes, and `refused` for a sign-in that is wanted.
 */
export function start(on) {
  const resume = () => {
    stop?.abort();
    stop = null;
    if (document.hidden) {
      on.status('hidden');
      return;
    }
    stop = new AbortController();
    run(on, stop.signal);
  };
  document.addEventListener('visibilitychange', resume);
  addEventListener('online', resume);
  resume();
  return resume;
}

/** Forgets which event was the last: what comes next is told by another process. */
export function forget() {
  lastId = null;
}
