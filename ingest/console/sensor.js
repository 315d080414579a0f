// One sensor: its newest value, its past as a chart that goes on by itself, what it is, its alarms.
import * as api from './api.js';
import { sensorId } from './announce.js';
import { alarmRow, byUrgency, fillAlarm } from './alarms.js';
import { Chart } from './chart.js';
import { el, fact, fill, segmented, setAttr, setText } from './dom.js';
import { watchGateways } from './feed.js';
import { gatewayLink } from './gateway.js';
import { merge, readPast } from './history.js';
import { icon } from './icons.js';
import { fillInputs, inputList } from './inputs.js';
import { named, t, word } from './i18n.js';
import { head, href, message } from './panel.js';
import { numberText, unitText, valueText } from './scale.js';
import { lastText, sensorName } from './sensors.js';
import { choose, isOpen, mark, recall, remember, state } from './store.js';
import { agoText, dateTimeText, now } from './time.js';

const SPANS = { '10m': 600000, '1h': 3600000, '24h': 86400000 };
const APPEND_EVERY_MS = 1000; // new readings are fetched after an event about the gateway, at most this often
const OVERLAP_MS = 30000; // fetched again each time, for readings that came a little late
const RELOAD_MS = 60000; // and all of the span this often, for those that came very late
const APPEND_LIMIT = 1000;

