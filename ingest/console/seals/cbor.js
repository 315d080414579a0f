// The little CBOR that is signed (RFC 8949 §4.2.1): whole numbers, bytes, texts, lists, maps with ascending numbers for
// keys, true, false, null and tags. There is one spelling of each thing, and every other one is refused: two people who
// read the same bytes must read the same grant.

const MAX_DEPTH = 8; // nothing that is signed is nested deeper

/** Bytes that are not in the one form; `message` says where. For people with tools, so in English only. */
export class NotPlain extends Error {}

/** A tagged value. */
export class Tagged {
  constructor(tag, value) {
    this.tag = tag;
    this.value = value;
  }
}

/** Reads one value and nothing behind it: numbers, `Uint8Array`, strings, arrays, `Map`, booleans, null, `Tagged`. */
export function read(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.at !== bytes.length) throw new NotPlain(`${bytes.length - reader.at} bytes stand behind the end`);
  return value;
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    if (count > this.bytes.length - this.at) throw new NotPlain(`cut short at byte ${this.at}`);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  // The kind of an item, and its number in the shortest spelling.
  head() {
    const start = this.at;
    const [first] = this.take(1);
    const short = first & 31;
    if (short < 24) return [first >> 5, short];
    if (short > 27) throw new NotPlain(`no definite length at byte ${start}`);
    const width = 1 << (short - 24);
    const number = this.take(width).reduce((all, byte) => all * 256 + byte, 0);
    const least = [24, 256, 65536, 4294967296][short - 24];
    // Of kind 7 (simple values and fractions) there is none longer than a byte here.
    if (number < least || first >> 5 === 7) throw new NotPlain(`a longer spelling than needed at byte ${start}`);
    if (!Number.isSafeInteger(number)) throw new NotPlain(`a number beyond 2^53 at byte ${start}`);
    return [first >> 5, number];
  }

  value(depth) {
    const start = this.at;
    if (depth > MAX_DEPTH) throw new NotPlain(`nested too deep at byte ${start}`);
    const [kind, number] = this.head();
    switch (kind) {
      case 0: return number;
      case 1: return -1 - number;
      case 2: return this.take(number);
      case 3: return this.text(number);
      case 4: return this.list(number, depth);
      case 5: return this.map(number, depth);
      case 6: return new Tagged(number, this.value(depth + 1));
      default: {
        const simple = { 20: false, 21: true, 22: null }[number];
        if (simple === undefined) throw new NotPlain(`no value that is known at byte ${start}`);
        return simple;
      }
    }
  }

  text(length) {
    const start = this.at;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.take(length));
    } catch (error) {
      throw error instanceof NotPlain ? error : new NotPlain(`no UTF-8 at byte ${start}`);
    }
  }

  list(count, depth) {
    const items = [];
    // Each item has a byte at least: a count that lies ends at the end of the bytes.
    for (let i = 0; i < count; i += 1) items.push(this.value(depth + 1));
    return items;
  }

  map(count, depth) {
    const entries = new Map();
    let last = -1;
    for (let i = 0; i < count; i += 1) {
      const key = this.value(depth + 1);
      if (!Number.isInteger(key) || key <= last) throw new NotPlain(`keys are no ascending numbers before byte ${this.at}`);
      last = key;
      entries.set(key, this.value(depth + 1));
    }
    return entries;
  }
}

/** The bytes of a value: what `read` reads. */
export function write(value) {
  if (Number.isSafeInteger(value)) return value >= 0 ? head(0, value) : head(1, -1 - value);
  if (value === null || typeof value === 'boolean') return head(7, { false: 20, true: 21, null: 22 }[value]);
  if (value instanceof Uint8Array) return join([head(2, value.length), value]);
  if (typeof value === 'string') {
    const bytes = new TextEncoder().encode(value);
    return join([head(3, bytes.length), bytes]);
  }
  if (Array.isArray(value)) return join([head(4, value.length), ...value.map(write)]);
  if (value instanceof Map) return join([head(5, value.size), ...[...value].flatMap(([key, entry]) => [write(key), write(entry)])]);
  throw new TypeError(`${typeof value} is not written here`);
}

function head(kind, number) {
  if (number < 24) return Uint8Array.of((kind << 5) | number);
  const width = [1, 2, 4, 8].find((bytes) => number < 256 ** bytes);
  const bytes = Uint8Array.from({ length: width }, (_, at) => Math.floor(number / 256 ** (width - 1 - at)) % 256);
  return join([Uint8Array.of((kind << 5) | (24 + Math.log2(width))), bytes]);
}

function join(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}
