// Language and theme: chosen, remembered, and told to everything that draws.
import { setLang, translate } from './i18n.js';
import { mark, recall, remember } from './store.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
let chosen = recall('theme', 'auto');

/** The theme chosen: `auto`, `light` or `dark`. */
export const theme = () => chosen;

/** Chooses a theme. */
export function useTheme(next) {
  chosen = next;
  remember('theme', next);
  applyTheme();
}

/** Puts the theme in force; `data-shade` is what the style sheet and the canvases go by. */
export function applyTheme() {
  document.documentElement.dataset.shade = chosen === 'auto' ? (dark.matches ? 'dark' : 'light') : chosen;
  mark('theme');
}

dark.addEventListener('change', applyTheme);

/** Chooses a language. */
export function useLang(next) {
  setLang(next);
  translate(document);
  mark('lang');
}
