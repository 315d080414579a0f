// The chart of one sensor on a canvas. A gap in the data is a gap in the line; a fault is a marked stretch, never a zero;
// doubted points are marked; values outside the sensor's range are shown at the edge without squashing the rest.
import { el } from './dom.js';
import { t, word } from './i18n.js';
import { extent, numberText, ticks, unitText, valueText } from './scale.js';
import { clockText, dateTimeText, minuteText, now } from './time.js';

const PAD = { left: 52, right: 12, top: 14, bottom: 24 };
const GAP_FACTOR = 3.5; // this many usual intervals without a reading are a gap
const MIN_GAP_MS = 2500;

export class Chart {
  constructor() {
    this.canvas = el('canvas', { class: 'chart', tabindex: '0', role: 'img' });
    this.readout = el('div', { class: 'readout', hidden: true });
    this.node = el('div', { class: 'chart-box' }, this.canvas, this.readout);
    this.data = { readings: [], spanMs: 600000, unit: '', limits: [], sampledBefore: null, loading: true };
    this.at = null;
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.node);
    const point = (e) => { this.at = this.timeAt(e.offsetX); this.draw(); };
    this.canvas.addEventListener('pointermove', point);
    this.canvas.addEventListener('pointerdown', point);
    const leave = () => { this.at = null; this.draw(); };
    this.canvas.addEventListener('pointerleave', leave);
    this.canvas.addEventListener('blur', leave);
    this.canvas.addEventListener('keydown', (e) => this.onKey(e));
  }

  /** Shows data: `{readings, spanMs, unit, limits: [{value, level}], sampledBefore, loading}`; the right edge is now. */
  set(data) {
    Object.assign(this.data, data);
    this.gapMs = gapOf(this.data);
    this.draw();
  }

  /** Ends it. */
  close() { this.observer.disconnect(); }

  timeAt(px) { return this.from + ((px - PAD.left) / (this.width - PAD.left - PAD.right)) * (this.to - this.from); }

  onKey(e) {
    const { readings } = this.data;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[e.key];
    if (!readings.length || (step === undefined && e.key !== 'Home' && e.key !== 'End' && e.key !== 'Escape')) return;
    e.preventDefault();
    if (e.key === 'Escape') this.at = null;
    else {
      const index = this.at === null ? readings.length - 1 : nearest(readings, this.at) + (step ?? 0);
      const to = e.key === 'Home' ? 0 : e.key === 'End' ? readings.length - 1 : index;
      this.at = readings[Math.max(0, Math.min(readings.length - 1, to))].at_ms;
    }
    this.draw();
  }

  draw() {
    const [w, h] = [this.node.clientWidth, this.node.clientHeight];
    if (!w || !h) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.width = w;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    const ctx = this.canvas.getContext('2d');
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, w, h);
    const css = getComputedStyle(document.documentElement);
    this.paint = Object.fromEntries(['ink', 'dim', 'line', 'accent', 'accent-soft', 'panel', 'suspect', 'fault', 'blue', 'yellow', 'orange', 'red'].map((n) => [n, css.getPropertyValue(`--${n}`).trim()]));
    this.to = now();
    this.from = this.to - this.data.spanMs;
    const shown = this.data.readings.filter((r) => r.at_ms >= this.from && r.at_ms <= this.to + 5000);
    this.scale(shown, h);
    this.axes(ctx, w, h);
    this.sampled(ctx, h);
    this.faults(ctx, shown, h);
    ctx.save();
    ctx.beginPath();
    ctx.rect(PAD.left, 0, w - PAD.left - PAD.right, h);
    ctx.clip();
    this.line(ctx, shown, h);
    this.marks(ctx, shown, h);
    ctx.restore();
    this.limits(ctx, w);
    this.crosshair(ctx, shown, w, h);
    if (!shown.length) {
      ctx.fillStyle = this.paint.dim;
      ctx.textAlign = 'center';
      ctx.font = '13px system-ui, sans-serif';
      ctx.fillText(t(this.data.loading ? 'loading' : 'chart.empty'), PAD.left + (w - PAD.left - PAD.right) / 2, h / 2);
    }
  }

  // The values set the axis; a limit joins it while it does not squash them; out-of-range values do not.
  scale(shown, h) {
    let [min, max] = extent(shown.filter((r) => r.quality === 'good' || r.quality === 'suspect').map((r) => r.value)) ?? [0, 1];
    const reach = Math.max(max - min, Math.abs(max) * 0.1, 1e-6) * 3;
    for (const { value } of this.data.limits) if (value >= min - reach && value <= max + reach) { min = Math.min(min, value); max = Math.max(max, value); }
    const room = max > min ? (max - min) * 0.08 : Math.abs(max) * 0.05 || 0.5;
    [this.min, this.max] = [min - room, max + room];
    const inner = h - PAD.top - PAD.bottom;
    this.y = (v) => PAD.top + (1 - (v - this.min) / (this.max - this.min)) * inner;
    this.x = (ms) => PAD.left + ((ms - this.from) / (this.to - this.from)) * (this.width - PAD.left - PAD.right);
  }

  axes(ctx, w, h) {
    const { dim, line } = this.paint;
    ctx.font = '11px system-ui, sans-serif';
    ctx.lineWidth = 1;
    ctx.strokeStyle = line;
    ctx.fillStyle = dim;
    ctx.textAlign = 'right';
    ctx.textBaseline = 'middle';
    ctx.beginPath();
    for (const v of ticks(this.min, this.max, h / 48)) {
      const y = Math.round(this.y(v)) + 0.5;
      ctx.moveTo(PAD.left, y);
      ctx.lineTo(w - PAD.right, y);
      ctx.fillText(numberText(v), PAD.left - 6, y);
    }
    ctx.stroke();
    const unit = unitText(this.data.unit);
    if (unit) { ctx.textBaseline = 'top'; ctx.fillText(unit, PAD.left - 6, 0); }
    ctx.textAlign = 'center';
    ctx.textBaseline = 'top';
    ctx.beginPath();
    const step = timeStep((this.to - this.from) / Math.max(2, w / 95));
    const zone = new Date(this.to).getTimezoneOffset() * 60000;
    for (let ms = Math.ceil((this.from - zone) / step) * step + zone; ms <= this.to; ms += step) {
      const x = Math.round(this.x(ms)) + 0.5;
      ctx.moveTo(x, PAD.top);
      ctx.lineTo(x, h - PAD.bottom);
      if (x > PAD.left + 12 && x < w - PAD.right - 8) ctx.fillText(minuteText(ms), x, h - PAD.bottom + 7);
    }
    ctx.stroke();
  }

  sampled(ctx, h) {
    const { sampledBefore } = this.data;
    if (sampledBefore === null || sampledBefore <= this.from) return;
    ctx.fillStyle = this.paint.line;
    ctx.globalAlpha = 0.35;
    ctx.fillRect(PAD.left, PAD.top, this.x(sampledBefore) - PAD.left, h - PAD.top - PAD.bottom);
    ctx.globalAlpha = 1;
  }

  // The stretch from a fault to the next reading that is none.
  faults(ctx, shown, h) {
    ctx.fillStyle = this.paint.fault;
    for (let i = 0; i < shown.length; i += 1) {
      if (shown[i].quality !== 'fault') continue;
      let j = i;
      while (j + 1 < shown.length && shown[j + 1].quality === 'fault') j += 1;
      const end = Math.min(j + 1 < shown.length ? shown[j + 1].at_ms : this.to, shown[j].at_ms + this.gapMs);
      const [x0, x1] = [this.x(shown[i].at_ms), Math.max(this.x(end), this.x(shown[i].at_ms) + 3)];
      ctx.globalAlpha = 0.16;
      ctx.fillRect(x0, PAD.top, x1 - x0, h - PAD.top - PAD.bottom);
      ctx.globalAlpha = 1;
      ctx.fillRect(x0, h - PAD.bottom - 4, x1 - x0, 4);
      if (x1 - x0 > 34) {
        ctx.textAlign = 'left';
        ctx.textBaseline = 'bottom';
        ctx.font = '11px system-ui, sans-serif';
        ctx.fillText(word('quality.', 'fault'), x0 + 4, h - PAD.bottom - 6);
      }
      i = j;
    }
  }

  line(ctx, shown, h) {
    const usable = (r) => r.value !== null && (r.quality === 'good' || r.quality === 'suspect');
    const runs = [];
    let run = null;
    let last = -Infinity;
    for (const r of shown) {
      if (!usable(r)) { run = null; continue; }
      if (!run || r.at_ms - last > this.gapAt(r.at_ms)) { run = []; runs.push(run); }
      run.push([this.x(r.at_ms), this.y(r.value)]);
      last = r.at_ms;
    }
    const floor = h - PAD.bottom;
    const dense = shown.length > this.width * 2;
    ctx.lineJoin = 'round';
    for (const points of runs) {
      const path = new Path2D();
      const drawn = dense ? thin(points) : points;
      drawn.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
      const area = new Path2D(path);
      area.lineTo(drawn.at(-1)[0], floor);
      area.lineTo(drawn[0][0], floor);
      ctx.fillStyle = this.paint['accent-soft'];
      ctx.fill(area);
      ctx.strokeStyle = this.paint.accent;
      ctx.lineWidth = 1.7;
      ctx.stroke(path);
      if (points.length === 1 || shown.length < this.width / 8) {
        ctx.fillStyle = this.paint.accent;
        for (const [x, y] of points) { ctx.beginPath(); ctx.arc(x, y, 2.3, 0, Math.PI * 2); ctx.fill(); }
      }
    }
  }

  gapAt(ms) {
    const { sampledBefore } = this.data;
    return sampledBefore !== null && ms <= sampledBefore + this.gapMs ? Math.max(this.gapMs, this.data.spanMs / 30) : this.gapMs;
  }

  marks(ctx, shown, h) {
    ctx.lineWidth = 1.6;
    for (const r of shown) {
      if (r.value === null || (r.quality !== 'suspect' && r.quality !== 'out_of_range')) continue;
      const x = this.x(r.at_ms);
      ctx.beginPath();
      if (r.quality === 'suspect') {
        const y = this.y(r.value);
        ctx.strokeStyle = this.paint.suspect;
        ctx.fillStyle = this.paint.panel;
        ctx.moveTo(x, y - 5); ctx.lineTo(x + 5, y); ctx.lineTo(x, y + 5); ctx.lineTo(x - 5, y);
      } else { // an arrow at the edge it left by
        const up = r.value > (this.min + this.max) / 2;
        const [tip, base] = up ? [PAD.top, PAD.top + 8] : [h - PAD.bottom, h - PAD.bottom - 8];
        ctx.strokeStyle = this.paint.fault;
        ctx.fillStyle = this.paint.fault;
        ctx.moveTo(x, tip); ctx.lineTo(x + 5, base); ctx.lineTo(x - 5, base);
      }
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
    }
  }

  limits(ctx, w) {
    ctx.font = '11px system-ui, sans-serif';
    for (const { value, level } of this.data.limits) {
      if (value < this.min || value > this.max) continue;
      const y = Math.round(this.y(value)) + 0.5;
      ctx.strokeStyle = this.paint[level] ?? this.paint.red;
      ctx.lineWidth = 1.5;
      ctx.setLineDash([6, 4]);
      ctx.beginPath();
      ctx.moveTo(PAD.left, y);
      ctx.lineTo(w - PAD.right, y);
      ctx.stroke();
      ctx.setLineDash([]);
      const below = y < PAD.top + 16;
      const at = [`${word('level.', level)} ${t('chart.limit')} ${valueText(value, this.data.unit)}`, w - PAD.right - 4, y + (below ? 3 : -3)];
      ctx.textAlign = 'right';
      ctx.textBaseline = below ? 'top' : 'bottom';
      ctx.strokeStyle = this.paint.panel;
      ctx.lineWidth = 4;
      ctx.lineJoin = 'round';
      ctx.strokeText(...at);
      ctx.fillStyle = this.paint.ink;
      ctx.fillText(...at);
    }
  }

  crosshair(ctx, shown, w, h) {
    this.readout.hidden = this.at === null || !shown.length;
    if (this.readout.hidden) return;
    const r = shown[nearest(shown, this.at)];
    const x = this.x(r.at_ms);
    ctx.strokeStyle = this.paint.ink;
    ctx.lineWidth = 1;
    ctx.globalAlpha = 0.55;
    ctx.beginPath();
    ctx.moveTo(Math.round(x) + 0.5, PAD.top);
    ctx.lineTo(Math.round(x) + 0.5, h - PAD.bottom);
    ctx.stroke();
    ctx.globalAlpha = 1;
    if (r.value !== null && r.value >= this.min && r.value <= this.max) {
      ctx.beginPath();
      ctx.arc(x, this.y(r.value), 4.5, 0, Math.PI * 2);
      ctx.fillStyle = this.paint.panel;
      ctx.strokeStyle = this.paint.accent;
      ctx.lineWidth = 2;
      ctx.fill();
      ctx.stroke();
    }
    const value = r.quality === 'fault' ? word('quality.', 'fault') : valueText(r.value, this.data.unit);
    const when = this.data.spanMs > 43200000 ? dateTimeText(r.at_ms) : clockText(r.at_ms);
    this.readout.replaceChildren(el('strong', { text: value }), el('span', { text: when }),
      r.quality === 'good' || r.quality === 'fault' ? '' : el('span', { class: 'quality', text: word('quality.', r.quality) }));
    const left = x > w / 2 ? x - this.readout.offsetWidth - 10 : x + 10;
    this.readout.style.transform = `translate(${Math.round(Math.max(2, left))}px, 0)`;
  }
}

