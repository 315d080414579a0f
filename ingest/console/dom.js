// DOM helpers. Everything the console shows passes through here as text nodes, never as markup: data from a
// gateway or a third party can name itself `<img onerror=…>` and stays a name.

/**
 * Makes an element. `props`: `class`, `text`, `on: {event: handler}`, `data: {key: value}`; anything else is set as an
 * attribute (`true` sets an empty one; `false`, `null` and `undefined` set none). Children may be nodes, strings or null.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  apply(node, props);
  append(node, children);
  return node;
}

/** As `el`, for SVG. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  apply(node, props);
  append(node, children);
  return node;
}

function apply(node, props) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'class') node.setAttribute('class', value);
    else if (key === 'text') node.textContent = value;
    else if (key === 'on') for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (key === 'data') Object.assign(node.dataset, value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
}

function append(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
}

/** Sets text only when it changed: saves layout and keeps a screen reader quiet. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or removes an attribute only when it changed. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Replaces all children. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
}

/** A labelled term and value for a facts list; the value may be a node or text. */
export function fact(term, value) {
  return el('div', { class: 'fact' }, el('dt', { text: term }), el('dd', {}, value ?? '—'));
}

/**
 * A row of buttons of which exactly one is pressed. `options`: `[value, text]` pairs. `onpick(value)` is called on a change.
 */
export function segmented(label, options, current, onpick) {
  const group = el('div', { class: 'segmented', role: 'group', 'aria-label': label });
  for (const [value, text] of options) {
    group.append(el('button', {
      type: 'button', text, data: { value }, 'aria-pressed': String(value === current),
      on: { click: () => {
        for (const b of group.children) b.setAttribute('aria-pressed', String(b.dataset.value === value));
        onpick(value);
      } },
    }));
  }
  return group;
}
