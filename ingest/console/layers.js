// What the map draws on its canvas, from the bottom up: base map tiles (if any), graticule, cells, gateways, selection,
// scale bar. Alarm pins are elements above it (pins.js), so that a keyboard can reach them.
import { t } from './i18n.js';
import { latToY, lonToX, metresPerPixel } from './mercator.js';
import { colour, extent, ticks } from './scale.js';
import { cellValue, gatewayState, state } from './store.js';
import { drawTiles, tilesOn } from './tiles.js';
import { now } from './time.js';

const STALE_WINDOWS = 3; // a cell whose newest window is older than this many windows is stale
const UNDER_ZOOM_PX = 180; // the zoom buttons cover the right edge down to here
let paintCache = null;

/** The colours of the theme in use, read from the style sheet. */
function paints() {
  const theme = document.documentElement.dataset.shade ?? '';
  if (paintCache?.theme === theme) return paintCache;
  const css = getComputedStyle(document.documentElement);
  const get = (name) => css.getPropertyValue(name).trim();
  paintCache = {
    theme, ground: get('--map-ground'), line: get('--map-line'), strong: get('--map-line-strong'), text: get('--map-text'), halo: get('--map-halo'),
    hatch: get('--map-hatch'), ink: get('--ink'), live: get('--live'), late: get('--late'), silent: get('--silent'), accent: get('--accent'), edge: get('--cell-edge'),
  };
  return paintCache;
}

/** Whether a cell's newest window is too old to stand for now. */
export const isStale = (cell) => now() - (cell.start_ms + state.cells.windowMs) > STALE_WINDOWS * state.cells.windowMs;

/** The domain of the colour scale: the fresh cells in view, or all in view when none is fresh; null without cells. */
export function domain(map) {
  const inView = [...state.cells.items.values()].filter((c) => !map.outside(c.bbox));
  return extent(inView.filter((c) => !isStale(c)).map(cellValue)) ?? extent(inView.map(cellValue));
}

/** Draws everything. */
export function draw(map) {
  const ctx = map.canvas.getContext('2d');
  const p = paints();
  ctx.setTransform(map.ratio, 0, 0, map.ratio, 0, 0);
  ctx.fillStyle = p.ground;
  ctx.fillRect(0, 0, map.width, map.height);
  if (tilesOn()) drawTiles(ctx, map, p.theme === 'dark');
  graticule(ctx, map, p);
  cells(ctx, map, p);
  gateways(ctx, map, p);
  selection(ctx, map, p);
  scaleBar(ctx, map, p);
}

function degreeText(value, letters) {
  const text = Math.abs(value).toFixed(4).replace(/\.?0+$/, '');
  return `${text}°${letters[value < 0 ? 1 : 0]}`;
}

function graticule(ctx, map, p) {
  const [w, s, e, n] = map.bounds();
  ctx.lineWidth = 1;
  ctx.strokeStyle = p.line;
  ctx.font = '11px system-ui, sans-serif';
  ctx.beginPath();
  const lons = ticks(w, e, map.width / 190);
  const lats = ticks(s, n, map.height / 150);
  for (const lon of lons) {
    const x = Math.round(map.toPixel(0, lon)[0]) + 0.5;
    ctx.moveTo(x, 0); ctx.lineTo(x, map.height);
  }
  for (const lat of lats) {
    const y = Math.round(map.toPixel(lat, 0)[1]) + 0.5;
    ctx.moveTo(0, y); ctx.lineTo(map.width, y);
  }
  ctx.stroke();
  ctx.textBaseline = 'bottom';
  ctx.textAlign = 'left';
  for (const lon of lons) label(ctx, p, degreeText(lon, 'EW'), map.toPixel(0, lon)[0] + 4, map.height - 4);
  ctx.textAlign = 'right';
  for (const lat of lats) if (map.toPixel(lat, 0)[1] > UNDER_ZOOM_PX) label(ctx, p, degreeText(lat, 'NS'), map.width - 6, map.toPixel(lat, 0)[1] - 2);
}

function label(ctx, p, text, x, y) {
  ctx.lineWidth = 3;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = p.halo;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = p.text;
  ctx.fillText(text, x, y);
}

// Corners of a cell in whole pixels, so that neighbours touch without a seam.
function rectOf(map, [w, s, e, n]) {
  const { zoom } = map.view;
  const [ox, oy] = [lonToX(map.view.lon, zoom) - map.width / 2, latToY(map.view.lat, zoom) - map.height / 2];
  const [x0, y0] = [Math.round(lonToX(w, zoom) - ox), Math.round(latToY(n, zoom) - oy)];
  return [x0, y0, Math.max(2, Math.round(lonToX(e, zoom) - ox) - x0), Math.max(2, Math.round(latToY(s, zoom) - oy) - y0)];
}

