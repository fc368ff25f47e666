// The head of the page: the gateway, its totals, the causes of trouble, the last reload, the events.

const CLASSES = [['2xx', 200], ['3xx', 300], ['4xx', 400], ['5xx', 500]];
const totalsKept = [];

// Requests by class of their status since the start.
function codesOf(status) {
  const sums = { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 };
  const add = (codes) => {
    for (const [code, number] of Object.entries(codes || {})) {
      const name = `${code[0]}xx`;
      if (name in sums) sums[name] += number;
    }
  };
  add(status.refused_by_code);
  for (const pool of Object.values(status.pools)) add(pool.requests_by_code);
  return sums;
}

// Rates over the last 5 seconds that the page has seen.
function ratesOf(status) {
  const now = { second: status.second, pid: status.pid, codes: codesOf(status) };
  if (totalsKept.length && (totalsKept[0].pid !== now.pid || totalsKept.at(-1).second > now.second)) totalsKept.length = 0;
  totalsKept.push(now);
  while (totalsKept.length > 6) totalsKept.shift();
  const first = totalsKept[0];
  const passed = now.second - first.second;
  if (passed < 1) return null;
  return Object.fromEntries(CLASSES.map(([name]) => [name, (now.codes[name] - first.codes[name]) / passed]));
}

function tile(title, value, note, tone) {
  return { title, value, note: note || '', tone: tone || '' };
}

function drawTotals(status) {
  const all = pools();
  const nodes = all.flatMap(nodesOf);
  const sum = (of) => all.reduce((total, pool) => total + (of(pool) || 0), 0);
  const flight = nodes.reduce((total, node) => total + node.in_flight, 0);
  const waiting = sum((pool) => pool.queue);
  const rates = ratesOf(status);
  const rate = rates && Object.values(rates).reduce((total, value) => total + value, 0);
  const parts = rates && CLASSES.filter(([name]) => rates[name] > 0 || name === '2xx').map(([name]) => `${name} ${short(rates[name])}`).join('  ');
  const up = nodes.filter((node) => node.state === 'up').length;
  const speeds = nodes.map((node) => node.tokens_per_second).filter(known);
  const tiles = [
    tile('In flight', count(flight), plural(status.requests, 'request') + ' open'),
    tile('Waiting', count(waiting), all.filter((pool) => pool.queue).map((pool) => pool.name).join(', '), waiting ? 'warn' : ''),
    tile('Requests/s', rate === null ? NONE : short(rate), parts, rates && rates['5xx'] > 0 ? 'bad' : ''),
    speeds.length && tile('Tokens/s', short(speeds.reduce((total, value) => total + value, 0)), ''),
    tile('Nodes up', `${count(up)} / ${count(nodes.length)}`, outWords(nodes), nodes.some((node) => node.state === 'ejected') ? 'bad' : ''),
    status.cluster && clusterTile(status.cluster),
    tile('Connections', count(status.connections), status.refused_connections ? `${count(status.refused_connections)} refused` : 'of clients'),
  ].filter(Boolean);
  keep($('totals'), tiles, (item) => item.title, () => h('div', { class: 'tile' }, h('h2'), h('p', { class: 'value' }), h('p', { class: 'muted' })), (element, item) => {
    say(element.children[0], item.title);
    say(element.children[1], item.value);
    say(element.children[2], item.note);
    mark(element, 'class', `tile ${item.tone}`);
  });
}

// The gateways that share their limits.
function clusterTile({ state, reason, for_seconds, members, settled }) {
  const here = members.filter((member) => member.state === 'present').length;
  const words = { joined: settled ? 'joined' : 'joined, not settled', alone: `alone for ${lasting(for_seconds)}: ${reason}`, never_reached: `not joined: ${reason}` };
  const tone = { joined: here < members.length ? 'warn' : '', alone: 'warn', never_reached: 'bad' }[state];
  return tile('Gateways', state === 'joined' ? `${count(here)} / ${count(members.length)}` : NONE, words[state] || state, tone);
}

function outWords(nodes) {
  const out = Object.entries(STATES).map(([state, { word }]) => [nodes.filter((node) => node.state === state).length, word]);
  return out.filter(([number, word]) => number && word !== 'up').map(([number, word]) => `${number} ${word}`).join(', ') || 'all';
}

const CAUSES_FEW = 6;
let allCauses = false;

