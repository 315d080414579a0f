// The alarm list: open ones first, the grave before the mild, the new before the old.
import { alarmHref, alarmWhat, alarmWhere, sensorId } from './announce.js';
import { el, fill, segmented, setText } from './dom.js';
import { loadAlarmHistory } from './feed.js';
import { levelIcon } from './icons.js';
import { figures } from './inputs.js';
import { t, word } from './i18n.js';
import { LEVELS } from './levels.js';
import { List } from './list.js';
import { head, matches, message, searchField } from './panel.js';
import { isOpen, recall, remember, state } from './store.js';
import { now, spanText, whenText } from './time.js';

const FLOOD_MS = 600000; // EEMUA 191: more than ten alarms in ten minutes is a flood
const FLOOD_COUNT = 10;
const ROW = 82;

/** Open first, then graver, then newer; ended ones by their end. */
export function byUrgency(a, b) {
  const open = isOpen(b) - isOpen(a);
  if (open) return open;
  if (!isOpen(a)) return (b.cleared_ms ?? b.last_ms) - (a.cleared_ms ?? a.last_ms);
  return LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level) || b.raised_ms - a.raised_ms;
}

/** One alarm as a link to its sensor; `fillAlarm` keeps it true. */
export function alarmRow() {
  return el('a', { class: 'alarm-row', role: 'listitem' },
    el('span', { class: 'lead' }), el('span', { class: 'level-word' }),
    el('span', { class: 'what' }), el('span', { class: 'age' }),
    el('span', { class: 'values' }), el('span', { class: 'state-word' }),
    el('span', { class: 'where' }));
}

/** Fills a row of `alarmRow`. */
export function fillAlarm(row, alarm) {
  const [lead, level, what, age, values, stateWord, where] = row.children;
  const key = `${alarm.level}/${alarm.state}`;
  if (row.dataset.key !== key) {
    row.dataset.key = key;
    row.className = `row alarm-row ${alarm.level} ${alarm.state}`;
    fill(lead, levelIcon(alarm.level, alarm.state));
  }
  row.setAttribute('href', alarmHref(alarm));
  setText(level, word('level.', alarm.level));
  setText(what, alarmWhat(alarm));
  setText(values, figures(alarm));
  values.title = values.textContent; // a confirmation may be longer than the row
  const again = isOpen(alarm) && alarm.repeated_ms ? ` · ${t('alarms.again', { when: whenText(alarm.repeated_ms) })}` : '';
  setText(stateWord, `${word('alarms.state.', alarm.state)}${again}`);
  setText(where, [alarmWhere(alarm), sensorId(alarm), alarm.rule].filter(Boolean).join(' · '));
  setText(age, isOpen(alarm) ? t('alarms.stands', { span: spanText(now() - alarm.raised_ms) }) : whenText(alarm.cleared_ms ?? alarm.last_ms));
  age.title = `${t('alarms.raised', { when: whenText(alarm.raised_ms) })}${alarm.cleared_ms ? ` · ${t('alarms.cleared', { when: whenText(alarm.cleared_ms) })}` : ''}`;
}

/** The page. */
export function view(root, { all }) {
  let show = all ? 'all' : recall('alarms', 'active');
  let query = '';
  const list = new List({ rowHeight: ROW, key: (a) => a.id, create: alarmRow, update: fillAlarm, label: t('alarms.title') });
  const flood = el('p', { class: 'flood', role: 'status', hidden: true });
  const note = el('div', { class: 'note' });
  const pick = (next) => {
    show = next;
    remember('alarms', next);
    history();
    update();
  };
  const history = () => { if (show === 'all' && !state.allLoaded) loadAlarmHistory().catch((e) => fill(note, message(t('error.load', { detail: e.message }), 'bad'))); };
  fill(root,
    head(t('alarms.title'), { tools: [segmented(t('alarms.filter'), [['active', t('alarms.active')], ['all', t('all')]], show, pick)] }),
    searchField(t('alarms.search'), '', (text) => { query = text; update(); }), flood, note, list.node);

  function update() {
    const alarms = [...state.alarms.values()].filter((a) => (show === 'all' || isOpen(a))
      && (!query || matches(query, `${a.rule} ${alarmWhat(a)} ${a.area} ${a.gateway} ${a.sensor} ${word('level.', a.level)}`.toLowerCase())));
    alarms.sort(byUrgency);
    list.set(alarms);
    if (!state.alarmsLoaded) fill(note, message(state.snapshotError ? t('error.load', { detail: state.snapshotError }) : t('loading'), 'wait'));
    else if (!alarms.length) fill(note, message(t(show === 'all' ? 'alarms.noneAll' : 'alarms.none'), show === 'all' ? 'empty' : 'calm'));
    else if (show === 'all' && state.alarmsNext) fill(note, el('button', { class: 'more', type: 'button', text: t('more'), on: { click: () => loadAlarmHistory() } }));
    else fill(note);
    let recent = 0;
    for (const a of state.alarms.values()) if (now() - a.raised_ms < FLOOD_MS) recent += 1;
    flood.hidden = recent <= FLOOD_COUNT;
    if (!flood.hidden) setText(flood, t('alarms.flood', { n: recent }));
  }
  history();
  update();
  return { topics: ['alarms', 'quantities', 'stream', 'tick'], update, close: () => list.close() };
}
