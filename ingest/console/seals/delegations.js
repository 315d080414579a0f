// Who approves in whose place: what is given, to be withdrawn, and a form to give one's own. What is signed is read from the
// bytes and shown before.
import { notify } from '../announce.js';
import { el, fact, fill } from '../dom.js';
import { t } from '../i18n.js';
import { message } from '../panel.js';
import { datedText } from '../time.js';
import { base64, hex, same, unbase64, unbase64url } from './bytes.js';
import { keyId, toBeSigned } from './cose.js';
import { otherThanAsked, readDelegation } from './delegation.js';
import * as keystore from './keystore.js';
import * as office from './office.js';
import { Refused, action, box, check, code, failure, field, form, frame, text, watch } from './parts.js';
import { may, person } from './person.js';

/** The page. */
export function view(root) {
  const body = frame(root, 'delegations', t('seals.tab.delegations'));
  const [listed, make] = [el('div'), el('div')];
  fill(body, el('p', { class: 'lead', text: t('deputy.hint') }), listed, make);
  const { again, page } = watch(listed, async () => ({ all: await office.delegations(), seals: await office.seals() }), ({ all, seals }) => {
    const areas = Object.fromEntries(seals.map(({ seal, area }) => [seal, area]));
    fill(listed, all.length ? el('div', { class: 'cards', role: 'list' }, all.map((one) => card(one, areas[one.seal], again))) : message(t('deputy.none')));
  });
  if (may('approve')) {
    Promise.all([office.seals(), office.keys(), keystore.kept()]).then(([seals, keys, kept]) => {
      const mine = seals.map((seal) => ({ ...seal, matters: seal.matters.filter((one) => one.may_be_delegated && one.approvers.includes(person().name)) })).filter((seal) => seal.matters.length);
      const here = keys.filter((key) => key.retired_ms === null && kept.includes(key.key));
      if (!mine.length) fill(make, message(t('deputy.noMatter')));
      else if (!here.length) fill(make, box('warn', t('case.noKey'), el('p', {}, el('a', { href: '#/keys', text: t('seals.tab.keys') }))));
      else fill(make, el('h2', { text: t('deputy.give') }), maker(mine, here, again));
    }, (error) => fill(make, failure(error)));
  }
  return page;
}

function stateOf(one) {
  if (one.withdrawn_ms !== null) return 'withdrawn';
  if (one.until_ms <= Date.now()) return 'ended';
  return one.from_ms > Date.now() ? 'coming' : 'holds';
}

const CHIP = { holds: 'replayed', coming: 'held', withdrawn: 'refused_again', ended: '' };

function card(one, area, again) {
  const state = stateOf(one);
  const mayWithdraw = ['holds', 'coming'].includes(state) && (one.from === person().name || (area !== undefined && may('withdraw', area)));
  const why = text({ required: true, maxlength: 200 });
  return el('article', { class: 'card wide', role: 'listitem' },
    el('div', { class: 'card-head' }, el('strong', { text: t('deputy.pair', { from: one.from, to: one.to }) }), el('span', { class: `chip ${CHIP[state]}`, data: { state }, text: t(`deputy.state.${state}`) }), el('time', { class: 'dim push', text: datedText(one.given_ms) })),
    el('p', { text: `${one.seal} · ${one.matters.join(', ')}` }), el('p', { class: 'dim', text: `${datedText(one.from_ms)} — ${datedText(one.until_ms)}${one.is_logged ? '' : ` · ${t('case.unseen')}`}` }),
    one.withdrawn_ms === null ? null : el('p', { class: 'dim', text: t('deputy.withdrawn', { person: one.withdrawn_by ?? '—', why: one.why ?? '', when: datedText(one.withdrawn_ms) }) }),
    mayWithdraw ? el('details', { class: 'fold' }, el('summary', { text: t('deputy.withdraw') }), form(t('deputy.withdraw'), async () => {
      await office.withdraw(one.delegation, why.value.trim());
      notify(t('deputy.isWithdrawn'), 'good');
      await again();
    }, [field(t('case.why'), why, t('deputy.withdrawHint'))], { danger: true })) : null);
}

