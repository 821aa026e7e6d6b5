/* Operations: who may, what each will do, the question before it, and what came of it. */

import { ask, hasToken, textOf } from './api.js';
import { el, say } from './dom.js';
import { words } from './format.js';

/** What will happen, in words, before it does. */
const OPERATIONS = {
  pause: { title: 'Pause', text: 'No new lease is given until it is resumed: acquires wait, up to their deadline. Leases that are held go on.' },
  resume: { title: 'Resume', text: 'Leases are given again, to those who wait first.' },
  drain: { title: 'Drain', text: 'No new lease is given: acquires are refused. Each connection is closed once its lease is released. Reinstate takes it back into service.' },
  close: { title: 'Close connections', text: 'Its idle connections are closed now, and each other one once its lease is released. The account stays in service: the next acquire opens a connection anew.' },
  reinstate: { title: 'Reinstate', text: 'It is taken back into service: an end to its quarantine or its drain. If the cause is still there, the next call finds it again.' },
  quarantine: { title: 'Quarantine', text: 'It is taken out of service: acquires are refused, and its connections are closed, until it is reinstated.', danger: true, asks: 'Reason' },
};

let access = null;

/** Takes what the last sample says of whoever asks. */
export function take(sample) {
  access = sample.access;
}

/** Whether operations are shown: the scope is there, and this tab holds the token that a change sends. */
export function mayOperate() {
  return access !== null && access.scopes.includes('operate') && hasToken();
}

/** Asks before anything is done. Answers with the reason that was given, or with null if it is not to be. */
export function confirm({ title, lines, action, danger = false, asks = null }) {
  const dialog = document.getElementById('confirm');
  say(document.getElementById('confirm-title'), title);
  document.getElementById('confirm-text').replaceChildren(...lines.map((line) => el('p', {}, line)));
  const field = document.getElementById('confirm-field');
  field.hidden = !asks;
  const input = document.getElementById('confirm-input');
  input.value = '';
  say(field.querySelector('label'), asks ?? '');
  const button = document.getElementById('confirm-do');
  say(button, action);
  button.classList.toggle('danger', danger);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener('close', () => done(dialog.returnValue === 'do' ? input.value.trim() : null), { once: true });
  });
}

/** Says what came of an operation, until the next one. */
export function report(text, isProblem = false) {
  const place = document.getElementById('report');
  place.hidden = false;
  place.className = isProblem ? 'bad' : 'good';
  say(document.getElementById('report-text'), text);
}

async function carryOut(path, body, done) {
  try {
    const answer = await ask(path, { method: 'POST', body });
    report(answer.text, !answer.done);
  } catch (problem) {
    report(textOf(problem), true);
  }
  done();
}

/** The buttons of an account's operations; `done` is called after each. */
export function buttons(account, done) {
  const { paused, quarantined, draining } = { [account.state]: true };
  const shown = [paused ? 'resume' : 'pause', 'close', 'drain', ...(quarantined || draining || account.state === 'suspect' ? ['reinstate'] : []), 'quarantine'];
  return shown.filter((name) => !(name === 'drain' && draining) && !(name === 'quarantine' && quarantined)).map((name) => {
    const { title, text, danger, asks } = OPERATIONS[name];
    const click = async () => {
      const reason = await confirm({ title: `${title}: ${account.name}?`, lines: [text], action: title, danger, asks });
      if (reason !== null) carryOut(`accounts/${encodeURIComponent(account.id)}/${name}`, reason ? { reason } : undefined, done);
    };
    return el('button', { type: 'button', click, class: danger ? 'danger' : null, 'data-operation': name }, title);
  });
}

/** The button that closes one connection. */
export function closeButton(account, connection, done) {
  const click = async () => {
    const lines = [`It is ${words(connection.state)}. An idle connection is closed now, one that is leased once it is released.`];
    const answer = await confirm({ title: `Close connection ${connection.id} of ${account.name}?`, lines, action: 'Close connection' });
    if (answer !== null) carryOut(`accounts/${encodeURIComponent(account.id)}/connections/${encodeURIComponent(connection.id)}/close`, undefined, done);
  };
  return el('button', { type: 'button', class: 'small', click, 'aria-label': `Close connection ${connection.id}` }, 'Close');
}
