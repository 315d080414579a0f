// The HTTP API, one function a question; those about seals are in seals/office.js. Nothing else in the console calls `fetch`.
import { lang, t } from './i18n.js';

const BASE = '/api/v1';
const TIMEOUT_MS = 15000; // a slow query says so instead of spinning for ever

/** A question the server could not answer; `message` is for people, in the language in use. `status` 0: not reached. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks, and answers what JSON the server sends; null for an answer without content. Throws `ApiError`. */
export async function ask(path, params = {}, options = {}) {
  const url = new URL(BASE + path, location.origin);
  for (const [key, value] of Object.entries(params)) if (value !== null && value !== undefined && value !== '') url.searchParams.set(key, value);
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  options.signal?.addEventListener('abort', () => abort.abort(), { once: true });
  try {
    const response = await fetch(url, { headers: { accept: 'application/json' }, cache: 'no-store', ...options, signal: abort.signal });
    if (!response.ok) throw await problem(response);
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (options.signal?.aborted) throw new ApiError(-1, 'aborted');
    throw new ApiError(0, error.name === 'AbortError' ? t('error.timeout', { n: TIMEOUT_MS / 1000 }) : t('error.network'));
  } finally {
    clearTimeout(timer);
  }
}

// RFC 9457. The detail comes in both languages: as `detail_zh`/`detail_en`, as an object, or as one text.
async function problem(response) {
  let body = null;
  try { body = await response.json(); } catch { /* not JSON: the status must do */ }
  const detail = body?.[`detail_${lang()}`] ?? body?.detail?.[lang()] ?? body?.[lang()] ?? body?.detail ?? body?.title;
  return new ApiError(response.status, typeof detail === 'string' && detail ? detail : t('error.status', { status: response.status }));
}

/** Most items of one page. */
export const PAGE = 1000;

/** Live counters. */
export const stats = () => ask('/stats');

/** The quantity catalogue with the number of sensors of each. */
export const quantities = async () => (await ask('/quantities')).items;

/** One page of gateways: `{items, next}`. */
export const gateways = (cursor, limit = 500) => ask('/gateways', { cursor, limit });

/** One gateway with its gauges in words, its lanes and its losses. */
export const gateway = (id) => ask(`/gateways/${encodeURIComponent(id)}`);

/** One page of sensors: `{items, next}`. */
export const sensors = ({ gateway, quantity, cursor, limit = PAGE }, signal) => ask('/sensors', { gateway, quantity, cursor, limit }, { signal });

/** One sensor by its city-wide id. */
export const sensor = (id) => ask(`/sensors/${encodeURIComponent(id)}`);

/** Readings of a sensor between two times in milliseconds; the newest ones when there are more than `limit`. */
export const readings = (id, from, to, limit, signal) =>
  ask(`/sensors/${encodeURIComponent(id)}/readings`, { from: Math.floor(from), to: to === null ? null : Math.ceil(to), limit }, { signal });

/** The newest window of each cell in a rectangle `[west, south, east, north]`. */
export const cells = ({ quantity, window, precision, bbox }, signal) =>
  ask('/cells', { quantity, window, precision, bbox: bbox.map((v) => v.toFixed(6)).join(',') }, { signal });

/** Alarms; `state` is `active` (which includes blind ones) or `all`. */
export const alarms = (state, cursor, limit = 500) => ask('/alarms', { state, cursor, limit });

/** One page of quarantined messages, newest first. */
export const quarantine = (cursor, limit = 100) => ask('/quarantine', { cursor, limit });

/** Tries a quarantined message again; answers the item as it then is, if the server says so. */
export const replay = (id) => ask(`/quarantine/${encodeURIComponent(id)}/replay`, {}, { method: 'POST' });

/** Address of the event stream. */
export const EVENTS = `${BASE}/events`;
