// The seals: how each is, what does not agree, locking and unlocking.
import { notify } from '../announce.js';
import { el, fill } from '../dom.js';
import { icon } from '../icons.js';
import { lang, named, t, word } from '../i18n.js';
import { href, message } from '../panel.js';
import { agoText, dateTimeText, whenText } from '../time.js';
import { readKey } from './cose.js';
import * as office from './office.js';
import { Refused, action, code, field, form, frame, text, watchOlder } from './parts.js';
import { may, rolesFor } from './person.js';

/** The page. */
export function view(root) {
  const body = frame(root, 'seals', t('seals.tab.seals'));
  const shown = el('div');
  const { again, page } = watchOlder(shown, async (before) => {
    const [seals, findings] = await Promise.all([office.seals(), may('seeAudit') ? office.findings(before.findings) : []]);
    return { seals, findings };
  }, { findings: (one) => one.number }, ({ seals, findings }, older) => fill(shown, findingList(findings), older,
    seals.length ? el('div', { class: 'cards', role: 'list' }, seals.map((seal) => card(seal, findings.filter((one) => one.seal === seal.seal).length, again))) : message(t('seal.none'), 'calm')));
  fill(body, shown, may('enrol') ? enrolment(() => again()) : null);
  return page;
}

/** What does not agree, as alarms. */
export function findingList(findings) {
  if (!findings.length) return null;
  return el('section', { class: 'findings', 'aria-label': t('seal.findings') }, findings.map((one) => el('article', { class: 'box bad finding' },
    icon('warn'), el('div', {}, el('strong', { text: named(one) }), el('div', { class: 'dim' }, `${one.seal} · `, el('time', { text: whenText(one.at_ms), title: dateTimeText(one.at_ms) }), ' · ', `${t('seal.evidence')} `, code(one.evidence))))));
}

/** What a role may not do says so. */
const because = (name, area) => (may(name, area) ? null : t('seal.needs', { roles: rolesFor(name).map((role) => word('role.', role)).join(lang() === 'zh' ? '、' : ', ') }));

/** How a seal is, in chips. */
export function sealState(seal) {
  return el('div', { class: 'chips' },
    seal.is_locked ? el('span', { class: 'chip refused_again', text: t('seal.locked') }) : el('span', { class: 'chip replayed', text: t('seal.unlocked') }),
    seal.tampered ? el('span', { class: 'chip refused_again', text: t('seal.tampered', { n: seal.tampered }) }) : null,
    seal.is_test ? el('span', { class: 'chip held', text: t('seal.test') }) : null,
    seal.policy ? el('span', { class: 'chip', text: t('seal.policy', { n: seal.policy }) }) : el('span', { class: 'chip held', text: t('seal.noPolicy') }),
    el('span', { class: 'dim', text: t('seal.heard', { when: agoText(seal.heard_ms) }), title: dateTimeText(seal.heard_ms) }));
}

/** What can be done to a seal. */
export function sealTools(seal, again) {
  const run = (question, done) => async () => {
    if (question && !confirm(question)) return;
    await done();
    notify(t('seal.told'), 'good');
    await again();
  };
  return el('div', { class: 'actions' },
    seal.is_locked ? action(t('seal.unlock'), run(t('seal.sureUnlock', { seal: seal.seal }), () => office.lock(seal.seal, false)), { why: because('clear', seal.area) })
      : action(t('seal.lock'), run(null, () => office.lock(seal.seal, true)), { why: because('lock', seal.area) }),
    seal.tampered ? action(t('seal.clear'), run(t('seal.sureClear'), () => office.clear(seal.seal, seal.tampered_ever)), { why: because('clear', seal.area) }) : null);
}

function card(seal, findings, again) {
  return el('article', { class: 'card', role: 'listitem' },
    el('div', { class: 'card-head' }, may('seeAudit', seal.area) ? el('a', { href: href('seal', seal.seal) }, el('strong', { text: seal.seal })) : el('strong', { text: seal.seal }),
      el('span', { class: 'dim', text: `${seal.area} · ${seal.gateway}` }), findings ? el('span', { class: 'chip refused_again push', text: t('seal.findingCount', { n: findings }) }) : null),
    sealState(seal), el('p', { class: 'dim', text: seal.matters.map((one) => one.matter).join(' · ') || t('seal.noMatters') }), sealTools(seal, again));
}

function enrolment(again) {
  const [seal, area, gateway, key] = [text({ required: true }), text({ required: true, placeholder: 'chengdu/qingyang' }), text({ required: true }), text({ required: true, class: 'mono' })];
  return el('details', { class: 'fold' }, el('summary', { text: t('seal.enrol') }), form(t('seal.enrol'), async () => {
    if (!readKey(key.value.trim())) throw new Refused(t('seal.badKey'));
    await office.enrol({ seal: seal.value.trim(), area: area.value.trim(), gateway: gateway.value.trim(), key: key.value.trim() });
    for (const input of [seal, area, gateway, key]) input.value = '';
    await again();
  }, [field(t('grant.seal'), seal), field(t('gateways.area'), area), field(t('sensor.gateway'), gateway), field(t('seal.key'), key, t('seal.keyHint'))]));
}
