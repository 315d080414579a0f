// Watchfire console: start, the pages by URL hash, global keys.
//
// Layout of the modules: api → the HTTP questions; store → what is known; feed → keeps it true (snapshot, events,
// counters); map, layers, tiles, pins, mapbar, tooltip → the map; alarms, gateways, gateway, sensors, sensor, cell,
// quarantine, settings → one page each; seals/ → the pages of seals and people; shell → the frame around them; chart, list, panel → shared parts;
// i18n, look, time, scale, mercator, geohash, icons, dom → the ground they stand on.
import * as alarms from './alarms.js';
import { watchTitle } from './announce.js';
import * as cell from './cell.js';
import { start } from './feed.js';
import * as gateway from './gateway.js';
import * as gateways from './gateways.js';
import { lang, setLang, translate } from './i18n.js';
import { applyTheme } from './look.js';
import { CityMap } from './map.js';
import { mapBar } from './mapbar.js';
import * as quarantine from './quarantine.js';
import * as seals from './seals/index.js';
import * as sensor from './sensor.js';
import * as sensors from './sensors.js';
import * as settings from './settings.js';
import { current, PAGES, shell } from './shell.js';
import { mark, on, state } from './store.js';

const VIEWS = { alarms, gateways, gateway, sensors, sensor, cell, quarantine, settings, ...seals.VIEWS };
const PARENT = { gateway: 'gateways', sensor: 'sensors', cell: 'map', ...seals.PARENT };
const panel = document.getElementById('panel');
let page = null; // {topics, update, close}
let map = null;

/** Reads `#/sensor/ID?alarm=A` into `{name, id, params}`; anything unknown is the alarm list. */
function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/');
  let id = rest.join('/');
  try { id = decodeURIComponent(id); } catch { /* a stray % stays as it is */ }
  const params = Object.fromEntries(new URLSearchParams(query));
  return VIEWS[name] || name === 'map' ? { name, id, params } : { name: 'alarms', id: '', params };
}

function show(moved = false) {
  const { name, id, params } = route();
  page?.close();
  page = null;
  if (moved || name === 'alarms') state.selected = null;
  document.body.dataset.page = name;
  document.body.toggleAttribute('data-wide', name in seals.VIEWS);
  current(PARENT[name] ?? name);
  panel.replaceChildren();
  if (name !== 'map') page = VIEWS[name].view(panel, { ...params, id, map, all: id === 'all' });
  if (moved && name !== 'map' && !panel.contains(document.activeElement) && document.activeElement === document.body) panel.focus({ preventScroll: true });
  mark('map');
}

function keys(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const typing = e.target.matches('input, select, textarea');
  if (e.key === 'Escape') {
    if (typing) e.target.blur();
    else { const back = panel.querySelector('.panel-head a'); if (back) location.hash = back.getAttribute('href'); }
    return;
  }
  if (typing) return;
  if (PAGES[Number(e.key) - 1]) location.hash = `#/${PAGES[Number(e.key) - 1]}`;
  else if (e.key === '/') {
    if (!panel.querySelector('input[type=search]')) location.hash = '#/sensors';
    setTimeout(() => panel.querySelector('input[type=search]')?.focus(), 30);
  } else if (e.key === 'f' || e.key === 'F') map.fit();
  else return;
  e.preventDefault();
}

async function begin() {
  seals.comeIn();
  setLang(lang());
  applyTheme();
  translate(document);
  map = new CityMap(document.getElementById('map'));
  mapBar(document.getElementById('map'), map);
  shell();
  watchTitle();
  await seals.begin();
  show();
  window.addEventListener('hashchange', () => show(true));
  document.addEventListener('keydown', keys);
  document.getElementById('skip').addEventListener('click', (e) => { e.preventDefault(); panel.focus(); });
  // One listener for all pages: only the page shown is called, with what changed.
  on(['alarms', 'gateways', 'cells', 'choice', 'quantities', 'stream', 'tick'], (topics) => { if (page?.topics.some((topic) => topics.has(topic))) page.update(topics); });
  on(['lang', 'person'], () => show());
  setInterval(() => mark('tick'), 1000);
  start();
}

begin();
