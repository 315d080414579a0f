// What the pages of the side panel have in common: their head, and their messages when there is nothing to show.
import { el } from './dom.js';
import { icon } from './icons.js';
import { t } from './i18n.js';

/** The head of a page: title, an optional way back, and tools on the right. */
export function head(title, { back = null, sub = null, tools = [] } = {}) {
  return el('header', { class: 'panel-head' },
    back ? el('a', { class: 'tool icon-only', href: back, 'aria-label': t('back'), title: t('back') }, icon('back')) : null,
    el('div', { class: 'panel-title' }, el('h1', { text: title }), sub ? el('div', { class: 'dim', text: sub }) : null),
    el('div', { class: 'panel-tools' }, tools));
}

/** A search field; `oninput(text)` gets the trimmed, lower-case text. `/` puts the cursor here. */
export function searchField(placeholder, value, oninput) {
  return el('label', { class: 'search' }, icon('search'),
    el('input', { type: 'search', placeholder, 'aria-label': placeholder, value, autocomplete: 'off', spellcheck: 'false', on: { input: (e) => oninput(e.target.value.trim().toLowerCase()) } }));
}

/** A line in place of a list; `kind` is `empty`, `wait` or `bad`. */
export const message = (text, kind = 'empty') => el('p', { class: `message ${kind}`, text });

/** Whether all words of a query occur in a text. */
export const matches = (query, text) => query.split(/\s+/).every((part) => text.includes(part));

/** The address of a page about one thing. */
export const href = (page, id) => `#/${page}/${encodeURIComponent(id)}`;
