// The quarantine: what could not be taken, why, and a way to try again. Nothing is dropped in silence.
import * as api from './api.js';
import { notify } from './announce.js';
import { el, fill } from './dom.js';
import { icon } from './icons.js';
import { named, t, word } from './i18n.js';
import { head, message } from './panel.js';
import { countText } from './scale.js';
import { dateTimeText, whenText } from './time.js';

/** The page. */
export function view(root) {
  const items = [];
  let next = null;
  const list = el('div', { class: 'scroll' });
  const note = el('div', { class: 'note' }, message(t('loading'), 'wait'));
  const body = el('div', { class: 'cards', role: 'list' });
  fill(list, el('p', { class: 'hint', text: t('quarantine.hint') }), body, note);
  fill(root, head(t('nav.quarantine'), { tools: [el('button', { type: 'button', class: 'tool', text: t('refresh'), on: { click: () => load(true) } })] }), list);

  async function load(again) {
    try {
      const page = await api.quarantine(again ? null : next);
      if (again) items.length = 0;
      items.push(...page.items);
      next = page.next ?? null;
      fill(body, items.map(card));
      if (!items.length) fill(note, message(t('quarantine.none'), 'calm'));
      else fill(note, next ? el('button', { class: 'more', type: 'button', text: t('more'), on: { click: () => load(false) } }) : null);
    } catch (error) {
      fill(note, message(t('error.load', { detail: error.message }), 'bad'));
    }
  }

  function card(item) {
    const replay = el('button', { type: 'button', class: 'tool', disabled: item.state === 'replayed' });
    const label = el('span', { text: t('quarantine.replay') });
    fill(replay, icon('replay'), label);
    const node = el('article', { class: `card ${item.state}`, role: 'listitem' },
      el('div', { class: 'card-head' }, el('strong', { text: item.source || '—' }), el('span', { class: `chip ${item.state}`, text: word('quarantine.state.', item.state) }),
        el('time', { class: 'dim push', text: whenText(item.received_ms), title: dateTimeText(item.received_ms) })),
      el('div', { class: 'card-body' },
        el('div', {}, el('span', { class: 'reason', text: named({ zh: item.zh, en: item.en, name: item.reason }) }), el('span', { class: 'dim', text: ` ${item.kind} · ${t('quarantine.bytes', { n: countText(item.bytes) })} · #${item.id}` })),
        el('p', { class: 'detail', text: item.detail })),
      replay);
    replay.addEventListener('click', async () => {
      replay.disabled = true;
      label.textContent = t('quarantine.replaying');
      try {
        const after = { ...item, ...(await api.replay(item.id)) };
        if (after.state === item.state && item.state === 'held') after.state = (await api.quarantine(null)).items.find((i) => i.id === item.id)?.state ?? item.state;
        items[items.indexOf(item)] = after;
        node.replaceWith(card(after));
        notify(t(after.state === 'replayed' ? 'quarantine.replayed' : 'quarantine.again', { source: item.source }), after.state === 'replayed' ? 'good' : 'bad');
      } catch (error) {
        replay.disabled = false;
        label.textContent = t('quarantine.replay');
        notify(t('quarantine.failed', { detail: error.message }), 'bad');
      }
    });
    return node;
  }

  load(true);
  return { topics: [], update() {}, close() {} };
}
