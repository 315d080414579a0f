// Settings of this browser: language, theme, base map. And the keys.
import { notify } from './announce.js';
import { el, fill, segmented } from './dom.js';
import { lang, t } from './i18n.js';
import { head } from './panel.js';
import { remember } from './store.js';
import { reloadTiles, tileSettings } from './tiles.js';
import { clockOffset } from './time.js';
import { theme, useLang, useTheme } from './look.js';

/** The page. */
export function view(root) {
  const tiles = tileSettings();
  const url = el('input', { type: 'url', id: 'tiles-url', value: tiles.url, placeholder: 'https://…/{z}/{x}/{y}.png', spellcheck: 'false' });
  const credit = el('input', { type: 'text', id: 'tiles-credit', value: tiles.attribution });
  let datum = tiles.datum ?? 'wgs84';
  const form = el('form', { class: 'form', on: { submit: (e) => {
    e.preventDefault();
    remember('tiles', { url: url.value.trim(), attribution: credit.value.trim(), datum });
    reloadTiles();
    notify(t('settings.saved'), 'good');
  } } },
  field(t('settings.tiles'), url, t('settings.tilesHint')), field(t('settings.attribution'), credit),
  el('div', { class: 'field' }, el('span', { class: 'label', text: t('settings.datum') }), segmented(t('settings.datum'), [['wgs84', 'WGS-84'], ['gcj02', 'GCJ-02']], datum, (d) => { datum = d; }), el('span', { class: 'dim', text: t('settings.datumHint') })),
  el('button', { class: 'primary', type: 'submit', text: t('settings.save') }));
  const keys = [['1 – 5', 'keys.pages'], ['/', 'keys.search'], ['F', 'keys.fit'], ['← ↑ → ↓', 'keys.pan'], ['+ −', 'keys.zoom'], ['↑ ↓', 'keys.list'], ['Esc', 'keys.back']];
  fill(root, head(t('settings.title')), el('div', { class: 'scroll padded' },
    el('div', { class: 'field' }, el('span', { class: 'label', text: t('settings.language') }), segmented(t('settings.language'), [['zh', '中文'], ['en', 'English']], lang(), useLang)),
    el('div', { class: 'field' }, el('span', { class: 'label', text: t('settings.theme') }), segmented(t('settings.theme'), ['auto', 'light', 'dark'].map((v) => [v, t(`settings.theme.${v}`)]), theme(), useTheme)),
    form, el('h2', { text: t('settings.keys') }), el('dl', { class: 'keys' }, keys.map(([key, text]) => el('div', {}, el('dt', {}, el('kbd', { text: key })), el('dd', { text: t(text) })))),
    el('p', { class: 'dim', text: `${t('settings.clock')} ${(clockOffset() / 1000).toFixed(1)} s` })));
  return { topics: [], update() {}, close() {} };
}

const field = (label, input, hint) => el('div', { class: 'field' }, el('label', { class: 'label', for: input.id, text: label }), input, hint ? el('span', { class: 'dim', text: hint }) : null);
