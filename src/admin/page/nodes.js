// The table of a pool's nodes: sorted by any column, trouble first, calm nodes of large fleets folded away.

const FEW = 20; // nodes that are always shown
const LEAST = 6; // rows of a table that is folded
const ROWS_MAX = 300; // rows of a filtered or unfolded table

const failed = (node) => FAILURES.reduce((sum, name) => sum + (node.attempts[name] || 0), 0);
const quantile = (times, name) => (times ? times[name] : undefined);

function matches(node) {
  const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${node.name} ${node.address} ${node.state} ${node.backup ? 'backup' : ''} ${node.origin}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

// Nothing about it wants to be seen.
function isCalm(node, median) {
  return node.state === 'up' && !node.recent_failures && node.slow_start_share >= 1 && !node.skips.length
    && Math.abs(node.in_flight - median) <= Math.max(3, median * 0.5);
}

const COLUMNS = [
  { id: 'name', title: 'Node', value: (node) => node.name, sort: (a, b) => byName(a.name, b.name) },
  { id: 'state', title: 'State', value: (node) => STATES[node.state]?.rank ?? 0 },
  { id: 'load', title: 'In flight / cap', n: true, down: true, value: (node) => node.in_flight },
  { id: 'share', title: 'Share', n: true, down: true, value: (node) => node.in_flight, note: 'Part of the pool’s requests in flight' },
  { id: 'weight', title: 'Weight', n: true, down: true, value: (node) => node.weight },
  { id: 'attempts', title: 'Attempts', n: true, down: true, value: (node) => failed(node), note: 'Ended well, and failed, since the start; sorted by failures' },
  { id: 'ttft', title: 'First token', n: true, down: true, rare: true, value: (node) => quantile(node.ttft, 'p99'), note: 'Time to first token: p50 and p99' },
  { id: 'itl', title: 'Inter-token', n: true, down: true, rare: true, value: (node) => quantile(node.inter_token, 'p99'), note: 'Time between tokens: p50 and p99' },
  { id: 'speed', title: 'Tokens/s', n: true, down: true, rare: true, value: (node) => node.tokens_per_second },
  { id: 'cache', title: 'Cache hits', n: true, down: true, rare: true, value: (node) => node.cache_hit_rate, note: 'Part of the prompts’ tokens that was in its cache' },
  { id: 'error', title: 'Last error', value: (node) => (node.last_failure ? node.last_failure.time : ''), down: true },
  { id: 'orders', title: 'Orders', hidden: true },
];

class NodeTable {
  constructor(box) {
    this.box = box;
    this.sort = { id: null, down: false };
    this.open = new Set();
    this.unfolded = false;
    this.body = h('tbody', { role: 'rowgroup' });
    this.heads = COLUMNS.map((column) => h('th', { role: 'columnheader', scope: 'col', class: `${column.n ? 'n' : ''} is-${column.id}`, title: column.note },
      column.hidden ? h('span', { class: 'quiet' }, column.title)
        : h('button', { type: 'button', class: 'plain', onclick: () => this.sortBy(column) }, column.title, h('i', { class: 'arrow', 'aria-hidden': 'true' }))));
    this.fold = h('button', { type: 'button', class: 'fold', onclick: () => { this.unfolded = !this.unfolded; this.render(); } });
    this.element = h('div', { class: 'nodes' }, h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Table of nodes, pool ${box.name}` },
      this.grid = h('table', { role: 'table', class: 'grid' }, h('caption', { class: 'quiet' }, `Nodes of pool ${box.name}`),
        h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...this.heads)), this.body)), this.fold);
  }

  sortBy(column) {
    const same = this.sort.id === column.id;
    if (same && this.sort.down !== Boolean(column.down)) this.sort = { id: null, down: false };
    else this.sort = { id: column.id, down: same ? !this.sort.down : Boolean(column.down) };
    this.render();
  }

  update(pool, nodes) {
    this.pool = pool;
    this.nodes = nodes;
    this.render();
  }

  rows() {
    const loads = this.nodes.filter((node) => node.state === 'up').map((node) => node.in_flight).sort((a, b) => a - b);
    const median = loads[loads.length >> 1] ?? 0;
    let rows = this.nodes.map((node, place) => ({ node, place, key: pool_key(this.pool, place) }));
    if (view.filter) rows = rows.filter(({ node }) => matches(node));
    const column = COLUMNS.find(({ id }) => id === this.sort.id);
    let folded = 0;
    if (!view.filter && rows.length > FEW) {
      const calm = new Set(rows.filter(({ node }) => isCalm(node, median)).map(({ key }) => key));
      folded = calm.size;
      // a few with the most to do, where hardly any node is not calm
      const busiest = rows.filter(({ key }) => calm.has(key)).sort((a, b) => b.node.in_flight - a.node.in_flight || a.place - b.place);
      for (const { key } of busiest.slice(0, Math.max(0, LEAST - (rows.length - folded)))) calm.delete(key);
      folded = calm.size;
      if (!this.unfolded && !column) rows = rows.filter(({ key }) => !calm.has(key));
      else if (!column) rows.sort((a, b) => calm.has(a.key) - calm.has(b.key) || a.place - b.place);
    }
    if (column) rows.sort(this.order(column));
    this.heads.forEach((head, place) => {
      mark(head, 'aria-sort', COLUMNS[place] === column ? (this.sort.down ? 'descending' : 'ascending') : false);
    });
    return { rows, folded: column ? 0 : folded };
  }

  order({ value, sort }) {
    const sign = this.sort.down ? -1 : 1;
    return (a, b) => {
      if (sort) return sign * sort(a.node, b.node);
      const [x, y] = [value(a.node), value(b.node)];
      // without a value at the end, whichever way
      if (!known(x) || !known(y)) return known(y) - known(x) || a.place - b.place;
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a.place - b.place;
    };
  }

  render() {
    if (!this.nodes) return;
    const { rows, folded } = this.rows();
    const shown = rows.slice(0, this.sort.id && !view.filter && !this.unfolded ? FEW * 2 : ROWS_MAX);
    // a column that no node has a value for takes no room
    for (const column of COLUMNS) if (column.rare) this.grid.classList.toggle(`no-${column.id}`, !this.nodes.some((node) => known(column.value(node))));
    const total = this.nodes.reduce((sum, node) => sum + node.in_flight, 0);
    const most = this.nodes.reduce((most, node) => Math.max(most, node.in_flight, node.max_in_flight ?? 0), 1);
    const items = shown.flatMap((row) => (this.open.has(row.key) ? [row, { ...row, detail: true }] : [row]));
    keep(this.body, items, (row) => (row.detail ? `${row.key}\n` : row.key), (row) => (row.detail ? detailRow() : this.makeRow(row)),
      (element, row) => (row.detail ? fillDetail(element, row.node, this.pool.name) : this.fillRow(element, row, total, most)));
    const left = rows.length - shown.length;
    this.fold.hidden = !folded && !left && !(this.unfolded && this.nodes.length > FEW);
    const fold = this.unfolded ? 'Fold calm nodes' : left ? `Show ${count(left)} more` : `Show ${plural(folded, 'calm node', 'calm nodes')}`;
    say(this.fold, this.unfolded && left ? `${count(left)} more: filter to see them` : fold);
    if (!rows.length && view.filter) this.body.dataset.empty = 'no node matches the filter';
    else delete this.body.dataset.empty;
  }

  makeRow({ key }) {
    const toggle = () => {
      if (!this.open.delete(key)) this.open.add(key);
      this.render();
    };
    const name = h('button', { type: 'button', class: 'plain name', title: 'All about this node', onclick: toggle });
    const cell = (column, ...children) => h('td', { role: 'cell', class: `${column.n ? 'n' : ''} is-${column.id}`, 'data-label': column.title }, ...children);
    const cells = COLUMNS.slice(1).map((column) => cell(column));
    cells[1].append(h('span', { class: 'load' }, h('span', { class: 'num' }), h('span', { class: 'track' }, h('i'))));
    const row = h('tr', { role: 'row', onmouseenter: () => this.box.flight.focus(row.node), onmouseleave: () => this.box.flight.focus(null) },
      h('th', { role: 'rowheader', scope: 'row' }, name, h('small', { class: 'muted' })), ...cells);
    return row;
  }

  fillRow(row, { node, key }, total, most) {
    row.node = node.name;
    const [head, state, load, share, weight, attempts, ttft, itl, speed, cache, error, orders] = row.children;
    say(head.firstChild, node.name);
    mark(head.firstChild, 'aria-expanded', String(this.open.has(key)));
    say(head.lastChild, [node.address === node.name ? '' : node.address, node.backup ? 'backup' : '', node.origin === 'config' ? '' : node.origin].filter((word) => word).join(' · '));
    fillState(state, node);
    const cap = node.max_in_flight;
    const [number, track] = load.firstChild.children;
    say(number, known(cap) ? `${count(node.in_flight)} / ${count(cap)}` : count(node.in_flight));
    track.firstChild.style.width = `${Math.min(100, (node.in_flight / (cap || most)) * 100)}%`;
    mark(track, 'class', known(cap) ? (node.in_flight >= cap ? 'track full' : 'track') : 'track open');
    mark(load, 'title', known(cap) ? `cap: ${node.max_in_flight_from}` : 'no cap');
    say(share, total ? percent(node.in_flight / total) : NONE);
    say2(weight, DECIMAL.format(node.weight), originOf(node.weight_from), 'muted');
    mark(weight, 'title', node.weight_from);
    const bad = failed(node);
    say2(attempts, short(node.attempts.ok), bad ? `${short(bad)} failed` : '', 'bad');
    mark(attempts, 'title', outcomesOf(node));
    for (const [element, times] of [[ttft, node.ttft], [itl, node.inter_token]]) {
      say2(element, seconds(quantile(times, 'p50')), times && known(times.p99) ? seconds(times.p99) : '', 'muted');
    }
    say(speed, short(node.tokens_per_second));
    say(cache, percent(node.cache_hit_rate));
    const last = node.last_failure;
    say2(error, last ? OUTCOMES[last.outcome] || last.outcome : NONE, last ? clock(Date.parse(last.time)) : '', 'muted');
    mark(error, 'data-none', !last);
    fillOrders(orders, this.pool.name, node);
  }
}

const pool_key = (pool, place) => pool.order[place];

// In a word; the whole is in the row's details.
const originOf = (from) => (/^set in/.test(from) ? '' : from.split(/[ ;:,]/)[0]);

// Two values of one cell, the second below.
function say2(element, first, second, tone) {
  if (element.childElementCount !== 2) element.replaceChildren(h('span'), h('small', { class: tone }));
  say(element.firstChild, first);
  say(element.lastChild, second);
}

const outcomesOf = (node) => Object.entries(node.attempts).filter(([, number]) => number).map(([name, number]) => `${OUTCOMES[name] || name} ${count(number)}`).join(' · ') || 'no attempts yet';

function whyOf(node) {
  if (node.state === 'draining') {
    const by = node.drained_by.map((who) => ({ config: 'by the config', operator: 'by an operator' }[who] || who));
    return by.length ? by.join(' and ') : { config: 'removed from the config', registered: 'its lease has ended' }[node.origin] || `no longer named by ${node.origin}`;
  }
  if (node.reason) return node.reason;
  if (node.state === 'probing') return 'one trial request is let through';
  if (node.slow_start_share < 1) return `slow start: ${percent(node.slow_start_share)} of its share`;
  if (node.skips.length) return `skipped for ${plural(node.skips.length, 'model')}`;
  return '';
}

// The gateway says how much is left of an ejection; between two statuses the page counts on.
function untilOf(node) {
  if (!known(node.ejected_for_seconds)) return '';
  if (node.ejected_for_seconds <= 0) return 'until it answers';
  return `${lasting(Math.ceil(node.ejected_for_seconds))} left`;
}

function fillState(cell, node) {
  if (cell.state !== node.state) {
    cell.state = node.state;
    cell.replaceChildren(sign(STATES[node.state] || { symbol: '?', word: node.state }), h('small', { class: 'until' }), h('small', { class: 'muted why' }));
  }
  say(cell.children[1], untilOf(node));
  say(cell.children[2], whyOf(node));
}

function detailRow() {
  const row = h('tr', { class: 'detail', role: 'row' }, h('td', { role: 'cell', colspan: COLUMNS.length }, h('dl'),
    h('button', { type: 'button', onclick: () => row.show() }, 'Its open requests')));
  return row;
}

function fillDetail(row, node, pool) {
  row.show = () => showRequestsOf({ pool, node: node.name });
  const facts = [
    ['Address', node.address], ['Attempts', outcomesOf(node)], ['Ejections', count(node.ejections)],
    ['Failures within fail_timeout', count(node.recent_failures)],
    ['Cap', known(node.max_in_flight) ? `${count(node.max_in_flight)}: ${node.max_in_flight_from}` : 'none'],
    ['From', node.origin + (known(node.lease_ends) ? `, ${lasting(Math.max(0, Math.ceil((Date.parse(node.lease_ends) - gatewayNow()) / 1000)))} left` : '')],
    ['Weight', `${DECIMAL.format(node.weight)}: ${node.weight_from}`],
    known(node.work_in_flight) && ['Work in flight', `${count(node.work_in_flight)} tokens`],
    ...node.skips.map((skip) => ['Skipped', `for ${skip.model}: it answers ${skip.status}; ${skip.applies_to}, ${lasting(skip.seconds_left)} left`]),
  ].filter(Boolean);
  keep(row.firstChild.firstChild, facts.map((fact, place) => ({ fact, place })), ({ place }) => place, () => h('div', {}, h('dt'), h('dd')), (element, { fact }) => {
    say(element.firstChild, fact[0]);
    say(element.lastChild, fact[1]);
  });
}
