/* The description of the API, from the document that the server makes of its own code. */

import { ask, textOf } from './api.js';
import { el, say } from './dom.js';

const at = (id) => document.getElementById(id);
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** The name of a shape that is described by itself, or what it is. */
function shapeOf(schema) {
  if (!schema) return [''];
  if (schema.$ref) {
    const name = schema.$ref.split('/').at(-1);
    return [el('a', { href: `#shape-${name}` }, name)];
  }
  if (schema.type === 'array') return ['list of ', ...shapeOf(schema.items)];
  const any = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (any) return any.flatMap((one, index) => [index ? ' or ' : '', ...shapeOf(one)]);
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(', ')];
  if (typeof schema.additionalProperties === 'object') return ['map of ', ...shapeOf(schema.additionalProperties)];
  return [[schema.type ?? 'anything'].flat().join(' or ')];
}

/** What limits a value, in words. */
function limits({ minimum, maximum, maxLength, default: usual }) {
  return [minimum !== undefined && `at least ${minimum}`, maximum !== undefined && `at most ${maximum}`,
    maxLength !== undefined && `at most ${maxLength} characters`, usual !== undefined && usual !== null && `by default ${usual}`].filter(Boolean).join(', ');
}

function table(caption, titles, rows) {
  if (!rows.length) return null;
  return el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption }, el('table', {}, el('caption', {}, caption),
    el('thead', {}, el('tr', {}, ...titles.map((title) => el('th', { scope: 'col' }, title)))),
    el('tbody', {}, ...rows.map(([first, ...others]) => el('tr', {}, el('th', { scope: 'row' }, first), ...others.map((cell) => el('td', {}, ...[cell].flat())))))));
}

function route(path, method, { summary, description, parameters = [], requestBody, responses = {} }) {
  const id = `${method}-${path}`;
  const body = Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => [type, shapeOf(schema)]);
  const answers = Object.entries(responses).flatMap(([status, answer]) => {
    const contents = Object.entries(answer.content ?? { '': {} });
    return contents.map(([type, { schema }]) => [status, answer.description ?? '', type, shapeOf(schema)]);
  });
  const given = parameters.map((it) => [`${it.name}${it.required ? '' : ' (may be left out)'}`, it.in, shapeOf(it.schema), [it.description, limits(it.schema ?? {})].filter(Boolean).join(' ')]);
  at('contents').append(el('a', { href: `#${id}` }, `${method.toUpperCase()} ${path}`));
  at('routes').append(el('section', { id, 'aria-label': `${method} ${path}` },
    el('h2', {}, el('code', {}, `${method.toUpperCase()} ${path}`)),
    ...[summary, description].filter(Boolean).map((text) => el('p', {}, text)),
    table('Parameters', ['Name', 'In', 'Type', 'About'], given),
    table('Body', ['Type', 'Shape'], body),
    table('Answers', ['Status', 'When', 'Type', 'Shape'], answers)));
}

function shape(name, schema) {
  const wanted = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([field, it]) => [`${field}${wanted.has(field) ? '' : ' (may be absent)'}`, shapeOf(it), it.description ?? '']);
  at('shapes').append(el('section', { id: `shape-${name}`, 'aria-label': name }, el('h3', {}, name),
    ...[schema.description].filter(Boolean).map((text) => el('p', {}, text)),
    fields.length ? table(`Fields of ${name}`, ['Field', 'Type', 'About'], fields) : el('p', {}, ...shapeOf(schema))));
}

try {
  const document_ = await ask('openapi.json');
  say(at('about'), [document_.info.title, document_.info.version, document_.info.description].filter(Boolean).join(' · '));
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const method of METHODS) if (methods[method]) route(path, method, methods[method]);
  }
  for (const [name, schema] of Object.entries(document_.components?.schemas ?? {})) shape(name, schema);
  document.body.dataset.ready = 'yes';
} catch (problem) {
  say(at('problem'), textOf(problem));
}
