// The optional base map: raster tiles from an address the site or the user gives. Without one nothing is fetched.
import { lonToX, latToY, toGcj02 } from './mercator.js';
import { mark, recall } from './store.js';

const MAX_CACHED = 256; // tiles kept decoded: about 64 MB at worst
const cache = new Map();

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? '';

/** The base map in force: `{url, attribution, datum}`; `url` is empty when there is none. */
export function tileSettings() {
  return recall('tiles', null) ?? { url: meta('watchfire-tiles'), attribution: meta('watchfire-attribution'), datum: 'wgs84' };
}

let settings = tileSettings();

/** Takes changed settings into use. */
export function reloadTiles() {
  settings = tileSettings();
  cache.clear();
  mark('map');
}

/** Whether there is a base map. */
export const tilesOn = () => /^https?:\/\/|^\//.test(settings.url);

function tile(z, x, y) {
  const key = `${z}/${x}/${y}`;
  let image = cache.get(key);
  if (image) { cache.delete(key); cache.set(key, image); return image; }
  image = new Image();
  image.referrerPolicy = 'no-referrer';
  image.onload = () => mark('map');
  image.src = settings.url.replace('{z}', z).replace('{x}', x).replace('{y}', y).replace('{s}', 'abc'[(x + y) % 3]);
  cache.set(key, image);
  if (cache.size > MAX_CACHED) cache.delete(cache.keys().next().value);
  return image;
}

/** Draws the tiles under the view; in GCJ-02 they are moved by the shift at the centre, exact to a metre over a city. */
export function drawTiles(ctx, map, dark) {
  const { zoom } = map.view;
  const z = Math.max(0, Math.min(18, Math.round(zoom)));
  const size = 256 * 2 ** (zoom - z);
  const [lat, lon] = settings.datum === 'gcj02' ? toGcj02(map.view.lat, map.view.lon) : [map.view.lat, map.view.lon];
  const [left, top] = [lonToX(lon, zoom) - map.width / 2, latToY(lat, zoom) - map.height / 2];
  const count = 2 ** z;
  ctx.globalAlpha = dark ? 0.55 : 0.85;
  for (let ty = Math.floor(top / size); ty * size < top + map.height; ty += 1) {
    if (ty < 0 || ty >= count) continue;
    for (let tx = Math.floor(left / size); tx * size < left + map.width; tx += 1) {
      const image = tile(z, ((tx % count) + count) % count, ty);
      if (image.complete && image.naturalWidth) ctx.drawImage(image, tx * size - left, ty * size - top, size + 0.5, size + 0.5);
    }
  }
  ctx.globalAlpha = 1;
}
