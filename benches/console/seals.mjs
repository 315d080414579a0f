// Plays the part of everybody around a seal in Chromium, each in a browser of their own: the first admin by the link, accounts,
// keys made in the browser, rules, applications, two approvers who sign them, a server that lies; then what a real seal has
// done, on everybody's pages, and a stranger who verifies it. The same again with the network cut after the grant.
//
//   node seals.mjs out/          started by benches/seal/story.py, which does what happens outside of browsers
//
// Screenshots go to the output folder. Exit: 0 well, 1 a check failed, 64 called wrongly.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { CheckFailed, launch, must, open as openPage, until } from './browser.mjs';

const [out] = process.argv.slice(2);
if (!out) {
  console.error('usage: node seals.mjs OUTPUT_DIR, started by benches/seal/story.py');
  process.exit(64);
}

const WAIT_S = 60;
const SEAL = 'gongli-07';
const AREA = 'jinan/pingyin/gongli';
const secret = (name) => `a long pass phrase of ${name}`;
/** Before and after each of four uses. */
const PHOTOGRAPHS = 8;
const pages = {};
let passed = 0;
const ok = (what) => { passed += 1; console.log(`ok   ${what}`); };
const shot = (page, name) => page.screenshot({ path: path.join(out, `seals-${name}.png`) });

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Has something done outside of the browsers. */
async function ask(act, ...words) {
  console.log(JSON.stringify({ act, words }));
  const { value } = await answers.next();
  const { done, failed } = JSON.parse(value ?? '{"failed":"the story has ended"}');
  must(failed === undefined, `${act}: ${failed}`);
  return done;
}

/** Somebody's browser, logged out. */
async function open(browser, office, name, how = {}) {
  const page = await openPage(browser, office.base, { lang: 'en', scheme: 'light', wait: WAIT_S, ...how });
  page.on('dialog', (dialog) => dialog.accept());
  pages[name] = page;
  return page;
}

/** Opens a page of the console afresh. */
async function go(page, office, hash) {
  await page.goto('about:blank');
  await page.goto(`${office.base}/#/${hash}`);
}
const button = (page, name) => page.getByRole('button', { name, exact: true });

async function firstAdmin(browser, office) {
  const page = await open(browser, office, 'admin');
  await page.goto(`${office.base}/first#${office.token}`);
  await page.getByLabel('Name to log in with').fill('admin');
  await page.getByLabel('Name others see').fill('The city’s admin');
  await page.getByLabel('Password', { exact: true }).fill(secret('admin'));
  await page.getByLabel('Once more').fill(secret('admin'));
  await shot(page, 'first');
  await button(page, 'Create and log in').click();
  await page.waitForSelector('#person:has-text("The city’s admin")');
  await page.waitForSelector('.tabs a[aria-current]:has-text("People")');
  must(!page.url().includes('first'), 'the token is still in the address');
  ok('the first link makes the admin, who is logged in');
}

/** An account made by the admin, and its owner's browser with an own password. */
async function person(browser, office, name, role, how) {
  const admin = pages.admin;
  await go(admin, office, 'people');
  await admin.getByText('New account').click();
  await admin.getByLabel('Name to log in with').fill(name);
  await admin.getByLabel('Name others see').fill(name);
  await admin.getByLabel('Role', { exact: true }).selectOption(role);
  await admin.getByLabel('Area').fill(AREA);
  await button(admin, 'Create account').click();
  const password = await admin.locator('.box.good .code').innerText();
  if (name === 'auditor') await shot(admin, 'people');
  const page = await open(browser, office, name, how);
  await go(page, office, 'applications');
  await page.getByLabel('Name to log in with').fill(name);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await button(page, 'Log in').click();
  await page.getByLabel('Present password').fill(password);
  await page.getByLabel('New password').fill(secret(name));
  await page.getByLabel('Once more').fill(secret(name));
  await button(page, 'Change password').click();
  await page.waitForSelector('.tabs a[aria-current]:has-text("Applications")');
  return page;
}

