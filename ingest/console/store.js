// What the console knows. One plain object, changed only by feed.js and by user choices; views subscribe to topics and
// are called at most once a frame, however many events came in between.

import { now } from './time.js';

const MEMORY = 'watchfire.';

/** Reads a remembered choice. */
export function recall(key, fallback) {
  try {
    const text = localStorage.getItem(MEMORY + key);
    return text === null ? fallback : JSON.parse(text);
  } catch { return fallback; }
}

/** Remembers a choice; without storage (private mode) it holds for this visit. */
export function remember(key, value) {
  try { localStorage.setItem(MEMORY + key, JSON.stringify(value)); } catch { /* nothing to do */ }
}

export const state = {
  /** The catalogue, and by code and name. */
  quantities: [], quantityOf: new Map(),
  /** What the map shows. */
  quantity: recall('quantity', null), window: recall('window', '1m'), stat: recall('stat', 'mean'),
  /** Cells by geohash, of one quantity, window and precision; `bbox` is the rectangle they were asked for. */
  cells: { key: '', items: new Map(), windowMs: 60000, precision: 7, bbox: null, unit: '', truncated: false, loaded: false },
  /** Gateways by id; `pageOf` is the cursor each one was listed under, to refresh its lanes. */
  gateways: new Map(), pageOf: new Map(), gatewaysPartial: false, gatewaysLoaded: false,
  /** Alarms by id. `allLoaded`: history was asked for; `next`: where it goes on. */
  alarms: new Map(), alarmsLoaded: false, allLoaded: false, alarmsNext: null,
  /** Counters and what follows from two of them. */
  stats: null, rate: null,
  /** The event stream: `connecting`, `live` or `broken`, and since when (server's clock). */
  stream: { state: 'connecting', since: null },
  /** Why the last snapshot failed, or null. */
  snapshotError: null,
  /** Newest sign of life of any gateway or cell, milliseconds; null before the first. */
  newestMs: null,
  /** What is picked on the map: `{kind: 'cell'|'gateway'|'sensor', id, lat, lon}` or null. */
  selected: null,
};

const listeners = new Set();
const dirty = new Set();
let scheduled = false;

/** Calls `fn(topics)` after any of `topics` changed. Returns a function that ends it. */
export function on(topics, fn) {
  const entry = { topics, fn };
  listeners.add(entry);
  return () => listeners.delete(entry);
}

/** Says that a topic changed. Cheap; call it per event. */
export function mark(...topics) {
  for (const topic of topics) dirty.add(topic);
  if (scheduled) return;
  scheduled = true;
  // A hidden tab gets no frames, yet must announce alarms.
  if (document.hidden) setTimeout(flush, 250); else requestAnimationFrame(flush);
}

document.addEventListener('visibilitychange', () => {
  if (scheduled) { scheduled = false; mark(); }
});

function flush() {
  if (!scheduled) return;
  scheduled = false;
  const now = new Set(dirty);
  dirty.clear();
  for (const entry of [...listeners]) {
    if (listeners.has(entry) && entry.topics.some((topic) => now.has(topic))) entry.fn(now);
  }
}

/** The quantity with a code or a name. */
export const quantityOf = (key) => state.quantityOf.get(key) ?? null;

/** Changes what the map shows and remembers it. */
export function choose(changes) {
  for (const [key, value] of Object.entries(changes)) {
    state[key] = value;
    remember(key, value);
  }
  mark('choice');
}

/** Takes a gateway as the API or an event tells it. Events lack lanes and health: those known are kept. Older news is dropped. */
export function takeGateway(item, cursor) {
  const old = state.gateways.get(item.id);
  if (old && (old.last_heard_ms ?? 0) > (item.last_heard_ms ?? 0)) {
    if (item.lanes) state.gateways.set(item.id, { ...item, last_heard_ms: old.last_heard_ms, state: old.state });
  } else state.gateways.set(item.id, old ? { ...old, ...item } : item);
  if (cursor !== undefined) state.pageOf.set(item.id, cursor);
  freshen(item.last_heard_ms);
  mark('gateways');
}

/** Takes an alarm; older news about it is dropped. Returns the one known before, if any. */
export function takeAlarm(item) {
  const old = state.alarms.get(item.id);
  if (old && stamp(old) > stamp(item)) return old;
  state.alarms.set(item.id, item);
  mark('alarms');
  return old;
}

const stamp = (a) => Math.max(a.last_ms ?? 0, a.cleared_ms ?? 0, a.raised_ms ?? 0);

/** Whether an alarm needs eyes: active or blind. */
export const isOpen = (alarm) => alarm.state !== 'cleared';

/** Notes the time of the newest data. */
export function freshen(ms) {
  if (Number.isFinite(ms) && ms > (state.newestMs ?? 0)) { state.newestMs = ms; mark('age'); }
}

/** The number a cell shows under the statistic chosen. */
export const cellValue = (cell) => cell[state.stat] ?? cell.mean;

const LIVE_MS = 30000; // as ingest judges: heard within 30 s is live, within 5 min late, else silent
const LATE_MS = 300000;

/**
 * A gateway's state now. It ages between events; but while our own feed is broken it stands still: a gateway must not
 * look dead because this desk is deaf.
 */
export function gatewayState(gateway) {
  const age = (state.stream.since ?? now()) - (gateway.last_heard_ms ?? 0);
  return age < LIVE_MS ? 'live' : age < LATE_MS ? 'late' : 'silent';
}
