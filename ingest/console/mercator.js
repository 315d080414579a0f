// Web Mercator and datums. Pure functions; degrees in, pixels of a 256-pixel world at zoom 0 out.

/** World height and width in pixels at a zoom. */
export const worldSize = (zoom) => 256 * 2 ** zoom;

/** Longitude to world x at a zoom. */
export const lonToX = (lon, zoom) => ((lon + 180) / 360) * worldSize(zoom);

/** Latitude to world y at a zoom; clamped at ±85.05°, where the projection ends. */
export function latToY(lat, zoom) {
  const sin = Math.sin((Math.max(-85.05112878, Math.min(85.05112878, lat)) * Math.PI) / 180);
  return (0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI)) * worldSize(zoom);
}

/** World x to longitude. */
export const xToLon = (x, zoom) => (x / worldSize(zoom)) * 360 - 180;

/** World y to latitude. */
export function yToLat(y, zoom) {
  const n = Math.PI - (2 * Math.PI * y) / worldSize(zoom);
  return (180 / Math.PI) * Math.atan(0.5 * (Math.exp(n) - Math.exp(-n)));
}

/** Metres on the ground under one pixel. */
export const metresPerPixel = (lat, zoom) => (40075016.686 * Math.cos((lat * Math.PI) / 180)) / worldSize(zoom);

/**
 * WGS-84 to GCJ-02, the datum of Chinese street maps. Watchfire's data stay WGS-84; only base-map tiles that are drawn in
 * GCJ-02 are moved under them. Returns `[lat, lon]`; outside China the two are the same.
 */
export function toGcj02(lat, lon) {
  if (lon < 72.004 || lon > 137.8347 || lat < 0.8293 || lat > 55.8271) return [lat, lon];
  const x = lon - 105;
  const y = lat - 35;
  const sin = (v) => Math.sin(v * Math.PI);
  const wave = (20 * sin(6 * x) + 20 * sin(2 * x)) * (2 / 3);
  let dLat = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * Math.sqrt(Math.abs(x)) + wave;
  dLat += ((20 * sin(y) + 40 * sin(y / 3)) * 2) / 3 + ((160 * sin(y / 12) + 320 * sin(y / 30)) * 2) / 3;
  let dLon = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * Math.sqrt(Math.abs(x)) + wave;
  dLon += ((20 * sin(x) + 40 * sin(x / 3)) * 2) / 3 + ((150 * sin(x / 12) + 300 * sin(x / 30)) * 2) / 3;
  const a = 6378245;
  const ee = 0.00669342162296594323;
  const phi = (lat * Math.PI) / 180;
  const magic = 1 - ee * Math.sin(phi) ** 2;
  dLat = (dLat * 180) / (((a * (1 - ee)) / (magic * Math.sqrt(magic))) * Math.PI);
  dLon = (dLon * 180) / ((a / Math.sqrt(magic)) * Math.cos(phi) * Math.PI);
  return [lat + dLat, lon + dLon];
}
