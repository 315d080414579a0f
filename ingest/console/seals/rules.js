// Rules that the roots have signed: shown in full, then uploaded. It is their signatures that count, not who uploads.
import { notify } from '../announce.js';
import { el, fact, fill } from '../dom.js';
import { t } from '../i18n.js';
import { spanText } from '../time.js';
import { base64 } from './bytes.js';
import * as office from './office.js';
import { action, box, code, dropZone, frame, still } from './parts.js';
import { readPolicy } from './policy.js';

/** The page. */
export function view(root) {
  const body = frame(root, 'rules', t('seals.tab.rules'));
  const shown = el('div', { 'aria-live': 'polite' });
  fill(body, el('p', { class: 'lead', text: t('rules.hint') }), dropZone(t('rules.drop'), async (file) => {
    fill(shown);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const trust = await office.trust();
    try {
      const rules = await readPolicy(bytes, trust.roots);
      fill(shown, draw(rules, trust), el('div', { class: 'actions' }, action(t('rules.send'), async () => {
        await office.putPolicy(base64(bytes));
        fill(shown, box('good', t('rules.taken', { n: rules.number, seal: rules.seal })));
        notify(t('rules.taken', { n: rules.number, seal: rules.seal }), 'good');
      }, { cls: 'primary' })));
    } catch (error) { fill(shown, box('bad', t('rules.unreadable', { detail: error.message }))); }
  }), shown);
  return still;
}

function draw(rules, trust) {
  const names = (all) => el('ul', { class: 'names' }, all.map(({ name, key }) => el('li', {}, el('span', { text: `${name} ` }), code(key))));
  const enough = rules.signedBy.length >= trust.roots_needed;
  const strangers = rules.signatures - rules.signedBy.length - rules.unverified;
  return el('div', {},
    box(enough ? 'good' : 'warn', t('rules.signed', { n: rules.signedBy.length, needed: trust.roots_needed }), strangers > 0 ? el('p', { text: t('rules.strangers', { n: strangers }) }) : null,
      rules.unverified ? el('p', { text: t('rules.unverified', { n: rules.unverified }) }) : null),
    rules.issuers.includes(trust.issuer) ? null : box('warn', t('rules.otherIssuer')),
    el('dl', { class: 'facts grant' },
      fact(t('grant.seal'), rules.seal), fact(t('rules.number'), String(rules.number)), fact(t('rules.kind'), t(rules.isTest ? 'grant.test' : 'grant.real')),
      fact(t('rules.alone'), t('rules.aloneText', { span: spanText(rules.alone.seconds * 1000), n: rules.alone.stamps, answer: spanText(rules.alone.answerS * 1000) })),
      fact(t('rules.issuers'), el('ul', { class: 'names' }, rules.issuers.map((key) => el('li', {}, code(key))))), fact(t('rules.log'), names([rules.log])),
      fact(t('rules.witnesses', { n: rules.witnessesNeeded }), names(rules.witnesses)), fact(t('rules.approvers'), names(rules.approvers))),
    el('h2', { text: t('rules.matters') }),
    el('div', { class: 'cards', role: 'list' }, rules.matters.map((one) => el('article', { class: 'card wide', role: 'listitem' }, el('strong', { text: one.matter }),
      el('div', { text: t('apply.rule', { needed: one.needed, approvers: one.approvers.join(', '), most: one.uses }) }), one.mayBeDelegated ? el('div', { text: t('rules.delegable') }) : null,
      el('div', { class: 'dim', text: ['before', 'after', 'person'].filter((name) => one[name]).map((name) => t(`grant.${name}`)).join(' · ') || t('none') })))));
}
