// New alarms make themselves known: spoken by screen readers, counted in the title, and shown as a toast that leads there.
import { el } from './dom.js';
import { levelIcon } from './icons.js';
import { named, t, word } from './i18n.js';
import { isOpen, on, quantityOf, state } from './store.js';

const TOAST_MS = 12000;
const MAX_TOASTS = 4; // a flood must not bury the map; the list has them all

/** What an alarm is about, in words: its quantity, how that changes, or what several sensors confirmed. */
export function alarmWhat(alarm) {
  if (alarm.measure === 'agreeing') return t('alarms.confirmed', { rule: alarm.rule });
  const what = named(quantityOf(alarm.quantity?.code ?? alarm.quantity)) || alarm.rule;
  if (alarm.measure === 'rise') return t(alarm.threshold < 0 ? 'alarms.falls' : 'alarms.rises', { what });
  return what;
}

/** Where an alarm is. */
export const alarmWhere = (alarm) => alarm.area || alarm.gateway;

/** The page that shows an alarm: its sensor. */
export const alarmHref = (alarm) => `#/sensor/${encodeURIComponent(sensorId(alarm))}?alarm=${encodeURIComponent(alarm.id)}`;

/** City-wide sensor id of an alarm, whether it names the sensor with or without its gateway. */
export const sensorId = (alarm) => (alarm.sensor.startsWith(`${alarm.gateway}:`) ? alarm.sensor : `${alarm.gateway}:${alarm.sensor}`);

/** Announces a new alarm, one that went blind, or one that says again that it goes on. */
export function announce(alarm, again = false) {
  const params = { level: word('level.', alarm.level).toLowerCase(), what: alarmWhat(alarm), where: alarmWhere(alarm) };
  const text = t(again ? 'alarms.announceAgain' : alarm.state === 'blind' ? 'alarms.announceBlind' : 'alarms.announce', params);
  document.getElementById('announcer').textContent = text;
  const toasts = document.getElementById('toasts');
  toast(el('a', { class: `toast alarm ${alarm.level}`, href: alarmHref(alarm) }, levelIcon(alarm.level, alarm.state), el('span', { text })), toasts);
}

/** Shows a short message. */
export function notify(text, kind = 'info') {
  document.getElementById('announcer').textContent = text;
  toast(el('div', { class: `toast ${kind}` }, el('span', { text })), document.getElementById('toasts'));
}

function toast(node, toasts) {
  toasts.prepend(node);
  while (toasts.children.length > MAX_TOASTS) toasts.lastChild.remove();
  const timer = setTimeout(() => node.remove(), TOAST_MS);
  node.addEventListener('click', () => { clearTimeout(timer); node.remove(); });
}

/** Keeps the number of open alarms in the title. */
export function watchTitle() {
  const show = () => {
    let open = 0;
    for (const alarm of state.alarms.values()) if (isOpen(alarm)) open += 1;
    document.title = open ? `(${open}) ${t('app.title')}` : t('app.title');
  };
  on(['alarms', 'lang'], show);
  show();
}
