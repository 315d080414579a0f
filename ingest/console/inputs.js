// What decided an alarm: its readings with their qualities and ages, and the line of figures that sums them up.
import { el, fill, setText } from './dom.js';
import { icon } from './icons.js';
import { named, t, word } from './i18n.js';
import { href } from './panel.js';
import { numberText, unitText, valueText } from './scale.js';
import { quantityOf } from './store.js';
import { agoText, spanText } from './time.js';

const inputText = (input) => `${named(quantityOf(input.quantity))} ${input.quality === 'fault' ? word('quality.', 'fault') : valueText(input.value, input.unit)}`;

/** The value of an alarm against its limit, in one line. */
export function figures(alarm) {
  if (alarm.state === 'blind') return t('alarms.blindHint');
  if (alarm.measure === 'agreeing') {
    const who = alarm.inputs.filter((i) => i.alarming).map(inputText).join(' · ');
    return `${t('alarms.agreeing', { n: numberText(alarm.value), needed: numberText(alarm.threshold) })}${who ? `  ·  ${who}` : ''}`;
  }
  const limit = t('alarms.threshold', { value: valueText(alarm.threshold, alarm.unit) });
  if (alarm.measure === 'rise') return `${t('alarms.over', { value: changeText(alarm.value, alarm.unit), span: spanText(alarm.over_ms) })}  ·  ${limit}`;
  const worst = alarm.worst != null && alarm.worst !== alarm.value ? `  ·  ${t('alarms.worst', { value: valueText(alarm.worst, alarm.unit) })}` : '';
  return `${valueText(alarm.value, alarm.unit)}  ·  ${limit}${worst}`;
}

// A change has its sign, and 8 degrees more are 8 °C whatever the scale's zero.
const changeText = (value, unit) => `${value > 0 ? '+' : ''}${numberText(value)}\u00a0${unitText(unit)}`;

/** An empty list of the readings that decided; `fillInputs` keeps it true. */
export const inputList = () => el('ul', { class: 'inputs', 'aria-label': t('alarms.inputs') });

/** Fills a list of `inputList`. */
export function fillInputs(list, alarm) {
  const key = `${alarm.last_ms}/${alarm.state}`;
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    fill(list, alarm.inputs.map((input) => el('li', { class: input.alarming ? 'alarming' : '' },
      icon(input.alarming ? 'alarms' : 'check'), el('a', { href: href('sensor', input.sensor), text: inputText(input) }),
      el('span', { class: `quality ${input.quality}`, text: word('quality.', input.quality) }),
      el('span', { text: t(input.alarming ? 'alarms.speaks' : 'alarms.silent') }), el('span', { class: 'dim' }))));
  }
  alarm.inputs.forEach((input, at) => setText(list.children[at].lastChild, agoText(input.at_ms)));
}
