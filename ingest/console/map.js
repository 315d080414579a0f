// The map: view (centre, zoom), gestures and keys, hover and click. What is drawn is in layers.js, alarm pins in pins.js,
// the controls over it in mapbar.js.
import { el, setAttr } from './dom.js';
import { bbox as cellBox, encode } from './geohash.js';
import { t } from './i18n.js';
import { draw } from './layers.js';
import { latToY, lonToX, worldSize, xToLon, yToLat } from './mercator.js';
import { Pins } from './pins.js';
import { tooltip } from './tooltip.js';
import { isOpen, mark, on, recall, remember, state } from './store.js';
import { wantCells } from './feed.js';

const MIN_ZOOM = 3;
const MAX_ZOOM = 19;
const CLICK_PX = 6; // a finger that moved less than this meant to tap
const GATEWAY_HIT_PX = 11;
const MARGIN = 0.35; // cells are asked for this much around the view, so that small pans need no question

export class CityMap {
  constructor(root) {
    this.root = root;
    const saved = recall('view', null);
    this.view = saved ?? { lat: 30.66, lon: 104.05, zoom: 10.5 };
    this.fitted = Boolean(saved);
    this.canvas = el('canvas', { class: 'map-canvas', tabindex: '0', role: 'application' });
    this.pinLayer = el('div', { class: 'pins' });
    this.tip = el('div', { class: 'tip', hidden: true });
    root.append(this.canvas, this.pinLayer, this.tip);
    this.pins = new Pins(this.pinLayer, this);
    this.hover = null;
    this.pointers = new Map();
    this.bind();
    this.resize();
    new ResizeObserver(() => this.resize()).observe(root);
    on(['cells', 'gateways', 'alarms', 'theme', 'map', 'quantities'], () => this.refresh());
    on(['choice'], () => { this.ask(true); this.refresh(); });
    on(['lang'], () => this.label());
    on(['tick'], (topics) => { if (!topics.has('map')) this.paint(); }); // staleness grows without events
    this.label();
  }

  label() { setAttr(this.canvas, 'aria-label', t('map.keys')); }

  /** Cells are small enough to see and large enough to hit: the precision follows the zoom. */
  get precision() {
    if (this.view.zoom >= 13.2) return 7;
    return this.view.zoom >= 10.4 ? 6 : 5;
  }

  /** `[west, south, east, north]` of the view, widened by a share of its size. */
  bounds(margin = 0) {
    const { zoom } = this.view;
    const [x, y] = [lonToX(this.view.lon, zoom), latToY(this.view.lat, zoom)];
    const [w, h] = [this.width * (0.5 + margin), this.height * (0.5 + margin)];
    return [Math.max(-180, xToLon(x - w, zoom)), yToLat(y + h, zoom), Math.min(180, xToLon(x + w, zoom)), yToLat(y - h, zoom)];
  }

  /** Pixel of a place. */
  toPixel(lat, lon) {
    const { zoom } = this.view;
    return [lonToX(lon, zoom) - lonToX(this.view.lon, zoom) + this.width / 2, latToY(lat, zoom) - latToY(this.view.lat, zoom) + this.height / 2];
  }

  /** Place `[lat, lon]` under a pixel. */
  toPlace(px, py) {
    const { zoom } = this.view;
    return [
      yToLat(latToY(this.view.lat, zoom) + py - this.height / 2, zoom),
      xToLon(lonToX(this.view.lon, zoom) + px - this.width / 2, zoom),
    ];
  }

  resize() {
    const { clientWidth, clientHeight } = this.root;
    if (!clientWidth || !clientHeight) return;
    this.width = clientWidth;
    this.height = clientHeight;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    this.draw();
    this.ask();
  }

  /** New data: the first ones are fitted into view. */
  refresh() {
    if (!this.fitted && state.gatewaysLoaded && state.gateways.size) this.fit(false);
    this.pins.update();
    this.paint();
  }

