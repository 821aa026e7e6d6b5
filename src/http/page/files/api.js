/* The JSON API: requests, its problems, and the token. Reads are let in by the cookie; only a change sends the token. */

const TOKEN = 'telepool-token';

/** What the API said instead of an answer; `status` is 0 where nothing answered. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `the server answered ${status}`);
    this.status = status;
    this.remedy = body.remedy ?? null;
    this.retryAfter = null;
  }
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

/** Asks for a path below /api/v1; null parameters are left out. Rejects with a [Problem]. */
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
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/** Signs in: the cookie for reads, and the token for changes, which this tab forgets when it is closed. */
export async function signIn(token) {
  await ask('session', { method: 'POST', body: { token } });
  sessionStorage.setItem(TOKEN, token);
}

/** Signs out. */
export async function signOut() {
  try {
    await ask('session', { method: 'DELETE' });
  } finally {
    sessionStorage.removeItem(TOKEN);
  }
}
