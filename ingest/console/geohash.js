// Geohash cells: the key of space in the pool. Pure functions.

const BASE32 = '0123456789bcdefghjkmnpqrstuvwxyz';

/** The rectangle `[west, south, east, north]` in degrees of a geohash, or null if it is not one. */
export function bbox(cell) {
  let [west, south, east, north] = [-180, -90, 180, 90];
  let even = true;
  for (const letter of cell) {
    const bits = BASE32.indexOf(letter);
    if (bits < 0) return null;
    for (let mask = 16; mask > 0; mask >>= 1) {
      if (even) {
        const mid = (west + east) / 2;
        if (bits & mask) west = mid; else east = mid;
      } else {
        const mid = (south + north) / 2;
        if (bits & mask) south = mid; else north = mid;
      }
      even = !even;
    }
  }
  return [west, south, east, north];
}

/** The geohash of a place at a precision (letters). */
export function encode(lat, lon, precision) {
  let [west, south, east, north] = [-180, -90, 180, 90];
  let cell = '';
  let even = true;
  while (cell.length < precision) {
    let bits = 0;
    for (let i = 0; i < 5; i += 1) {
      bits <<= 1;
      if (even) {
        const mid = (west + east) / 2;
        if (lon >= mid) { bits |= 1; west = mid; } else east = mid;
      } else {
        const mid = (south + north) / 2;
        if (lat >= mid) { bits |= 1; south = mid; } else north = mid;
      }
      even = !even;
    }
    cell += BASE32[bits];
  }
  return cell;
}

/** Width and height in degrees of a cell of this precision. */
export function span(precision) {
  const bits = precision * 5;
  return [360 / 2 ** Math.ceil(bits / 2), 180 / 2 ** Math.floor(bits / 2)];
}
