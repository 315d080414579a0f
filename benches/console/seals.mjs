// Plays the part of everybody in an office of seals in Chromium, each in a browser of their own: the first admin by the link,
// accounts, keys made in the browser, rules, an application, two approvers who sign it, a server that lies, verification.
//
//   node seals.mjs path/to/ingest out/
//
// Screenshots go to the output folder. Exit: 0 well, 1 a check failed, 64 called wrongly.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CheckFailed, launch, must, open as openPage, until } from './browser.mjs';
import { Office } from './office.mjs';

const [program, out] = process.argv.slice(2);
if (!program || !out) {
  console.error('usage: node seals.mjs INGEST OUTPUT_DIR');
  process.exit(64);
}

const WAIT_S = 60;
const SEAL = 'gongli-07';
const AREA = 'jinan/pingyin/gongli';
const secret = (name) => `a long pass phrase of ${name}`;
const pages = {};
let passed = 0;
const ok = (what) => { passed += 1; console.log(`ok   ${what}`); };
const shot = (page, name) => page.screenshot({ path: path.join(out, `seals-${name}.png`) });

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
  await page.goto(office.firstLink);
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

async function enrolAndRule(office, keys) {
  const { installer, admin } = pages;
  await go(installer, office, 'seals');
  await installer.locator('summary').click();
  for (const [label, value] of [['Seal', SEAL], ['Area', AREA], ['Gateway', 'gongli-07'], ['Key of the device', office.key('device').public]]) await installer.getByLabel(label, { exact: true }).fill(value);
  await button(installer, 'Enrol a seal').click();
  await installer.waitForSelector(`.card:has-text("${SEAL}")`);
  ok('the installer enrols a seal');
  await go(admin, office, 'rules');
  await admin.locator('input[type=file]').setInputFiles(await office.rules(SEAL, keys));
  await admin.waitForSelector('.box.good:has-text("Signed by 2 of the roots (2 needed)")');
  for (const key of Object.values(keys)) await admin.getByText(key).waitFor();
  await shot(admin, 'rules');
  await button(admin, 'Take these rules').click();
  await admin.waitForSelector('.box.good:has-text("Rules no. 1 of gongli-07 are taken")');
  ok('the admin sees the rules in full with both signatures, and they are taken');
}

async function apply(office, document) {
  const page = pages.bookkeeper;
  await go(page, office, 'apply');
  await page.getByLabel('What it is about').fill('Residence of the Li family');
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
  ok('the document is digested in the browser, and the application waits');
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
  await page.locator('.card:has-text("Residence of the Li family")').click();
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
  ok(`${who} reads the grant in full, checks the document, and signs in the browser`);
}

async function outcome(office) {
  await pages.bookkeeper.waitForSelector('.chip[data-state=granted]');
  await pages.bookkeeper.waitForSelector('.state-line + p:has-text("0 of 2 used")');
  const [download] = await Promise.all([pages.bookkeeper.waitForEvent('download'), button(pages.bookkeeper, 'Download the grant').click()]);
  must(download.suggestedFilename().startsWith('grant-'), 'the grant is no file');
  await shot(pages.bookkeeper, 'granted');
  ok('the applicant sees it granted, and seen by the witness, without touching the page');
  const page = pages.auditor;
  await go(page, office, 'seals');
  await page.waitForSelector('.card');
  await shot(page, 'seals');
  must((await page.locator('.card .with-why').first().innerText()).includes('Takes: '), 'an auditor is not told why a seal cannot be locked');
  await page.locator('.card a').first().click();
  await page.waitForSelector('.course li.good:has-text("clerk approved with a signature")');
  await shot(page, 'timeline');
  ok('the auditor sees the seal’s timeline and may lock nothing');
  const operator = pages.operator;
  await go(operator, office, 'seals');
  await button(operator, 'Lock').click();
  await operator.waitForSelector('.chip:has-text("Locked")');
  await button(operator, 'Unlock').click();
  await operator.waitForSelector('.chip:has-text("Not locked")');
  ok('the operator locks and unlocks');
}

