// Whether an impression is covered by a grant: for everybody, without an account. A digest in the address leads here from a
// code on paper; a photograph or a receipt is digested in the browser.
import { el, fact, fill } from '../dom.js';
import { named, t, word } from '../i18n.js';
import { href, message } from '../panel.js';
import { datedText } from '../time.js';
import * as office from './office.js';
import { Refused, action, box, code, digestIn, dropZone, failure, field, fileDigest, form, frame, save, still, text } from './parts.js';

/** The page. */
export function view(root, { id }) {
  const body = frame(root, 'verify', t('verify.title'));
  const [found, pasted] = [el('div', { 'aria-live': 'polite' }), text({ class: 'mono', value: id, required: true })];
  const go = (digest) => {
    const to = href('verify', digest);
    if (location.hash === to) show(digest); else location.hash = to;
  };
  fill(body, el('p', { class: 'lead', text: t('verify.hint') }), dropZone(t('verify.drop'), async (file) => go(await fileDigest(file))),
    form(t('verify.check'), async () => {
      const digest = digestIn(pasted.value);
      if (!digest) throw new Refused(t('verify.noDigest'));
      go(digest);
    }, [field(t('verify.digest'), pasted)]), found);
  async function show(digest) {
    fill(found, message(t('loading'), 'wait'));
    try {
      const impressions = await office.impressions(digest);
      fill(found, impressions.length ? impressions.map((one) => impression(one, digest)) : box('bad', t('verify.unknown'), el('p', { text: t('verify.unknownHint') })));
    } catch (error) { fill(found, failure(error)); }
  }
  const digest = digestIn(id);
  if (digest) show(digest);
  else if (id) fill(found, box('bad', t('verify.noDigest')));
  return still;
}

function impression(one, digest) {
  const { receipt } = one;
  const refusal = receipt.refusal ? named({ zh: receipt.refusal_zh, en: receipt.refusal_en, name: receipt.refusal }) : null;
  const missing = Object.entries(one.bundle).filter(([, proven]) => [proven].flat().some((part) => part && !part.proof)).map(([name]) => t(`verify.part.${name}`));
  return el('article', {},
    box(one.is_covered ? 'good' : 'bad', t(one.is_covered ? 'verify.covered' : 'verify.uncovered'), one.revoked_ms === null || one.revoked_ms === undefined ? null : el('p', { text: t('verify.revoked', { when: datedText(one.revoked_ms) }) }),
      one.is_covered ? el('p', { class: 'dim', text: t('verify.upTo', { n: one.log_size }) }) : null),
    el('dl', { class: 'facts grant' },
      fact(t('grant.seal'), receipt.seal), fact(t('verify.when'), datedText(receipt.at_ms)), fact(t('verify.outcome'), word('outcome.', receipt.outcome)), refusal ? fact(t('verify.refusal'), refusal) : null,
      fact(t('grant.matter'), one.matter), fact(t('verify.use'), receipt.use_number ? t('seal.use', { n: receipt.use_number, of: one.copies ?? '?' }) : null), fact(t('grant.pages'), one.pages === null ? null : String(one.pages)),
      fact(t('grant.documentBy', { hash: one.hash?.toUpperCase() }), one.document ? code(one.document) : null), fact(t('verify.receipt'), code(receipt.digest))),
    !one.document ? null : one.hash === 'sha-256' ? documentCheck(one.document) : box('warn', t('case.noDigest', { hash: one.hash.toUpperCase() })),
    el('h2', { text: t('verify.proof') }), el('p', { text: missing.length ? t('verify.proofMissing', { parts: missing.join(', ') }) : t('verify.proofThere') }),
    el('div', { class: 'actions' }, action(t('verify.save'), async () => save(`impression-${receipt.digest.slice(0, 16)}.json`, one.bundle))),
    el('figure', { class: 'qr' }, el('img', { src: `/api/v1/impressions/${receipt.digest}/code`, alt: t('verify.code') }), el('figcaption', { class: 'dim', text: t('verify.codeHint') })),
    el('p', { class: 'dim', text: t('verify.without') }), el('pre', { class: 'code', text: `ingest seal roots ${receipt.seal} > roots.toml\ningest seal verify ${digest} --roots roots.toml` }));
}

// The paper in hand is the one that was to be stamped only if its file has the digest of the grant.
function documentCheck(document) {
  const found = el('div', { role: 'status' });
  return el('div', {}, dropZone(t('verify.isIt'), async (file) => {
    const digest = await fileDigest(file);
    fill(found, digest === document ? box('good', t('case.isDocument')) : box('bad', t('case.isOther'), el('p', {}, code(digest))));
  }), found);
}
