// The open requests: of many only those in sight are asked for, once a second while somebody can see them.

const NARROW = matchMedia('(max-width: 720px)');
const rowHeight = () => (NARROW.matches ? 64 : 30); // in px, as the style sheet has it
const AROUND = 15; // rows above and below those in sight
const STEPS = {
  arriving: { symbol: '↓', word: 'arriving', tone: 'calm' },
  waiting: { symbol: '…', word: 'waiting', tone: 'warn' },
  prefill: { symbol: '◔', word: 'prefill', tone: 'calm' },
  streaming: { symbol: '▸', word: 'streaming', tone: 'good' },
  answering: { symbol: '▸', word: 'answering', tone: 'good' },
  retrying: { symbol: '↻', word: 'retrying', tone: 'warn' },
  resumed: { symbol: '↪', word: 'resumed', tone: 'warn' },
};
const FIELDS = [
  { id: 'state', title: 'State' }, { id: 'id', title: 'Request' }, { id: 'node', title: 'Node' }, { id: 'class', title: 'Class' },
  { id: 'age', title: 'Age', n: true, sorts: true }, { id: 'silent', title: 'Silent', n: true, sorts: true }, { id: 'tokens', title: 'Tokens', n: true, sorts: true },
  { id: 'speed', title: 'Tok/s', n: true, sorts: true }, { id: 'attempts', title: 'Tries', n: true, sorts: true }, { id: 'cancel', title: 'Cancel', hidden: true },
];

const requests = { sort: 'age', state: '', total: 0, offset: 0, rows: [], inSight: false, missing: false };

function buildRequests() {
  const heads = FIELDS.map((field) => h('th', { scope: 'col', role: 'columnheader', class: field.n ? 'n' : '' },
    field.hidden ? h('span', { class: 'quiet' }, field.title)
      : field.sorts ? h('button', { type: 'button', class: 'plain', onclick: () => { requests.sort = field.id; pollRequests(); } }, field.title, h('i', { class: 'arrow', 'aria-hidden': 'true' })) : field.title));
  requests.heads = heads;
  requests.body = h('tbody', { role: 'rowgroup' });
  requests.above = h('div');
  requests.below = h('div');
  requests.box = h('div', { class: 'scroll window', tabindex: '0', role: 'region', 'aria-label': 'Rows of open requests' }, requests.above,
    h('table', { class: 'grid lines', role: 'table' }, h('caption', { class: 'quiet' }, 'Open requests'), h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...heads)), requests.body), requests.below);
  requests.note = h('span', { class: 'muted' });
  const states = h('select', { 'aria-label': 'State of the requests', onchange: (event) => { requests.state = event.target.value; requests.box.scrollTop = 0; pollRequests(); } },
    h('option', { value: '' }, 'all states'), ...Object.keys(STEPS).map((state) => h('option', { value: state }, state)));
  requests.box.addEventListener('scroll', () => {
    if (Math.abs(firstRow() - requests.offset) > AROUND / 2) pollRequests();
  }, { passive: true });
  $('requests').append(h('div', { class: 'title' }, h('h2', { id: 'requests-title' }, 'Open requests'), requests.note, states, h('a', { href: '/api/requests?format=csv', download: 'requests.csv' }, 'CSV')), requests.box);
  new IntersectionObserver(([entry]) => { requests.inSight = entry.isIntersecting; if (requests.inSight) pollRequests(); }).observe($('requests'));
}

const firstRow = () => Math.max(0, Math.floor(requests.box.scrollTop / rowHeight()) - AROUND);

let polling = false;
let pollAgain = false;
async function pollRequests() {
  if (polling) {
    pollAgain = true;
    return;
  }
  polling = true;
  try {
    const limit = Math.ceil(requests.box.clientHeight / rowHeight()) + 2 * AROUND || 60;
    const offset = firstRow();
    const state = requests.state ? `&state=${requests.state}` : '';
    const answer = await fetch(`/api/requests?limit=${limit}&offset=${offset}&sort=${requests.sort}${state}`, { cache: 'no-store' });
    requests.missing = answer.status === 404;
    if (answer.ok) {
      const { total, requests: rows } = await answer.json();
      Object.assign(requests, { total, rows, offset: Math.min(offset, Math.max(0, total - rows.length)) });
      $('requests').hidden = false;
      drawRequests();
    } else {
      $('requests').hidden = true;
    }
  } catch {
    // the feed says that the gateway is away
  } finally {
    polling = false;
    if (pollAgain) {
      pollAgain = false;
      pollRequests();
    }
  }
}

function drawRequests() {
  const { total, rows, offset } = requests;
  say(requests.note, total ? count(total) : 'none');
  requests.above.style.height = `${offset * rowHeight()}px`;
  requests.below.style.height = `${Math.max(0, total - offset - rows.length) * rowHeight()}px`;
  requests.heads.forEach((head, place) => mark(head, 'aria-sort', FIELDS[place].id === requests.sort ? 'descending' : false));
  keep(requests.body, rows, (row) => row.number, makeRequest, fillRequest);
  requests.body.dataset.empty = 'no request is open';
  if (total) delete requests.body.dataset.empty;
}

function makeRequest() {
  const row = h('tr', { role: 'row' }, ...FIELDS.map((field) => h('td', { role: 'cell', class: `${field.n ? 'n' : ''} is-${field.id}`, 'data-label': field.title })));
  row.lastChild.append(h('button', { type: 'button', class: 'small danger', onclick: () => askCancel(row.request) }, 'Cancel'));
  return row;
}

function fillRequest(row, request) {
  row.request = request;
  const [state, id, node, kind, age, silent, tokens, speed, tries, cancel] = row.children;
  if (state.state !== request.state) {
    state.state = request.state;
    state.replaceChildren(sign(STEPS[request.state] || { symbol: '·', word: request.state }));
  }
  say2(id, request.id.length > 20 ? `${request.id.slice(0, 12)}…` : request.id, `${request.method} ${request.path}`, 'muted');
  mark(id, 'title', `${request.id}  ${request.method} ${request.path}`);
  say(node, request.node ? (live.status?.pool_order.length > 1 ? `${request.pool} / ${request.node}` : request.node) : request.pool || NONE);
  say(kind, request.class || NONE);
  say(age, lasting(request.age_seconds));
  say(silent, request.silent_seconds >= 1 ? lasting(request.silent_seconds) : NONE);
  say(tokens, count(request.tokens));
  say(speed, short(request.tokens_per_second));
  say(tries, count(request.attempts));
  mark(cancel.firstChild, 'aria-label', `Cancel request ${request.id}`);
}

function askCancel(request) {
  ask({
    title: `Cancel request ${request.id}?`,
    text: [h('p', {}, `${request.method} ${request.path}, ${request.state} for ${lasting(request.age_seconds)}${request.node ? ` on ${request.node}` : ''}. Its client gets an error, or its answer breaks off; nothing is sent again.`)],
    action: 'Cancel the request',
    danger: true,
    run: async () => {
      await post(`/api/requests/${encodeURIComponent(request.number)}/cancel`);
      announce(`Request ${request.id} is cancelled`);
      pollRequests();
    },
  });
}

let polledAt = 0;
on.state.push((isWhole) => {
  if (isWhole) requests.missing = false;
  if (requests.missing || document.hidden || !(requests.inSight || $('requests').hidden)) return;
  // hidden: it may have come since
  if ($('requests').hidden && Date.now() - polledAt < 30000 && !isWhole) return;
  polledAt = Date.now();
  pollRequests();
});
