// The frame around the pages: navigation, alarm counts, clock, data-age banner, counters.
import { el, fill, setAttr, setText } from './dom.js';
import { icon, levelIcon } from './icons.js';
import { lang, t, word } from './i18n.js';
import { LEVELS } from './levels.js';
import { theme, useLang, useTheme } from './look.js';
import { countText } from './scale.js';
import { hasOffice } from './seals/office.js';
import { isOpen, on, state } from './store.js';
import { clockText, now, spanText, whenText } from './time.js';

/** The pages of the navigation, in the order of the number keys. */
export const PAGES = ['alarms', 'gateways', 'sensors', 'quarantine', 'map', ...(hasOffice ? ['applications'] : [])];

const BROKEN_GRACE_MS = 2500; // a feed that comes back at once is not worth a banner
const OLD_MS = 120000; // newest data older than this: say so
const COUNTERS = ['received', 'accepted', 'duplicate', 'quarantined', 'lost', 'late'];
const byId = (id) => document.getElementById(id);

/** Builds the frame and keeps it true. */
export function shell() {
  on(['lang', 'theme'], build);
  on(['alarms'], counts);
  on(['stats', 'stream'], status);
  on(['stats', 'stream', 'age', 'tick', 'lang'], banner);
  on(['tick', 'lang'], () => setText(byId('clock'), clockText(now())));
  build();
}

/** Marks the page shown. */
export function current(page) {
  for (const link of byId('nav').children) setAttr(link, 'aria-current', link.dataset.page === page ? 'page' : null);
}

function build() {
  const here = byId('nav').querySelector('[aria-current]')?.dataset.page;
  fill(byId('nav'), PAGES.map((page, i) => el('a', { href: `#/${page}`, data: { page }, title: `${t(`nav.${page}`)} (${i + 1})` }, icon(page), el('span', { text: t(`nav.${page}`) }), page === 'alarms' ? el('b', { class: 'badge', id: 'open-count', hidden: true }) : null)));
  current(here);
  const language = byId('lang');
  language.textContent = t('lang.switch');
  language.setAttribute('aria-label', t('lang.switchLabel'));
  language.title = t('lang.switchLabel');
  language.onclick = () => useLang(lang() === 'zh' ? 'en' : 'zh');
  const button = byId('theme');
  const next = { auto: 'light', light: 'dark', dark: 'auto' }[theme()];
  fill(button, icon({ auto: 'auto', light: 'sun', dark: 'moon' }[theme()]));
  button.setAttribute('aria-label', t(`theme.${theme()}`));
  button.title = t(`theme.${theme()}`);
  button.onclick = () => useTheme(next);
  fill(byId('settings'), icon('settings'));
  counts();
  status();
}

function counts() {
  const open = Object.fromEntries(LEVELS.map((l) => [l, 0]));
  let total = 0;
  for (const a of state.alarms.values()) if (isOpen(a)) { open[a.level] = (open[a.level] ?? 0) + 1; total += 1; }
  const key = `${JSON.stringify(open)}${lang()}`;
  const badge = byId('open-count');
  if (badge) { badge.hidden = !total; setText(badge, countText(total)); }
  if (byId('levels').dataset.key === key) return;
  byId('levels').dataset.key = key;
  fill(byId('levels'), [...LEVELS].reverse().map((l) => {
    const text = t('alarms.count', { n: open[l], level: word('level.', l).toLowerCase() });
    return el('a', { class: `level-chip ${l}${open[l] ? '' : ' zero'}`, href: '#/alarms', title: text, 'aria-label': text }, levelIcon(l), el('span', { text: countText(open[l]) }));
  }));
}

function status() {
  const { stats, stream } = state;
  const live = { live: 'live', connecting: 'late', broken: 'silent' }[stream.state];
  const counter = (name, value, hint, cls = '') => el('span', { class: `counter ${cls}`, title: hint }, el('span', { class: 'counter-name', text: name }), el('b', { text: value }));
  fill(byId('status'),
    el('span', { class: `feed ${live}` }, el('i', { class: 'dot' }), el('span', { text: t(`status.${stream.state}`) })),
    stats ? [
      counter(t('status.rate'), state.rate === null ? '—' : countText(state.rate), '', 'rate'),
      ...COUNTERS.map((name) => counter(t(`status.${name}`), countText(stats.readings[name]), t(`status.hint.${name}`), (name === 'lost' || name === 'quarantined') && stats.readings[name] > 0 ? 'warn' : '')),
      counter(t('status.gateways'), countText(stats.pool.gateways), '', 'push'), counter(t('status.sensors'), countText(stats.pool.sensors), ''),
    ] : null);
}

function banner() {
  const { stream, newestMs, snapshotError } = state;
  const node = byId('banner');
  let text = '';
  let kind = '';
  if (stream.state === 'broken' && now() - stream.since > BROKEN_GRACE_MS) {
    text = t('banner.stream', { when: whenText(stream.since), span: spanText(now() - stream.since) });
    kind = 'bad';
  } else if (snapshotError) {
    text = t('banner.snapshot', { detail: snapshotError });
    kind = 'bad';
  } else if (stream.state === 'live' && newestMs && now() - newestMs > OLD_MS) {
    text = t('banner.old', { when: whenText(newestMs), span: spanText(now() - newestMs) });
    kind = 'old';
  }
  const was = node.dataset.kind;
  node.dataset.kind = kind;
  node.hidden = !text;
  document.body.classList.toggle('feed-broken', kind === 'bad');
  // A screen reader hears the banner when it appears, not each second.
  if (was !== kind) fill(node, text ? icon('warn') : null, el('span', { text, 'aria-live': 'off' }));
  else if (text) setText(node.lastChild, text);
}
