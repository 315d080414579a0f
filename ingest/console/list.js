// A list that draws only the rows in view, so that ten thousand gateways cost as much as twenty.
import { el } from './dom.js';

const SPARE = 6; // rows drawn beyond each edge, so that fast scrolling shows no holes

export class List {
  /**
   * `rowHeight` in pixels, `key(item)` names a row for reuse, `create()` makes a row element, `update(row, item)` fills it.
   * Arrow keys, Home and End move the focus from row to row.
   */
  constructor({ rowHeight, key, create, update, label }) {
    Object.assign(this, { rowHeight, key, create, update });
    this.items = [];
    this.rows = new Map();
    this.spacer = el('div', { class: 'list-space', role: 'list', 'aria-label': label });
    this.node = el('div', { class: 'list' }, this.spacer);
    this.node.addEventListener('scroll', () => this.schedule(), { passive: true });
    this.node.addEventListener('keydown', (e) => this.onKey(e));
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.node);
  }

  /** Shows these items. */
  set(items) {
    this.items = items;
    this.spacer.style.height = `${items.length * this.rowHeight}px`;
    this.draw();
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const { rowHeight, items } = this;
    const first = Math.max(0, Math.floor(this.node.scrollTop / rowHeight) - SPARE);
    const last = Math.min(items.length, Math.ceil((this.node.scrollTop + (this.node.clientHeight || 800)) / rowHeight) + SPARE);
    const used = new Set();
    for (let i = first; i < last; i += 1) {
      const key = this.key(items[i]);
      used.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = this.create();
        row.classList.add('row');
        row.style.height = `${rowHeight}px`;
        this.rows.set(key, row);
        this.spacer.append(row);
      }
      if (row.dataset.index !== String(i)) {
        row.dataset.index = String(i);
        row.style.transform = `translateY(${i * rowHeight}px)`;
        row.setAttribute('aria-posinset', String(i + 1));
        row.setAttribute('aria-setsize', String(items.length));
      }
      this.update(row, items[i]);
    }
    for (const [key, row] of this.rows) if (!used.has(key)) { row.remove(); this.rows.delete(key); }
  }

  onKey(e) {
    const row = e.target.closest?.('.row');
    if (!row) return;
    const at = Number(row.dataset.index);
    const page = Math.max(1, Math.floor(this.node.clientHeight / this.rowHeight) - 1);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.items.length - 1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    this.focus(Math.max(0, Math.min(this.items.length - 1, to)));
  }

  /** Brings a row into view and focuses it. */
  focus(index) {
    const top = index * this.rowHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + this.rowHeight > this.node.scrollTop + this.node.clientHeight) this.node.scrollTop = top + this.rowHeight - this.node.clientHeight;
    this.draw();
    const row = this.rows.get(this.key(this.items[index]));
    (row?.matches('a,button') ? row : row?.querySelector('a,button'))?.focus({ preventScroll: true });
  }

  /** Ends it. */
  close() { this.observer.disconnect(); cancelAnimationFrame(this.frame); }
}
