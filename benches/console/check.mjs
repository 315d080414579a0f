// Opens the console of a running ingest in Chromium and looks at it as a user would: cells on the map, gateways, alarms,
// a sensor's chart that grows, both languages, both themes, a phone. Any console error, page error or failed request
// fails it.
//
//   node check.mjs http://127.0.0.1:8080 out/ [--sensor this-machine:load] [--no-alarms] [--wait 60]
//
// Screenshots go to the output folder. Chromium is taken from $CHROMIUM or /usr/bin/chromium. Exit: 0 well, 1 a check
// failed, 64 called wrongly.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { CheckFailed, launch, must, open as openPage, until as untilWithin } from './browser.mjs';

const options = readArguments(process.argv.slice(2));
const passed = [];

function readArguments(args) {
  const found = { wait: 60, sensor: null, alarms: true, rest: [] };
  for (let i = 0; i < args.length; i += 1) {
    if (args[i] === '--sensor') found.sensor = args[++i];
    else if (args[i] === '--wait') found.wait = Number(args[++i]);
    else if (args[i] === '--no-alarms') found.alarms = false;
    else found.rest.push(args[i]);
  }
  const [base, out] = found.rest;
  if (!base || !out || !/^https?:\/\//.test(base) || !(found.wait > 0)) {
    console.error('usage: node check.mjs BASE_URL OUTPUT_DIR [--sensor ID] [--no-alarms] [--wait SECONDS]');
    process.exit(64);
  }
  return { ...found, base: base.replace(/\/$/, ''), out };
}

function ok(what) {
  passed.push(what);
  console.log(`ok   ${what}`);
}

async function get(pathname) {
  try {
    return await fetch(options.base + pathname);
  } catch (error) {
    throw new CheckFailed(`${options.base} cannot be reached (${error.cause?.code ?? error.message}); is ingest running?`);
  }
}

async function api(pathname) {
  const response = await get(`/api/v1${pathname}`);
  must(response.ok, `GET /api/v1${pathname} answered ${response.status}, expected 200`);
  return response.json();
}

const until = (what, probe) => untilWithin(what, probe, options.wait);
const open = (browser, how) => openPage(browser, options.base, { ...how, wait: options.wait });
const shot = (page, name) => page.screenshot({ path: path.join(options.out, `${name}.png`) });

/** How many pixels of the map are strongly coloured: cells are, the empty ground and the graticule are not. */
const colouredPixels = (page) => page.evaluate(() => {
  const canvas = document.querySelector('.map-canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) if (Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) count += 1;
  return count;
});

/** How many pixels of the chart carry the line's colour. */
const chartInk = (page) => page.evaluate(() => {
  const canvas = document.querySelector('.chart');
  const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim().match(/[0-9a-f]{2}/gi).map((h) => parseInt(h, 16));
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 40) count += 1;
  return count;
});

async function findSensor() {
  if (options.sensor) return options.sensor;
  const { items } = await api('/sensors?limit=1000');
  const fresh = items.filter((s) => s.last && s.last.value !== null);
  must(fresh.length, 'the API lists no sensor with a value');
  return (fresh.find((s) => s.quantity.name === 'cpu-load') ?? fresh.sort((a, b) => b.last.at_ms - a.last.at_ms)[0]).id;
}

async function checkPolicy() {
  const response = await get('/');
  must(response.ok, `GET / answered ${response.status}`);
  const policy = response.headers.get('content-security-policy') ?? '';
  must(/default-src 'self'/.test(policy) && !/unsafe-inline|unsafe-eval/.test(policy), `the page's Content-Security-Policy is ${JSON.stringify(policy)}, expected default-src 'self' and nothing unsafe`);
  ok('the page has a strict Content-Security-Policy');
}

