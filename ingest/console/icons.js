// Icons as SVG nodes. State is never told by colour alone: each alarm level, gateway state and lane state has a shape.
import { svg } from './dom.js';

// 24×24 outlines, drawn with the current text colour.
const OUTLINE = {
  alarms: 'M12 3a6 6 0 0 0-6 6v4l-2 4h16l-2-4V9a6 6 0 0 0-6-6zM10 20h4',
  gateways: 'M4 14h16v6H4zM8 17h.01M12 17h.01M12 14V9M8.500 6.500a5 5 0 0 1 7 0M6 4a8.500 8.500 0 0 1 12 0',
  sensors: 'M3 17l4-6 4 4 4-9 3 6h3',
  quarantine: 'M4 8l8-5 8 5v8l-8 5-8-5zM4 8l8 5 8-5M12 13v8',
  map: 'M9 4L3 6.500v13.500l6-2.500 6 2.500 6-2.500V4l-6 2.500zM9 4v13.500M15 6.500V20',
  settings: 'M4 7h10M18 7h2M4 17h2M10 17h10M16 4.500v5M8 14.500v5',
  applications: 'M9.500 3h5a2 2 0 0 1 2 2c0 3-2.500 4-2.500 8H18v4H6v-4h4c0-4-2.500-5-2.500-8a2 2 0 0 1 2-2zM5 20.500h14',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.500 20.500a7.500 7.500 0 0 1 15 0',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600L19 19M19 5l-1.400 1.400M6.400 17.600L5 19',
  moon: 'M20 14.500A8.500 8.500 0 1 1 9.500 4a7 7 0 0 0 10.500 10.500z',
  auto: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 3v18M12 7h6M12 12h9M12 17h6',
  plus: 'M12 5v14M5 12h14', minus: 'M5 12h14',
  fit: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  back: 'M15 5l-7 7 7 7', close: 'M6 6l12 12M18 6L6 18',
  search: 'M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500L21 21',
  replay: 'M4 12a8 8 0 1 0 2.500-5.800M4 4v4.500h4.500',
  place: 'M12 21s7-6.500 7-11.500a7 7 0 0 0-14 0C5 14.500 12 21 12 21zM12 7a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z',
  blind: 'M3 12s3.500-6 9-6 9 6 9 6-3.500 6-9 6-9-6-9-6zM4 20L20 4',
  check: 'M5 12.500l4.500 4.500L19 7.500', warn: 'M12 4l9.500 16h-19zM12 10v5M12 17.500h.01',
};

/** An outline icon by name; decorative, so text must stand beside it. */
export function icon(name, cls = '') {
  return svg('svg', { viewBox: '0 0 24 24', class: `icon ${cls}`, 'aria-hidden': 'true' },
    svg('path', { d: OUTLINE[name] ?? OUTLINE.warn }));
}

// Filled shapes, 20×20: one per alarm level. The mark inside counts up with severity.
const LEVEL = {
  blue: ['M10 1.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17z', 'M10 9v5M10 6h.01'],
  yellow: ['M10 1.500L19.500 18H.5z', 'M10 7.500v4.500M10 15h.01'],
  orange: ['M10 .5L19.500 10 10 19.500.5 10z', 'M10 5.500v5.500M10 14h.01'],
  red: ['M6 1h8l5 5v8l-5 5H6l-5-5V6z', 'M10 5v6M10 14.500h.01'],
};

/** The shape of an alarm level: circle, triangle, diamond, octagon; a crossed eye when `state` is blind. */
export function levelIcon(level, state = 'active') {
  const [shape, mark] = LEVEL[level] ?? LEVEL.blue;
  if (state === 'blind') {
    return svg('svg', { viewBox: '0 0 24 24', class: `level-icon blind ${level}`, 'aria-hidden': 'true' }, svg('path', { class: 'eye', d: OUTLINE.blind }));
  }
  return svg('svg', { viewBox: '0 0 20 20', class: `level-icon ${level} ${state}`, 'aria-hidden': 'true' },
    svg('path', { class: 'shape', d: shape }), svg('path', { class: 'mark', d: mark }));
}

const STATE = {
  live: ['M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M6.500 10.500l2.500 2.500 4.500-5.500'],
  late: ['M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M10 6v4.500l3 2'],
  silent: ['M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M7 7l6 6M13 7l-6 6'],
  complete: ['', 'M4 10.500l4 4 8-9'],
  arriving: ['', 'M10 3v11M5.500 10l4.500 4.500 4.500-4.500M4 18h12'],
  lost: ['', 'M5 5l10 10M15 5L5 15'],
};

/** The shape of a gateway's or a lane's state. */
export function stateIcon(state) {
  const [shape, mark] = STATE[state] ?? STATE.silent;
  return svg('svg', { viewBox: '0 0 20 20', class: `state-icon ${state}`, 'aria-hidden': 'true' },
    shape ? svg('path', { class: 'shape', d: shape }) : null, svg('path', { class: 'mark', d: mark }));
}
