// The rules of a seal, read from the bytes that the roots have signed. The form is the one of firmware/seal/src/policy.rs.
import { base64url } from './bytes.js';
import { NotPlain, read } from './cbor.js';
import { isSignedBy, open } from './cose.js';

const VERSION = 1;
const ED25519 = -19;
const FIELDS = 11;

function key(value) {
  const [algorithm, bytes] = Array.isArray(value) ? value : [];
  if (algorithm !== ED25519 || !(bytes instanceof Uint8Array)) throw new NotPlain('a key in the rules cannot be read');
  return bytes;
}

const named = ([name, of]) => ({ name, key: base64url(key(of)) });

/** Reads signed rules: what they say, and which of the `roots` (`{text, bytes}`) have signed them. */
export async function readPolicy(bytes, roots) {
  const signed = open('policy', bytes);
  const map = read(signed.payload);
  const isRules = map instanceof Map && map.size === FIELDS && [...map.keys()].every((at) => at < FIELDS) && map.get(0) === VERSION;
  if (!isRules) throw new NotPlain('they are no rules of a version that is known here');
  const [, seal, number, isTest, issuers, log, witnesses, witnessesNeeded, people, matters, lease] = map.values();
  const approvers = people.map(named);
  const signedBy = [];
  for (const root of roots) if (await isSignedBy(root.bytes, 'policy', signed)) signedBy.push(root.text);
  return {
    seal, number, isTest, issuers: issuers.map((issuer) => base64url(key(issuer))), log: named(log), witnesses: witnesses.map(named), witnessesNeeded, approvers,
    matters: matters.map(([matter, who, needed, [before, after, person], uses, mayBeDelegated = false]) => ({ matter, approvers: [...new Set(who.map((at) => approvers[at]?.name ?? '?'))], needed, before, after, person, uses, mayBeDelegated })),
    alone: { seconds: lease[0], stamps: lease[1], answerS: lease[2] }, signatures: signed.signatures.length, signedBy,
  };
}
