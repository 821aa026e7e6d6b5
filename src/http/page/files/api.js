/* The JSON API: requests, its problems, and the token. Reads are let in by the cookie; only a change sends the token. */

const TOKEN = 'telepool-token';
/** What it is good for, as the server says. */
const SCOPES = 'telepool-scopes';

/** What the API said instead of an answer; `status` is 0 where nothing answered. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `the server answered ${status}`);
    this.status = status;
    this.remedy = body.remedy ?? null;
    this.retryAfter = null;
  }
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** What a problem says, with its remedy. */
export function textOf({ message, remedy }) {
  return remedy ? `${sentence(message)} Remedy: ${sentence(remedy)}` : sentence(message);
}

/** The problem in an answer that is no success. */
export async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const problem = new Problem(response.status, body);
  problem.retryAfter = Number(response.headers.get('retry-after')) || null;
  return problem;
}

/** Whether a token is at hand for changes. */
export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/**
 * Asks for a path below /api/v1; null parameters are left out. Rejects with a [Problem]. A token that lets
 * nobody in any more is forgotten.
 */
export async function ask(path, { method = 'GET', query = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = given.length ? `?${new URLSearchParams(given)}` : '';
  const headers = { Accept: 'application/json, application/problem+json' };
  if (method !== 'GET' && hasToken()) headers.Authorization = `Bearer ${sessionStorage.getItem(TOKEN)}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(`/api/v1/${path}${search}`, { method, headers, body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: 'The server does not answer.', remedy: 'The page goes on trying by itself.' });
  }
  if (response.status === 401 && headers.Authorization) forgetToken();
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/**
 * Whether the sign-in has ended by which this tab might operate, as by a restart of the server, now that it may
 * do no more than `scopes`. Of others it does not matter: several tabs have one cookie, and none takes it from the other.
 */
export function isSignInLost(scopes) {
  if (!hasToken()) return false;
  const granted = sessionStorage.getItem(SCOPES);
  if (granted === null) sessionStorage.setItem(SCOPES, scopes.join(' '));
  return Boolean(granted?.split(' ').includes('operate')) && !scopes.includes('operate');
}

/** Forgets the token. */
export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.removeItem(SCOPES);
}

/** Signs in, or does so again: the cookie for reads, and the token for changes, which this tab forgets when it is closed. */
export async function signIn(token = sessionStorage.getItem(TOKEN)) {
  await ask('session', { method: 'POST', body: { token } });
  sessionStorage.setItem(TOKEN, token);
  sessionStorage.removeItem(SCOPES);
}

/** Signs out. */
export async function signOut() {
  try {
    await ask('session', { method: 'DELETE' });
  } finally {
    forgetToken();
  }
}
