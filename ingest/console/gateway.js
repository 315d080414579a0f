// One gateway: what it is, how complete its lanes are, what it lost and why, its health, its sensors.
import * as api from './api.js';
import { el, fact, fill, setText } from './dom.js';
import { refreshGateway, watchGateways } from './feed.js';
import { backlogText, laneText } from './gateways.js';
import { stateIcon } from './icons.js';
import { named, t, word } from './i18n.js';
import { head, href, message } from './panel.js';
import { countText, numberText, valueText } from './scale.js';
import { fillSensor, sensorRow } from './sensors.js';
import { gatewayState, mark, state } from './store.js';
import { agoText, dateTimeText } from './time.js';

const REFRESH_MS = 5000; // lanes and health come with the list only: asked again after an event, at most this often
const SENSORS_SHOWN = 500;

/** The page. */
export function view(root, { id, map }) {
  const top = el('div', { class: 'hero' });
  const facts = el('dl', { class: 'facts' });
  const lanes = el('div');
  const losses = el('div');
  const health = el('div');
  const sensors = el('div', { class: 'plain-list' }, message(t('loading'), 'wait'));
  const heard = el('span');
  fill(root, head(id, { back: '#/gateways' }), el('div', { class: 'scroll' }, top, facts,
    el('h2', { text: t('gateways.lanes') }), lanes, el('h2', { text: t('gateways.losses') }), losses,
    el('h2', { text: t('gateways.sensors') }), sensors, el('h2', { text: t('gateways.health') }), health));

  let flown = false;
  function update() {
    const g = state.gateways.get(id);
    if (!g) {
      if (state.gatewaysLoaded) fill(top, message(t('gateways.unknown', { id }), 'bad'));
      return;
    }
    if (!flown && Number.isFinite(g.lat)) {
      flown = true;
      state.selected = { kind: 'gateway', id, lat: g.lat, lon: g.lon };
      map.flyTo(g.lat, g.lon, 13.6);
      mark('map');
    }
    const s = gatewayState(g);
    setText(heard, `${t('gateways.heard')} ${agoText(g.last_heard_ms)}`);
    heard.title = dateTimeText(g.last_heard_ms);
    const key = JSON.stringify([s, { ...g, last_heard_ms: 0 }]);
    if (root.dataset.key === key) return;
    root.dataset.key = key;
    fill(top, el('div', { class: `state-line ${s}` }, stateIcon(s), el('strong', { text: word('gateways.state.', s) }), heard));
    fill(facts,
      fact(t('gateways.area'), g.area || '—'), fact(t('gateways.backlog'), backlogText(g, true) || '—'),
      fact(t('gateways.clock'), word('clock.', g.clock)), fact(t('gateways.board'), g.board || '—'), fact(t('gateways.version'), g.version || '—'),
      fact(t('gateways.place'), Number.isFinite(g.lat) ? `${g.lat.toFixed(5)}, ${g.lon.toFixed(5)}` : '—'));
    fill(lanes, laneTable(g.lanes ?? []));
  }

  const loadDetail = () => api.gateway(id).then((detail) => {
    fill(health, gaugeTable(detail.gauges));
    fill(losses, lossTable(detail.losses));
  }, (e) => { if (e.status !== 404) fill(health, message(t('error.load', { detail: e.message }), 'bad')); });

  let sensorNodes = [];
  const loadSensors = () => api.sensors({ gateway: id, limit: SENSORS_SHOWN }).then(({ items }) => {
    if (items.length === sensorNodes.length) sensorNodes.forEach((row, i) => fillSensor(row, items[i]));
    else {
      sensorNodes = items.map((sensor) => { const row = sensorRow(); fillSensor(row, sensor); return row; });
      fill(sensors, items.length ? sensorNodes : message(t('none')));
    }
  }, (e) => fill(sensors, message(t('error.load', { detail: e.message }), 'bad')));

  let timer = 0;
  const stop = watchGateways((heardId) => {
    if (heardId !== id || timer) return;
    timer = setTimeout(() => { timer = 0; refreshGateway(id).catch(() => {}); loadDetail(); loadSensors(); }, REFRESH_MS);
  });
  loadDetail();
  loadSensors();
  update();
  return { topics: ['gateways', 'tick'], update, close: () => { stop(); clearTimeout(timer); delete root.dataset.key; } };
}

function laneTable(lanes) {
  if (!lanes.length) return message('—');
  const headings = [t('gateways.lanes'), t('quarantine.state'), t('gateways.highWater'), t('gateways.missing'), t('gateways.lost')];
  return el('table', { class: 'grid' },
    el('thead', {}, el('tr', {}, headings.map((text, i) => el('th', { text, scope: 'col', class: i > 1 ? 'num' : null })))),
    el('tbody', {}, lanes.map((l) => el('tr', { title: `${t('gateways.store')} ${l.store}` },
      el('td', { text: word('lane.', l.lane) }), el('td', {}, el('span', { class: `lane ${l.state}` }, stateIcon(l.state), laneText(l))),
      ...[l.high_water, l.missing, l.lost].map((n) => el('td', { class: 'num', text: countText(n) }))))));
}

/** A gauge's value in a unit that people read. */
function gaugeText({ value, unit }) {
  if (unit === 'By') return `${numberText(value / 1048576)}\u00a0MiB`;
  if (unit === 'By/d') return `${numberText(value / 1048576)}\u00a0MiB/d`;
  return valueText(value, unit === '1' ? '' : unit);
}

function gaugeTable(gauges) {
  if (!gauges.length) return message('—');
  return el('table', { class: 'grid' }, el('tbody', {}, gauges.map((gauge) => el('tr', { title: gauge.name },
    el('td', { text: named(gauge) }), el('td', { class: 'num', text: gaugeText(gauge) })))));
}

function lossTable(losses) {
  if (!losses.length) return message(t('gateways.lossesNone'));
  const headings = [t('gateways.lanes'), t('gateways.reason'), t('gateways.sequences'), t('gateways.lostCount')];
  return el('table', { class: 'grid' },
    el('thead', {}, el('tr', {}, headings.map((text, i) => el('th', { text, scope: 'col', class: i > 1 ? 'num' : null })))),
    el('tbody', {}, losses.map((l) => el('tr', { title: `${dateTimeText(l.received_ms)} · ${t('gateways.store')} ${l.store}` },
      el('td', { text: word('lane.', l.lane) }), el('td', { text: word('loss.', l.reason) }),
      el('td', { class: 'num', text: l.from === l.to ? countText(l.from) : `${countText(l.from)}–${countText(l.to)}` }),
      el('td', { class: 'num', text: l.count ? countText(l.count) : '—' })))));
}

/** The link to a gateway's page. */
export const gatewayLink = (id) => el('a', { href: href('gateway', id), text: id });
