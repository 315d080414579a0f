// Roles with their areas: shown, and edited.
import { el } from '../dom.js';
import { t, word } from '../i18n.js';
import { ROLES } from './person.js';

const areaText = (area) => (area === '*' ? t('people.city') : area);

/** Roles as a list. */
export const roleList = (roles) => (roles.length
  ? el('ul', { class: 'duties' }, roles.map(({ role, area }) => el('li', { class: 'chip' }, el('span', { text: word('role.', role) }), el('span', { class: 'dim', text: ` ${areaText(area)}` }))))
  : el('p', { class: 'dim', text: t('people.noRoles') }));

/** Rows of role and area to be changed: `{node, value()}`. */
export function roleEditor(roles) {
  const rows = el('div', { class: 'role-rows' });
  const add = ({ role = 'applicant', area = '*' } = {}) => {
    const row = el('div', { class: 'role-row' },
      el('select', { 'aria-label': t('people.role') }, ROLES.map((name) => el('option', { value: name, text: word('role.', name), selected: name === role }))),
      el('input', { type: 'text', 'aria-label': t('gateways.area'), value: area, required: true, spellcheck: 'false', autocapitalize: 'none', placeholder: 'chengdu/qingyang' }),
      el('button', { type: 'button', class: 'tool', text: t('people.remove'), on: { click: () => row.remove() } }));
    rows.append(row);
  };
  roles.forEach(add);
  const node = el('div', { class: 'field' }, el('span', { class: 'label', text: t('me.roles') }), rows, el('button', { type: 'button', class: 'tool', text: t('people.addRole'), on: { click: () => add() } }), el('span', { class: 'dim', text: t('people.areaHint') }));
  const value = () => Array.from(rows.children, (row) => ({ role: row.querySelector('select').value, area: row.querySelector('input').value.trim() }));
  return { node, value };
}
