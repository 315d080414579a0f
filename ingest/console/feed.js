// How the store stays true: a snapshot, then the event stream. The stream resumes by itself (Last-Event-ID); when it
// cannot, the server says `reset` and the snapshot is read again. Only the counters are polled.
import * as api from './api.js';
import { bbox as cellBox } from './geohash.js';
import { announce } from './announce.js';
import { learnClock, now } from './time.js';
import { freshen, isOpen, mark, state, takeAlarm, takeGateway } from './store.js';

const STATS_EVERY_MS = 5000;
const FIRST_RATE_MS = 2000;
const STREAM_PATIENCE_MS = 3000;
const RETRY_MS = [1000, 2000, 5000, 10000, 15000]; // between new streams, when the browser has given up on one
const MAX_GATEWAY_PAGES = 40; // × 500 = 20 000 gateways: what one browser shows without pain
const QUIET_MS = 60000; // no event for this long while counters move: the stream is stuck, not quiet
const REFETCH_MS = { '1m': 5000, '1h': 15000, '1d': 30000 }; // coarse cells follow events at most this often

let source = null;
let attempt = 0;
let retryTimer = 0;
let lastEventAt = 0;
let snapshotRun = 0;
const gatewayWatchers = new Set();

/** Starts everything. */
export function start() {
  openStream();
  pollStats();
  // The picture does not wait for the stream for ever.
  setTimeout(() => { if (!snapshotRun) loadSnapshot(); }, STREAM_PATIENCE_MS);
  document.addEventListener('visibilitychange', () => { if (!document.hidden && state.stream.state === 'broken') openStream(); });
  window.addEventListener('online', () => openStream());
}

/** Calls `fn(id)` whenever an event about a gateway arrives. Returns a function that ends it. */
export function watchGateways(fn) {
  gatewayWatchers.add(fn);
  return () => gatewayWatchers.delete(fn);
}

function setStream(next) {
  if (state.stream.state === next) return;
  state.stream = { state: next, since: next === 'broken' ? state.stream.since ?? now() : null };
  mark('stream');
}

function openStream() {
  clearTimeout(retryTimer);
  source?.close();
  const mine = new EventSource(api.EVENTS);
  source = mine;
  mine.onopen = () => {
    const first = attempt > 0 || !state.gatewaysLoaded;
    attempt = 0;
    lastEventAt = Date.now();
    setStream('live');
    if (first) loadSnapshot(); // a new EventSource cannot resume: what was missed comes from the snapshot
  };
  mine.onerror = () => {
    if (source !== mine) return;
    setStream('broken');
    if (mine.readyState !== EventSource.CLOSED) return; // the browser reconnects by itself, with Last-Event-ID
    const wait = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
    attempt += 1;
    retryTimer = setTimeout(openStream, wait * (0.8 + Math.random() * 0.4));
  };
  const handle = (kind, fn) => mine.addEventListener(kind, (event) => {
    lastEventAt = Date.now();
    setStream('live');
    if (kind === 'reset') return fn();
    let data;
    try { data = JSON.parse(event.data); } catch { return undefined; } // one bad event must not stop the rest
    return fn(data);
  });
  handle('alarm', (alarm) => {
    const old = takeAlarm(alarm);
    const worse = !old || old.state !== alarm.state || old.level !== alarm.level;
    const again = !worse && (alarm.repeated_ms ?? 0) > (old.repeated_ms ?? 0);
    if (isOpen(alarm) && (worse || again) && state.alarmsLoaded) announce(alarm, again);
    freshen(alarm.last_ms);
  });
  handle('gateway', (gateway) => {
    takeGateway(gateway);
    for (const fn of gatewayWatchers) fn(gateway.id);
  });
  handle('cells', takeCells);
  handle('reset', () => loadSnapshot());
}

/** Reads everything again. Failing parts are tried again until they work. */
export async function loadSnapshot() {
  snapshotRun += 1;
  const run = snapshotRun;
  try {
    const [quantities, active] = await Promise.all([api.quantities(), openAlarms()]);
    if (run !== snapshotRun) return;
    takeQuantities(quantities);
    // Alarms that ended while we were away are not in the list of active ones any more.
    const still = new Set(active.map((a) => a.id));
    for (const alarm of [...state.alarms.values()]) if (isOpen(alarm) && !still.has(alarm.id)) state.alarms.delete(alarm.id);
    active.forEach(takeAlarm);
    const wasLoaded = state.alarmsLoaded;
    state.alarmsLoaded = true;
    mark('alarms');
    if (state.allLoaded && wasLoaded) await loadAlarmHistory(true);
    await loadGateways(run);
    state.snapshotError = null;
    reloadCells();
  } catch (error) {
    if (run !== snapshotRun) return;
    state.snapshotError = error.message;
    setTimeout(() => { if (run === snapshotRun) loadSnapshot(); }, 5000);
  }
  mark('stream');
}

async function openAlarms() {
  const all = [];
  let cursor = null;
  do {
    const { items, next } = await api.alarms('active', cursor, api.PAGE);
    all.push(...items);
    cursor = items.length ? next ?? null : null;
  } while (cursor);
  return all;
}

function takeQuantities(items) {
  state.quantities = items;
  state.quantityOf = new Map(items.flatMap((q) => [[q.code, q], [q.name, q]]));
  if (!items.some((q) => q.name === state.quantity && q.sensors > 0)) {
    const best = items.filter((q) => q.sensors > 0).sort((a, b) => b.sensors - a.sensors)[0];
    if (best) state.quantity = best.name;
  }
  mark('quantities', 'choice');
}