  /** Draws in the next frame. */
  paint() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    if (!this.width) return;
    draw(this);
    this.pins.place();
  }

  moved() {
    this.view.zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, this.view.zoom));
    this.view.lat = Math.max(-84, Math.min(84, this.view.lat));
    this.view.lon = ((((this.view.lon + 180) % 360) + 360) % 360) - 180;
    this.fitted = true;
    this.showTip(null);
    this.paint();
    this.ask();
    clearTimeout(this.saveTimer);
    this.saveTimer = setTimeout(() => remember('view', this.view), 500);
  }

  /** Asks for cells when the view left the rectangle asked for, or at once when a choice changed. */
  ask(force = false) {
    clearTimeout(this.askTimer);
    if (!this.width) return;
    this.askTimer = setTimeout(() => {
      const [w, s, e, n] = this.bounds();
      const b = this.asked;
      if (!force && b && b.precision === this.precision && w >= b.bbox[0] && s >= b.bbox[1] && e <= b.bbox[2] && n <= b.bbox[3]
        && b.bbox[2] - b.bbox[0] < 4 * (e - w)) return;
      this.asked = { bbox: this.bounds(MARGIN), precision: this.precision };
      wantCells(this.asked.bbox, this.asked.precision);
      mark('map');
    }, force ? 0 : 220);
  }

  /** Zooms by a step, keeping the place under a pixel where it is. */
  zoomBy(step, px = this.width / 2, py = this.height / 2) {
    const before = this.toPlace(px, py);
    this.view.zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, this.view.zoom + step));
    const after = this.toPlace(px, py);
    this.view.lat += before[0] - after[0];
    this.view.lon += before[1] - after[1];
    this.moved();
  }

  panBy(dx, dy) {
    const [lat, lon] = this.toPlace(this.width / 2 - dx, this.height / 2 - dy);
    Object.assign(this.view, { lat, lon });
    this.moved();
  }

  /** Shows all gateways, cells and open alarms. */
  fit(ask = true) {
    let [w, s, e, n] = [Infinity, Infinity, -Infinity, -Infinity];
    const include = (lat, lon) => {
      if (!Number.isFinite(lat) || !Number.isFinite(lon)) return;
      w = Math.min(w, lon); e = Math.max(e, lon); s = Math.min(s, lat); n = Math.max(n, lat);
    };
    for (const g of state.gateways.values()) include(g.lat, g.lon);
    for (const a of state.alarms.values()) if (isOpen(a)) include(a.lat, a.lon);
    for (const c of state.cells.items.values()) { include(c.bbox[1], c.bbox[0]); include(c.bbox[3], c.bbox[2]); }
    if (!(w <= e)) return;
    const wide = (Math.max(e - w, 0.004) / 360) * 256;
    const high = Math.max(latToY(s, 0) - latToY(n, 0), 0.002);
    // The controls cover some of the left and bottom.
    const zoom = Math.min(Math.log2((this.width - 70) / wide), Math.log2(Math.max(80, this.height - 130) / high), 16);
    this.view = { lat: yToLat((latToY(s, 0) + latToY(n, 0)) / 2, 0), lon: (w + e) / 2, zoom };
    this.moved();
    if (ask) this.ask();
  }

  /** Moves to a place, at least this close. */
  flyTo(lat, lon, zoom = 15) {
    if (!Number.isFinite(lat) || !Number.isFinite(lon)) return;
    const goal = { lat, lon, zoom: Math.max(zoom, Math.min(this.view.zoom, 17)) };
    const from = { ...this.view };
    const began = performance.now();
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    const distance = Math.hypot(...this.toPixel(lat, lon).map((v, i) => v - [this.width, this.height][i] / 2));
    cancelAnimationFrame(this.flight);
    const step = () => {
      const u = calm || distance > 4000 ? 1 : Math.min(1, (performance.now() - began) / 450);
      const k = u * u * (3 - 2 * u);
      this.view = { lat: from.lat + (goal.lat - from.lat) * k, lon: from.lon + (goal.lon - from.lon) * k, zoom: from.zoom + (goal.zoom - from.zoom) * k };
      this.moved();
      if (u < 1) this.flight = requestAnimationFrame(step);
    };
    step();
  }

  // ---- hands ----

  bind() {
    const c = this.canvas;
    c.addEventListener('wheel', (e) => {
      e.preventDefault();
      cancelAnimationFrame(this.flight);
      const unit = e.deltaMode === 1 ? 16 : 1;
      this.zoomBy(-Math.max(-240, Math.min(240, e.deltaY * unit)) / 240, e.offsetX, e.offsetY);
    }, { passive: false });
    c.addEventListener('pointerdown', (e) => {
      cancelAnimationFrame(this.flight);
      c.setPointerCapture(e.pointerId);
      this.pointers.set(e.pointerId, { x: e.offsetX, y: e.offsetY });
      if (this.pointers.size === 1) this.press = { x: e.offsetX, y: e.offsetY, far: false };
      else if (this.press) this.press.far = true;
    });
    c.addEventListener('pointermove', (e) => this.onMove(e));
    const up = (e) => {
      const held = this.pointers.delete(e.pointerId);
      if (held && e.type === 'pointerup' && this.press && !this.press.far && this.pointers.size === 0) this.pick(e.offsetX, e.offsetY);
      if (this.pointers.size === 0) this.press = null;
      c.classList.remove('dragging');
    };
    c.addEventListener('pointerup', up);
    c.addEventListener('pointercancel', up);
    c.addEventListener('pointerleave', () => this.showTip(null));
    c.addEventListener('dblclick', (e) => this.zoomBy(1, e.offsetX, e.offsetY));
    c.addEventListener('keydown', (e) => this.onKey(e));
    c.addEventListener('focus', () => { this.keyboard = c.matches(':focus-visible'); this.paint(); });
    c.addEventListener('blur', () => { this.keyboard = false; this.paint(); });
  }

  onMove(e) {
    const old = this.pointers.get(e.pointerId);
    if (!old) { if (e.pointerType === 'mouse') this.showTip(this.hit(e.offsetX, e.offsetY), e.offsetX, e.offsetY); return; }
    const [x, y] = [e.offsetX, e.offsetY];
    if (this.press && Math.hypot(x - this.press.x, y - this.press.y) > CLICK_PX) this.press.far = true;
    if (this.pointers.size === 1) {
      if (this.press?.far) { this.canvas.classList.add('dragging'); this.panBy(x - old.x, y - old.y); } else return;
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== e.pointerId)[1];
      const [before, after] = [Math.hypot(old.x - other.x, old.y - other.y), Math.hypot(x - other.x, y - other.y)];
      this.panBy((x - old.x) / 2, (y - old.y) / 2);
      if (before > 0 && after > 0) this.zoomBy(Math.log2(after / before), (x + other.x) / 2, (y + other.y) / 2);
    }
    this.pointers.set(e.pointerId, { x, y });
  }

  onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const far = e.shiftKey ? 240 : 80;
    const act = {
      ArrowLeft: () => this.panBy(far, 0), ArrowRight: () => this.panBy(-far, 0), ArrowUp: () => this.panBy(0, far), ArrowDown: () => this.panBy(0, -far),
      '+': () => this.zoomBy(0.5), '=': () => this.zoomBy(0.5), '-': () => this.zoomBy(-0.5), Enter: () => this.pick(this.width / 2, this.height / 2),
    }[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }

  /** What is under a pixel: a gateway, else a cell, else nothing. */
  hit(px, py) {
    let best = null;
    let near = GATEWAY_HIT_PX;
    for (const g of state.gateways.values()) {
      if (!Number.isFinite(g.lat)) continue;
      const [x, y] = this.toPixel(g.lat, g.lon);
      const d = Math.hypot(x - px, y - py);
      if (d < near) { near = d; best = { kind: 'gateway', item: g }; }
    }
    if (best) return best;
    const [lat, lon] = this.toPlace(px, py);
    const cell = state.cells.items.get(encode(lat, lon, state.cells.precision));
    return cell ? { kind: 'cell', item: cell } : null;
  }

  pick(px, py) {
    const hit = this.hit(px, py);
    if (hit?.kind === 'gateway') location.hash = `#/gateway/${encodeURIComponent(hit.item.id)}`;
    else if (hit) location.hash = `#/cell/${hit.item.cell}`;
    else if (state.selected?.kind === 'cell') location.hash = '#/alarms';
  }

  showTip(hit, px = 0, py = 0) {
    this.canvas.classList.toggle('over', Boolean(hit));
    const key = hit ? `${hit.kind}/${hit.item.cell ?? hit.item.id}` : null;
    if (key !== this.hover) { this.hover = key; this.paint(); }
    if (!hit) { this.tip.hidden = true; return; }
    this.tip.hidden = false;
    this.tip.replaceChildren(...tooltip(hit));
    const [w, h] = [this.tip.offsetWidth, this.tip.offsetHeight];
    const x = Math.min(px + 14, this.width - w - 8);
    const y = py + 18 + h > this.height ? py - h - 12 : py + 18;
    this.tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  }

  /** Whether all of a cell is far outside the view. */
  outside(box) {
    const [w, s, e, n] = this.bounds();
    return box[2] < w || box[0] > e || box[3] < s || box[1] > n;
  }

  /** Side of the world in pixels. */
  get world() { return worldSize(this.view.zoom); }

  /** The rectangle of the selected cell, or null. */
  get selectedBox() { return state.selected?.kind === 'cell' ? cellBox(state.selected.id) : null; }
}
