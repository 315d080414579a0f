// One application: the grant in full as it is read from the bytes that are signed, who has approved, and what I may do.
import { notify } from '../announce.js';
import { el, fact, fill } from '../dom.js';
import { t } from '../i18n.js';
import { datedText } from '../time.js';
import { progress, stateChip, waitsForMe } from './applications.js';
import { base64, hex, same, unbase64, unbase64url } from './bytes.js';
import { keyId, toBeSigned } from './cose.js';
import { differences, grantOf, hashName, isDigestible } from './grant.js';
import * as keystore from './keystore.js';
import * as office from './office.js';
import { Refused, action, box, code, dropZone, field, fileDigest, form, frame, passkeyFirst, save, text, watch } from './parts.js';
import { may, needsPasskey, person } from './person.js';

/** The page. */
export function view(root, { id }) {
  const body = frame(root, 'applications', t('case.title'), { sub: id, back: '#/applications' });
  const { again, page } = watch(body, async () => {
    const [one, seals, keys, kept] = await Promise.all([office.application(id), office.seals(), office.keys(), keystore.kept()]);
    return { one, area: seals.find((seal) => seal.seal === one.seal)?.area, keys: keys.filter((key) => key.retired_ms === null && kept.includes(key.key)) };
  }, ({ one, area, keys }) => fill(body, ...draw(one, area, keys, again)));
  return page;
}

function draw(one, area, keys, again) {
  const parts = [el('div', { class: 'hero' }, el('div', { class: 'state-line' }, stateChip(one.state), el('strong', { text: one.title })), el('p', { class: 'dim', text: progress(one) }))];
  let read = null;
  try { read = grantOf(one); } catch (error) { parts.push(box('bad', t('case.unreadable', { detail: error.message }))); }
  const differ = read ? differences(read.grant, one) : [];
  if (differ.length) parts.push(box('bad', t('case.differs', { fields: differ.map((name) => t(`grant.${NAMES[name] ?? name}`)).join(', ') }), el('p', { text: t('case.differsHint') })));
  if (read) parts.push(el('h2', { text: t('case.signedPart') }), grantFacts(read.grant));
  parts.push(el('h2', { text: t('case.course') }), course(one));
  const isSound = read && !differ.length;
  if (isSound && waitsForMe(one, area)) parts.push(deciding(one, read, keys, again));
  const isMine = one.applicant === person().name;
  if (one.state === 'open' && isMine) parts.push(ending(one, 'cancellation', again));
  if (one.state === 'open' && !isMine && area !== undefined && may('approve', area)) parts.push(ending(one, 'rejection', again));
  if (one.state === 'granted' && one.is_logged) parts.push(el('div', { class: 'actions' }, action(t('case.carry'), async () => save(`grant-${one.grant}.json`, await office.carried(one.grant))), el('span', { class: 'dim', text: t('case.carryHint') })));
  if (one.state === 'granted' && (isMine || (area !== undefined && may('revoke', area)))) parts.push(ending(one, 'revocation', again));
  return parts;
}

// Fields whose text has another key than their name.
const NAMES = { notBeforeS: 'from', expiresS: 'until' };

function grantFacts(grant) {
  const { fence, evidence } = grant;
  const wanted = Object.entries(evidence).filter(([, is]) => is).map(([name]) => t(`grant.${name}`));
  const rows = {
    seal: grant.seal, matter: grant.matter, document: code(grant.document), pages: String(grant.pages), uses: String(grant.uses), applicant: grant.applicant,
    operators: grant.operators.join(', ') || t('grant.nobodyElse'), from: datedText(grant.notBeforeS * 1000), until: datedText(grant.expiresS * 1000),
    fence: fence ? `${fence.lat.toFixed(5)}, ${fence.lon.toFixed(5)} (${fence.datum}) · ${fence.radiusM} m` : t('grant.anywhere'), evidence: wanted.join(', ') || t('none'),
    isTest: t(grant.isTest ? 'grant.test' : 'grant.real'), id: code(grant.id), sequence: String(grant.sequence), policy: String(grant.policy), minEpoch: String(grant.minEpoch),
    nonce: grant.nonce ? code(grant.nonce) : t('none'), version: `${grant.version} · ${hashName(grant)}`,
  };
  const label = (name) => (name === 'document' ? t('grant.documentBy', { hash: hashName(grant) }) : t(`grant.${name}`));
  return el('dl', { class: 'facts grant' }, Object.entries(rows).map(([name, value]) => fact(label(name), value)));
}

/** What happened to an application, oldest first. */
export function course(one) {
  const step = (text, ms, cls = '') => el('li', { class: cls }, el('span', { text }), el('time', { class: 'dim push', text: datedText(ms) }));
  return el('ol', { class: 'course' },
    step(t('case.step.applied', { person: one.applicant }), one.created_ms),
    one.approvals.map((approval) => step(approval.in_place_of ? t('case.step.deputed', { person: approval.person, absent: approval.in_place_of }) : t('case.step.approved', { person: approval.person }), approval.at_ms, 'good')),
    one.state === 'open' ? null : step(t(`case.step.${one.state}`, { person: one.decided_by ?? '—', why: one.why ?? '' }), one.decided_ms, one.state === 'granted' ? 'good' : 'bad'));
}

function deciding(one, read, keys, again) {
  const found = el('div', { role: 'status' });
  const drop = !isDigestible(read.grant) ? box('warn', t('case.noDigest', { hash: hashName(read.grant) })) : dropZone(t('case.drop'), async (file) => {
    const digest = await fileDigest(file);
    fill(found, digest === read.grant.document ? box('good', t('case.isDocument')) : box('bad', t('case.isOther'), el('p', {}, code(digest))));
  });
  const key = el('select', {}, keys.map((mine) => el('option', { value: mine.key, text: `${mine.label} · ${mine.key}` })));
  return el('section', {}, el('h2', { text: t('case.decide') }), el('p', { class: 'lead', text: t('case.decideHint') }), drop, found,
    needsPasskey() ? passkeyFirst() : keys.length ? form(t('case.sign'), async () => {
      const { granted } = await sign(one, read.bytes, key.value);
      notify(t(granted ? 'case.granted' : 'case.counted'), 'good');
      await again();
    }, keys.length > 1 ? [field(t('case.key'), key)] : []) : box('warn', t('case.noKey'), el('p', {}, el('a', { href: '#/keys', text: t('seals.tab.keys') }))));
}

// Signs what was shown, and nothing else: the bytes are built here, and the server's must be the same.
async function sign(one, payload, mine) {
  const bytes = toBeSigned('grant', await keyId(unbase64url(mine)), payload);
  const theirs = unbase64((await office.toSign(one.grant, mine)).to_be_signed);
  if (!theirs || !same(bytes, theirs)) throw new Refused(t('case.otherBytes', { mine: hex(bytes).slice(0, 24), theirs: theirs ? hex(theirs).slice(0, 24) : '—' }));
  const signature = await keystore.sign(mine, bytes);
  if (!signature) throw new Refused(t('case.noKey'));
  return office.approve(one.grant, mine, base64(signature));
}

function ending(one, how, again) {
  const why = text({ required: true, maxlength: 200 });
  return el('details', { class: 'fold' }, el('summary', { text: t(`case.${how}`) }), form(t(`case.${how}`), async () => {
    await office.end(one.grant, how, why.value.trim());
    await again();
  }, [field(t('case.why'), why, t(`case.${how}Hint`))], { danger: true }));
}
