// Coming in: the first admin, logging in, choosing a password, and who I am.
import { notify } from '../announce.js';
import { el, fact, fill } from '../dom.js';
import { t } from '../i18n.js';
import { datedText } from '../time.js';
import * as office from './office.js';
import { Refused, action, field, form, frame, still, text } from './parts.js';
import { show, section as passkeys } from './passkeys.js';
import { enter, leave, learn, mustChoose, person } from './person.js';
import { roleList } from './roles.js';

const password = (props) => text({ type: 'password', required: true, ...props });
const fresh = () => ({ one: password({ autocomplete: 'new-password', minlength: 10 }), two: password({ autocomplete: 'new-password' }) });

function agreed({ one, two }) {
  if (one.value !== two.value) throw new Refused(t('me.differ'));
  return one.value;
}

/** Logging in; the page that was asked for follows. */
export const login = {
  view(root) {
    const name = text({ autocomplete: 'username', autocapitalize: 'none', required: true });
    const secret = password({ autocomplete: 'current-password' });
    const body = frame(root, null, t('login.title'));
    fill(body, el('p', { class: 'lead', text: t('login.hint') }),
      form(t('login.enter'), () => enter(name.value.trim(), secret.value, show), [field(t('login.name'), name), field(t('login.password'), secret)]));
    name.focus();
    return still;
  },
};

/** Choosing an own password after one that an admin made. */
export const choose = {
  view(root) {
    const before = password({ autocomplete: 'current-password' });
    const after = fresh();
    fill(frame(root, null, t('me.choose')), el('p', { class: 'lead', text: t('me.chooseHint') }), passwordForm(before, after));
    before.focus();
    return still;
  },
};

function passwordForm(before, after) {
  return form(t('me.change'), async () => {
    await office.choosePassword(before.value, agreed(after));
    await learn();
    notify(t('me.changed'), 'good');
  }, [field(t('me.before'), before), field(t('me.after'), after.one, t('me.afterHint')), field(t('me.again'), after.two)]);
}

/** Who I am. */
export const me = {
  view(root) {
    const { name, shown, roles, created_ms } = person();
    const body = frame(root, 'me', shown, { sub: name, tools: [action(t('me.leave'), leave)] });
    fill(body, el('h2', { text: t('me.roles') }), roleList(roles), el('dl', { class: 'facts' }, fact(t('me.since'), datedText(created_ms))), passkeys(),
      el('h2', { text: t('me.change') }), passwordForm(password({ autocomplete: 'current-password' }), fresh()));
    return still;
  },
};

/** The first admin, by the link that ingest has printed. */
export const first = {
  view(root, { id: token }) {
    const [name, shown, secret] = [text({ autocomplete: 'username', autocapitalize: 'none', required: true }), text(), fresh()];
    const body = frame(root, null, t('first.title'));
    fill(body, el('p', { class: 'lead', text: t('first.hint') }), form(t('first.make'), async () => {
      const chosen = agreed(secret);
      await office.first(token, name.value.trim(), shown.value.trim(), chosen);
      await enter(name.value.trim(), chosen, show);
      location.replace('#/people');
    }, [field(t('login.name'), name, t('people.nameHint')), field(t('people.shown'), shown), field(t('login.password'), secret.one, t('me.afterHint')), field(t('me.again'), secret.two)]));
    name.focus();
    return still;
  },
};

/** A view that needs somebody who has chosen a password; until then it is the way in. */
export const gated = (view) => ({ view: (root, params) => (person() ? mustChoose() ? choose : view : login).view(root, params) });