function cells(ctx, map, p) {
  const range = domain(map);
  map.legendDomain = range;
  if (!range) return;
  const pattern = hatch(ctx, map, p);
  const opacity = tilesOn() ? 0.68 : 0.88;
  for (const cell of state.cells.items.values()) {
    if (map.outside(cell.bbox)) continue;
    const [x, y, w, h] = rectOf(map, cell.bbox);
    const stale = isStale(cell);
    const gap = w > 7 ? 1 : 0;
    ctx.globalAlpha = stale ? 0.2 : opacity;
    ctx.fillStyle = colour(cellValue(cell), range);
    ctx.fillRect(x, y, w - gap, h - gap);
    if (stale) {
      ctx.globalAlpha = 0.75;
      ctx.fillStyle = pattern;
      ctx.fillRect(x, y, w - gap, h - gap);
    }
    ctx.globalAlpha = 1;
    if (map.hover === `cell/${cell.cell}`) outline(ctx, x, y, w, h, p.ink, 1.5);
    else if (w > 12) outline(ctx, x, y, w - gap, h - gap, p.edge, 1);
  }
}

function outline(ctx, x, y, w, h, style, width) {
  ctx.strokeStyle = style;
  ctx.lineWidth = width;
  ctx.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
}

function hatch(ctx, map, p) {
  const tile = document.createElement('canvas');
  tile.width = 7;
  tile.height = 7;
  const c = tile.getContext('2d');
  c.strokeStyle = p.hatch;
  c.lineWidth = 1.2;
  c.beginPath();
  for (const d of [-7, 0, 7]) { c.moveTo(d - 1, 8); c.lineTo(d + 8, -1); }
  c.stroke();
  return ctx.createPattern(tile, 'repeat');
}

// Each state has a shape: live a small full disc, late half a disc, silent a ring with a cross. Live ones are drawn in ink,
// not in a colour of the value scale, and small: what is well should not hide what is measured.
function gateways(ctx, map, p) {
  const size = map.view.zoom >= 13 ? 7 : map.view.zoom >= 10.5 ? 5.5 : 4;
  for (const g of state.gateways.values()) {
    if (!Number.isFinite(g.lat) || !Number.isFinite(g.lon)) continue;
    const [x, y] = map.toPixel(g.lat, g.lon);
    if (x < -20 || y < -20 || x > map.width + 20 || y > map.height + 20) continue;
    const heard = gatewayState(g);
    const r = (heard === 'live' ? size - 2 : size) + (map.hover === `gateway/${g.id}` ? 2 : 0);
    ctx.beginPath();
    ctx.arc(x, y, r + 1.5, 0, Math.PI * 2);
    ctx.fillStyle = p.halo;
    ctx.fill();
    ctx.lineWidth = 1.6;
    ctx.strokeStyle = heard === 'live' ? p.ink : p[heard];
    ctx.fillStyle = ctx.strokeStyle;
    ctx.beginPath();
    if (heard === 'live') { ctx.arc(x, y, r, 0, Math.PI * 2); ctx.fill(); continue; }
    ctx.arc(x, y, r - 0.5, 0, Math.PI * 2);
    ctx.stroke();
    ctx.beginPath();
    if (heard === 'late') { ctx.arc(x, y, r, Math.PI / 2, -Math.PI / 2); ctx.fill(); } else {
      const d = r * 0.5;
      ctx.moveTo(x - d, y - d); ctx.lineTo(x + d, y + d); ctx.moveTo(x + d, y - d); ctx.lineTo(x - d, y + d);
      ctx.stroke();
    }
  }
}

function selection(ctx, map, p) {
  const box = map.selectedBox;
  if (box) {
    const [x, y, w, h] = rectOf(map, box);
    outline(ctx, x - 2, y - 2, w + 4, h + 4, p.halo, 5);
    outline(ctx, x - 2, y - 2, w + 4, h + 4, p.ink, 2);
  } else if (state.selected && Number.isFinite(state.selected.lat)) {
    const [x, y] = map.toPixel(state.selected.lat, state.selected.lon);
    for (const [style, width] of [[p.halo, 5], [p.ink, 2]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width;
      ctx.beginPath();
      ctx.arc(x, y, 14, 0, Math.PI * 2);
      ctx.stroke();
    }
  }
  if (map.keyboard) { // where Enter will pick
    const [x, y] = [Math.round(map.width / 2) + 0.5, Math.round(map.height / 2) + 0.5];
    ctx.strokeStyle = p.ink;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(x - 12, y); ctx.lineTo(x + 12, y); ctx.moveTo(x, y - 12); ctx.lineTo(x, y + 12);
    ctx.stroke();
  }
}

function scaleBar(ctx, map, p) {
  const metres = metresPerPixel(map.view.lat, map.view.zoom) * 120;
  const power = 10 ** Math.floor(Math.log10(metres));
  const length = [5, 2, 1].map((m) => m * power).find((m) => m <= metres) ?? power;
  const px = length / metresPerPixel(map.view.lat, map.view.zoom);
  const [x, y] = [map.width - px - 66, map.height - 26];
  ctx.lineJoin = 'miter';
  for (const [style, width] of [[p.halo, 4], [p.text, 1.5]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(x, y - 5); ctx.lineTo(x, y); ctx.lineTo(x + px, y); ctx.lineTo(x + px, y - 5);
    ctx.stroke();
  }
  ctx.textAlign = 'center';
  ctx.textBaseline = 'bottom';
  label(ctx, p, length >= 1000 ? `${length / 1000} km` : `${length} m`, x + px / 2, y - 4);
}

/** Name of the statistic shown, for the legend. */
export const statName = () => t(`stat.${state.stat}`);