// Keeps first, last, lowest and highest of each pixel column: spikes survive.
function thin(points) {
  const out = [];
  let column = null;
  const close = () => { if (column) for (const p of [...new Set([column.first, column.low, column.high, column.last])].sort((a, b) => a[0] - b[0])) out.push(p); };
  for (const p of points) {
    const x = Math.floor(p[0]);
    if (!column || column.x !== x) { close(); column = { x, first: p, low: p, high: p, last: p }; }
    column.last = p;
    if (p[1] < column.low[1]) column.low = p;
    if (p[1] > column.high[1]) column.high = p;
  }
  close();
  return out;
}

function gapOf({ readings, sampledBefore }) {
  const steps = [];
  for (let i = Math.max(1, readings.length - 400); i < readings.length; i += 1) {
    if (sampledBefore === null || readings[i - 1].at_ms >= sampledBefore) steps.push(readings[i].at_ms - readings[i - 1].at_ms);
  }
  steps.sort((a, b) => a - b);
  return Math.max(MIN_GAP_MS, (steps[Math.floor(steps.length / 2)] ?? 60000) * GAP_FACTOR);
}

function nearest(readings, ms) {
  let [low, high] = [0, readings.length - 1];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (readings[mid].at_ms < ms) low = mid + 1; else high = mid;
  }
  return low > 0 && ms - readings[low - 1].at_ms < readings[low].at_ms - ms ? low - 1 : low;
}

const timeStep = (raw) => [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200].map((s) => s * 1000).find((s) => s >= raw) ?? 86400000;
