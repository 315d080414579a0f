// Open alarms on the map: elements, so that they pulse without redrawing the canvas and a keyboard can reach them.
// Pins that would overlap are one pin with a count and the worst level.
import { alarmHref, alarmWhat, alarmWhere } from './announce.js';
import { el } from './dom.js';
import { levelIcon } from './icons.js';
import { t, word } from './i18n.js';
import { isOpen, state } from './store.js';
import { LEVELS } from './levels.js';

const MAX_PINS = 300; // the worst first; more would hide the city
const MERGE_PX = 26;

export class Pins {
  constructor(root, map) {
    this.root = root;
    this.map = map;
    this.alarms = [];
    this.nodes = new Map();
  }

  /** Takes the open alarms from the store. */
  update() {
    this.alarms = [...state.alarms.values()].filter((a) => isOpen(a) && Number.isFinite(a.lat) && Number.isFinite(a.lon))
      .sort((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level) || b.raised_ms - a.raised_ms);
  }

  /** Puts the pins where the map now shows their places. */
  place() {
    const groups = [];
    for (const alarm of this.alarms) {
      const [x, y] = this.map.toPixel(alarm.lat, alarm.lon);
      if (x < -30 || y < -30 || x > this.map.width + 30 || y > this.map.height + 30) continue;
      const near = groups.find((g) => Math.abs(g.x - x) < MERGE_PX && Math.abs(g.y - y) < MERGE_PX);
      if (near) near.count += 1;
      else if (groups.length < MAX_PINS) groups.push({ x, y, alarm, count: 1 });
    }
    const used = new Set();
    for (const group of groups) {
      const { alarm } = group;
      const key = `${alarm.id}/${alarm.level}/${alarm.state}`;
      used.add(key);
      let node = this.nodes.get(key);
      if (!node) {
        node = this.make(alarm);
        this.nodes.set(key, node);
        this.root.append(node);
      }
      const text = group.count > 1 ? t('map.alarmsHere', { n: group.count }) : `${word('level.', alarm.level)} ${alarmWhat(alarm)} · ${alarmWhere(alarm)}`;
      if (node.title !== text) { node.title = text; node.setAttribute('aria-label', text); }
      const badge = node.lastChild;
      badge.textContent = group.count > 1 ? String(group.count) : '';
      badge.hidden = group.count < 2;
      node.style.transform = `translate(${Math.round(group.x)}px, ${Math.round(group.y)}px)`;
    }
    for (const [key, node] of this.nodes) if (!used.has(key)) { node.remove(); this.nodes.delete(key); }
  }

  make(alarm) {
    return el('a', { class: `pin ${alarm.level} ${alarm.state}`, href: alarmHref(alarm) },
      el('span', { class: 'pulse' }), levelIcon(alarm.level, alarm.state), el('span', { class: 'badge' }));
  }
}
