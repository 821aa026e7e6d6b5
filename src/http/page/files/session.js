/* Signing in and out by a token. */

import { hasToken, signIn, signOut } from './api.js';
import { say } from './dom.js';
import { report, textOf } from './operations.js';

const at = (id) => document.getElementById(id);

/** Shows the dialog, with why it is wanted. */
export function want(reason) {
  const dialog = at('sign-in');
  say(at('sign-in-why'), reason);
  if (!dialog.open && !document.querySelector('dialog[open]')) dialog.showModal();
}

/** Shows who asks, and the button that fits. */
export function show(access) {
  say(at('who'), access ? access.name : '');
  at('session-in').hidden = hasToken();
  at('session-out').hidden = !hasToken();
}

/** Wires the dialog and the buttons; `changed` is called after each sign-in and sign-out. */
export function build(changed) {
  at('session-in').addEventListener('click', () => want('With a token of the scope operate the page can close, drain, pause, resume, reinstate, quarantine and reconfigure.'));
  for (const link of document.querySelectorAll('[data-sign-in]')) link.addEventListener('click', () => at('session-in').click());
  at('sign-in-cancel').addEventListener('click', () => at('sign-in').close());
  at('sign-in-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const input = at('token');
    try {
      await signIn(input.value.trim());
      input.value = '';
      say(at('sign-in-problem'), '');
      at('sign-in').close();
      changed();
    } catch (problem) {
      say(at('sign-in-problem'), textOf(problem));
      input.focus();
    }
  });
  at('session-out').addEventListener('click', async () => {
    try {
      await signOut();
      report('Signed out: the token is forgotten.');
    } catch (problem) {
      report(`The token is forgotten here, but the server did not end the session: ${textOf(problem)}`, true);
    }
    changed();
  });
}
