// A grant, read from the very bytes that are signed, and what a server says of it held against them. The form is the
// one of firmware/seal/src/grant.rs.
import { hex, unbase64 } from './bytes.js';
import { NotPlain, read } from './cbor.js';

const VERSION = 1;
const SHA_256 = -16; // RFC 9054 §2
const SM3 = -66401; // for private use, see firmware/seal/src/grant.rs
const HASHES = { [SHA_256]: 'SHA-256', [SM3]: 'SM3' };
const EARTH = ['wgs84', 'cgcs2000']; // within centimetres of each other: the API does not say which
const DATUMS = [...EARTH, 'gcj02', 'bd09'];

/** What a field may have to be. */
export const isCount = (value) => Number.isInteger(value) && value >= 0;
export const isText = (value) => typeof value === 'string' && value !== '';
export const isBytes = (length) => (value) => value instanceof Uint8Array && value.length === length;
const isBoolean = (value) => typeof value === 'boolean';
const isPlace = (value) => Array.isArray(value) && value.length === 4 && value.every(Number.isInteger) && value[0] in DATUMS;
const isEvidence = (value) => Array.isArray(value) && value.length === 3 && value.every(isBoolean);
export const isTexts = (value) => Array.isArray(value) && value.every(isText);

// By number: name, what it has to be, whether it may be missing.
const FIELDS = [
  ['version', (value) => value === VERSION], ['id', isBytes(16)], ['seal', isText], ['sequence', isCount], ['matter', isText],
  ['applicant', isText], ['document', isBytes(32)], ['pages', isCount], ['uses', isCount], ['notBeforeS', isCount], ['expiresS', isCount],
  ['fence', isPlace, true], ['evidence', isEvidence], ['minEpoch', isCount], ['nonce', isBytes(16), true], ['policy', isCount],
  ['isTest', isBoolean], ['operators', isTexts], ['hash', (value) => Object.hasOwn(HASHES, value)],
];

/** How the document of a grant was digested, in a word. */
export const hashName = (grant) => HASHES[grant.hash];

/** Whether a browser can digest the document of a grant. */
export const isDigestible = (grant) => grant.hash === SHA_256;

/** Reads a map of such fields, bytes as hexadecimal digits. Throws `NotPlain` for anything else, one unknown field included. */
export function readFields(bytes, fields, what) {
  const map = read(bytes);
  if (!(map instanceof Map)) throw new NotPlain(`it is no ${what}`);
  for (const key of map.keys()) if (!(key in fields)) throw new NotPlain(`field ${key} is not known here: this console is older than the ${what}`);
  const thing = {};
  fields.forEach(([name, fits, mayMiss], key) => {
    const value = map.get(key) ?? null;
    if (value === null ? !mayMiss : !fits(value)) throw new NotPlain(`field ${key} (${name}) is missing or impossible`);
    thing[name] = value instanceof Uint8Array ? hex(value) : value;
  });
  return thing;
}

/** Reads a grant; bytes and places as people read them. Throws `NotPlain` for anything else. */
export function readGrant(bytes) {
  const grant = readFields(bytes, FIELDS, 'grant');
  const [before, after, person] = grant.evidence;
  grant.evidence = { before, after, person };
  if (grant.fence) {
    const [datum, latE7, lonE7, radiusM] = grant.fence;
    grant.fence = { datum: DATUMS[datum], lat: latE7 / 1e7, lon: lonE7 / 1e7, radiusM };
  }
  return grant;
}

/** The grant of an application as the API tells it. Throws `NotPlain`. */
export function grantOf(application) {
  const bytes = unbase64(application.payload);
  if (!bytes) throw new NotPlain('the grant is no base64');
  return { bytes, grant: readGrant(bytes) };
}

/** Names of the fields in which what the server says differs from what would be signed. Empty when it is honest. */
export function differences(grant, application) {
  const { fence } = application;
  const pairs = {
    id: [grant.id, application.grant], seal: [grant.seal, application.seal], matter: [grant.matter, application.matter],
    applicant: [grant.applicant, application.applicant], document: [grant.document, application.document], hash: [hashName(grant).toLowerCase(), application.hash], pages: [grant.pages, application.pages],
    uses: [grant.uses, application.copies], notBeforeS: [grant.notBeforeS * 1000, application.not_before_ms], expiresS: [grant.expiresS * 1000, application.expires_ms],
    fence: [grant.fence && [...(EARTH.includes(grant.fence.datum) ? [] : [grant.fence.datum]), grant.fence.lat, grant.fence.lon, grant.fence.radiusM], fence && [fence.lat, fence.lon, fence.radius_m]], operators: [grant.operators, application.operators],
    evidence: [Object.values(grant.evidence), [application.before, application.after, application.person]],
  };
  return Object.keys(pairs).filter((name) => JSON.stringify(pairs[name][0]) !== JSON.stringify(pairs[name][1]));
}
