// What the checks in a browser have in common: Chromium, pages that remember everything that went wrong in them, patience.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

export class CheckFailed extends Error {}

export function must(condition, what) {
  if (!condition) throw new CheckFailed(what);
}

/** Tries until `probe` gives something true; says what was awaited when it never does. */
export async function until(what, probe, seconds) {
  const end = Date.now() + seconds * 1000;
  let last = 'nothing';
  while (Date.now() < end) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) { last = error.message; }
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
  throw new CheckFailed(`waited ${seconds} s in vain for ${what}; last: ${last}`);
}

/** Chromium from $CHROMIUM or /usr/bin/chromium: `{browser, end}`. */
export async function launch() {
  const profile = await mkdtemp(path.join(tmpdir(), 'console-check-'));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', env: { ...process.env, HOME: profile },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  });
  return { browser, async end() { await browser.close(); await rm(profile, { recursive: true, force: true }); } };
}

/** A page in a context of its own that remembers everything that went wrong in it; `forgiven(what)` lets something pass. */
export async function open(browser, base, { lang, scheme, phone, wait, forgiven = () => false }) {
  const context = await browser.newContext({
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 800 }, deviceScaleFactor: phone ? 2 : 1, hasTouch: Boolean(phone),
    locale: lang === 'zh' ? 'zh-CN' : 'en-GB', colorScheme: scheme, timezoneId: 'Asia/Shanghai',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(wait * 1000);
  page.wrong = [];
  const wrong = (what) => { if (!forgiven(what)) page.wrong.push(what); };
  // The remark about readback is about this test, which reads pixels; the console never does.
  page.on('console', (m) => { if ((m.type() === 'error' || m.type() === 'warning') && !m.text().includes('willReadFrequently')) wrong(`console ${m.type()}: ${m.text()}`); });
  page.on('pageerror', (e) => wrong(`page error: ${e.stack ?? e}`));
  page.on('response', (r) => { if (r.status() >= 400) wrong(`HTTP ${r.status()} for ${r.url()}`); });
  page.on('requestfailed', (r) => {
    // A question the console itself took back (the map moved on) and a stream closed by leaving are no failures.
    if (r.failure()?.errorText !== 'net::ERR_ABORTED') wrong(`failed: ${r.url()} ${r.failure()?.errorText}`);
  });
  page.on('request', (r) => { if (!/^(data|blob):/.test(r.url()) && !r.url().startsWith(base)) wrong(`asked a foreign host: ${r.url()}`); });
  return page;
}
