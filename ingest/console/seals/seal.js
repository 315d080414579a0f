// One seal's timeline: each grant with its uses, their photographs and proofs; refusals; what does not agree.
import { el, fact, fill } from '../dom.js';
import { named, t, word } from '../i18n.js';
import { href, message } from '../panel.js';
import { datedText } from '../time.js';
import { course } from './application.js';
import { progress, stateChip } from './applications.js';
import * as office from './office.js';
import { code, frame, watchOlder } from './parts.js';
import { findingList, sealState, sealTools } from './seals.js';

/** The page. */
export function view(root, { id }) {
  const body = frame(root, 'seals', id, { back: '#/seals' });
  const keys = { applications: (one) => one.grant, receipts: (one) => one.digest, findings: (one) => one.number };
  const ask = (before) => office.timeline(id, { application: before.applications, receipt: before.receipts, finding: before.findings });
  const { again, page } = watchOlder(body, ask, keys, ({ seal, applications, receipts, findings }, older) => {
    const known = new Set(applications.map((one) => one.grant));
    const strays = receipts.filter((receipt) => !known.has(receipt.grant));
    fill(body, findingList(findings), sealState(seal), sealTools(seal, again),
      el('dl', { class: 'facts' }, fact(t('gateways.area'), seal.area), fact(t('sensor.gateway'), seal.gateway), fact(t('seal.receipts'), String(seal.receipts)), fact(t('seal.key'), code(seal.key))),
      el('h2', { text: t('seal.grants') }), applications.length ? applications.map((one) => grantCard(one, receipts.filter((receipt) => receipt.grant === one.grant).reverse())) : message(t('case.none')),
      strays.length ? [el('h2', { text: t('seal.strays') }), el('ol', { class: 'course' }, strays.map((receipt) => receiptStep(receipt, null)))] : null, older);
  });
  return page;
}

function grantCard(one, receipts) {
  return el('article', { class: 'card wide' },
    el('div', { class: 'card-head' }, el('a', { href: href('application', one.grant) }, el('strong', { text: one.title })), stateChip(one.state), el('span', { class: 'dim push', text: progress(one) })),
    el('p', { class: 'dim', text: `${one.matter} · ${t('case.copies', { n: one.copies })}` }), course(one),
    receipts.length ? el('ol', { class: 'course' }, receipts.map((receipt) => receiptStep(receipt, one))) : null);
}

function receiptStep(receipt, one) {
  const isRefused = receipt.outcome === 'refused';
  const what = receipt.use_number ? t('seal.use', { n: receipt.use_number, of: one?.copies ?? '?' }) : '';
  return el('li', { class: receipt.outcome === 'stamped' ? 'good' : 'bad' },
    el('div', { class: 'grow' }, el('div', {}, el('strong', { text: word('outcome.', receipt.outcome) }), what ? ` · ${what}` : '', el('span', { class: 'dim', text: ` · № ${receipt.number}` })),
      isRefused || receipt.refusal ? el('div', { text: named({ zh: receipt.refusal_zh, en: receipt.refusal_en, name: receipt.refusal }) }) : null,
      el('div', { class: 'pictures' }, ['before', 'after'].filter((when) => receipt[when]).map((when) => picture(receipt[when], t(`grant.${when}`)))),
      el('a', { href: href('verify', receipt.digest), text: t('seal.proof') })),
    el('time', { class: 'dim push', text: datedText(receipt.at_ms) }));
}

function picture(digest, label) {
  const image = el('img', { src: office.pictureAddress(digest), alt: label, loading: 'lazy' });
  const node = el('a', { href: office.pictureAddress(digest), target: '_blank', rel: 'noopener', title: label }, image);
  image.addEventListener('error', () => node.replaceWith(el('span', { class: 'dim', text: t('seal.noPicture', { what: label }) })));
  return node;
}
