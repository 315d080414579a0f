// Time: everything is shown against the server's clock, so that a desk with a wrong clock does not show wrong ages.
import { lang, t } from './i18n.js';

let offset = 0; // server minus this machine, milliseconds

/** Learns the server's clock from a `now_ms`, given the machine's times just before and after asking. */
export function learnClock(serverMs, before, after) {
  if (Number.isFinite(serverMs)) offset = serverMs - (before + after) / 2;
}

/** Now by the server's clock, in milliseconds since 1970 UTC. */
export const now = () => Date.now() + offset;

/** How far this machine's clock is off, in milliseconds; positive when the server is ahead. */
export const clockOffset = () => offset;

const formats = new Map();
function format(name, options) {
  const key = `${lang()}/${name}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(lang() === 'zh' ? 'zh-CN' : 'en-GB', { hourCycle: 'h23', ...options }));
  return formats.get(key);
}

/** `14:03:07`. */
export const clockText = (ms) => format('clock', { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(ms);

/** `14:03`. */
export const minuteText = (ms) => format('minute', { hour: '2-digit', minute: '2-digit' }).format(ms);

/** Day and time, e.g. `22 Nov 14:03:07`. */
export const dateTimeText = (ms) =>
  ms == null ? '—' : format('full', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(ms);

/** Day and time with the year, for what has to be read years later: `22 Nov 2026, 14:03:07`. */
export const datedText = (ms) =>
  ms == null ? '—' : format('dated', { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(ms);

/** Time alone if today, else with the day. */
export function whenText(ms) {
  if (ms == null) return '—';
  return new Date(ms).toDateString() === new Date(now()).toDateString() ? clockText(ms) : dateTimeText(ms);
}

/** A span of time in its two largest units at most: `42 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function spanText(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return t('time.s', { n: s });
  if (s < 3600) return t('time.min', { n: Math.floor(s / 60) });
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    const hours = t('time.h', { n: Math.floor(s / 3600) });
    return minutes ? `${hours} ${t('time.min', { n: minutes })}` : hours;
  }
  return t('time.d', { n: Math.floor(s / 86400) });
}

/** How long ago: `just now`, `42 s ago`. */
export function agoText(ms) {
  if (ms == null) return t('time.never');
  const age = now() - ms;
  return age < 2000 ? t('time.now') : t('time.ago', { span: spanText(age) });
}
