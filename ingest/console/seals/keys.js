// My keys: made in this browser, registered, retired.
import { notify } from '../announce.js';
import { el, fill } from '../dom.js';
import { t } from '../i18n.js';
import { message } from '../panel.js';
import { datedText } from '../time.js';
import { base64url } from './bytes.js';
import * as keystore from './keystore.js';
import * as office from './office.js';
import { Refused, action, box, code, field, form, frame, passkeyFirst, text, watch } from './parts.js';
import { needsPasskey, person } from './person.js';

// As ingest/src/people/own.rs has it.
const proofMessage = (name, key) => new TextEncoder().encode(`watchfire person key v1\n${name}\n${key}\n`);

/** The page. */
export function view(root) {
  const body = frame(root, 'keys', t('seals.tab.keys'));
  const [listed, make] = [el('div'), el('div')];
  fill(body, box('warn', t('keys.here'), el('p', { text: t('keys.hereHint') })), listed, make);
  const { again, page } = watch(listed, async () => ({ keys: await office.keys(), kept: await keystore.kept() }), ({ keys, kept }) =>
    fill(listed, keys.length ? el('div', { class: 'cards', role: 'list' }, keys.map((key) => card(key, kept.includes(key.key), again))) : message(t('keys.none'))));
  if (needsPasskey()) fill(make, passkeyFirst());
  else keystore.isAble().then((able) => fill(make, able ? maker(again) : box('bad', t('keys.unable'), el('p', { text: t('keys.unableHint') }))));
  return page;
}

function maker(again) {
  const label = text({ required: true, maxlength: 64, value: t('keys.labelValue') });
  const password = text({ type: 'password', autocomplete: 'current-password', required: true });
  return el('div', {}, el('h2', { text: t('keys.make') }), form(t('keys.make'), async () => {
    const made = await keystore.make();
    if (!made) throw new Refused(t('keys.unable'));
    const proof = await keystore.signWith(made.pair, proofMessage(person().name, made.text));
    // Kept before it is registered: a key that the server knows and nobody has is worse than the other way round.
    await keystore.keep(made);
    try {
      await office.addKey(made.text, label.value, base64url(proof), password.value);
    } catch (error) {
      if (error.status > 0) await keystore.drop(made.text);
      throw error;
    }
    password.value = '';
    notify(t('keys.made'), 'good');
    await again();
  }, [field(t('keys.label'), label), field(t('login.password'), password, t('keys.passwordHint'))]));
}

function card(key, isHere, again) {
  const isRetired = key.retired_ms !== null;
  return el('article', { class: 'card', role: 'listitem' },
    el('div', { class: 'card-head' }, el('strong', { text: key.label }),
      el('span', { class: `chip ${isRetired ? '' : isHere ? 'replayed' : 'held'}`, text: t(isRetired ? 'keys.retired' : isHere ? 'keys.isHere' : 'keys.elsewhere') }),
      el('time', { class: 'dim push', text: datedText(isRetired ? key.retired_ms : key.added_ms) })),
    code(key.key),
    isRetired ? null : action(t('keys.retire'), async () => {
      if (!confirm(t('keys.sure', { label: key.label }))) return;
      await office.retireKey(key.key);
      await keystore.drop(key.key);
      await again();
    }));
}