async function loadGateways(run) {
  const seen = new Set();
  let cursor = null;
  for (let page = 0; page < MAX_GATEWAY_PAGES; page += 1) {
    const { items, next } = await api.gateways(cursor);
    if (run !== snapshotRun) return;
    for (const item of items) { takeGateway(item, cursor); seen.add(item.id); }
    state.gatewaysLoaded = true;
    mark('gateways');
    cursor = next ?? null;
    if (!cursor) break;
  }
  state.gatewaysPartial = Boolean(cursor);
  if (!cursor) for (const id of [...state.gateways.keys()]) if (!seen.has(id)) state.gateways.delete(id);
}

/** Reads the page of the list a gateway is on, for its lanes and health. */
export async function refreshGateway(id) {
  const cursor = state.pageOf.get(id) ?? null;
  const { items } = await api.gateways(cursor);
  for (const item of items) takeGateway(item, cursor);
}

/** Reads ended alarms too; `again` starts from the newest. */
export async function loadAlarmHistory(again = false) {
  const { items, next } = await api.alarms('all', again ? null : state.alarmsNext);
  items.forEach(takeAlarm);
  state.allLoaded = true;
  state.alarmsNext = next ?? null;
  mark('alarms');
}

// ---- cells ----

let cellAbort = null;
let cellTimer = 0;
let cellFetchedAt = 0;
let wanted = null; // {bbox, precision}

/** Asks for the cells of a rectangle; called by the map when it moved, and when a choice changed. */
export function wantCells(bbox, precision) {
  wanted = { bbox, precision };
  // Cells of another quantity or window must not be read under the new legend; those of another precision may stay till then.
  const of = `${state.quantity}/${state.window}/`;
  if (!state.cells.key.startsWith(of)) state.cells = { ...state.cells, key: of, items: new Map() };
  state.cells.loaded = false;
  reloadCells();
}

/** Reads the wanted cells, after `delay` milliseconds. */
export function reloadCells(delay = 0) {
  if (cellTimer && delay > 0) return;
  clearTimeout(cellTimer);
  cellTimer = setTimeout(fetchCells, delay);
}

async function fetchCells() {
  cellTimer = 0;
  if (!wanted || !state.quantity) return;
  cellAbort?.abort();
  const mine = new AbortController();
  cellAbort = mine;
  const { bbox, precision } = wanted;
  const key = `${state.quantity}/${state.window}/${precision}`;
  try {
    const answer = await api.cells({ quantity: state.quantity, window: state.window, precision, bbox }, mine.signal);
    if (cellAbort !== mine) return;
    cellFetchedAt = Date.now();
    const items = new Map();
    for (const cell of answer.cells) items.set(cell.cell, cell);
    state.cells = { key, items, windowMs: answer.window_ms, precision, bbox, unit: answer.unit, truncated: Boolean(answer.truncated), loaded: true };
    for (const cell of items.values()) freshen(Math.min(cell.start_ms + answer.window_ms, now()));
    mark('cells');
  } catch (error) {
    if (error.status === -1) return;
    state.snapshotError = error.message;
    mark('stream');
    cellTimer = setTimeout(fetchCells, 5000);
    return;
  }
  if (state.snapshotError && state.gatewaysLoaded) { state.snapshotError = null; mark('stream'); }
}

// Events tell one-minute windows at precision 7. At that zoom they are taken as they are; coarser ones are asked for again.
function takeCells(event) {
  if (event.cells.length) freshen(now());
  const quantity = state.quantityOf.get(event.quantity);
  if ((quantity?.name ?? event.quantity) !== state.quantity) return;
  const { cells } = state;
  if (state.window === '1m' && cells.precision === event.precision && cells.key === `${state.quantity}/1m/${event.precision}`) {
    for (const cell of event.cells) {
      const box = cell.bbox ?? cellBox(cell.cell);
      if (!box || !inside(box, cells.bbox)) continue;
      const old = cells.items.get(cell.cell);
      if (!old || cell.start_ms >= old.start_ms) cells.items.set(cell.cell, { ...cell, bbox: box });
    }
    mark('cells');
  } else if (event.cells.some((cell) => inside(cell.bbox ?? cellBox(cell.cell), cells.bbox))) {
    reloadCells(Math.max(200, REFETCH_MS[state.window] - (Date.now() - cellFetchedAt)));
  }
}

const inside = (box, outer) => !outer || (box && box[2] > outer[0] && box[0] < outer[2] && box[3] > outer[1] && box[1] < outer[3]);

// ---- counters ----

async function pollStats() {
  const before = Date.now();
  try {
    const next = await api.stats();
    learnClock(next.now_ms, before, Date.now());
    const old = state.stats;
    if (old && next.started_ms === old.started_ms && next.now_ms > old.now_ms) {
      state.rate = Math.max(0, ((next.readings.accepted - old.readings.accepted) * 1000) / (next.now_ms - old.now_ms));
      const moving = next.readings.accepted > old.readings.accepted;
      if (moving && state.stream.state === 'live' && Date.now() - lastEventAt > QUIET_MS) { attempt = 1; setStream('broken'); openStream(); }
    } else state.rate = null;
    // More sensors or gateways than the catalogue counts were taken from: the chooser must know.
    if (old && (next.pool.sensors !== old.pool.sensors)) api.quantities().then(takeQuantities, () => {});
    state.stats = next;
    state.statsError = null;
  } catch (error) {
    state.statsError = error.message;
    state.rate = null;
  }
  mark('stats');
  // The second answer comes soon: a rate needs two.
  setTimeout(pollStats, state.stats && state.rate === null && !state.statsError ? FIRST_RATE_MS : STATS_EVERY_MS);
}