/** The page. */
export function view(root, { id, map, alarm: alarmId }) {
  let span = recall('chartSpan', '10m');
  let sensor = null;
  let readings = [];
  let sampledBefore = null;
  let loadedAt = 0;
  let loading = true;
  let abort = new AbortController();
  const back = alarmId ? '#/alarms' : '#/sensors';
  const chart = new Chart();
  const hero = el('div', { class: 'hero' });
  const facts = el('dl', { class: 'facts' });
  const note = el('div', { class: 'note' });
  const alarms = el('div', { class: 'plain-list' });
  const alarmsHead = el('h2', { text: t('sensor.alarms'), hidden: true });
  const header = el('div');
  const factsHead = el('h2', { text: t('sensor.facts') });
  const spans = segmented(t('chart.span'), Object.keys(SPANS).map((s) => [s, t(`chart.${s}`)]), span, (next) => {
    span = next;
    remember('chartSpan', next);
    readings = [];
    load();
  });
  fill(root, header, el('div', { class: 'scroll' }, hero, el('div', { class: 'chart-head' }, spans), chart.node, note, alarmsHead, alarms, factsHead, facts));
  fill(header, head(id, { back }));

  const value = el('strong', { class: 'value' });
  const quality = el('span', { class: 'quality' });
  const age = el('span', { class: 'dim' });
  const needle = el('span', { class: 'needle' });

  async function start() {
    try {
      sensor = await api.sensor(id);
    } catch (error) {
      for (const node of [chart.node, spans, factsHead]) node.hidden = true;
      fill(hero, message(error.status === 404 ? t('sensors.unknown', { id }) : t('error.load', { detail: error.message }), 'bad'));
      return;
    }
    if (abort.signal.aborted) return;
    const q = sensor.quantity;
    fill(header, head(sensor.label || named(q), { back, sub: id }));
    fill(hero, el('div', { class: 'value-line' }, value, quality, age),
      el('div', { class: 'range', title: t('sensor.range') }, el('span', { text: valueText(q.min, q.unit) }), el('span', { class: 'range-bar' }, needle), el('span', { text: valueText(q.max, q.unit) })));
    fill(facts,
      fact(t('sensor.quantity'), named(q)), fact(t('sensor.range'), `${numberText(q.min)} – ${numberText(q.max)} ${unitText(q.unit)}`.trim()),
      fact(t('sensor.gateway'), gatewayLink(sensor.gateway)), fact(t('gateways.area'), sensor.area || '—'),
      fact(t('sensor.cell'), el('a', { href: `#/cell/${sensor.cell}`, class: 'mono', text: sensor.cell })), fact(t('sensor.chip'), sensor.chip || '—'),
      fact(t('gateways.place'), `${sensor.lat.toFixed(5)}, ${sensor.lon.toFixed(5)}`), fact(t('gateways.clock'), sensor.last ? word('clock.', sensor.last.clock) : '—'));
    state.selected = { kind: 'sensor', id, lat: sensor.lat, lon: sensor.lon };
    if (alarmId && state.quantity !== q.name) choose({ quantity: q.name }); // the map shows what the alarm is about
    map.flyTo(sensor.lat, sensor.lon, alarmId ? 15.5 : 15);
    mark('map');
    showLast();
    update();
    load();
  }

  function showLast() {
    setText(value, lastText(sensor));
    const q = sensor.last?.quality ?? 'good';
    quality.className = `quality ${q}`;
    if (quality.dataset.q !== q) { quality.dataset.q = q; fill(quality, icon(q === 'good' ? 'check' : 'warn'), word('quality.', q)); }
    const share = sensor.last?.value == null ? null : (sensor.last.value - sensor.quantity.min) / (sensor.quantity.max - sensor.quantity.min);
    needle.hidden = share === null;
    if (share !== null) needle.style.left = `${Math.max(0, Math.min(1, share)) * 100}%`;
    showAge();
  }

  function showAge() {
    setText(age, sensor?.last ? agoText(sensor.last.at_ms) : t('sensor.never'));
    age.title = sensor?.last ? dateTimeText(sensor.last.at_ms) : '';
  }

  async function load() {
    if (!sensor) return;
    abort.abort();
    const mine = new AbortController();
    abort = mine;
    const { signal } = mine;
    loading = true;
    show();
    const to = now();
    try {
      const past = await readPast(id, now() - SPANS[span], to, signal);
      if (signal.aborted) return;
      readings = past.readings;
      sampledBefore = past.sampledBefore;
      loadedAt = Date.now();
      fill(note, sampledBefore === null ? null : message(t('chart.sampled')));
      takeNewest();
    } catch (error) {
      if (error.status === -1) return; // another load has begun
      fill(note, message(t('error.load', { detail: error.message }), 'bad'));
    }
    loading = false;
    show();
  }

  function takeNewest() {
    const last = readings.at(-1);
    if (last && (!sensor.last || last.at_ms >= sensor.last.at_ms)) sensor.last = { ...(sensor.last ?? { clock: null }), ...last };
    showLast();
  }

  async function append() {
    if (Date.now() - loadedAt > RELOAD_MS && span !== '24h') { await load(); return; }
    const { signal } = abort;
    const last = readings.at(-1)?.at_ms ?? now() - SPANS[span];
    const answer = await api.readings(id, Math.max(last - OVERLAP_MS, now() - SPANS[span]), null, APPEND_LIMIT, signal);
    if (signal.aborted) return;
    readings = merge(readings, answer.readings, now() - SPANS[span] * 1.05);
    takeNewest();
    show();
  }

  function show() {
    if (!sensor) return;
    const open = [...state.alarms.values()].filter((a) => sensorId(a) === id && a.measure === 'value' && Number.isFinite(a.threshold) && isOpen(a));
    const limits = [...new Map(open.map((a) => [`${a.threshold}/${a.level}`, { value: a.threshold, level: a.level }])).values()];
    chart.set({ readings, spanMs: SPANS[span], unit: sensor.quantity.unit, limits, sampledBefore, loading });
    setAttr(chart.canvas, 'aria-label', t('chart.label', { name: sensorName(sensor), span: t(`chart.${span}`) }));
  }

  let timer = 0;
  const stop = watchGateways((heard) => {
    if (!sensor || heard !== sensor.gateway || timer) return;
    timer = setTimeout(() => { timer = 0; append().catch(() => {}); }, APPEND_EVERY_MS);
  });

  const rows = new Map();
  function update(topics) {
    showAge();
    if (topics?.has('tick') && !document.hidden) chart.draw();
    // Also those that this sensor confirms.
    const about = (a) => sensorId(a) === id || a.inputs.some((i) => i.sensor === id && i.alarming);
    const mine = [...state.alarms.values()].filter(about).sort(byUrgency).slice(0, 20);
    alarmsHead.hidden = !mine.length;
    const nodes = mine.flatMap((a) => {
      const [row, inputs] = rows.get(a.id) ?? [alarmRow(), inputList()];
      rows.set(a.id, [row, inputs]);
      fillAlarm(row, a);
      setAttr(row, 'aria-current', a.id === alarmId ? 'true' : null);
      fillInputs(inputs, a);
      return a.inputs.length ? [row, inputs] : [row];
    });
    if (nodes.length !== alarms.children.length || nodes.some((n, i) => n !== alarms.children[i])) { fill(alarms, nodes); show(); }
  }
  start();
  return { topics: ['alarms', 'tick'], update, close: () => { abort.abort(); stop(); clearTimeout(timer); chart.close(); } };
}

/** The link to a sensor's page. */
export const sensorLink = (id) => el('a', { href: href('sensor', id), text: id });
