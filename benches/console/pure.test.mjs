// The console's pure modules against known values: geohash, projection, datum shift, numbers.
//   node --test benches/console/
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import test from 'node:test';

// The console's files are modules for a browser and lie outside this package: they are loaded by their text.
const load = async (name) => import(`data:text/javascript;base64,${(await readFile(new URL(`../../ingest/console/${name}`, import.meta.url))).toString('base64')}`);
const [geohash, mercator, scale] = await Promise.all(['geohash.js', 'mercator.js', 'scale.js'].map(load));
const near = (a, b, within) => assert.ok(Math.abs(a - b) <= within, `${a} is not within ${within} of ${b}`);

test('geohash of a published place, and back', () => {
  assert.equal(geohash.encode(57.64911, 10.40744, 11), 'u4pruydqqvj');
  const [w, s, e, n] = geohash.bbox('u4pruydqqvj');
  assert.ok(w <= 10.40744 && 10.40744 < e && s <= 57.64911 && 57.64911 < n);
  assert.equal(geohash.bbox('abc'), null, 'the letter a is not in the alphabet');
});

test('a cell has the size its precision says and holds its children', () => {
  for (const precision of [5, 6, 7]) {
    const cell = geohash.encode(30.66, 104.05, precision);
    const [w, s, e, n] = geohash.bbox(cell);
    const [wide, high] = geohash.span(precision);
    near(e - w, wide, 1e-12);
    near(n - s, high, 1e-12);
    assert.ok(geohash.encode(30.66, 104.05, precision + 1).startsWith(cell));
  }
});

test('projection there and back; the pole does not escape', () => {
  for (const [lat, lon] of [[30.66, 104.05], [-45, -170], [0, 0]]) {
    near(mercator.yToLat(mercator.latToY(lat, 14), 14), lat, 1e-9);
    near(mercator.xToLon(mercator.lonToX(lon, 14), 14), lon, 1e-9);
  }
  near(mercator.latToY(90, 0), 0, 1e-6);
  near(mercator.metresPerPixel(0, 0), 156543.03, 0.01);
});

test('GCJ-02 of a published pair; outside China nothing moves', () => {
  const [lat, lon] = mercator.toGcj02(31.1774276, 121.5272106);
  near(lat, 31.17530398364597, 1e-6);
  near(lon, 121.531541859215, 1e-6);
  assert.deepEqual(mercator.toGcj02(51.5, -0.12), [51.5, -0.12]);
});

test('numbers and units as people write them', () => {
  assert.equal(scale.numberText(0), '0');
  assert.equal(scale.numberText(-0.00001 * 10), '0', 'no negative zero');
  assert.equal(scale.numberText(-12.345), '−12.35');
  assert.equal(scale.numberText(12345.6), '12\u202f346');
  assert.equal(scale.numberText(null), '—', 'a fault is never zero');
  assert.equal(scale.valueText(21.5, 'Cel'), '21.5\u00a0°C');
  assert.equal(scale.valueText(null, 'Cel'), '—');
  assert.equal(scale.unitText('1'), '');
  assert.equal(scale.countText(12345678), '12.35\u202fM');
});

test('every unit of the catalogue is shown as people write it', async () => {
  for (const [unit, shown] of [['m3/s', 'm³/s'], ['m/s2', 'm/s²'], ['[ppm].m', 'ppm·m'], ['ug/l', 'µg/L'], ['lx', 'lx'], ['MOhm', 'MΩ'], ['[pH]', 'pH'], ['kV.A{reactive}', 'kvar']]) {
    assert.equal(scale.unitText(unit), shown);
  }
  const folder = new URL('../../configs/quantities/', import.meta.url);
  const texts = await Promise.all((await readdir(folder)).map((file) => readFile(new URL(file, folder), 'utf8')));
  const units = new Set(texts.flatMap((text) => [...text.matchAll(/^unit = "(.*)"$/gm)].map((found) => found[1])));
  assert.ok(units.size > 30, 'the catalogue was not read');
  for (const unit of units) assert.doesNotMatch(scale.unitText(unit), /[[\]{}0-9.]|^u|Ohm/, unit);
});

test('ticks are round and inside; the colour scale has distinct ends', () => {
  assert.deepEqual(scale.ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  for (const tick of scale.ticks(-3.7, 4.2, 4)) assert.ok(tick >= -3.7 && tick <= 4.2);
  assert.deepEqual(scale.ticks(5, 5, 4), [5]);
  assert.equal(scale.extent([NaN, Infinity]), null);
  assert.notEqual(scale.colour(0, [0, 1]), scale.colour(1, [0, 1]));
  assert.deepEqual(scale.colourAt(-1), scale.colourAt(0));
});
