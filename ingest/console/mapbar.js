// The controls that lie over the map: quantity, window and statistic, zoom, legend, notices, attribution.
import { el, fill, segmented, setText } from './dom.js';
import { icon } from './icons.js';
import { named, t } from './i18n.js';
import { statName } from './layers.js';
import { colourAt, countText, scaleText, unitText } from './scale.js';
import { choose, on, quantityOf, state } from './store.js';
import { tileSettings, tilesOn } from './tiles.js';

const STATS = ['mean', 'max', 'min', 'p50', 'p95', 'count'];

/** Puts the controls on the map's section and keeps them true. */
export function mapBar(root, map) {
  const bar = el('div', { class: 'mapbar' });
  const legend = el('div', { class: 'legend' });
  const zoom = el('div', { class: 'zoom' });
  const notice = el('div', { class: 'map-notice', role: 'status' });
  const credit = el('div', { class: 'credit' });
  root.append(bar, legend, zoom, notice, credit);

  const controls = () => {
    fill(zoom,
      button('plus', t('map.in'), () => map.zoomBy(0.7)), button('minus', t('map.out'), () => map.zoomBy(-0.7)), button('fit', t('map.fit'), () => map.fit()));
    fill(bar, quantitySelect(), segmented(t('map.window'), ['1m', '1h', '1d'].map((w) => [w, t(`window.${w}`)]), state.window, (window) => choose({ window })), statSelect());
    showLegend();
  };

  let shown = '';
  const showLegend = () => {
    const range = map.legendDomain;
    const { cells } = state;
    const quantity = quantityOf(state.quantity);
    let text = '';
    if (state.quantities.length && !state.quantities.some((q) => q.sensors > 0)) text = t('map.noSensors');
    else if (cells.loaded && !range) text = t('map.nothing');
    else if (cells.truncated) text = t('map.truncated');
    setText(notice, text);
    notice.hidden = !text;
    setText(credit, tilesOn() ? tileSettings().attribution ?? '' : '');
    credit.hidden = !credit.textContent;
    legend.hidden = !range || !quantity;
    if (legend.hidden) return;
    const counted = state.stat === 'count';
    const number = counted ? countText : (value) => scaleText(value, range);
    const unit = counted ? '' : unitText(quantity.unit);
    const key = [range.map(number), unit, named(quantity), statName(), cells.items.size, cells.precision].join('|');
    if (key === shown) return;
    shown = key;
    fill(legend,
      el('div', { class: 'legend-head' }, el('span', { class: 'legend-name', text: `${named(quantity)} · ${statName()}` }), el('span', { class: 'unit', text: unit })),
      ramp(),
      el('div', { class: 'legend-ends' }, ends(range).map((value) => el('span', { text: value === null ? '' : number(value) }))),
      el('div', { class: 'legend-foot', title: t('map.staleHint') }, el('span', { class: 'swatch-stale' }), el('span', { text: t('map.stale') }),
        el('span', { class: 'push', text: t('map.cells', { n: countText(cells.items.size), p: cells.precision }) })));
  };

  controls();
  on(['lang', 'quantities'], () => { shown = ''; controls(); });
  on(['choice'], () => { const select = bar.querySelector('.quantity'); if (select && select.value !== state.quantity) controls(); });
  on(['choice', 'cells', 'map', 'tick'], () => requestAnimationFrame(showLegend)); // after the map has set the domain
}

function button(name, label, act) {
  return el('button', { type: 'button', 'aria-label': label, title: label, on: { click: act } }, icon(name));
}

// Both ends and the middle; a scale of one value names it once.
const ends = ([min, max]) => (min === max ? [null, min, null] : [min, (min + max) / 2, max]);

function ramp() {
  const canvas = el('canvas', { class: 'ramp', width: 256, height: 1, 'aria-hidden': 'true' });
  const ctx = canvas.getContext('2d');
  for (let i = 0; i < 256; i += 1) {
    ctx.fillStyle = `rgb(${colourAt(i / 255).join(',')})`;
    ctx.fillRect(i, 0, 1, 1);
  }
  return canvas;
}

function quantitySelect() {
  const option = (q) => el('option', { value: q.name, selected: q.name === state.quantity, text: q.sensors ? `${named(q)} (${countText(q.sensors)})` : named(q) });
  const by = (a, b) => b.sensors - a.sensors || a.code - b.code;
  // The catalogue has hundreds: only what is measured, and what is shown now.
  const have = state.quantities.filter((q) => q.sensors > 0 || q.name === state.quantity).sort(by);
  return el('select', { class: 'quantity', 'aria-label': t('map.quantity'), title: t('map.quantity'), on: { change: (e) => choose({ quantity: e.target.value }) } },
    have.map(option));
}

function statSelect() {
  return el('select', { 'aria-label': t('map.stat'), title: t('map.stat'), on: { change: (e) => choose({ stat: e.target.value }) } },
    STATS.map((s) => el('option', { value: s, selected: s === state.stat, text: t(`stat.${s}`) })));
}