async function makeKey(page, office) {
  await go(page, office, 'keys');
  await page.getByLabel('Password', { exact: true }).fill(secret(page.who));
  await button(page, 'Make and register a key').click();
  const key = await page.locator('.card .code').innerText();
  must(/^[\w-]{43}$/.test(key), `the key reads ${JSON.stringify(key)}, expected 43 characters`);
  must(await page.locator('.chip.replayed').innerText() === 'In this browser', 'the key is not said to be here');
  await shot(page, `keys-${page.who}`);
  return key;
}

/** What the camera will see, of which no two are the same: an empty page and one with a stamp, for each use. */
async function lay(browser, office) {
  const page = await browser.newPage({ viewport: { width: 400, height: 300 } });
  for (let number = 0; number < PHOTOGRAPHS; number += 1) {
    const stamp = number % 2 ? '<circle cx="280" cy="200" r="60" fill="none" stroke="#c00" stroke-width="8"/>' : '';
    await page.setContent(`<body style="margin:0"><svg width="400" height="300"><text x="30" y="60" font-size="24">Sheet ${number}</text>${stamp}</svg>`);
    await page.screenshot({ type: 'jpeg', path: photograph(office, number) });
  }
  await page.close();
}
const photograph = (office, number) => path.join(office.folder, 'album', `${number}.jpg`);

async function enrolAndRule(browser, office, keys) {
  const { installer, admin } = pages;
  const device = await ask('device');
  await lay(browser, office);
  await go(installer, office, 'seals');
  await installer.locator('summary').click();
  for (const [label, value] of [['Seal', SEAL], ['Area', AREA], ['Gateway', 'gongli-07'], ['Key of the device', device]]) await installer.getByLabel(label, { exact: true }).fill(value);
  await button(installer, 'Enrol a seal').click();
  await installer.waitForSelector(`.card:has-text("${SEAL}")`);
  ok('the installer enrols a seal');
  await go(admin, office, 'rules');
  await admin.locator('input[type=file]').setInputFiles(await ask('rules_for', keys));
  await admin.waitForSelector('.box.good:has-text("Signed by 2 of the roots (2 needed)")');
  for (const key of Object.values(keys)) await admin.getByText(key).waitFor();
  await shot(admin, 'rules');
  await button(admin, 'Take these rules').click();
  await admin.waitForSelector('.box.good:has-text("Rules no. 1 of gongli-07 are taken")');
  ok('the admin sees the rules in full with both signatures, and they are taken');
  await ask('start_gateway');
}

async function apply(office, document) {
  const page = pages.bookkeeper;
  await go(page, office, 'apply');
  await page.getByLabel('What it is about').fill(document.title);
  await page.locator('input[type=file]').setInputFiles(document.file);
  await until('the digest of the file', async () => await page.getByLabel('SHA-256 of the document').inputValue() === document.digest, WAIT_S);
  await page.getByLabel('Impressions').fill('2');
  await page.getByLabel('Others who may use it').fill('clerk');
  await page.getByText('Only at a place').click();
  for (const [label, value] of [['Degrees north', '36.287'], ['Degrees east', '116.436'], ['Metres around', '200']]) await page.getByLabel(label).fill(value);
  await shot(page, 'apply');
  await button(page, 'Apply').click();
  await page.waitForSelector('.chip[data-state=open]');
  await shot(page, 'application-own');
  return page.url().split('#/')[1];
}

/** The server shows one thing and asks for a signature of another. */
async function lies(office, address) {
  const page = pages.secretary;
  const application = '**/api/v1/applications/*';
  const serve = (change) => page.route(application, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), ...change } });
  });
  await serve({ copies: 1 });
  await go(page, office, address);
  await page.waitForSelector('.box.bad:has-text("What the server shows is not what would be signed: Impressions")');
  must(!(await button(page, 'Sign and approve').count()), 'what differs can be signed');
  await shot(page, 'differs');
  await page.unroute(application);
  await serve({ payload: 'oQE=' });
  await page.reload();
  await page.waitForSelector('.box.bad:has-text("The grant cannot be read")');
  must(!(await button(page, 'Sign and approve').count()), 'what cannot be read can be signed');
  await page.unroute(application);
  await page.route('**/to-sign*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), to_be_signed: 'hGlTaWduYXR1cmU=' } });
  });
  await page.reload();
  await button(page, 'Sign and approve').click();
  await page.waitForSelector('.message.bad:has-text("Not signed")');
  await page.unroute('**/to-sign*');
  ok('a server that lies is found out three times, and nothing is signed');
}

