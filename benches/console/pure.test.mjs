// The console's pure modules against known values: geohash, projection, datum shift, numbers, and what is signed of seals.
//   node --test benches/console/
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, verify } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import test from 'node:test';

// The console's files are modules for a browser and lie outside this package: they are loaded by their text, and so is
// what they import.
const CONSOLE = new URL('../../ingest/console/', import.meta.url);
const texts = new Map();
async function address(url) {
  if (!texts.has(url.href)) {
    let text = await readFile(url, 'utf8');
    for (const [whole, name] of text.matchAll(/from '(\.[^']+)'/g)) text = text.replace(whole, `from '${await address(new URL(name, url))}'`);
    texts.set(url.href, `data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
  }
  return texts.get(url.href);
}
const load = async (name) => import(await address(new URL(name, CONSOLE)));
const [geohash, mercator, scale] = await Promise.all(['geohash.js', 'mercator.js', 'scale.js'].map(load));
const [bytes, cbor, cose, grants, delegations] = await Promise.all(['bytes', 'cbor', 'cose', 'grant', 'delegation'].map((name) => load(`seals/${name}.js`)));
const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
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

test('bytes have one text each', () => {
  const all = Uint8Array.from({ length: 256 }, (_, at) => at);
  for (const count of [0, 1, 2, 3, 32, 256]) {
    const some = all.subarray(0, count);
    assert.deepEqual(unhex(bytes.hex(some)), some);
    assert.deepEqual(bytes.unbase64(bytes.base64(some)), some);
    assert.deepEqual(bytes.unbase64url(bytes.base64url(some)), some);
  }
  assert.equal(bytes.base64url(Uint8Array.of(251, 255)), '-_8');
  for (const [read, text] of [['unbase64', 'AQ'], ['unbase64', 'AR=='], ['unbase64', '%'], ['unbase64url', 'AQ=='], ['unbase64url', 'AR'], ['unbase64url', '+/8']]) {
    assert.equal(bytes[read](text), null, `${read} ${text}`);
  }
});

test('CBOR has one spelling of each thing, and no other is read', () => {
  for (const value of [0, 23, 24, 255, 256, 65535, 65536, 4294967295, 4294967296, Number.MAX_SAFE_INTEGER, -1, -24, -25, -256, -257, 'é', '', [1, ['a']], true, false, null, new Map([[1, 'x'], [300, []]]), Uint8Array.of(1, 2)]) {
    assert.deepEqual(cbor.read(cbor.write(value)), value);
  }
  for (const [text, why] of [
    ['', 'nothing'], ['0000', 'two items'], ['8201', 'one too few'], ['4201', 'cut short'], ['9fff', 'no definite length'], ['1817', 'a long 23'], ['190017', 'a longer one'],
    ['1b0020000000000000', 'beyond 2^53'], ['61ff', 'no UTF-8'], ['a202010101', 'keys that fall'], ['a201010101', 'a key twice'], ['a1616101', 'a text for a key'],
    ['f7', 'undefined'], ['f93c00', 'a fraction'], ['f814', 'false in two bytes'], ['818181818181818181818100', 'too deep'], ['9b001fffffffffffff', 'more items than bytes'],
  ]) assert.throws(() => cbor.read(unhex(text)), { constructor: cbor.NotPlain }, why);
});

// A grant that must never read otherwise: the issuer is key 1, the approver key 2, each of 32 times its number.
const golden = unhex((await readFile(new URL('../../firmware/seal/src/tests/grant.hex', import.meta.url), 'utf8')).trim());
const publicKey = (number) => createPublicKey(createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, number)]), format: 'der', type: 'pkcs8' }));
const rawKey = (number) => new Uint8Array(publicKey(number).export({ format: 'der', type: 'spki' }).subarray(-32));

test('the golden grant is read in full', () => {
  assert.deepEqual(grants.readGrant(cose.open('grant', golden).payload), {
    version: 1, id: '01'.repeat(16), seal: 'gongli-07', sequence: 1, matter: 'certificate', applicant: 'p-4711',
    document: '7d134f1961ff31a5d5dc1a3ece0a34b08c391564ee4759e0df66ee82cc553415', pages: 1, uses: 2, notBeforeS: 1_790_000_000, expiresS: 1_790_021_600,
    fence: { datum: 'cgcs2000', lat: 36.287, lon: 116.436, radiusM: 200 }, evidence: { before: true, after: true, person: true }, minEpoch: 0, nonce: '08'.repeat(16),
    policy: 3, isTest: false, operators: ['p-4712'], hash: -16,
  });
});

test('the golden delegation is read in full, signed as the console would, and held against what was asked', async () => {
  const signed = cose.open('delegation', unhex((await readFile(new URL('../../firmware/seal/src/tests/delegation.hex', import.meta.url), 'utf8')).trim()));
  const read = delegations.readDelegation(signed.payload);
  assert.deepEqual(read, {
    version: 1, id: 'c8'.repeat(16), seal: 'gongli-07', from: 'the secretary', to: 'the accountant', matters: ['certificate', 'letter'], fromS: 1_790_000_000, untilS: 1_790_604_800,
  });
  assert.ok(verify(null, cose.toBeSigned('delegation', await cose.keyId(rawKey(2)), signed.payload), publicKey(2), signed.signatures[0].signature));
  assert.throws(() => grants.readGrant(signed.payload), { constructor: cbor.NotPlain });
  assert.throws(() => delegations.readDelegation(cose.open('grant', golden).payload), { constructor: cbor.NotPlain });
  const asked = { seal: 'gongli-07', to: 'the accountant', matters: ['letter', 'certificate'], from_ms: 1_790_000_000_000, until_ms: 1_790_604_800_000 };
  assert.deepEqual(delegations.otherThanAsked(read, 'the secretary', asked), []);
  assert.deepEqual(delegations.otherThanAsked(read, 'the secretary', { ...asked, from_ms: null }), []);
  for (const [change, field] of [[{ seal: 'other' }, 'seal'], [{ to: 'the clerk' }, 'to'], [{ matters: ['letter'] }, 'matters'], [{ from_ms: 0 }, 'begins'], [{ until_ms: 1_790_000_001_000 }, 'until']]) {
    assert.deepEqual(delegations.otherThanAsked(read, 'the secretary', { ...asked, ...change }), [field]);
  }
  assert.deepEqual(delegations.otherThanAsked(read, 'the clerk', asked), ['from']);
});

test('what the console would sign is what the golden signatures are of', async () => {
  const { payload, signatures } = cose.open('grant', golden);
  assert.equal(signatures.length, 2);
  for (const [at, number] of [[0, 1], [1, 2]]) {
    const id = await cose.keyId(rawKey(number));
    assert.deepEqual(id, signatures[at].keyId, 'the name of the key');
    assert.ok(await cose.isSignedBy(rawKey(number), 'grant', { payload, signatures }), `signature ${at}, as a browser verifies it`);
    assert.ok(verify(null, cose.toBeSigned('grant', id, payload), publicKey(number), signatures[at].signature), `signature ${at}`);
    assert.ok(!verify(null, cose.toBeSigned('policy', id, payload), publicKey(number), signatures[at].signature), 'a grant never passes for rules');
  }
  assert.equal(await cose.isSignedBy(rawKey(3), 'grant', { payload, signatures }), false, 'who has not signed');
  assert.equal(await cose.isSignedBy(rawKey(1), 'grant', { payload: payload.with(-1, 0), signatures }), false, 'other bytes');
  assert.throws(() => cose.open('policy', golden), { constructor: cbor.NotPlain });
});

// The same by SM2, with the digest of the document by SM3: shown rightly, and never taken for verified.
test('the golden grant of SM2 is shown, and not verified', async () => {
  const sm2 = unhex((await readFile(new URL('../../firmware/seal/src/tests/grant-sm2.hex', import.meta.url), 'utf8')).trim());
  const opened = cose.open('grant', sm2);
  const grant = grants.readGrant(opened.payload);
  assert.deepEqual([grants.hashName(grant), grants.isDigestible(grant), grant.seal], ['SM3', false, 'gongli-07']);
  assert.deepEqual(opened.signatures.map((one) => one.algorithm), [-66501, -66501]);
  // The point of the secret number of 32 times 1, which has signed as the issuer.
  const text = 'sm2:AruoeAPV4SeIsHqRKuU2jnsnIL0ZuTkgvb8um2KG2pxO';
  const issuer = cose.readKey(text);
  assert.deepEqual([issuer.isVerifiable, cose.keyText(issuer.algorithm, issuer.bytes)], [false, text]);
  assert.deepEqual(await cose.keyId(issuer.bytes, issuer.algorithm), opened.signatures[0].keyId);
  assert.ok(await cose.isClaimedBy(issuer, opened));
  assert.equal(await cose.isSignedBy(issuer.bytes.subarray(1), 'grant', opened), false);
  assert.equal(await cose.isClaimedBy({ algorithm: -19, bytes: rawKey(1) }, opened), false);
  for (const bad of ['', 'sm2:', text.slice(4), `${text}A`, text.slice(0, -1)]) assert.equal(cose.readKey(bad), null, bad);
  assert.equal(cose.keyText(-7, issuer.bytes), null);
  assert.equal(cose.keyText(-19, issuer.bytes), null);
});

test('a grant with a field that is not known, missing or impossible is none', () => {
  const map = cbor.read(cose.open('grant', golden).payload);
  const without = (key) => new Map([...map].filter(([at]) => at !== key));
  for (const key of [0, 1, 6, 12, 18]) assert.throws(() => grants.readGrant(cbor.write(without(key))), new RegExp(`field ${key} `));
  for (const key of [11, 14]) assert.equal(grants.readGrant(cbor.write(without(key)))[key === 11 ? 'fence' : 'nonce'], null);
  const changed = (find, put) => { const text = bytes.hex(cbor.write(map)); assert.ok(text.includes(find)); return unhex(text.replace(find, put)); };
  assert.throws(() => grants.readGrant(changed('122f', '1320')), /field 19/);
  assert.throws(() => grants.readGrant(changed('b30001', 'b30002')), /version/);
  assert.throws(() => grants.readGrant(changed('10f4', '1000')), /isTest/);
});

test('a server that shows something else than it lets sign is found out', () => {
  const { grant, bytes: payload } = grants.grantOf({ payload: bytes.base64(cose.open('grant', golden).payload) });
  assert.ok(payload.length > 100);
  const honest = {
    grant: grant.id, seal: 'gongli-07', matter: 'certificate', applicant: 'p-4711', document: grant.document, hash: 'sha-256', pages: 1, copies: 2, not_before_ms: grant.notBeforeS * 1000,
    expires_ms: grant.expiresS * 1000, fence: { lat: 36.287, lon: 116.436, radius_m: 200 }, operators: ['p-4712'], before: true, after: true, person: true,
  };
  assert.deepEqual(grants.differences(grant, honest), []);
  for (const [change, field] of [
    [{ copies: 1 }, 'uses'], [{ document: '00'.repeat(32) }, 'document'], [{ matter: 'contract' }, 'matter'], [{ fence: null }, 'fence'], [{ operators: [] }, 'operators'],
    [{ person: false }, 'evidence'], [{ hash: 'sm3' }, 'hash'], [{ expires_ms: 0 }, 'expiresS'], [{ seal: 'other' }, 'seal'], [{ applicant: 'p-1' }, 'applicant'],
  ]) assert.deepEqual(grants.differences(grant, { ...honest, ...change }), [field]);
});