async function checkMap(page) {
  await page.goto(`${options.base}/`);
  await page.waitForSelector('.feed.live');
  ok('the event stream is live');
  must(!(await page.locator('#nav a[href="#/applications"], #person:visible').count()), 'there is no office of seals, and yet its pages show');
  await until('coloured cells on the map and a legend', async () => await colouredPixels(page) > 100 && await page.locator('.legend .legend-ends').isVisible());
  const ends = await page.locator('.legend-ends').innerText();
  must(/\d/.test(ends), `the legend shows no numbers: ${JSON.stringify(ends)}`);
  ok(`cells are on the map, legend ${ends.replace(/\s+/g, ' … ')}`);
  const counter = await until('counted readings in the status bar', async () => {
    const text = await page.locator('.counter b').nth(2).innerText();
    return Number(text.replace(/\D/g, '')) > 0 ? text : null;
  });
  ok(`the status bar counts, accepted ${counter}`);
}

async function checkQuantities(page) {
  const { items } = await api('/quantities');
  const have = items.filter((q) => q.sensors > 0).map((q) => q.name);
  const options_ = await page.locator('select.quantity option').evaluateAll((o) => o.map((x) => x.value));
  must(have.every((name) => options_.includes(name)), `the chooser offers ${options_}, the API has sensors of ${have}`);
  for (const window of ['1h', '1d', '1m']) {
    await page.locator(`.mapbar [data-value="${window}"]`).click();
    await until(`cells of the window ${window}`, async () => await colouredPixels(page) > 100);
  }
  ok(`the chooser offers all ${have.length} quantities with sensors; all three windows have cells`);
}

async function checkGateways(page) {
  const { items } = await api('/gateways?limit=1000');
  must(items.length, 'the API lists no gateway');
  await page.goto(`${options.base}/#/gateways`);
  await page.waitForSelector('.gateway-row');
  const id = await page.locator('.gateway-row .id').first().innerText();
  must(items.some((g) => g.id === id), `the list shows ${JSON.stringify(id)}, which the API does not`);
  const wanted = items.filter((g) => g.sensors > 0).at(-1)?.id;
  must(wanted, 'no gateway has a sensor');
  await shot(page, 'gateways');
  await page.locator('.search input').fill(wanted);
  const row = page.locator(`.gateway-row[href="#/gateway/${encodeURIComponent(wanted)}"]`);
  await row.waitFor();
  must(await page.locator('.gateway-row').count() <= items.filter((g) => `${g.id} ${g.area}`.toLowerCase().includes(wanted.toLowerCase())).length, 'the search does not narrow the list');
  await row.click();
  await page.waitForSelector('.state-line strong');
  await page.waitForSelector('.panel .sensor-row');
  ok(`${items.length} gateways are listed, found and opened`);
  await shot(page, 'gateway');
}

async function checkSensor(page) {
  const id = await findSensor();
  await page.goto(`${options.base}/#/sensors`);
  await page.locator('.search input').fill(id);
  await page.locator(`.sensor-row[href="#/sensor/${encodeURIComponent(id)}"]`).click();
  await until(`a line in the chart of ${id}`, async () => await chartInk(page) > 20);
  const value = await page.locator('.value-line .value').innerText();
  must(/\d/.test(value), `the last value of ${id} reads ${JSON.stringify(value)}, expected a number`);
  const box = await page.locator('.chart').boundingBox();
  await page.mouse.move(box.x + box.width - 20, box.y + box.height / 2);
  await page.waitForSelector('.readout:not([hidden])');
  must(/\d/.test(await page.locator('.readout').innerText()), 'the crosshair shows no value');
  await shot(page, 'sensor');
  ok(`the chart of ${id} is drawn, last value ${value}, the crosshair reads`);
  // New readings join by themselves: the console must ask for them after an event, without being touched.
  await page.mouse.move(5, 5);
  const answer = await page.waitForResponse((r) => r.url().includes('/readings') && r.ok());
  must(Array.isArray((await answer.json()).readings), 'the readings answer has no list');
  ok('the chart goes on by itself');
  for (const span of ['1h', '24h']) {
    await page.locator(`.chart-head [data-value="${span}"]`).click();
    await until(`a line in the chart over ${span}`, async () => await chartInk(page) > 5);
  }
  ok('the chart shows 1 h and 24 h');
}

