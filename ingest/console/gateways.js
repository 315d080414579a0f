// The gateway list. "Last heard" is shown, not a bare online/offline: a box that is quiet is not a box that is dead.
import { el, fill, segmented, setText } from './dom.js';
import { stateIcon } from './icons.js';
import { t, word } from './i18n.js';
import { List } from './list.js';
import { head, href, matches, message, searchField } from './panel.js';
import { countText } from './scale.js';
import { gatewayState, recall, remember, state } from './store.js';
import { agoText } from './time.js';

const ROW = 78;
const STATES = ['live', 'late', 'silent'];

/** What waits on a box, as text (`bare`: the number only); empty when it did not say. */
export function backlogText(gateway, bare = false) {
  const b = gateway.backlog;
  if (!b) return '';
  const total = (b.alarm ?? 0) + (b.reading ?? 0) + (b.health ?? 0);
  if (!total) return t('gateways.noBacklog');
  return bare ? countText(total) : `${t('gateways.backlog')} ${countText(total)}`;
}

/** The state of a lane with its count: complete, arriving n, lost n. */
export function laneText(lane) {
  const n = lane.state === 'arriving' ? lane.missing : lane.lost;
  return word('lane.state.', lane.state, { n: countText(n) });
}

function row() {
  return el('a', { class: 'gateway-row', role: 'listitem' },
    el('span', { class: 'lead' }), el('span', { class: 'id' }), el('span', { class: 'heard' }),
    el('span', { class: 'area' }), el('span', { class: 'state-word' }), el('span', { class: 'lanes' }));
}

function fillRow(node, gateway) {
  const [lead, id, heard, area, stateWord, lanes] = node.children;
  const now = gatewayState(gateway);
  if (node.dataset.state !== now) {
    node.dataset.state = now;
    node.className = `row gateway-row ${now}`;
    fill(lead, stateIcon(now));
  }
  node.setAttribute('href', href('gateway', gateway.id));
  setText(id, gateway.id);
  setText(heard, agoText(gateway.last_heard_ms));
  setText(area, [gateway.area, t('gateways.sensorCount', { n: countText(gateway.sensors) }), backlogText(gateway)].filter(Boolean).join(' · '));
  setText(stateWord, word('gateways.state.', now));
  const key = (gateway.lanes ?? []).map((l) => `${l.lane}${l.state}${l.missing}${l.lost}`).join() + gateway.clock + document.documentElement.lang;
  if (lanes.dataset.key === key) return;
  lanes.dataset.key = key;
  fill(lanes,
    (gateway.lanes ?? []).map((l) => el('span', { class: `lane ${l.state}`, title: `${word('lane.', l.lane)}: ${laneText(l)}` }, stateIcon(l.state),
      l.state === 'complete' ? word('lane.', l.lane) : `${word('lane.', l.lane)} ${laneText(l)}`)),
    gateway.clock && gateway.clock !== 'synchronised' ? el('span', { class: 'lane warn' }, stateIcon('late'), word('clock.', gateway.clock)) : null);
}

/** The page. */
export function view(root) {
  let show = recall('gateways', 'all');
  let query = '';
  const list = new List({ rowHeight: ROW, key: (g) => g.id, create: row, update: fillRow, label: t('gateways.title') });
  const note = el('div', { class: 'note' });
  const filter = el('div');
  let counted = '';
  fill(root, head(t('gateways.title')), searchField(t('gateways.search'), '', (text) => { query = text; update(); }), filter, note, list.node);

  function update() {
    const counts = { live: 0, late: 0, silent: 0 };
    const found = [];
    for (const g of state.gateways.values()) {
      const s = gatewayState(g);
      counts[s] = (counts[s] ?? 0) + 1;
      if ((show === 'all' || s === show) && (!query || matches(query, `${g.id} ${g.area}`.toLowerCase()))) found.push(g);
    }
    const key = `${JSON.stringify(counts)}${state.gateways.size}`;
    if (key !== counted) {
      counted = key;
      fill(filter, segmented(t('gateways.filter'), [['all', `${t('all')} ${countText(state.gateways.size)}`], ...STATES.map((s) => [s, `${word('gateways.state.', s)} ${countText(counts[s])}`])], show,
        (next) => { show = next; remember('gateways', next); update(); }));
    }
    found.sort((a, b) => (a.id < b.id ? -1 : 1));
    list.set(found);
    if (!state.gatewaysLoaded) fill(note, message(state.snapshotError ? t('error.load', { detail: state.snapshotError }) : t('loading'), 'wait'));
    else if (!state.gateways.size) fill(note, message(t('gateways.noneYet')));
    else if (!found.length) fill(note, message(t('gateways.none')));
    else if (state.gatewaysPartial) fill(note, message(t('gateways.partial', { n: countText(state.gateways.size) })));
    else fill(note);
  }
  update();
  return { topics: ['gateways', 'stream', 'tick'], update, close: () => list.close() };
}
