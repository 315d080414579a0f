// Accounts, for admins: who there is, a new one, one account with its roles.
import { notify } from '../announce.js';
import { el, fact, fill } from '../dom.js';
import { t, word } from '../i18n.js';
import { href } from '../panel.js';
import { datedText } from '../time.js';
import * as office from './office.js';
import { action, box, code, field, form, frame, text, watch } from './parts.js';
import { ofOther } from './passkeys.js';
import { person } from './person.js';
import { roleEditor, roleList } from './roles.js';

/** A password that is shown this once. */
const onceShown = ({ account, password }) => box('good', t('people.password', { name: account.name }), el('p', {}, code(password)), el('p', { class: 'dim', text: t('people.once') }),
  action(t('people.copy'), async () => { await navigator.clipboard.writeText(password); notify(t('people.copied'), 'good'); }));

/** All accounts. */
export const list = {
  view(root) {
    const [shown, made] = [el('div'), el('div')];
    const body = frame(root, 'people', t('seals.tab.people'));
    const [name, full, roles] = [text({ required: true, autocapitalize: 'none' }), text({ required: true }), roleEditor([{}])];
    const create = form(t('people.create'), async () => {
      fill(made, onceShown(await office.createAccount({ name: name.value.trim(), shown: full.value.trim(), roles: roles.value() })));
      made.firstChild.scrollIntoView({ block: 'nearest' });
      [name.value, full.value] = ['', ''];
      await again();
    }, [field(t('login.name'), name, t('people.nameHint')), field(t('people.shown'), full), roles.node]);
    fill(body, shown, made, el('details', { class: 'fold' }, el('summary', { text: t('people.new') }), create));
    const { again, page } = watch(shown, () => all(office.accounts), (items) => fill(shown, el('div', { class: 'cards', role: 'list' }, items.map(card))));
    return page;
  },
};

async function all(ask) {
  const items = [];
  let next = null;
  do {
    const page = await ask(next);
    items.push(...page.items);
    next = page.next;
  } while (next);
  return items;
}

function card(account) {
  return el('a', { class: `card link ${account.state}`, role: 'listitem', href: href('person', account.name) },
    el('div', { class: 'card-head' }, el('strong', { text: account.shown }), el('span', { class: 'dim', text: account.name }), account.state === 'active' ? null : el('span', { class: 'chip held', text: word('people.state.', account.state) }),
      account.choose_until_ms === null ? null : el('span', { class: 'dim push', text: t('people.waits') })),
    roleList(account.roles));
}

/** One account. */
export const one = {
  view(root, { id }) {
    const body = frame(root, 'people', id, { back: '#/people' });
    const { again, page } = watch(body, () => office.account(id), draw);
    const change = async (what) => { await office.changeAccount(id, what); notify(t('people.changed'), 'good'); await again(); };
    function draw(account) {
      const isMe = account.name === person()?.name;
      const [shown, roles, made] = [text({ value: account.shown, required: true }), roleEditor(account.roles), el('div')];
      const isActive = account.state === 'active';
      fill(body, el('dl', { class: 'facts' }, fact(t('login.name'), account.name), fact(t('quarantine.state'), word('people.state.', account.state)), fact(t('me.since'), datedText(account.created_ms)),
        fact(t('people.keys'), String(account.keys.filter((key) => key.retired_ms === null).length))),
      isMe ? [box('warn', t('people.oneself')), el('h2', { text: t('me.roles') }), roleList(account.roles)] : [
        form(t('settings.save'), () => change({ shown: shown.value.trim(), roles: roles.value() }), [field(t('people.shown'), shown), roles.node]),
        el('div', { class: 'actions' }, action(t('people.reset'), async () => fill(made, onceShown(await office.resetPassword(id)))),
          action(t(isActive ? 'people.disable' : 'people.enable'), () => change({ state: isActive ? 'disabled' : 'active' }))), made,
        el('h2', { text: t('passkeys.title') }), account.passkeys.length ? el('div', { class: 'cards', role: 'list' }, ofOther(account, again)) : el('p', { class: 'dim', text: t('passkeys.none') })]);
    }
    return page;
  },
};
