// What the pages of seals have in common: tabs, forms, lists that keep themselves true, files and their digests.
import { notify } from '../announce.js';
import { el, fill } from '../dom.js';
import { t } from '../i18n.js';
import { head, message } from '../panel.js';
import { hex, isDigest, sha256 } from './bytes.js';
import * as office from './office.js';
import { forget, may, person } from './person.js';

const REFRESH_MS = 5000; // others approve and seals stamp meanwhile
const MAX_FILE_BYTES = 512 * 1024 * 1024; // a digest wants all of it in memory

const TABS = [
  ['applications', () => person()], ['seals', () => person()], ['verify', () => true], ['keys', () => may('approve')], ['delegations', () => may('approve') || may('withdraw')], ['people', () => may('manage')], ['rules', () => may('manage')],
];

/** A page of this part of the console: fills `root`, answers the node that scrolls. */
export function frame(root, tab, title, { back = null, sub = null, tools = [] } = {}) {
  const body = el('div', { class: 'scroll padded seals' });
  fill(root,
    el('nav', { class: 'tabs', 'aria-label': t('seals.tabs') }, TABS.filter(([, shows]) => shows()).map(([name]) => el('a', { href: `#/${name}`, text: t(`seals.tab.${name}`), 'aria-current': name === tab ? 'page' : null }))),
    head(title, { back, sub, tools }), body);
  return body;
}

/** A page that asks nothing by itself. */
export const still = { topics: [], update() {}, close() {} };

/** What went wrong, for people; a session that has ended shows the login again. */
export function failure(error) {
  if (error.status === 401) forget();
  return message(t('error.load', { detail: error.message }), 'bad');
}

/**
 * Asks now and again while the page is open, and draws when the answer is another one, so that what somebody is typing
 * stays. Answers `{again, page}`: `again()` asks now, `page` is what a view answers.
 */
export function watch(node, ask, draw) {
  let [last, timer, closed] = ['', 0, false];
  fill(node, message(t('loading'), 'wait'));
  async function again() {
    clearTimeout(timer);
    try {
      const answer = await ask();
      const text = JSON.stringify(answer);
      if (!closed && text !== last) { last = text; draw(answer); }
    } catch (error) {
      if (!closed && (!last || error.status === 401)) fill(node, failure(error));
    }
    if (!closed) { clearTimeout(timer); timer = setTimeout(again, REFRESH_MS); }
  }
  again();
  return { again, page: { topics: [], update() {}, close() { closed = true; clearTimeout(timer); } } };
}

/** Two stretches of one list, newest first, as one: what is in both is as the first has it. `keyOf` names an item. */
export function join(first, second, keyOf) {
  const had = new Set(first.map(keyOf));
  return [...first, ...second.filter((one) => !had.has(keyOf(one)))];
}

/**
 * A page of lists that go on: `ask(before)` answers their newest part, or with the last keys by list what is older. `keys`
 * names each list of the answer and says what names an item. `draw(answer, older)` gets the lists as far as they are loaded,
 * and the button for more, null at the end.
 */
export function watchOlder(node, ask, keys, draw) {
  const names = Object.keys(keys);
  let [answer, lists, more] = [{}, {}, {}];
  const show = () => draw({ ...answer, ...lists }, names.some((name) => more[name]) ? action(t('seals.older'), older) : null);
  const take = (page, joined) => {
    for (const name of names) lists[name] = joined(name, page[name]);
    show();
  };
  async function older() {
    const page = await ask(Object.fromEntries(names.filter((name) => lists[name].length).map((name) => [name, keys[name](lists[name].at(-1))])));
    for (const name of names) more[name] = page[name].length === office.PAGE;
    take(page, (name, items) => join(lists[name], items, keys[name]));
  }
  return watch(node, () => ask({}), (newest) => {
    answer = newest;
    for (const name of names) more[name] ??= newest[name].length === office.PAGE;
    take(newest, (name, items) => join(items, lists[name] ?? [], keys[name]));
  });
}

let fields = 0;