function drawCauses(causes) {
  // a gateway that names no causes has not looked for any
  $('causes').hidden = !causes;
  const shown = (causes || []).slice(0, allCauses ? 100 : CAUSES_FEW);
  const items = shown.length ? shown : [{ calm: true }];
  const left = (causes || []).length - CAUSES_FEW;
  $('causes-more').hidden = left <= 0;
  say($('causes-more'), allCauses ? 'Show the worst only' : `Show ${count(left)} more`);
  const keyOf = (cause) => (cause.calm ? 'calm' : `${cause.severity}|${cause.pool}|${cause.node}|${cause.text.replace(/\d+/g, '#')}`);
  const unique = new Map(items.map((cause) => [keyOf(cause), cause]));
  keep($('causes-list'), [...unique], ([key]) => key, ([, cause]) => {
    const { symbol, word } = cause.calm ? { symbol: '✓', word: '' } : SEVERITIES[cause.severity] || SEVERITIES.info;
    return h('li', { class: cause.calm ? 'calm-cause' : `cause ${cause.severity}` }, h('i', { 'aria-hidden': 'true' }, symbol), h('span', { class: 'quiet' }, word), h('p'),
      cause.node && h('button', { type: 'button', class: 'small', 'aria-label': `Show ${cause.node}`, onclick: () => showNode(cause.pool, cause.node) }, 'Show'));
  }, (element, [, cause]) => {
    const text = element.querySelector('p');
    say(text, cause.calm ? 'Nothing stands out.' : cause.text);
    mark(text, 'title', cause.pool ? `pool ${cause.pool}${cause.node ? `, node ${cause.node}` : ''}` : false);
  });
}

function drawFacts(status) {
  const reload = status.last_reload;
  const at = clock(Date.parse(reload.time));
  const loaded = status.config_generation > 1 || !reload.ok ? `, ${reload.ok ? 'reloaded' : 'reload refused'} ${at}` : '';
  say($('facts'), `${status.version} · config generation ${status.config_generation}${loaded} · up ${lasting(status.uptime_seconds)}`);
  // one that is told among the causes in full is not told twice
  const isTold = (status.causes || []).some((cause) => reload.error && cause.text.includes(reload.error.trim()));
  $('reload').hidden = reload.ok || isTold;
  if (!reload.ok) {
    say($('reload-title'), `The last reload was refused at ${at}: generation ${status.config_generation} stays in use`);
    say($('reload-text'), reload.error || '');
  }
}

const EVENTS_MAX = 200;

function drawEvents(status) {
  const marks = status.marks.slice(-EVENTS_MAX).reverse();
  say($('events-note'), status.marks.length > EVENTS_MAX ? `the last ${EVENTS_MAX}` : '');
  const items = marks.length ? marks : [{ number: 0 }];
  keep($('events-list'), items, (item) => item.number, (item) => {
    if (!item.number) return h('li', { class: 'muted' }, 'Nothing has happened yet.');
    const kind = KINDS[item.kind] || KINDS.here;
    const ms = Date.parse(item.time);
    const several = status.pool_order.length > 1;
    const more = item.in_flight ? ` (${count(item.in_flight)} in flight)` : '';
    return h('li', {},
      h('button', { type: 'button', class: 'plain', title: 'Show this moment in the curves', onclick: () => lookAt(ms - 120000, Math.min(ms + 120000, gatewayNow())) }, h('time', { datetime: item.time }, clock(ms))),
      h('i', { class: `sym ${kind.tone}`, 'aria-hidden': 'true' }, kind.symbol),
      h('p', {}, item.node && h('b', {}, several ? `${item.pool} / ${item.node}` : item.node), item.node && ' ', item.text, h('span', { class: 'muted' }, more)));
  });
}

function drawConnection() {
  const { connection } = live;
  const words = { connecting: 'connecting', live: 'live', away: 'away', stopping: 'stopping', refused: 'refused' };
  mark($('link'), 'class', `link ${connection}`);
  say($('link-text'), words[connection]);
  document.body.classList.toggle('stale', connection === 'away' || connection === 'refused');
  const text = {
    away: `The gateway does not answer: ${live.why}. Trying again.`,
    stopping: 'The gateway is stopping: it finishes its requests and takes no new ones.',
    refused: `The gateway shows this page nothing: ${live.why}. Trying again.`,
  }[connection];
  $('away').hidden = !text;
  say($('away-text'), text || '');
  // no part of the alert, for it changes every second
  say($('away-age'), text && connection !== 'stopping' && live.status ? `What you see is ${lasting((Date.now() - lastLive) / 1000)} old.` : '');
}

let lastLive = Date.now();

on.state.push((isWhole, before) => {
  const status = live.status;
  lastLive = Date.now();
  if (isWhole && before && before.pid !== status.pid) announce(`The gateway was restarted: it has been up for ${lasting(status.uptime_seconds)}`);
  const flight = pools().flatMap(nodesOf).reduce((sum, node) => sum + node.in_flight, 0);
  const bad = (status.causes || []).filter((cause) => cause.severity === 'bad').length;
  document.title = `${bad ? `(${bad}) ` : ''}Evenkeel: ${count(flight)} in flight`;
  drawFacts(status);
  drawTotals(status);
  drawCauses(status.causes);
  drawEvents(status);
});
on.connection.push(drawConnection);