async function approve(office, who, document, last) {
  const page = pages[who];
  await go(page, office, 'applications');
  await page.locator('.card', { hasText: document.title }).click();
  await page.waitForSelector('.facts.grant');
  const shown = await page.locator('.facts.grant').innerText();
  for (const part of [SEAL, 'certificate of residence', document.digest, 'bookkeeper', 'clerk', '36.28700, 116.43600 (wgs84) · 200 m']) must(shown.includes(part), `the grant is shown without ${part}: ${shown}`);
  const drop = page.locator('input[type=file]');
  await drop.setInputFiles(document.other);
  await page.waitForSelector('.box.bad:has-text("This is another document")');
  await drop.setInputFiles(document.file);
  await page.waitForSelector('.box.good:has-text("This is the document of the grant")');
  await shot(page, `approve-${who}`);
  await button(page, 'Sign and approve').click();
  await page.waitForSelector(last ? '.chip[data-state=granted]' : '.state-line + p:has-text("1 of 2 approvals")');
}

/** Two approvers sign what was applied for; the grant, and the file of it that the applicant saves. */
async function granted(office, document, address) {
  await approve(office, 'secretary', document, false);
  await approve(office, 'clerk', document, true);
  const page = pages.bookkeeper;
  await page.waitForSelector('.chip[data-state=granted]');
  await page.waitForSelector('.state-line + p:has-text("0 of 2 used")');
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download the grant').click()]);
  must(download.suggestedFilename().startsWith('grant-'), 'the grant is no file');
  const carried = path.join(office.folder, download.suggestedFilename());
  await download.saveAs(carried);
  await shot(page, 'granted');
  ok('two approvers read the grant in full, check the document, and sign in their browsers; the applicant has it without touching the page');
  const grant = address.split('/')[1];
  await ask('holds', grant);
  return { grant, carried };
}

/** Two uses and a third one that is refused, twice: what the seal says. */
async function used({ grant, carried }, where) {
  const [first, second, third, again] = await ask('used', grant, carried);
  must(first.use === 1 && second.use === 2 && first.presses + second.presses === 2, JSON.stringify([first, second]));
  ok(`${where} the seal stamps twice, and not a third time: ${third.refused}; for a copy of the grant: ${again.refused}`);
}

/** Everything that the seal has signed, newest first, once all of it has come, photographs too. */
async function recorded(office, count) {
  const get = (where) => pages.auditor.context().request.get(`${office.base}/api/v1/${where}`);
  const receipts = await until(`${count} receipts`, async () => {
    const { receipts } = await (await get(`seals/${SEAL}`)).json();
    return receipts.length === count && receipts;
  }, WAIT_S);
  for (const picture of receipts.flatMap(({ before, after }) => [before, after]).filter(Boolean)) await until(`the photograph ${picture}`, async () => (await get(`pictures/${picture}`)).ok(), WAIT_S);
  return receipts;
}

async function speak(page, office, lang) {
  await go(page, office, 'settings');
  await page.locator(`.segmented [data-value="${lang}"]`).click();
}