/** What is not granted, and what is taken back; each with its reason. */
async function refusing(office, document) {
  const [applicant, approver, operator] = [pages.bookkeeper, pages.secretary, pages.operator];
  for (const [page, deed, why, state] of [[approver, 'Reject', 'the paper is unreadable', 'rejected'], [applicant, 'Cancel it', 'not needed any more', 'cancelled']]) {
    const address = await apply(office, document);
    await go(page, office, address);
    await page.locator('summary', { hasText: deed }).click();
    await page.getByLabel('Why').fill(why);
    await button(page, deed).click();
    await applicant.waitForSelector(`.chip[data-state=${state}]`);
    await applicant.waitForSelector(`.course li.bad:has-text("${why}")`);
  }
  await go(operator, office, 'applications');
  await operator.locator('.card:has(.chip[data-state=granted])').click();
  await operator.locator('summary').click();
  await operator.getByLabel('Why').fill('the wrong family');
  await button(operator, 'Revoke it').click();
  await operator.waitForSelector('.course li.bad:has-text("operator revoked it: the wrong family")');
  ok('one is rejected, one cancelled, and the grant revoked, each with its reason');
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

/** What only a seal can say is put into the server's mouth here; the real one speaks in the village of benches/seal. */
async function spoken(office, document) {
  const receipt = {
    digest: 'cd'.repeat(32), seal: SEAL, number: 3, grant: null, use_number: 1, outcome: 'stamped', refusal: null, refusal_zh: null, refusal_en: null,
    at_ms: Date.now(), received_ms: Date.now(), before: null, after: 'ef'.repeat(32),
  };
  const refused = { ...receipt, digest: 'ce'.repeat(32), number: 4, use_number: 0, outcome: 'refused', refusal: 'used-up', refusal_zh: '次数已用完', refusal_en: 'all uses are used', after: null };
  const finding = { seal: SEAL, word: 'gap', en: 'receipts 1 and 2 are missing', zh: '缺少回执 1、2', number: 201, evidence: 'aa'.repeat(32), at_ms: Date.now() };
  let findings = [finding];
  const page = pages.auditor;
  await page.route(`**/api/v1/seals/${SEAL}*`, async (route) => {
    const response = await route.fetch();
    const timeline = await response.json();
    const { grant } = timeline.applications.at(-1) ?? {};
    const before = new URL(route.request().url()).searchParams;
    const first = { ...finding, number: 1, en: 'the first that was found', zh: '最早的异常' };
    const json = before.has('finding') ? { ...timeline, receipts: [], findings: before.get('finding') === '2' ? [first] : [] }
      : { ...timeline, receipts: [{ ...refused, grant }, { ...receipt, grant }], findings };
    await route.fulfill({ response, json });
  });
  await page.route('**/api/v1/pictures/*', (route) => route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300" viewBox="0 0 4 3"><circle cx="2" cy="1.500" r="1" fill="#c00"/></svg>' }));
  await go(page, office, `seal/${SEAL}`);
  await page.waitForSelector('.finding:has-text("receipts 1 and 2 are missing")');
  await page.waitForSelector('.course li.bad:has-text("all uses are used")');
  await until('the photograph', () => page.locator('.course li.good:has-text("Use 1 of 2") img').evaluate((image) => image.naturalWidth === 400), WAIT_S);
  await shot(page, 'timeline-full');
  // A full page of findings, and one that is older.
  findings = Array.from({ length: 200 }, (_, n) => ({ ...finding, number: 201 - n }));
  await go(page, office, `seal/${SEAL}`);
  await button(page, 'Older').click();
  await page.waitForSelector('.finding:has-text("the first that was found")');
  must(await page.locator('.finding').count() === 201 && !await button(page, 'Older').count(), 'what is older is not added once, or there seems to be more');
  ok('what is older comes when it is asked for');
  await page.route('**/api/v1/impressions/*', (route) => route.fulfill({ json: [{
    receipt, is_covered: true, matter: 'certificate of residence', document: document.digest, pages: 1, copies: 2, revoked_ms: null, log_size: 4711,
    bundle: { receipt: { envelope: 'AA==', proof: 'AA==' }, enrolment: null, grant: { envelope: 'AA==', proof: null }, policy: null },
  }] }));
  await page.locator('.course a', { hasText: 'Proof' }).first().click();
  await page.waitForSelector('.box.good:has-text("Covered by a grant")');
  const shown = await page.locator('.seals').innerText();
  for (const part of [SEAL, 'in a log of 4711 leaves', 'certificate of residence', document.digest, 'Use 1 of 2', 'No witness has seen yet: the grant', 'ingest seal verify']) must(shown.includes(part), `an impression is shown without ${part}`);
  must(!shown.includes('bookkeeper'), 'verification shows who applied');
  await page.locator('input[type=file]').nth(1).setInputFiles(document.file);
  await page.waitForSelector('.box.good:has-text("This is the document of the grant")');
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Download the proof (JSON)').click()]);
  must(download.suggestedFilename().endsWith('.json'), 'the proof is no file');
  await shot(page, 'verify-covered');
  ok('uses, refusals, photographs, findings and an impression that is covered are shown');
}

async function verifying(browser, office) {
  const page = await open(browser, office, 'passer-by', { lang: 'zh', phone: true });
  await page.goto(`${office.base}/verify#${'ab'.repeat(32)}`);
  await page.waitForSelector('.box.bad:has-text("没有这样的印迹")');
  must(await page.locator('#person').isVisible() && await page.locator('.tabs a').count() === 1, 'a passer-by is shown more than verification');
  await shot(page, 'verify-phone');
  ok('anybody verifies by the address on paper, without an account');
}

async function everywhere(office) {
  for (const [who, hashes] of [['admin', ['me', 'people', 'person/clerk', 'person/admin', 'rules', 'seals']], ['clerk', ['applications', 'keys', 'seals', 'verify']], ['bookkeeper', ['apply', 'applications']], ['auditor', [`seal/${SEAL}`]]]) {
    const page = pages[who];
    for (const lang of ['zh', 'en']) {
      await go(page, office, 'settings');
      await page.locator(`.segmented [data-value="${lang}"]`).click();
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

async function main() {
  await mkdir(out, { recursive: true });
  const folder = await mkdtemp(path.join(tmpdir(), 'office-'));
  const office = new Office(program, folder);
  const { browser, end } = await launch();
  try {
    await office.begin();
    const content = 'Certificate: the Li family lives in Gongli.\n';
    const document = { file: path.join(folder, 'paper.txt'), other: path.join(folder, 'other.txt'), digest: createHash('sha256').update(content).digest('hex') };
    await writeFile(document.file, content);
    await writeFile(document.other, 'another text');
    await firstAdmin(browser, office);
    for (const [name, role] of Object.entries({ installer: 'installer', bookkeeper: 'applicant', secretary: 'approver', clerk: 'approver', operator: 'operator', auditor: 'auditor' })) {
      (await person(browser, office, name, role, { scheme: name === 'clerk' ? 'dark' : 'light' })).who = name;
    }
    ok('six people come in with a one-time password and choose their own');
    const keys = {};
    for (const name of ['secretary', 'clerk']) keys[name] = await makeKey(pages[name], office);
    ok('two approvers make and register keys in their browsers');
    await enrolAndRule(office, keys);
    const address = await apply(office, document);
    await lies(office, address);
    await approve(office, 'secretary', document, false);
    await approve(office, 'clerk', document, true);
    await outcome(office);
    await spoken(office, document);
    await refusing(office, document);
    await retire(office);
    await verifying(browser, office);
    await everywhere(office);
    await goodbye(office);
    for (const [name, page] of Object.entries(pages)) must(!page.wrong.length, `the browser of ${name} complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
    ok('no console error, no failed request, no foreign host');
    console.log(`\n${passed} passed, 0 failed`);
  } catch (error) {
    for (const [name, page] of Object.entries(pages)) {
      await shot(page, `failed-${name}`).catch(() => {});
      if (page.wrong.length) console.error(`the browser of ${name} complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
    }
    console.error(office.said.split('\n').filter((line) => /WARN|ERROR/.test(line)).slice(-10).join('\n'));
    console.error(`FAIL ${error instanceof CheckFailed ? error.message : error.stack}`);
    console.log(`\n${passed} passed, 1 failed`);
    process.exitCode = 1;
  } finally {
    await end();
    await office.end();
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
