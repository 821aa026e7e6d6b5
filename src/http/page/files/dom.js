/* Elements: made, and changed only where they differ. All text goes in as text, never as markup. */

/** Makes an element. What is a function is a listener, what is null is left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an element's text where it differs, so that what did not change is not laid out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute where it differs; null removes it. */
export function attribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Brings the children of `parent` in line with `items`: one child for each key, made once, then updated
 * in its place. What has the focus keeps it.
 */
export function each(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = old.get(key);
    old.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

const SHAPES = {
  disc: 'M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z',
  ring: 'M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zm0 2.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 1 1 0-5.6z',
  half: 'M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zm0 1.8v6.4a3.2 3.2 0 0 1 0-6.4z',
  triangle: 'M6 1L11.5 11H.5z',
  square: 'M1 1h10v10H1z',
  diamond: 'M6 0l6 6-6 6-6-6z',
  bars: 'M1.5 1h3.4v10H1.5zM7.1 1h3.4v10H7.1z',
  arrow: 'M.5 2h11L6 11.5z',
  cross: 'M2.2 .6L6 4.4 9.8.6l1.6 1.6L7.6 6l3.8 3.8-1.6 1.6L6 7.6l-3.8 3.8-1.6-1.6L4.4 6 .6 2.2z',
};

/** Which shape and which tone a state, a level or a severity has, besides its word. */
const MARKS = {
  ready: ['disc', 'good'], cooling: ['half', 'warn'], resting: ['half', 'calm'], suspect: ['triangle', 'warn'],
  quarantined: ['square', 'bad'], draining: ['arrow', 'calm'], paused: ['bars', 'calm'],
  idle: ['ring', 'good'], active: ['disc', 'good'], connecting: ['half', 'calm'], disconnected: ['cross', 'calm'],
  error: ['square', 'bad'], page: ['square', 'bad'], warn: ['triangle', 'warn'], info: ['ring', 'calm'],
};

function shape(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 12 12');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', SHAPES[name]);
  path.setAttribute('fill-rule', 'evenodd');
  svg.append(path);
  return svg;
}

/** Shows a state by shape, colour and word in `element`. */
export function mark(element, state, word = state) {
  if (element.dataset.mark === `${state} ${word}`) return;
  element.dataset.mark = `${state} ${word}`;
  const [form, tone] = MARKS[state] ?? ['diamond', 'calm'];
  element.replaceChildren(el('span', { class: `mark ${tone}` }, shape(form), el('span', {}, word)));
}