/** The auditor's page of the seal: the grant, its uses with what the camera saw, what was refused. */
async function timeline(office, document, refusal) {
  const page = pages.auditor;
  for (const [lang, words] of [['zh', ['clerk 审批通过并签名', '第 1 次，共 2 次', '第 2 次，共 2 次', refusal.refusal_zh]], ['en', ['clerk approved with a signature', 'Use 1 of 2', 'Use 2 of 2', refusal.refusal_en]]]) {
    await speak(page, office, lang);
    await go(page, office, `seal/${SEAL}`);
    const card = page.locator('article.card', { hasText: document.title });
    const steps = [];
    for (const [at, part] of words.entries()) steps.push(await card.locator(`.course li.${at < 3 ? 'good' : 'bad'}`, { hasText: part }).first().evaluate((li) => [...li.closest('.card').querySelectorAll('li')].indexOf(li)));
    must(steps.every((step, at) => at === 0 || steps[at - 1] < step), `not in their order: ${words.join(', ')}: ${steps}`);
    const images = card.locator('.course li.good img');
    await until('four photographs', () => images.evaluateAll((all) => { all.forEach((image) => image.scrollIntoView()); return all.length === 4 && all.every((image) => image.naturalWidth === 400); }), WAIT_S);
    must(!(await page.locator('.finding').count()), 'something does not agree');
    await shot(page, `timeline-${lang}`);
  }
  await page.locator('.card', { hasText: document.title }).locator('.course li.good a', { hasText: 'Proof' }).last().click();
  await page.waitForSelector('.box.good:has-text("Covered by a grant")');
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download the proof (JSON)').click()]);
  must(download.suggestedFilename().endsWith('.json'), 'the proof is no file');
  ok('the auditor sees the grant, both uses with their photographs, their proofs and the refusal, in both languages');
}

/** Anybody, without an account: by the code on paper, by a photograph; and with the paper in hand. */
async function stranger(page, office, document, [second, first], number) {
  await page.goto('about:blank');
  await page.goto(`${office.base}/verify#${second.digest}`);
  await page.waitForSelector('.box.good:has-text("有授权")');
  const shown = await page.locator('.seals').innerText();
  for (const part of [SEAL, 'certificate of residence', document.digest, '第 2 次，共 2 次', '附有全部签名与见证证明。', 'ingest seal verify']) must(shown.includes(part), `an impression is shown without ${part}: ${shown}`);
  must(!shown.includes('bookkeeper'), 'verification shows who applied');
  const picture = path.join(office.folder, 'code.png');
  await page.locator('.qr img').screenshot({ path: picture });
  const scanned = await ask('scanned', picture);
  must(scanned === `${office.base}/verify#${second.digest}`, `the code on paper says ${scanned}`);
  const paper = page.locator('input[type=file]').nth(1);
  await paper.setInputFiles(document.other);
  await page.waitForSelector('.box.bad:has-text("这不是授权中的文件")');
  await paper.setInputFiles(document.file);
  await page.waitForSelector('.box.good:has-text("这正是授权中的文件")');
  await shot(page, 'verify-covered');
  await page.locator('input[type=file]').first().setInputFiles(photograph(office, number));
  await page.waitForSelector('.seals:has-text("第 1 次，共 2 次") .box.good:has-text("有授权")');
  must(page.url().includes(first.after), 'the photograph has another digest');
  await page.locator('input[type=file]').first().setInputFiles(document.other);
  await page.waitForSelector('.box.bad:has-text("没有这样的印迹")');
  must(await page.locator('#person').isVisible() && await page.locator('.tabs a').count() === 1, 'a passer-by is shown more than verification');
  await shot(page, 'verify-phone');
  ok('a stranger verifies both uses, by the code on paper and by a photograph; another page, and another photograph, is covered by nothing');
}

/** The same at a command line, by the keys alone. */
async function checked(receipts) {
  for (const { digest, before, after } of receipts) for (const one of [digest, before, after]) must((await ask('verified', one)).includes('covered by a grant'), `${one} is not said to be covered`);
  must((await ask('forged')).includes('nothing covers it'), 'what nobody stamped is covered');
  const audit = await ask('audited');
  console.log(audit.trim());
  ok('so does whoever trusts nobody here, at a command line; and the whole log holds');
}