function maker(seals, keys, again) {
  const option = (value, shown = value) => el('option', { value, text: shown });
  const [seal, to] = [el('select', { required: true }, seals.map((one) => option(one.seal))), el('select', { required: true })];
  const matters = el('fieldset', { class: 'field' });
  const [from, until] = [text({ type: 'datetime-local' }), text({ type: 'datetime-local', required: true })];
  const key = el('select', {}, keys.map((mine) => option(mine.key, `${mine.label} · ${mine.key}`)));
  const shown = el('div', { 'aria-live': 'polite' });
  const showSeal = () => {
    const now = seals.find((one) => one.seal === seal.value);
    fill(to, now.people.filter((name) => name !== person().name).map((name) => option(name)));
    fill(matters, el('legend', { class: 'label', text: t('deputy.matters') }), now.matters.map((one) => check(one.matter, { value: one.matter })));
    fill(shown);
  };
  seal.addEventListener('change', showSeal);
  showSeal();
  const node = form(t('deputy.show'), async () => {
    fill(shown);
    const asked = {
      seal: seal.value, to: to.value, matters: [...matters.querySelectorAll('input:checked')].map((input) => input.value), key: key.value,
      from_ms: from.value ? new Date(from.value).getTime() : null, until_ms: new Date(until.value).getTime(),
    };
    if (!asked.matters.length) throw new Refused(t('deputy.noneChosen'));
    const drafted = await office.draftDelegation(asked);
    fill(shown, signing(drafted, asked, async () => { fill(shown, box('good', t('deputy.given'))); await again(); }));
  }, [field(t('grant.seal'), seal), field(t('deputy.to'), to, t('deputy.toHint')), matters,
    el('div', { class: 'pair' }, field(t('grant.from'), from, t('apply.fromHint')), field(t('grant.until'), until, t('deputy.untilHint'))),
    keys.length > 1 ? field(t('case.key'), key) : null]);
  return el('div', {}, node, shown);
}

// Shows what the bytes say, and signs them and nothing else: they are built here, and the server's must be the same.
function signing(drafted, asked, done) {
  const payload = unbase64(drafted.payload);
  let read = null;
  try { read = readDelegation(payload ?? new Uint8Array()); } catch (error) { return box('bad', t('deputy.unreadable', { detail: error.message })); }
  const differ = otherThanAsked(read, person().name, asked);
  if (differ.length) return box('bad', t('deputy.differs', { fields: differ.map((name) => t(`deputy.${name}`)).join(', ') }), el('p', { text: t('case.differsHint') }));
  const rows = [
    ['grant.seal', read.seal], ['deputy.from', read.from], ['deputy.to', read.to], ['deputy.matters', read.matters.join(', ')], ['grant.from', datedText(read.fromS * 1000)], ['grant.until', datedText(read.untilS * 1000)],
    ['deputy.id', code(read.id)],
  ];
  return el('section', {}, el('h2', { text: t('deputy.signedPart') }), el('dl', { class: 'facts grant' }, rows.map(([name, value]) => fact(t(name), value))), box('warn', t('deputy.meaning', { to: read.to })),
    action(t('deputy.sign'), async () => {
      const bytes = toBeSigned('delegation', await keyId(unbase64url(asked.key)), payload);
      const theirs = unbase64(drafted.to_be_signed);
      if (!theirs || !same(bytes, theirs)) throw new Refused(t('case.otherBytes', { mine: hex(bytes).slice(0, 24), theirs: theirs ? hex(theirs).slice(0, 24) : '—' }));
      const signature = await keystore.sign(asked.key, bytes);
      if (!signature) throw new Refused(t('case.noKey'));
      await office.giveDelegation(drafted.payload, asked.key, base64(signature));
      await done();
    }, { cls: 'primary' }));
}
