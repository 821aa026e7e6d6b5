/* Tables: rows that are changed in their place, headers that sort, links that arrow keys move along. */

import { attribute, each, el, mark, say } from './dom.js';
import * as view from './view.js';

/** The moves of arrow keys over the links of rows, of which one at a time is in the order of tabs. */
function rove(body) {
  body.addEventListener('keydown', (event) => {
    const links = [...body.querySelectorAll('a.row')];
    const at = links.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, to))].focus();
  });
  body.addEventListener('focusin', (event) => {
    if (!event.target.matches('a.row')) return;
    for (const link of body.querySelectorAll('a.row')) attribute(link, 'tabindex', link === event.target ? '0' : '-1');
  });
}

function header(column) {
  const classes = column.number ? 'number' : '';
  if (!column.sort) return el('th', { scope: 'col', role: 'columnheader', class: classes }, column.title);
  const sort = () => {
    const { sort: by, order } = view.get();
    const first = column.number ? 'desc' : 'asc';
    view.set({ sort: column.sort, order: by !== column.sort ? first : order === 'asc' ? 'desc' : 'asc' });
  };
  return el('th', { scope: 'col', role: 'columnheader', class: classes, 'data-sort': column.sort }, el('button', { type: 'button', click: sort }, column.title));
}

/**
 * Makes a table of `columns`: each has a `title`, and what it shows as `text`, as `mark` (a state) or as
 * `make`, which is called once for each row; the `head` column names the row, and may lead somewhere.
 */
export function table({ id, caption, columns, keyOf }) {
  // The roles are told, as rows that a phone shows as cards would lose them.
  const body = el('tbody', { role: 'rowgroup' });
  const head = el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...columns.map(header)));
  const element = el('table', { id, role: 'table' }, el('caption', {}, caption), head, body);
  rove(body);
  const make = (item) => el('tr', { role: 'row' }, ...columns.map((column) => {
    const classes = [column.number ? 'number' : '', column.class ?? ''].join(' ').trim() || null;
    const role = column.head ? { scope: 'row', role: 'rowheader' } : { role: 'cell' };
    const cell = el(column.head ? 'th' : 'td', { ...role, class: classes, 'data-title': column.title });
    if (column.to) cell.append(view.lead(el('a', { class: 'row', tabindex: '-1' }), column.to(item)));
    if (column.make) cell.append(column.make(item));
    return cell;
  }));
  const update = (row, item) => columns.forEach((column, index) => {
    const cell = row.children[index];
    if (column.mark) mark(cell, column.mark(item));
    else if (column.update) column.update(cell, item);
    else if (column.text) say(column.to ? cell.firstChild : cell, column.text(item));
  });
  const show = (items) => {
    each(body, items, keyOf, make, update);
    if (!body.querySelector('a.row[tabindex="0"]')) body.querySelector('a.row')?.setAttribute('tabindex', '0');
  };
  return { element, body, show };
}

/** Shows by which column a table is sorted. */
export function showSort(element, { sort, order }) {
  for (const cell of element.querySelectorAll('th[data-sort]')) {
    attribute(cell, 'aria-sort', cell.dataset.sort === sort ? (order === 'asc' ? 'ascending' : 'descending') : null);
  }
}

/** Fills a select with choices, and keeps what is chosen, though it be none of them. */
export function choices(select, options, chosen) {
  const all = chosen && !options.some(([value]) => value === chosen) ? [...options, [chosen, chosen]] : options;
  each(select, [['', select.dataset.all], ...all], ([value]) => value, ([value]) => el('option', { value }), (option, [, text]) => say(option, text));
  if (select.value !== chosen) select.value = chosen;
}
