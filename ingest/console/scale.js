// Values to colours and to text. The colour scale is viridis: even in lightness, readable with every kind of colour vision.

const STOPS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];

/** The colour `[r, g, b]` at `t` in 0…1. */
export function colourAt(t) {
  const at = Math.max(0, Math.min(1, t)) * (STOPS.length - 1);
  const i = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[i].map((c, k) => Math.round(c + (STOPS[i + 1][k] - c) * (at - i)));
}

const TABLE = Array.from({ length: 256 }, (_, i) => `rgb(${colourAt(i / 255).join(',')})`);

/** The CSS colour of a value in a domain. A domain of one value gets the middle. */
export function colour(value, [min, max]) {
  const t = max > min ? (value - min) / (max - min) : 0.5;
  return TABLE[Math.max(0, Math.min(255, Math.round(t * 255)))];
}

/** Smallest and largest finite value, or null when there is none. */
export function extent(values) {
  let [min, max] = [Infinity, -Infinity];
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    if (v < min) min = v;
    if (v > max) max = v;
  }
  return min <= max ? [min, max] : null;
}

/** About `count` round numbers that span a domain. */
export function ticks(min, max, count) {
  const raw = (max - min) / Math.max(1, count);
  if (!(raw > 0)) return [min];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10);
  const out = [];
  for (let i = Math.ceil(min / step - 1e-9); i * step <= max + step * 1e-9; i += 1) out.push(i * step + 0);
  return out;
}

// UCUM codes as people write them, where the rule below does not do.
const UNITS = {
  Cel: '°C', 1: '', deg: '°', '/min': 'rpm', '%{LEL}': '% LEL', '[ppth]': '‰', 'um/m': 'µε', 'dB[SPL]': 'dB', 'dB[m]': 'dBm',
  'kW.h': 'kWh', 'kV.A': 'kVA', 'kV.A{reactive}': 'kvar',
};

// Brackets go, m3 is m³, u is µ, l is L.
const plainUnit = (unit) => unit.replace(/[[\]]/g, '').replace(/([ms])2$/, '$1²').replace(/m3/, 'm³').replace(/^u/, 'µ')
  .replace('Ohm', 'Ω').replace('.', '·').replace(/(^|\/)l(?=\/|$)/, '$1L');

/** A UCUM unit as shown to people; unknown ones as they are. */
export const unitText = (unit) => (unit == null ? '' : UNITS[unit] ?? plainUnit(unit));

// `+ 0` below turns −0 into 0: nobody reads a negative zero.

/** A number with sensible digits: four significant, no exponent in the usual range, `—` for none. */
export function numberText(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—';
  const abs = Math.abs(value);
  if (abs !== 0 && (abs >= 1e9 || abs < 1e-4)) return value.toExponential(2);
  const digits = abs >= 1000 ? 0 : abs >= 100 ? 1 : abs >= 1 ? 2 : 3;
  return (Number(value.toFixed(digits)) + 0).toLocaleString('en-US', { maximumFractionDigits: digits }).replace(/,/g, '\u202f').replace('-', '\u2212');
}

/** Numbers of one scale, all with the digits that its span needs. */
export function scaleText(value, [min, max]) {
  const span = max - min;
  if (!(span > 0) || span < 1e-4 || span >= 1e6) return numberText(value);
  return value.toFixed(Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(span))))).replace(/^-(0\.?0*)$/, '$1').replace('-', '\u2212');
}

/** A value with its unit, joined so that a line break cannot part them. */
export function valueText(value, unit) {
  const u = unitText(unit);
  const n = numberText(value);
  return u && n !== '—' ? `${n}\u00a0${u}` : n;
}

/** A count, short from a million on: `1.25 M`. */
export function countText(count) {
  if (count === null || count === undefined) return '—';
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)}\u202fG`;
  if (count >= 1e7) return `${(count / 1e6).toFixed(2)}\u202fM`;
  return Math.round(count).toLocaleString('en-US').replace(/,/g, '\u202f');
}
