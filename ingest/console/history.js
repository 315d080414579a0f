// Reads a sensor's past for the chart: pages backwards from now; where there is too much to read, samples evenly.
import * as api from './api.js';

const LIMIT = 10000; // the most that one answer holds
const MAX_PAGES = 9; // a day of one reading a second fits
const SLOTS = 48; // samples over the rest of the span
const SLOT_LIMIT = 40;
const PARALLEL = 3; // questions at once: a chart must not crowd out the rest of the console

/**
 * Readings of `id` between two times, oldest first: `{readings, unit, sampledBefore}`. Before `sampledBefore`
 * (milliseconds, or null) only a sample of the readings is there. `stop` is an AbortSignal.
 */
export async function readPast(id, from, to, stop) {
  let end = null;
  let readings = [];
  let unit = '';
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await api.readings(id, from, end, LIMIT, stop);
    unit = answer.unit;
    readings = answer.readings.concat(readings);
    if (!answer.truncated || !answer.readings.length) return { readings, unit, sampledBefore: null };
    end = answer.readings[0].at_ms;
    // At this pace the pages would not reach back far enough: sample the rest.
    if (page === 0 && to - end < (to - from) / MAX_PAGES) break;
  }
  return { readings: (await sample(id, from, end, stop)).concat(readings), unit, sampledBefore: end };
}

async function sample(id, from, to, stop) {
  const slots = Array.from({ length: SLOTS }, (_, i) => [from + ((to - from) * i) / SLOTS, from + ((to - from) * (i + 1)) / SLOTS]);
  const parts = new Array(SLOTS).fill([]);
  let at = 0;
  const worker = async () => {
    while (at < SLOTS) {
      const mine = at;
      at += 1;
      parts[mine] = (await api.readings(id, ...slots[mine], SLOT_LIMIT, stop)).readings;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return parts.flat();
}

/** Joins newer readings to known ones: the same time is the same reading; what left the span is dropped. */
export function merge(old, fresh, from) {
  const byTime = new Map();
  for (const r of old) if (r.at_ms >= from) byTime.set(r.at_ms, r);
  for (const r of fresh) if (r.at_ms >= from) byTime.set(r.at_ms, r);
  return [...byTime.values()].sort((a, b) => a.at_ms - b.at_ms);
}