/** From an application to what a stranger sees of it. `told`: receipts before it. */
async function story(office, passer, document, { told, isCut, lie }) {
  const address = await apply(office, document);
  ok('the document is digested in the browser, and the application waits');
  if (lie) await lies(office, address);
  const grant = await granted(office, document, address);
  if (isCut) await ask('cut');
  await used(grant, isCut ? 'with the network cut' : 'in contact');
  if (isCut) {
    must(await pages.bookkeeper.locator('.state-line + p:has-text("0 of 2 used")').count(), 'the office knows of uses while nobody can tell it');
    await ask('mend');
  }
  await pages.bookkeeper.waitForSelector('.state-line + p:has-text("2 of 2 used")');
  const [refusal, ...uses] = (await recorded(office, told + 3)).slice(0, 3);
  must(refusal.refusal === 'replayed' && uses.every((use) => use.outcome === 'stamped'), JSON.stringify([refusal, uses]));
  await checked(uses);
  await timeline(office, document, refusal);
  await stranger(passer, office, document, uses, (told / 3) * 4 + 1);
}

/** Locked from afar and unlocked; its cover opened, which everybody sees who may. */
async function guarded(office) {
  const { operator, auditor } = pages;
  await go(auditor, office, 'seals');
  await auditor.waitForSelector('.card');
  await shot(auditor, 'seals');
  must((await auditor.locator('.card .with-why').first().innerText()).includes('Takes: '), 'an auditor is not told why a seal cannot be locked');
  await go(operator, office, 'seals');
  await button(operator, 'Lock').click();
  await operator.waitForSelector('.chip:has-text("Locked")');
  await button(operator, 'Unlock').click();
  await operator.waitForSelector('.chip:has-text("Not locked")');
  ok('the operator locks and unlocks; the auditor may not');
  await ask('hand', 'begin', 'cover');
  await go(auditor, office, `seal/${SEAL}`);
  await auditor.waitForSelector('.finding:has-text("somebody has tampered with the device")');
  await ask('hand', 'end', 'cover');
  await shot(auditor, 'timeline-finding');
  await go(operator, office, 'seals');
  await button(operator, 'Tampering looked into').click();
  await operator.waitForSelector('.toast:has-text("The seal hears of it")');
  ok('its cover is opened: the auditor sees it, the operator has looked into it');
}

/** What is not granted, and what is taken back; each with its reason. */
async function refusing(office, document) {
  const [applicant, approver, operator] = [pages.bookkeeper, pages.secretary, pages.operator];
  for (const [page, deed, why, state] of [[approver, 'Reject', 'the paper is unreadable', 'rejected'], [applicant, 'Cancel it', 'not needed any more', 'cancelled']]) {
    const address = await apply(office, { ...document, title: `${document.title}: ${deed}` });
    await go(page, office, address);
    await page.locator('summary', { hasText: deed }).click();
    await page.getByLabel('Why').fill(why);
    await button(page, deed).click();
    await applicant.waitForSelector(`.chip[data-state=${state}]`);
    await applicant.waitForSelector(`.course li.bad:has-text("${why}")`);
  }
  await go(operator, office, 'applications');
  await operator.locator('.card:has(.chip[data-state=granted])', { hasText: document.title }).click();
  await operator.locator('summary').click();
  await operator.getByLabel('Why').fill('the wrong family');
  await button(operator, 'Revoke it').click();
  await operator.waitForSelector('.course li.bad:has-text("operator revoked it: the wrong family")');
  ok('one is rejected, one cancelled, and the grant revoked, each with its reason');
}