/** A labelled input, with a hint. */
export function field(label, input, hint = null) {
  fields += 1;
  input.id ||= `field-${fields}`;
  const hintId = hint ? `${input.id}-hint` : null;
  if (hintId) input.setAttribute('aria-describedby', hintId);
  return el('div', { class: 'field' }, el('label', { class: 'label', for: input.id, text: label }), input, hint ? el('span', { class: 'dim', id: hintId, text: hint }) : null);
}

/** A text input. */
export const text = (props = {}) => el('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...props });

/** A checkbox with its label behind it. */
export const check = (label, props = {}) => el('label', { class: 'check' }, el('input', { type: 'checkbox', ...props }), el('span', { text: label }));

/**
 * A form that sends once at a time and says beneath its button what went wrong. `send()` may throw; a `Refused` or an
 * `ApiError` is for people.
 */
export function form(button, send, children, { danger = false } = {}) {
  const note = el('div', { class: 'note', role: 'alert' });
  const submit = el('button', { type: 'submit', class: danger ? 'primary danger' : 'primary', text: button });
  const node = el('form', { class: 'form', on: { submit: async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fill(note);
    try { await send(); } catch (error) {
      if (error.status === undefined && !(error instanceof Refused)) console.error(error);
      fill(note, message(error.message, 'bad'));
    }
    submit.disabled = false;
  } } }, children, submit, note);
  return node;
}

/** Something that this page will not do; `message` is for people. */
export class Refused extends Error {}

/** A button that does something once at a time and says how it went. `why` tells why it may not be pressed. */
export function action(label, run, { why = null, cls = 'tool' } = {}) {
  const button = el('button', { type: 'button', class: cls, text: label, disabled: Boolean(why), title: why });
  button.addEventListener('click', async () => {
    button.disabled = true;
    try { await run(); } catch (error) { notify(error.message, 'bad'); }
    button.disabled = false;
  });
  // A disabled button says nothing to a finger or a screen reader: the reason stands beside it.
  return why ? el('span', { class: 'with-why' }, button, el('span', { class: 'dim', text: why })) : button;
}

/** SHA-256 of a file, hexadecimal. The file stays in the browser. */
export async function fileDigest(file) {
  if (file.size > MAX_FILE_BYTES) throw new Refused(t('seals.file.large', { n: MAX_FILE_BYTES / 1024 / 1024 }));
  return hex(await sha256(await file.arrayBuffer()));
}

/** A place to drop a file or to choose one; `took(file)` may throw. */
export function dropZone(label, took) {
  const note = el('span', { class: 'dim', role: 'status' });
  const input = el('input', { type: 'file', class: 'visually-hidden' });
  const zone = el('label', { class: 'drop' }, input, el('strong', { text: label }), note);
  const take = async (file) => {
    if (!file) return;
    note.textContent = t('seals.file.reading', { name: file.name });
    try {
      await took(file);
      note.textContent = file.name;
    } catch (error) { note.textContent = error.message; }
  };
  input.addEventListener('change', () => { take(input.files[0]); input.value = ''; });
  for (const event of ['dragenter', 'dragover']) zone.addEventListener(event, (e) => { e.preventDefault(); zone.classList.add('over'); });
  zone.addEventListener('dragleave', () => zone.classList.remove('over'));
  zone.addEventListener('drop', (e) => { e.preventDefault(); zone.classList.remove('over'); take(e.dataTransfer.files[0]); });
  return zone;
}

/** A long digest or key: all of it, in a type in which no two letters look alike. */
export const code = (value) => el('code', { class: 'code', text: value });

/** A box that has to be seen: `kind` is `good`, `bad` or `warn`. */
export const box = (kind, title, ...children) => el('section', { class: `box ${kind}`, role: kind === 'good' ? 'status' : 'alert' }, title ? el('strong', { text: title }) : null, children);

/** What to do before approving, and before registering keys for it. */
export const passkeyFirst = () => box('warn', t('passkeys.first'), el('p', {}, el('a', { href: '#/me', text: t('passkeys.title') })));

/** The digest in a text that somebody pasted, an address or a line of sha256sum among them; null when there is none. */
export function digestIn(pasted) {
  const found = pasted.toLowerCase().match(/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/);
  return found && isDigest(found[0]) ? found[0] : null;
}

/** Gives a value to be kept as a file. */
export function save(name, value) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: 'application/json' }));
  el('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
