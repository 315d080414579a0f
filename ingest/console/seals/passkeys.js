// My passkeys: what is shown after the password. They live in the device or its password manager, never here.
import { notify } from '../announce.js';
import { el, fill } from '../dom.js';
import { t } from '../i18n.js';
import { datedText } from '../time.js';
import * as office from './office.js';
import { Refused, action, box, field, form, text } from './parts.js';
import { learn, person } from './person.js';

const isAble = () => typeof PublicKeyCredential !== 'undefined' && Boolean(PublicKeyCredential.parseRequestOptionsFromJSON);

// The browser says no more than that it did not happen: refused, timed out, no such passkey here.
async function asked(what) {
  const why = whyNone() ?? (isAble() ? null : t('passkeys.unable'));
  if (why) throw new Refused(why);
  try { return (await what()).toJSON(); } catch (error) {
    throw new Refused(t(error.name === 'InvalidStateError' ? 'passkeys.known' : 'passkeys.notShown', { detail: error.message }));
  }
}

/** Asks the person to show a passkey: what the server is to be told. */
export const show = (options) => asked(() => navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }));

const made = (options) => asked(() => navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }));

/** Why there are none here, for people; null when there are. */
export function whyNone() {
  if (!office.origin) return t('passkeys.off');
  return location.origin === office.origin ? null : t('passkeys.elsewhere', { origin: office.origin });
}

/** The part of my own page about them. */
export function section() {
  const node = el('section', { class: 'passkeys' });
  draw(node);
  return node;
}

function draw(node) {
  const { passkeys } = person();
  const why = whyNone();
  const again = async () => { await learn(); if (node.isConnected && person()) draw(node); };
  fill(node, el('h2', { text: t('passkeys.title') }), el('p', { class: 'lead', text: t('passkeys.hint') }),
    el('div', { class: 'cards', role: 'list' }, passkeys.map((passkey) => card(passkey, passkeys.length === 1, again))),
    why ? box('warn', why) : maker(again));
}

const passwordField = (password) => field(t('login.password'), password, t('passkeys.passwordHint'));
const passwordInput = () => text({ type: 'password', autocomplete: 'current-password', required: true });

function maker(again) {
  const [label, password] = [text({ required: true, maxlength: 64, value: t('passkeys.labelValue') }), passwordInput()];
  return form(t('passkeys.make'), async () => {
    const credential = await made(await office.passkeyOptions(password.value));
    await office.addPasskey(label.value.trim(), credential);
    notify(t('passkeys.made'), 'good');
    await again();
  }, [field(t('passkeys.label'), label), passwordField(password)]);
}

function card(passkey, isLast, again) {
  const [label, password] = [text({ required: true, maxlength: 64, value: passkey.label }), passwordInput()];
  return el('article', { class: 'card', role: 'listitem' },
    el('div', { class: 'card-head' }, el('strong', { text: passkey.label }), el('time', { class: 'dim push', text: usedText(passkey) })),
    el('details', { class: 'fold' }, el('summary', { text: t('passkeys.change') }),
      form(t('passkeys.rename'), async () => { await office.renamePasskey(passkey.id, label.value.trim()); await again(); }, [field(t('passkeys.label'), label)]),
      isLast ? el('p', { class: 'dim', text: t('passkeys.last') }) : form(t('people.remove'), async () => { await office.removePasskey(passkey.id, password.value); await again(); }, [passwordField(password)], { danger: true })));
}

const usedText = ({ added_ms, used_ms }) => (used_ms === null ? t('passkeys.added', { when: datedText(added_ms) }) : t('passkeys.used', { when: datedText(used_ms) }));

/** Somebody else's, for an admin, who may remove what was lost. */
export const ofOther = (account, again) => account.passkeys.map((passkey) => el('article', { class: 'card', role: 'listitem' },
  el('div', { class: 'card-head' }, el('strong', { text: passkey.label }), el('time', { class: 'dim push', text: usedText(passkey) })),
  action(t('people.remove'), async () => {
    if (!confirm(t('passkeys.sure', { label: passkey.label, name: account.name }))) return;
    await office.takePasskey(account.name, passkey.id);
    await again();
  })));
