// The beginning, and what the visitor does: span, moment, filter, theme, keys. All of it but the theme is in the address.

function readAddress() {
  const query = new URLSearchParams(location.search);
  const time = (name) => {
    const ms = Date.parse(query.get(name) || '');
    return Number.isNaN(ms) ? null : ms;
  };
  view.span = SPANS[query.get('span')] ? query.get('span') : '5m';
  view.filter = query.get('q') || '';
  view.since = time('since');
  view.until = view.since === null ? null : time('until');
  if (view.until !== null && view.until <= view.since) view.until = null;
}

function address(moment = view) {
  const query = new URLSearchParams();
  if (view.span !== '5m') query.set('span', view.span);
  if (view.filter) query.set('q', view.filter);
  if (moment.since !== null) query.set('since', iso(moment.since));
  if (moment.until !== null && moment.until !== undefined) query.set('until', iso(moment.until));
  const text = query.toString().replaceAll('%3A', ':');
  return location.pathname + (text ? `?${text}` : '');
}

function changed() {
  history.replaceState(null, '', address());
  for (const button of $('spans').children) mark(button, 'aria-pressed', String(view.since === null && button.dataset.span === view.span));
  drawMoment();
  refresh();
  emit('view');
}

// Shows a part of the past, in ms.
function lookAt(since, until) {
  Object.assign(view, { since, until });
  changed();
}

function lookAtNow(span = view.span) {
  Object.assign(view, { span, since: null, until: null });
  changed();
}

function drawMoment() {
  const box = $('moment');
  box.hidden = view.since === null;
  if (view.since === null) return;
  const end = view.until === null ? 'now' : clock(view.until);
  const span = spanNow();
  const tooOld = (gatewayNow() - view.since) / 1000 > SPANS['24h'].step * SPANS['24h'].bins;
  const unseen = live.status && view.since < origin - 1000 ? ` The gateway has run since ${clock(origin)} only.` : '';
  const grain = { '5m': 'a value a second', '1h': 'means of 10 s', '24h': 'means of 4 min' }[span];
  box.replaceChildren(h('p', {}, `The curves show ${clock(view.since)} to ${end}, ${grain}.`, tooOld ? ' Only the last 24 hours are kept.' : unseen),
    h('button', { type: 'button', onclick: () => lookAtNow() }, 'Back to now'));
}

async function copyLink() {
  const [from, to] = windowOf(spanNow());
  const link = location.origin + address({ since: Math.floor(from) * 1000, until: Math.ceil(to) * 1000 });
  try {
    await navigator.clipboard.writeText(link);
    announce('The link to this moment is in the clipboard');
  } catch {
    const input = h('input', { value: link, readonly: true, class: 'wide', 'aria-label': 'Link to this moment', onfocus: (event) => event.target.select() });
    tell('Link to this moment', h('p', {}, 'This browser keeps its clipboard for pages from localhost or over TLS: copy the link by hand.'), input);
    input.focus();
  }
}

const THEMES = { '': ['◑', 'Theme: as the system'], light: ['○', 'Theme: light'], dark: ['●', 'Theme: dark'] };

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').textContent = THEMES[theme][0];
  mark($('theme'), 'aria-label', `${THEMES[theme][1]}; press to change`);
  mark($('theme'), 'title', THEMES[theme][1]);
  emit('theme');
}

function storedTheme() {
  try {
    const theme = localStorage.getItem('evenkeel-theme') || '';
    return theme in THEMES ? theme : '';
  } catch {
    return '';
  }
}

function nextTheme() {
  const themes = Object.keys(THEMES);
  const theme = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
  try {
    localStorage.setItem('evenkeel-theme', theme);
  } catch {
    // a browser that stores nothing: until the page is left
  }
  useTheme(theme);
}

function showHelp() {
  const keys = [['/', 'filter nodes'], ['1 2 3', 'curves of 5 minutes, 1 hour, 24 hours'], ['n', 'back to now'], ['c', 'copy a link to this moment'], ['t', 'light, dark, or as the system'], ['?', 'this help'], ['Esc', 'close, or clear the filter']];
  const signs = [...Object.values(STATES), ...Object.values(KINDS).filter((kind) => !Object.values(STATES).some((state) => state.word === kind.word) && kind.word !== 'page')];
  tell('Help', h('p', {}, 'Drag over a curve to look closer. Point at a symbol above it, or reach it with Tab and the arrows, to read what happened. A name in the legend keeps its line strong; a name in the table shows all about the node.'),
    h('dl', { class: 'keys' }, ...keys.map(([key, text]) => h('div', {}, h('dt', {}, ...key.split(' ').map((one) => h('kbd', {}, one))), h('dd', {}, text)))),
    h('p', { class: 'signs' }, ...signs.map(sign)));
}

const KEYS = {
  '/': () => $('filter').focus(), '?': showHelp, 1: () => lookAtNow('5m'), 2: () => lookAtNow('1h'), 3: () => lookAtNow('24h'),
  n: () => lookAtNow(), c: copyLink, t: nextTheme,
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('dialog').open) return;
  const typing = event.target.closest('input, select, textarea');
  if (event.key === 'Escape' && event.target === $('filter')) {
    $('filter').value = '';
    $('filter').dispatchEvent(new Event('input'));
    $('filter').blur();
  } else if (!typing && KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

// The frame's own parts, once.
function begin() {
  readAddress();
  useTheme(storedTheme());
  for (const [span, { label, words }] of Object.entries(SPANS)) {
    $('spans').append(h('button', { type: 'button', 'data-span': span, title: words, onclick: () => lookAtNow(span) }, label));
  }
  $('filter').value = view.filter;
  $('filter').addEventListener('input', (event) => {
    view.filter = event.target.value.trim();
    changed();
  });
  $('copy').addEventListener('click', copyLink);
  $('theme').addEventListener('click', nextTheme);
  $('help').addEventListener('click', showHelp);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => emit('theme'));
  on.curves.push(drawMoment);
  buildRequests();
  changed();
  follow();
}

begin();