/** The secretary is away, the teacher approves, and the secretary comes back. */
async function deputise(office, document) {
  const [absent, deputy] = [pages.secretary, pages.teacher];
  const draft = '**/api/v1/delegations/draft';
  await go(absent, office, 'delegations');
  await absent.getByLabel('Deputy').selectOption('teacher');
  await absent.getByLabel('certificate of residence').check();
  const end = new Date(Date.now() + 3 * 86400e3 - new Date().getTimezoneOffset() * 60e3).toISOString().slice(0, 16);
  await absent.getByLabel('Until').fill(end);
  for (const [change, said] of [[{ payload: 'oQE=' }, 'The delegation cannot be read'], [{ to_be_signed: 'hGlTaWduYXR1cmU=' }, null]]) {
    await absent.route(draft, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), ...change } });
    });
    await button(absent, 'Show what is signed').click();
    if (said) await absent.waitForSelector(`.box.bad:has-text("${said}")`);
    else {
      await button(absent, 'Sign and delegate').click();
      await absent.locator('#toasts').getByText('Not signed: the server asks to sign other bytes').waitFor();
    }
    await absent.unroute(draft);
  }
  await button(absent, 'Show what is signed').click();
  await absent.waitForSelector('.facts.grant');
  const shown = await absent.locator('.facts.grant').innerText();
  for (const part of [SEAL, 'secretary', 'teacher', 'certificate of residence']) must(shown.includes(part), `the delegation is shown without ${part}: ${shown}`);
  await shot(absent, 'delegate');
  await button(absent, 'Sign and delegate').click();
  await absent.waitForSelector('.card:has-text("teacher in place of secretary") .chip[data-state=holds]');
  ok('the secretary sees a delegation in full and signs it; a server that lies is found out');
  const address = await apply(office, document);
  await go(deputy, office, address);
  await button(deputy, 'Sign and approve').click();
  await deputy.waitForSelector('.course li.good:has-text("teacher approved with a signature in place of secretary")');
  await go(pages.clerk, office, address);
  await button(pages.clerk, 'Sign and approve').click();
  await pages.clerk.waitForSelector('.chip[data-state=granted]');
  await shot(pages.clerk, 'deputed');
  await go(absent, office, 'delegations');
  await absent.locator('summary', { hasText: 'Withdraw it' }).click();
  await absent.getByLabel('Why').fill('back at work');
  await button(absent, 'Withdraw it').click();
  await absent.waitForSelector('.card .chip[data-state=withdrawn]');
  await shot(absent, 'withdrawn');
  ok('a deputy approves in place of the secretary, who comes back and withdraws it');
}

/** A second key, and its end. */
async function retire(office) {
  const page = pages.secretary;
  await go(page, office, 'keys');
  await page.getByLabel('What you call it').fill('spare');
  await page.getByLabel('Password', { exact: true }).fill(secret('secretary'));
  await button(page, 'Make and register a key').click();
  await page.locator('.card:has-text("spare") button').click();
  await page.waitForSelector('.card:has-text("spare") .chip:has-text("Retired")');
  ok('a key is retired');
}

/** A full page of findings, and one that is older: so many no honest seal has, so the server's answer is altered here. */
async function older(office) {
  const page = pages.auditor;
  const address = `**/api/v1/seals/${SEAL}*`;
  const finding = { seal: SEAL, word: 'gap', en: 'receipts 1 and 2 are missing', zh: '缺少回执 1、2', evidence: 'aa'.repeat(32), at_ms: Date.now() };
  const newest = Array.from({ length: 200 }, (_, n) => ({ ...finding, number: 201 - n }));
  const first = { ...finding, number: 1, en: 'the first that was found', zh: '最早的异常' };
  await page.route(address, async (route) => {
    const response = await route.fetch();
    const timeline = await response.json();
    const before = new URL(route.request().url()).searchParams.get('finding');
    const json = before ? { ...timeline, receipts: [], findings: before === '2' ? [first] : [] } : { ...timeline, findings: newest };
    await route.fulfill({ response, json });
  });
  await go(page, office, `seal/${SEAL}`);
  await button(page, 'Older').click();
  await page.waitForSelector('.finding:has-text("the first that was found")');
  must(await page.locator('.finding').count() === 201 && !await button(page, 'Older').count(), 'what is older is not added once, or there seems to be more');
  await page.unroute(address);
  ok('what is older comes when it is asked for');
}

