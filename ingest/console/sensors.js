// The sensor list and its search. A city has millions of sensors, so pages are read as they are needed: by quantity, and
// by the gateways whose name matches what was typed.
import * as api from './api.js';
import { el, fill, setText } from './dom.js';
import { named, t, word } from './i18n.js';
import { List } from './list.js';
import { head, href, matches, message, searchField } from './panel.js';
import { countText, valueText } from './scale.js';
import { recall, remember, state } from './store.js';
import { agoText } from './time.js';

const ROW = 60;
const PAGES = 3; // read without being asked: 3000 sensors
const MATCHING_GATEWAYS = 8; // gateways whose sensors a search reads besides
const SEARCH_PAUSE_MS = 250;

/** A row for one sensor. */
export function sensorRow() {
  return el('a', { class: 'sensor-row', role: 'listitem' },
    el('span', { class: 'name' }), el('span', { class: 'value' }), el('span', { class: 'id' }), el('span', { class: 'age' }));
}

/** What a sensor is called: its label, else its quantity. */
export const sensorName = (sensor) => (sensor.label ? `${sensor.label} · ${named(sensor.quantity)}` : named(sensor.quantity));

/** The newest value as text; a fault says so and is never a number. */
export const lastText = (sensor) => (!sensor.last ? '—' : sensor.last.quality === 'fault' ? word('quality.', 'fault') : valueText(sensor.last.value, sensor.quantity.unit));

/** Fills a row of `sensorRow`. */
export function fillSensor(row, sensor) {
  const [name, value, id, age] = row.children;
  row.setAttribute('href', href('sensor', sensor.id));
  const quality = sensor.last?.quality ?? 'none';
  if (row.dataset.quality !== quality) row.dataset.quality = quality;
  setText(name, sensorName(sensor));
  setText(value, lastText(sensor));
  setText(id, sensor.id);
  setText(age, sensor.last ? `${quality === 'good' ? '' : `${word('quality.', quality)} · `}${agoText(sensor.last.at_ms)}` : t('sensor.never'));
}

/** The page. */
export function view(root, { query: first = '' }) {
  let query = first.toLowerCase();
  let quantity = recall('sensorQuantity', '');
  const found = new Map();
  let next = null;
  let busy = null;
  let failure = null;
  let timer = 0;
  const list = new List({ rowHeight: ROW, key: (s) => s.id, create: sensorRow, update: fillSensor, label: t('sensors.title') });
  const note = el('div', { class: 'note' });
  const select = el('select', { class: 'wide', 'aria-label': t('map.quantity'), on: { change: (e) => { quantity = e.target.value; remember('sensorQuantity', quantity); restart(); } } });
  fill(root, head(t('sensors.title')), searchField(t('sensors.search'), first, (text) => {
    query = text;
    show();
    clearTimeout(timer);
    timer = setTimeout(searchGateways, SEARCH_PAUSE_MS);
  }), select, note, list.node);

  function options() {
    fill(select, el('option', { value: '', text: t('sensors.anyQuantity') }),
      state.quantities.filter((q) => q.sensors > 0).map((q) => el('option', { value: q.name, selected: q.name === quantity, text: `${named(q)} (${countText(q.sensors)})` })));
  }

  function show() {
    const shown = [...found.values()].filter((s) => (!quantity || s.quantity.name === quantity)
      && (!query || matches(query, `${s.id} ${s.label} ${s.quantity.name} ${s.quantity.zh} ${s.quantity.en} ${s.chip} ${s.area}`.toLowerCase())));
    shown.sort((a, b) => (a.id < b.id ? -1 : 1));
    list.set(shown);
    if (failure) fill(note, message(t('error.load', { detail: failure }), 'bad'));
    else if (!shown.length) fill(note, message(busy ? t('loading') : t('sensors.none'), busy ? 'wait' : 'empty'));
    else if (next && !busy) fill(note, el('button', { class: 'more', type: 'button', text: `${t('more')} — ${t('sensors.partial', { n: countText(found.size) })}`, on: { click: () => load(1) } }));
    else fill(note);
  }

  async function load(pages) {
    const mine = busy ?? new AbortController();
    busy = mine;
    try {
      for (let i = 0; i < pages; i += 1) {
        const page = await api.sensors({ quantity: quantity || null, cursor: next }, mine.signal);
        for (const s of page.items) found.set(s.id, s);
        next = page.next ?? null;
        show();
        if (!next) break;
      }
      failure = null;
    } catch (error) {
      if (error.status === -1) return;
      failure = error.message;
    }
    if (busy === mine) busy = null;
    show();
  }

  function restart() {
    busy?.abort();
    busy = null;
    found.clear();
    next = null;
    load(PAGES);
    searchGateways();
  }

  // What was typed may name a gateway, or a sensor outright, beyond the pages read.
  async function searchGateways() {
    if (query.length < 2 || !next) return;
    const [gatewayPart] = query.split(':');
    const ids = [...state.gateways.keys()].filter((id) => id.toLowerCase().includes(gatewayPart)).slice(0, MATCHING_GATEWAYS);
    const pages = await Promise.allSettled(ids.map((gateway) => api.sensors({ gateway, quantity: quantity || null })));
    for (const page of pages) if (page.status === 'fulfilled') for (const s of page.value.items) found.set(s.id, s);
    show();
  }

  options();
  load(PAGES);
  return {
    topics: ['quantities', 'tick'],
    update(topics) { if (topics.has('quantities')) options(); list.draw(); },
    close() { busy?.abort(); clearTimeout(timer); list.close(); },
  };
}
