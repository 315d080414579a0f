// An approver and their passkey in Chromium, with an authenticator that the browser itself plays: without a passkey nothing
// is approved; registered, it is asked for after the password; what was shown once is good once; a copy is noticed by its
// counter; an admin removes what was lost.
//
//   node passkeys.mjs path/to/ingest out/
//
// Screenshots go to the output folder. Exit: 0 well, 1 a check failed, 64 called wrongly.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CheckFailed, launch, must, open as openPage } from './browser.mjs';
import { Office } from './office.mjs';

const [program, out] = process.argv.slice(2);
if (!program || !out) {
  console.error('usage: node passkeys.mjs INGEST OUTPUT_DIR');
  process.exit(64);
}

const WAIT_S = 60;
const NAME = 'clerk';
const SECRET = 'a long pass phrase of somebody';
const pages = {};
let passed = 0;
const ok = (what) => { passed += 1; console.log(`ok   ${what}`); };
const shot = (page, name) => page.screenshot({ path: path.join(out, `passkeys-${name}.png`) });
const button = (where, name) => where.getByRole('button', { name, exact: true });

/** A port that is free now: the origin has to be known before ingest starts. */
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** Somebody's browser. What is refused here is refused on purpose, and looked at. */
async function open(browser, office, name) {
  const page = await openPage(browser, office.base, { lang: 'en', scheme: 'light', wait: WAIT_S, forgiven: (what) => /\b40[13]\b/.test(what) });
  page.on('dialog', (dialog) => dialog.accept());
  pages[name] = page;
  await page.goto(office.base);
  return page;
}

/** Asks the API as this browser: `{status, body}`. */
const call = (page, method, to, body) => page.evaluate(async ([method, to, body]) => {
  const response = await fetch(`/api/v1${to}`, { method, headers: body ? { 'content-type': 'application/json' } : {}, body: body && JSON.stringify(body) });
  return { status: response.status, body: response.status === 204 ? null : await response.json() };
}, [method, to, body]);