async function checkAlarms(page) {
  const { items } = await until('an open alarm in the API', async () => { const a = await api('/alarms?state=active'); return a.items.length ? a : null; });
  await page.goto(`${options.base}/#/alarms`);
  await page.waitForSelector('.alarm-row');
  await until('the number of open alarms in the title', async () => /^\(\d+\)/.test(await page.title()));
  await page.locator('.zoom button').last().click(); // all data in view
  await page.waitForSelector('.pin');
  await shot(page, 'alarms');
  await page.locator('.alarm-row').first().click();
  await page.waitForSelector('.value-line .value');
  must((await page.evaluate(() => location.hash)).startsWith('#/sensor/'), 'a click on an alarm does not open its sensor');
  await shot(page, 'alarm-sensor');
  ok(`${items.length} open alarms are listed, pinned, counted in the title and lead to their sensor`);
}

async function checkLanguages(page) {
  await page.goto(`${options.base}/#/settings`);
  for (const [lang, word, label] of [['zh', '网关', 'zh-CN'], ['en', 'Gateways', 'en']]) {
    await page.locator(`.segmented [data-value="${lang}"]`).click();
    await until(`the page in ${lang}`, async () => (await page.locator('#nav').innerText()).includes(word));
    must(await page.evaluate(() => document.documentElement.lang) === label, `html lang is not ${label}`);
    for (const hash of ['alarms', 'gateways', 'sensors', 'quarantine', 'settings']) {
      await page.goto(`${options.base}/#/${hash}`);
      await page.waitForSelector('.panel-head h1');
      const text = await page.locator('body').innerText();
      must(!text.includes('⟦'), `a text has no translation on #/${hash}: ${text.match(/⟦[^⟧]*⟧/)?.[0]}`);
      if (lang === 'en' && hash === 'settings') must(!/[\u4e00-\u9fff]/.test((await page.locator('.form').innerText())), 'Chinese is left in the English settings');
    }
  }
  await page.reload();
  must(await page.evaluate(() => document.documentElement.lang) === 'en', 'the language is not remembered');
  ok('both languages are complete, and the choice is remembered');
}

async function checkPhone(page) {
  await page.goto(`${options.base}/#/alarms`);
  await page.waitForSelector('.feed.live');
  await until('cells on the phone', async () => await colouredPixels(page) > 100);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  must(wide <= 0, `the page is ${wide} px wider than the phone`);
  await shot(page, 'phone');
  await page.goto(`${options.base}/#/map`);
  await page.waitForTimeout(600);
  await shot(page, 'phone-map');
  ok('the phone shows it all without sideways scrolling');
}

async function main() {
  await mkdir(options.out, { recursive: true });
  const { browser, end } = await launch();
  let page;
  try {
    await checkPolicy();
    await until('sensors and windows in the API', async () => {
      const q = (await api('/quantities')).items.filter((x) => x.sensors > 0).sort((a, b) => b.sensors - a.sensors)[0];
      return q && (await api(`/cells?quantity=${q.name}&window=1m&precision=6&bbox=-180,-85,180,85`)).cells.length;
    });
    const steps = [
      [{ lang: 'zh', scheme: 'dark' }, async (p) => { await checkMap(p); await shot(p, 'map-zh-dark'); await checkQuantities(p); await checkGateways(p); await checkSensor(p); if (options.alarms) await checkAlarms(p); }],
      [{ lang: 'en', scheme: 'light' }, async (p) => { await checkMap(p); await shot(p, 'map-en-light'); await checkLanguages(p); }],
      [{ lang: 'zh', scheme: 'light', phone: true }, checkPhone],
    ];
    for (const [how, step] of steps) {
      page = await open(browser, how);
      await step(page);
      must(!page.wrong.length, `the browser complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
      await page.context().close();
    }
    ok('no console error, no failed request, no foreign host');
    console.log(`\n${passed.length} passed, 0 failed`);
  } catch (error) {
    if (page && !page.isClosed()) {
      await shot(page, 'failed').catch(() => {});
      if (page.wrong.length) console.error(`the browser complained:\n  ${page.wrong.slice(0, 10).join('\n  ')}`);
    }
    console.error(`FAIL ${error instanceof CheckFailed ? error.message : error.stack}`);
    console.log(`\n${passed.length} passed, 1 failed`);
    process.exitCode = 1;
  } finally {
    await end();
  }
}

await main();
