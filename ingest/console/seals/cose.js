// What is signed, and by which key: COSE_Sign (RFC 9052 §4) in the one form that seals take.
import { base64url, same, sha256, unbase64url } from './bytes.js';
import { NotPlain, Tagged, read, write } from './cbor.js';

const ED25519 = -19; // RFC 9864 §2.2
const SM2 = -66501; // for private use, see firmware/seal/src/keys.rs
// What a key of each algorithm is called and how long it is. SM2 can only be shown here: no browser verifies it.
const KEYS = { [ED25519]: { word: 'ed25519', before: '', length: 32 }, [SM2]: { word: 'sm2', before: 'sm2:', length: 33 } };
const COSE_SIGN = 98;
const [ALGORITHM, CONTENT_TYPE, KEY_ID] = [1, 3, 4]; // RFC 9052 §3.1

const bodyHeader = (kind) => write(new Map([[CONTENT_TYPE, `application/vnd.watchfire.${kind}+cbor`]]));
const signerHeader = (keyId) => write(new Map([[ALGORITHM, ED25519], [KEY_ID, keyId]]));

/** The name of a key: the first eight bytes of the digest of its algorithm's word and its bytes. */
export async function keyId(publicKey, algorithm = ED25519) {
  return (await sha256(new Uint8Array([...new TextEncoder().encode(KEYS[algorithm].word), ...publicKey]))).subarray(0, 8);
}

/** The text of a key of this number's algorithm; null when it is none that is known. */
export function keyText(algorithm, bytes) {
  const known = Object.hasOwn(KEYS, algorithm) ? KEYS[algorithm] : null;
  return known && bytes instanceof Uint8Array && bytes.length === known.length ? known.before + base64url(bytes) : null;
}

/** Reads the text of a key: `{algorithm, bytes, isVerifiable}`; null when it is none. */
export function readKey(text) {
  const algorithm = text.startsWith(KEYS[SM2].before) ? SM2 : ED25519;
  const bytes = unbase64url(text.slice(KEYS[algorithm].before.length));
  return bytes?.length === KEYS[algorithm].length ? { algorithm, bytes, isVerifiable: algorithm === ED25519 } : null;
}

/** Whether there is a signature that claims to be of this key. */
export async function isClaimedBy({ algorithm, bytes }, { signatures }) {
  const id = await keyId(bytes, algorithm);
  return signatures.some((one) => one.algorithm === algorithm && same(one.keyId, id));
}

/** The bytes that the owner of a key signs: the Sig_structure of RFC 9052 §4.4. `kind` is `grant`, `delegation` or `policy`. */
export const toBeSigned = (kind, id, payload) => write(['Signature', bodyHeader(kind), signerHeader(id), new Uint8Array(), payload]);

/** Opens signed bytes of a kind: `{payload, signatures: [{algorithm, keyId, signature}]}`. Who must have signed is for the reader to ask. */
export function open(kind, bytes) {
  const cose = read(bytes);
  const parts = cose instanceof Tagged && cose.tag === COSE_SIGN && Array.isArray(cose.value) && cose.value.length === 4 ? cose.value : null;
  const [header, unprotected, payload, signed] = parts ?? [];
  const isOurs = parts && header instanceof Uint8Array && same(header, bodyHeader(kind)) && isEmpty(unprotected) && payload instanceof Uint8Array && Array.isArray(signed);
  if (!isOurs) throw new NotPlain(`it is no signed ${kind}`);
  return { payload, signatures: signed.map(signature) };
}

/** Whether the owner of an Ed25519 key has signed what was opened; false too in a browser without Ed25519. */
export async function isSignedBy(publicKey, kind, { payload, signatures }) {
  const id = await keyId(publicKey);
  const signed = signatures.find((one) => one.algorithm === ED25519 && same(one.keyId, id));
  if (!signed) return false;
  try {
    const key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify']);
    return await crypto.subtle.verify({ name: 'Ed25519' }, key, signed.signature, toBeSigned(kind, id, payload));
  } catch { return false; }
}

function signature(parts) {
  const [header, unprotected, bytes] = Array.isArray(parts) && parts.length === 3 ? parts : [];
  const id = header instanceof Uint8Array ? read(header) : null;
  if (!(id instanceof Map && id.get(KEY_ID) instanceof Uint8Array && isEmpty(unprotected) && bytes instanceof Uint8Array)) throw new NotPlain('a signature cannot be read');
  return { algorithm: id.get(ALGORITHM), keyId: id.get(KEY_ID), signature: bytes };
}

const isEmpty = (map) => map instanceof Map && map.size === 0;
