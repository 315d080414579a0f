// The pages of seals and people, by the name in their address, and the way in from paper and terminal.
import { el, fill, setAttr } from '../dom.js';
import { icon } from '../icons.js';
import { addTexts, t } from '../i18n.js';
import { on } from '../store.js';
import * as application from './application.js';
import * as applications from './applications.js';
import * as apply from './apply.js';
import * as delegations from './delegations.js';
import { first, gated, me } from './enter.js';
import * as keys from './keys.js';
import { hasOffice } from './office.js';
import * as people from './people.js';
import { learn, person } from './person.js';
import * as rules from './rules.js';
import * as seal from './seal.js';
import * as seals from './seals.js';
import { SEALS } from './texts.js';
import * as verify from './verify.js';

addTexts(SEALS);

const gatedAll = (views) => Object.fromEntries(Object.entries(views).map(([name, view]) => [name, gated(view)]));

/** The pages; without an office none but the first admin's. */
export const VIEWS = hasOffice
  ? { first, verify, ...gatedAll({ me, applications, application, apply, seals, seal, keys, delegations, people: people.list, person: people.one, rules }) }
  : { first };

/** The page of the navigation under which a page of seals stands. */
export const PARENT = Object.fromEntries(Object.keys(VIEWS).map((name) => [name, 'applications']));

/** Turns `/first#TOKEN` and `/verify#DIGEST` into addresses of this page. */
export function comeIn() {
  const name = { '/first': 'first', '/verify': 'verify' }[location.pathname];
  if (name) history.replaceState(null, '', `/#/${name}/${location.hash.slice(1)}`);
}

/** Learns who is logged in, and shows it in the frame. */
export async function begin() {
  if (!hasOffice) return;
  on(['lang', 'person'], show);
  show();
  await learn();
}

function show() {
  const link = document.getElementById('person');
  const label = person() ? person().shown : t('login.enter');
  link.hidden = false;
  fill(link, icon('person'), el('span', { text: label }));
  setAttr(link, 'aria-label', label);
  setAttr(link, 'title', label);
}
