/* Signing in and out by a token. */

import { forgetToken, hasToken, isSignInLost, signIn, signOut, textOf } from './api.js';
import { say } from './dom.js';
import { report } from './operations.js';

const at = (id) => document.getElementById(id);
let changed = null;
let isRenewing = false;

/** Shows the dialog, with why it is wanted. */
export function want(reason) {
  const dialog = at('sign-in');
  say(at('sign-in-why'), reason);
  if (!dialog.open && !document.querySelector('dialog[open]')) dialog.showModal();
}

/**
 * Signs in again by the token that this tab holds, as is needed after a restart of the server; where there is
 * none, or it is over, another is asked for.
 */
export async function renew(problem) {
  if (isRenewing) return;
  isRenewing = true;
  try {
    if (!hasToken()) throw problem;
    await signIn();
    changed();
  } catch (refused) {
    if (refused.status === 401) {
      forgetToken();
      want(textOf(refused));
    }
  } finally {
    isRenewing = false;
  }
}

/** Shows who asks, and the button that fits. */
export function show(access) {
  if (isSignInLost(access.scopes)) renew();
  say(at('who'), access.name);
  at('session-in').hidden = hasToken();
  at('session-out').hidden = !hasToken();
}

/** Wires the dialog and the buttons; `onChange` is called after each sign-in and sign-out. */
export function build(onChange) {
  changed = onChange;
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
