// Applying for stamps. The document stays in the browser: what is applied for is its digest.
import { el, fill } from '../dom.js';
import { t } from '../i18n.js';
import { href, message } from '../panel.js';
import * as office from './office.js';
import { Refused, check, digestIn, dropZone, failure, field, fileDigest, form, frame, still, text } from './parts.js';
import { may } from './person.js';

const count = (props) => text({ type: 'number', inputmode: 'numeric', min: 1, required: true, ...props });
const time = () => text({ type: 'datetime-local' });
const ms = (input) => (input.value ? new Date(input.value).getTime() : null);

/** The page. */
export function view(root) {
  const body = frame(root, 'applications', t('apply.title'), { back: '#/applications' });
  fill(body, message(t('loading'), 'wait'));
  office.seals().then((all) => {
    const seals = all.filter((seal) => seal.matters.length && may('apply', seal.area));
    fill(body, seals.length ? build(seals) : message(t('apply.noSeal')));
  }, (error) => fill(body, failure(error)));
  return still;
}

function build(seals) {
  const seal = el('select', { required: true }, seals.map((one) => el('option', { value: one.seal, text: `${one.seal}${one.is_test ? ` · ${t('seal.test')}` : ''}` })));
  const [matter, rule] = [el('select', { required: true }), el('p', { class: 'dim', role: 'status' })];
  const [pages, copies, title] = [count({ max: 65535, value: 1 }), count({ value: 1 }), text({ required: true, maxlength: 200 })];
  const digest = text({ class: 'mono', required: true, placeholder: '64 × 0–9 a–f' });
  const [from, until, operators] = [time(), time(), text({ placeholder: 'li, wang' })];
  const place = [text({ inputmode: 'decimal' }), text({ inputmode: 'decimal' }), count({ required: false, max: 50000 })];
  const [before, after] = [check(t('grant.before')), check(t('grant.after'))];
  const sealNow = () => seals.find((one) => one.seal === seal.value);
  const matterNow = () => sealNow().matters.find((one) => one.matter === matter.value);
  const showRule = () => {
    const { approvers, needed, most_uses: most, before: wantsBefore, after: wantsAfter } = matterNow();
    copies.max = most;
    rule.textContent = t('apply.rule', { needed, approvers: approvers.join(', '), most });
    // What the rule takes in any case cannot be chosen.
    for (const [box, wanted] of [[before, wantsBefore], [after, wantsAfter]]) Object.assign(box.firstChild, wanted ? { checked: true, disabled: true } : { checked: false, disabled: false });
  };
  const showMatters = () => { fill(matter, sealNow().matters.map((one) => el('option', { value: one.matter, text: one.matter }))); showRule(); };
  seal.addEventListener('change', showMatters);
  matter.addEventListener('change', showRule);
  showMatters();

  return form(t('apply.send'), async () => {
    const document = digestIn(digest.value);
    if (!document) throw new Refused(t('verify.noDigest'));
    const { grant } = await office.apply({
      seal: seal.value, matter: matter.value, title: title.value.trim(), document, pages: Number(pages.value), copies: Number(copies.value),
      not_before_ms: ms(from), expires_ms: ms(until), fence: fence(place), operators: operators.value.split(/[\s,，;；]+/).filter(Boolean),
      before: before.firstChild.checked, after: after.firstChild.checked,
    });
    location.hash = href('application', grant).slice(1);
  }, [
    field(t('grant.seal'), seal), field(t('grant.matter'), matter), rule, field(t('apply.titleOf'), title, t('apply.titleHint')),
    dropZone(t('apply.drop'), async (file) => { digest.value = await fileDigest(file); }), field(t('grant.document'), digest, t('apply.digestHint')),
    el('div', { class: 'pair' }, field(t('grant.pages'), pages), field(t('grant.uses'), copies)),
    el('div', { class: 'pair' }, field(t('grant.from'), from, t('apply.fromHint')), field(t('grant.until'), until, t('apply.untilHint'))),
    field(t('grant.operators'), operators, t('apply.operatorsHint')), before, after,
    el('details', { class: 'fold' }, el('summary', { text: t('apply.place') }), el('div', { class: 'pair' }, field(t('apply.lat'), place[0]), field(t('apply.lon'), place[1]), field(t('apply.radius'), place[2]))),
  ]);
}

function fence(inputs) {
  const texts = inputs.map((input) => input.value.trim());
  if (texts.every((value) => value === '')) return null;
  const [lat, lon, radius] = texts.map((value) => (value === '' ? NaN : Number(value)));
  if (![lat, lon, radius].every(Number.isFinite)) throw new Refused(t('apply.placeBad'));
  return { lat, lon, radius_m: Math.round(radius) };
}