async function answered(page, status, ...question) {
  const answer = await call(page, ...question);
  must(answer.status === status, `${question[0]} ${question[1]} was answered ${answer.status}, expected ${status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function go(page, office, hash) {
  await page.goto('about:blank');
  await page.goto(`${office.base}/#/${hash}`);
}

/** What the browser plays: `ask(method, parameters)` of the WebAuthn domain, with the authenticator filled in. */
async function authenticator(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return (method, parameters = {}) => devtools.send(`WebAuthn.${method}`, { authenticatorId, ...parameters });
}

async function people(browser, office) {
  const admin = await open(browser, office, 'admin');
  await answered(admin, 201, 'POST', '/first', { token: office.firstLink.split('#')[1], name: 'admin', password: SECRET });
  await answered(admin, 200, 'POST', '/session', { name: 'admin', password: SECRET });
  const { password } = await answered(admin, 201, 'POST', '/accounts', { name: NAME, shown: NAME, roles: [{ role: 'approver', area: '*' }] });
  const page = await open(browser, office, NAME);
  await answered(page, 200, 'POST', '/session', { name: NAME, password });
  await answered(page, 204, 'POST', '/me/password', { old: password, new: SECRET });
  await answered(page, 204, 'DELETE', '/session');
  return page;
}

/** Fills in the form of the login page. */
async function enter(page, office) {
  await go(page, office, 'me');
  await page.getByLabel('Name to log in with').fill(NAME);
  await page.getByLabel('Password', { exact: true }).fill(SECRET);
  await button(page, 'Log in').click();
}

async function needed(page) {
  for (const [to, body] of [
    ['/me/keys', { key: 'A'.repeat(43), label: 'x', proof: 'AA', password: SECRET }],
    [`/applications/${'00'.repeat(16)}/approvals`, { key: 'A'.repeat(43), signature: 'AA==' }],
  ]) {
    const { type } = await answered(page, 403, 'POST', to, body);
    must(type === 'urn:watchfire:problem:passkey-needed', `POST ${to} is refused for another reason: ${type}`);
  }
}

async function without(page, office) {
  await enter(page, office);
  await page.waitForSelector(`#person:has-text("${NAME}")`);
  await needed(page);
  await go(page, office, 'keys');
  await page.waitForSelector('.box.warn:has-text("takes a passkey")');
  must(!(await button(page, 'Make and register a key').count()), 'a key can be made without a passkey');
  ok('without a passkey nothing is approved, and no key to approve with is registered');
}

/** Registers a passkey on one's own page. */
async function registers(page, office, password) {
  await go(page, office, 'me');
  const form = page.locator('.passkeys > .form');
  await form.getByLabel('Password').fill(password);
  await button(form, 'Register a passkey').click();
}

async function register(page, office) {
  await registers(page, office, 'wrong');
  await page.waitForSelector('.passkeys > .form .message.bad');
  await registers(page, office, SECRET);
  await page.waitForSelector('.passkeys .card:has-text("My phone")');
  await shot(page, 'registered');
  await go(page, office, 'keys');
  await page.getByLabel('Password', { exact: true }).fill(SECRET);
  await button(page, 'Make and register a key').click();
  await page.waitForSelector('.card .code');
  ok('a passkey is registered with the password, and then a key to approve with');
}

async function comesIn(page, office, ask) {
  await answered(page, 204, 'DELETE', '/session');
  const { attempt } = await answered(page, 202, 'POST', '/session', { name: NAME, password: SECRET });
  must(/^[\w-]{43}$/.test(attempt), 'the attempt has no name');
  await answered(page, 401, 'GET', '/session');
  ok('the password alone opens no session');

  await ask('setUserVerified', { isUserVerified: false });
  await enter(page, office);
  await page.waitForSelector('.message.bad:has-text("No passkey was shown")');
  await ask('setUserVerified', { isUserVerified: true });
  ok('an authenticator that does not verify its owner shows nothing');

  const shown = page.waitForRequest((request) => request.url().endsWith('/session/passkey'));
  await enter(page, office);
  await page.waitForSelector(`#person:has-text("${NAME}")`);
  must((await answered(page, 200, 'GET', '/session')).passkey_ms > 0, 'the session does not say that a passkey was shown');
  ok('password and passkey open a session that says so');

  await answered(page, 204, 'DELETE', '/session');
  const replayed = (await shown).postDataJSON();
  await answered(page, 401, 'POST', '/session/passkey', replayed);
  const next = await answered(page, 202, 'POST', '/session', { name: NAME, password: SECRET });
  await answered(page, 401, 'POST', '/session/passkey', { ...replayed, attempt: next.attempt });
  await answered(page, 401, 'GET', '/session');
  ok('what was shown once is good for nothing again, nor for another question');
}

async function copied(page, office, ask) {
  const { credentials: [credential] } = await ask('getCredentials');
  must(credential.signCount > 1, `the authenticator counts no uses: ${credential.signCount}`);
  await ask('removeCredential', { credentialId: credential.credentialId });
  await ask('addCredential', { credential: { ...credential, signCount: 0 } });
  await enter(page, office);
  await page.waitForSelector('.message.bad:has-text("its counter went back")');
  await shot(page, 'copied');
  ok('a copy with an old counter is refused, and it is said why');
  await ask('removeCredential', { credentialId: credential.credentialId });
  await ask('addCredential', { credential });
  await enter(page, office);
  await page.waitForSelector(`#person:has-text("${NAME}")`);
}

async function lost(page, office) {
  const { admin } = pages;
  await go(page, office, 'me');
  await page.locator('.passkeys summary').click();
  await page.getByText('Only an admin removes the last one.').waitFor();
  await admin.evaluate(() => localStorage.setItem('watchfire.wasHere', 'true'));
  await go(admin, office, `person/${NAME}`);
  await button(admin.locator('.card:has-text("My phone")'), 'Remove').click();
  await admin.locator('#toasts').getByText('this takes a passkey').waitFor();
  await authenticator(admin);
  await registers(admin, office, SECRET);
  await admin.waitForSelector('.passkeys .card:has-text("My phone")');
  await go(admin, office, `person/${NAME}`);
  await admin.waitForSelector('.card:has-text("My phone")');
  await shot(admin, 'of-another');
  await button(admin.locator('.card:has-text("My phone")'), 'Remove').click();
  await admin.getByText('No passkeys').waitFor();
  await answered(page, 401, 'GET', '/session');
  await answered(page, 200, 'POST', '/session', { name: NAME, password: SECRET });
  await needed(page);
  ok('an admin removes a lost passkey: all sessions end, and nothing is approved until there is another one');
}

async function main() {
  await mkdir(out, { recursive: true });
  const folder = await mkdtemp(path.join(tmpdir(), 'passkeys-'));
  const office = new Office(program, folder, await freePort());
  const { browser, end } = await launch();
  try {
    await office.begin();
    must(office.base.startsWith('http://localhost:'), `the first link is not where passkeys are good: ${office.base}`);
    const page = await people(browser, office);
    const ask = await authenticator(page);
    await without(page, office);
    await register(page, office);
    await comesIn(page, office, ask);
    await copied(page, office, ask);
    await lost(page, office);
    for (const [name, { wrong }] of Object.entries(pages)) must(!wrong.length, `the browser of ${name} complained:\n  ${wrong.slice(0, 10).join('\n  ')}`);
    console.log(`\n${passed} passed, 0 failed`);
  } catch (error) {
    for (const [name, page] of Object.entries(pages)) await shot(page, `failed-${name}`).catch(() => {});
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
