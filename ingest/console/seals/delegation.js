// A delegation, read from the very bytes that are signed, and what was asked for held against them. The form is the one of
// firmware/seal/src/delegation.rs.
import { isBytes, isCount, isText, isTexts, readFields } from './grant.js';

const VERSION = 1;
const FIELDS = [
  ['version', (value) => value === VERSION], ['id', isBytes(16)], ['seal', isText], ['from', isText], ['to', isText], ['matters', isTexts], ['fromS', isCount], ['untilS', isCount],
];

/** Reads a delegation. Throws `NotPlain` for anything else, one unknown field included. */
export const readDelegation = (bytes) => readFields(bytes, FIELDS, 'delegation');

/** Names of the fields in which what would be signed differs from what `person` has asked for. Empty when the server is honest. */
export function otherThanAsked(delegation, person, asked) {
  const pairs = {
    seal: [delegation.seal, asked.seal], from: [delegation.from, person], to: [delegation.to, asked.to], matters: [[...delegation.matters].sort(), [...asked.matters].sort()],
    // Who says nothing means now, by the server's clock.
    begins: [asked.from_ms === null ? null : delegation.fromS, asked.from_ms === null ? null : Math.floor(asked.from_ms / 1000)], until: [delegation.untilS, Math.floor(asked.until_ms / 1000)],
  };
  return Object.keys(pairs).filter((name) => JSON.stringify(pairs[name][0]) !== JSON.stringify(pairs[name][1]));
}
