// The rules of a seal, read from the bytes that the roots have signed. The form is the one of firmware/seal/src/policy.rs.
import { NotPlain, read } from './cbor.js';
import { isClaimedBy, isSignedBy, keyText, open, readKey } from './cose.js';

const VERSION = 1;
const FIELDS = 11;

function key(value) {
  const text = Array.isArray(value) && value.length === 2 ? keyText(...value) : null;
  if (text === null) throw new NotPlain('a key in the rules cannot be read');
  return text;
}

const named = ([name, of]) => ({ name, key: key(of) });

/**
 * Reads signed rules: what they say, which of the `roots` (texts of keys) have signed them, and how many signatures claim to
 * be of roots with which no browser verifies.
 */
export async function readPolicy(bytes, roots) {
  const signed = open('policy', bytes);
  const map = read(signed.payload);
  const isRules = map instanceof Map && map.size === FIELDS && [...map.keys()].every((at) => at < FIELDS) && map.get(0) === VERSION;
  if (!isRules) throw new NotPlain('they are no rules of a version that is known here');
  const [, seal, number, isTest, issuers, log, witnesses, witnessesNeeded, people, matters, lease] = map.values();
  const approvers = people.map(named);
  const signedBy = [];
  let unverified = 0;
  for (const text of roots) {
    const root = readKey(text);
    if (root?.isVerifiable && await isSignedBy(root.bytes, 'policy', signed)) signedBy.push(text);
    if (root && !root.isVerifiable && await isClaimedBy(root, signed)) unverified += 1;
  }
  return {
    seal, number, isTest, issuers: issuers.map(key), log: named(log), witnesses: witnesses.map(named), witnessesNeeded, approvers,
    matters: matters.map(([matter, who, needed, [before, after, person], uses, mayBeDelegated = false]) => ({ matter, approvers: [...new Set(who.map((at) => approvers[at]?.name ?? '?'))], needed, before, after, person, uses, mayBeDelegated })),
    alone: { seconds: lease[0], stamps: lease[1], answerS: lease[2] }, signatures: signed.signatures.length, signedBy, unverified,
  };
}
