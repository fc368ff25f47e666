// The little that is needed to keep a document in step with data.

const $ = (id) => document.getElementById(id);

// An element: h('td', { class: 'x', onclick: f, 'aria-label': 'y' }, children...).
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (known(value) && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => known(child) && child !== false));
  return element;
}

// Touches the document only where something differs.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, value) {
  if (!known(value) || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// Brings the children of a parent into the order of items; each is made once for its key and then updated.
function keep(parent, items, keyOf, make, update) {
  const old = parent.kept || new Map();
  const next = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = old.get(key) || make(item);
    old.delete(key);
    next.set(key, element);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
    if (update) update(element, item);
  }
  for (const element of old.values()) element.remove();
  parent.kept = next;
}

// A symbol with its word: the symbol is for eyes alone.
function sign({ symbol, word, tone }) {
  return h('span', { class: `sign ${tone || ''}` }, h('i', { 'aria-hidden': 'true' }, symbol), word);
}

const MADE = new Map();
// A colour of the style sheet as the present theme has it, for the canvas.
function colour(name) {
  if (!MADE.has(name)) {
    const probe = h('i', { hidden: true });
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    MADE.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return MADE.get(name);
}

let saidTimer;
// A word about something that was just done.
function announce(text, isBad = false) {
  const said = $('said');
  said.className = isBad ? 'said on bad' : 'said on';
  said.textContent = text;
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => { said.className = 'said'; }, isBad ? 12000 : 5000);
}

// Listeners of what the feed, the history and the visitor change.
const on = { state: [], connection: [], curves: [], view: [], theme: [] };
const emit = (what, ...details) => on[what].forEach((listener) => listener(...details));
