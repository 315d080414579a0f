// One cell of the map: its aggregates in the newest window, and the sensors inside it.
import * as api from './api.js';
import { el, fact, fill } from './dom.js';
import { bbox } from './geohash.js';
import { isStale } from './layers.js';
import { named, t } from './i18n.js';
import { head, message } from './panel.js';
import { countText, valueText } from './scale.js';
import { fillSensor, sensorRow } from './sensors.js';
import { mark, quantityOf, state } from './store.js';
import { clockText, dateTimeText, now, spanText } from './time.js';

const PAGES = 5; // of a thousand sensors, to find those in the cell
const GATEWAYS = 30; // of the cell, whose sensors are asked for besides when there are more pages

/** The page. */
export function view(root, { id, map }) {
  const box = bbox(id);
  const top = el('div', { class: 'hero' });
  const numbers = el('dl', { class: 'facts tiles' });
  const list = el('div', { class: 'plain-list' }, message(t('loading'), 'wait'));
  fill(root, head(t('cell.title', { cell: id }), { back: '#/alarms' }), el('div', { class: 'scroll' }, top, numbers, el('h2', { text: t('cell.sensors') }), list));
  const abort = new AbortController();
  let fitted = false;
  let asked = '';

  function update(topics) {
    const quantity = quantityOf(state.quantity);
    if (!box || !quantity) return;
    if (!fitted) {
      fitted = true;
      state.selected = { kind: 'cell', id };
      if (map.outside(box)) map.flyTo((box[1] + box[3]) / 2, (box[0] + box[2]) / 2, [0, 4, 6, 8, 10, 11, 12, 14][id.length] ?? 14);
      mark('map');
    }
    const cell = state.cells.items.get(id);
    const { unit, windowMs } = state.cells;
    if (!cell) { fill(top, message(t('cell.none'))); fill(numbers); } else {
      const end = cell.start_ms + windowMs;
      const stale = isStale(cell);
      fill(top, el('div', { class: 'value-line' }, el('strong', { class: 'value', text: valueText(cell.mean, unit) }), el('span', { class: 'dim', text: `${named(quantity)} · ${t('stat.mean')}` })),
        el('div', { class: stale ? 'stale-note' : 'dim', text: `${t('cell.window')} ${windowMs < 86400000 ? clockText(cell.start_ms) : dateTimeText(cell.start_ms)} – ${windowMs < 86400000 ? clockText(end) : dateTimeText(end)}` }),
        stale ? el('div', { class: 'stale-note', text: t('cell.staleSince', { age: spanText(now() - end) }) }) : null);
      fill(numbers, ['min', 'p50', 'p95', 'max', 'first', 'last'].filter((k) => Number.isFinite(cell[k])).map((k) => fact(t(`stat.${k}`), valueText(cell[k], unit))),
        fact(t('stat.count'), countText(cell.count)), fact(t('stat.sensors'), countText(cell.sensors)));
    }
    const key = `${state.quantity}/${id}`;
    if (asked !== key) { asked = key; sensors(); } else if (topics?.has('choice')) fill(list, list.childNodes);
  }

  async function sensors() {
    const mine = asked;
    const found = new Map();
    const take = (items) => { for (const s of items) if (s.cell.startsWith(id) && s.quantity.name === state.quantity) found.set(s.id, s); };
    let cursor = null;
    try {
      for (let i = 0; i < PAGES; i += 1) {
        const page = await api.sensors({ quantity: state.quantity, cursor }, abort.signal);
        take(page.items);
        cursor = page.next ?? null;
        if (!cursor) break;
      }
      if (cursor) {
        const inside = [...state.gateways.values()].filter((g) => g.lon >= box[0] && g.lon < box[2] && g.lat >= box[1] && g.lat < box[3]).slice(0, GATEWAYS);
        for (const g of inside) take((await api.sensors({ gateway: g.id, quantity: state.quantity }, abort.signal)).items);
      }
    } catch (error) {
      if (error.status !== -1) fill(list, message(t('error.load', { detail: error.message }), 'bad'));
      return;
    }
    if (mine !== asked) return;
    const rows = [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).map((s) => { const row = sensorRow(); fillSensor(row, s); return row; });
    fill(list, rows.length ? rows : message(t('cell.noSensors')), cursor ? message(t('cell.partial')) : null);
  }

  if (!box) fill(list, message(t('cell.none'), 'bad'));
  update();
  return { topics: ['cells', 'choice', 'quantities', 'tick'], update, close: () => abort.abort() };
}
