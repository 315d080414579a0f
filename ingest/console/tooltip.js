// What the map says about the thing under the pointer.
import { el } from './dom.js';
import { stateIcon } from './icons.js';
import { named, t, word } from './i18n.js';
import { isStale } from './layers.js';
import { countText, valueText } from './scale.js';
import { gatewayState, quantityOf, state } from './store.js';
import { agoText, minuteText } from './time.js';

/** The nodes of a tooltip for a hit of `CityMap.hit`. */
export function tooltip({ kind, item }) {
  if (kind === 'gateway') {
    const heard = gatewayState(item);
    return [
      el('strong', { text: item.id }),
      el('div', { class: `chip-line ${heard}` }, stateIcon(heard), word('gateways.state.', heard)),
      el('div', { class: 'dim', text: [item.area, t('gateways.sensorCount', { n: countText(item.sensors) })].filter(Boolean).join(' · ') }),
      el('div', { class: 'dim', text: `${t('gateways.heard')} ${agoText(item.last_heard_ms)}` }),
    ];
  }
  const { unit } = state.cells;
  const main = state.stat === 'count' || state.stat === 'sensors' ? countText(item[state.stat]) : valueText(item[state.stat], unit);
  return [
    el('div', { class: 'dim', text: `${named(quantityOf(state.quantity))} · ${t(`stat.${state.stat}`)}` }),
    el('strong', { class: 'big', text: main }),
    el('div', { class: 'dim', text: `${valueText(item.min, unit)} – ${valueText(item.max, unit)}` }),
    el('div', { class: 'dim', text: `${countText(item.count)} ${t('stat.count')} · ${countText(item.sensors)} ${t('stat.sensors')}` }),
    el('div', { class: 'dim', text: `${minuteText(item.start_ms)} – ${minuteText(item.start_ms + state.cells.windowMs)}${isStale(item) ? ` · ${t('map.stale')}` : ''}` }),
  ];
}
