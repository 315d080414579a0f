// Applications: those that wait for me, my own, and those of others that I may see.
import { el, fill } from '../dom.js';
import { t, word } from '../i18n.js';
import { href, message } from '../panel.js';
import { whenText, dateTimeText } from '../time.js';
import * as office from './office.js';
import { frame, watchOlder } from './parts.js';
import { may, person } from './person.js';

/** The page. */
export function view(root) {
  const tools = may('apply') ? [el('a', { class: 'primary', href: '#/apply', text: t('apply.title') })] : [];
  const body = frame(root, 'applications', t('seals.tab.applications'), { tools });
  return watchOlder(body, async (before) => {
    const [cases, seals] = await Promise.all([office.applications(before.cases), office.seals()]);
    return { cases, areas: Object.fromEntries(seals.map(({ seal, area }) => [seal, area])) };
  }, { cases: (one) => one.grant }, ({ cases, areas }, older) => {
    const groups = { waiting: [], own: [], others: [] };
    for (const one of cases) groups[groupOf(one, areas[one.seal])].push(one);
    const shown = Object.entries(groups).filter(([, items]) => items.length);
    fill(body, shown.length ? shown.flatMap(([name, items]) => [el('h2', { text: `${t(`case.group.${name}`)} · ${items.length}` }), el('div', { class: 'cards', role: 'list' }, items.map(card))])
      : message(t('case.none'), 'calm'), older);
  }).page;
}

function groupOf(one, area) {
  if (one.applicant === person().name) return 'own';
  return waitsForMe(one, area) ? 'waiting' : 'others';
}

/** Whether I may decide about an application and have not yet. */
export const waitsForMe = (one, area) => one.state === 'open' && one.applicant !== person().name && area !== undefined && may('approve', area)
  && !one.approvals.some((approval) => approval.person === person().name);

const CHIP = { open: 'held', granted: 'replayed', rejected: 'refused_again', revoked: 'refused_again', cancelled: '' };

/** The state of an application in a word. */
export const stateChip = (state) => el('span', { class: `chip ${CHIP[state] ?? ''}`, data: { state }, text: word('case.state.', state) });

/** How far an application is. */
export function progress(one) {
  if (one.state === 'open') return t('case.approved', { n: one.approvals.length, needed: one.needed });
  if (one.state === 'granted') return one.is_logged ? t('case.used', { n: one.used, of: one.copies }) : t('case.unseen');
  return one.why ?? '';
}

function card(one) {
  return el('a', { class: 'card link', role: 'listitem', href: href('application', one.grant) },
    el('div', { class: 'card-head' }, el('strong', { text: one.title }), stateChip(one.state), el('time', { class: 'dim push', text: whenText(one.created_ms), title: dateTimeText(one.created_ms) })),
    el('div', { class: 'card-body' }, el('div', { text: `${one.seal} · ${one.matter} · ${t('case.copies', { n: one.copies })}` }), el('div', { class: 'dim', text: `${one.applicant} · ${progress(one)}` })));
}