async function everywhere(office) {
  for (const [who, hashes] of [['admin', ['me', 'people', 'person/clerk', 'person/admin', 'rules', 'seals']], ['clerk', ['applications', 'delegations', 'keys', 'seals', 'verify']], ['bookkeeper', ['apply', 'applications']], ['auditor', [`seal/${SEAL}`]]]) {
    const page = pages[who];
    for (const lang of ['zh', 'en']) {
      await speak(page, office, lang);
      for (const hash of hashes) {
        for (const width of [390, 1280]) {
          await page.setViewportSize({ width, height: 844 });
          await go(page, office, hash);
          await page.waitForSelector('.seals:not(:has(.message.wait))');
          const text = await page.locator('body').innerText();
          must(!text.includes('⟦'), `a text has no translation on #/${hash}: ${text.match(/⟦[^⟧]*⟧/)?.[0]}`);
          const wide = await page.evaluate(() => Math.max(document.documentElement.scrollWidth - window.innerWidth, document.querySelector('.seals').scrollWidth - document.querySelector('.seals').clientWidth));
          must(wide <= 0, `#/${hash} in ${lang} is ${wide} px wider than ${width} px`);
          if (width === 390 && lang === 'zh') await shot(page, `phone-${hash.replace('/', '-')}`);
        }
      }
    }
  }
  ok('all pages in both languages, on a desk and on a phone');
}

async function goodbye(office) {
  const page = pages.clerk;
  await go(page, office, 'me');
  await button(page, 'Log out').click();
  await page.waitForSelector('.panel h1:has-text("Log in")');
  await page.reload();
  await page.waitForSelector('.panel h1:has-text("Log in")');
  ok('who logs out is out');
}

async function document(office, title) {
  const content = `Certificate: ${title}.\n`;
  const [file, other] = ['paper', 'other'].map((name) => path.join(office.folder, `${name} of ${title}.txt`));
  await writeFile(file, content);
  await writeFile(other, `${content}And their land.\n`);
  return { title, file, other, digest: createHash('sha256').update(content).digest('hex') };
}

async function main() {
  await mkdir(out, { recursive: true });
  const office = await ask('opens');
  const { browser, end } = await launch();
  try {
    await firstAdmin(browser, office);
    for (const [name, role] of Object.entries({ installer: 'installer', bookkeeper: 'applicant', secretary: 'approver', clerk: 'approver', teacher: 'approver', operator: 'operator', auditor: 'auditor' })) {
      (await person(browser, office, name, role, { scheme: name === 'clerk' ? 'dark' : 'light' })).who = name;
    }
    ok('seven people come in with a one-time password and choose their own');
    const keys = {};
    for (const name of ['secretary', 'clerk', 'teacher']) keys[name] = await makeKey(pages[name], office);
    ok('two approvers and a deputy make and register keys in their browsers');
    await enrolAndRule(browser, office, keys);
    const passer = await open(browser, office, 'passer-by', { lang: 'zh', phone: true });
    const [first, second] = [await document(office, 'Residence of the Li family'), await document(office, 'Residence of the Wang family')];
    await story(office, passer, first, { told: 0, isCut: false, lie: true });
    await story(office, passer, second, { told: 3, isCut: true, lie: false });
    await guarded(office);
    await refusing(office, second);
    await deputise(office, second);
    await older(office);
    await retire(office);
    await everywhere(office);
    await goodbye(office);
    for (const [name, page] of Object.entries(pages)) must(!page.wrong.length, `the browser of ${name} complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
    ok('no console error, no failed request, no foreign host');
    console.log(`\n${passed} passed, 0 failed, ${Math.round(performance.now() / 1000)} s`);
  } catch (error) {
    for (const [name, page] of Object.entries(pages)) {
      await shot(page, `failed-${name}`).catch(() => {});
      if (page.wrong.length) console.error(`the browser of ${name} complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
    }
    console.error(`FAIL ${error instanceof CheckFailed ? error.message : error.stack}`);
    console.log(`\n${passed} passed, 1 failed`);
    process.exitCode = 1;
  } finally {
    await end();
    process.stdin.destroy();
  }
}

await main();
