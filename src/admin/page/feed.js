// The live status: /api/live as the gateway sends it, and the time while it does not answer.

const SILENT_AFTER = 5000;

const live = {
  status: null, // the document
  connection: 'connecting', // connecting | live | away | stopping | refused
  why: '',
  seen: 0, // the time of the last event
  behind: 0, // the gateway's clock minus this machine's, in ms
};

// A JSON merge patch (RFC 7386).
function merge(into, patch) {
  for (const [name, value] of Object.entries(patch)) {
    // a pool may have this name, but no object may get it
    if (name === '__proto__') continue;
    if (value === null) delete into[name];
    else if (typeof value !== 'object' || Array.isArray(value)) into[name] = value;
    else into[name] = merge(isObject(into[name]) ? into[name] : {}, value);
  }
  return into;
}
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

const gatewayNow = () => Date.now() + live.behind;
const pools = () => {
  const status = live.status;
  return status ? status.pool_order.map((name) => ({ name, ...status.pools[name] })) : [];
};
const nodesOf = (pool) => (pool.order || []).map((key) => pool.nodes[key]).filter(Boolean);

function became(connection, why = '') {
  if (live.connection === connection && live.why === why) return;
  live.connection = connection;
  live.why = why;
  emit('connection');
}

function take(event, data) {
  live.seen = Date.now();
  if (event === 'stopping') {
    became('stopping');
    setTimeout(lookForNext, 1000);
    return;
  }
  const before = live.status;
  if (event === 'whole') {
    live.status = data;
    live.status.pools = data.pools || {};
  } else if (before) {
    const fresh = data.new_marks || [];
    delete data.new_marks;
    // the answer's order of pools comes whole or not at all
    merge(before, data);
    before.marks.push(...fresh);
    before.marks.splice(0, Math.max(0, before.marks.length - 2000));
  }
  live.behind = Date.parse(live.status.time) - Date.now();
  became(live.status.stopping ? 'stopping' : 'live');
  emit('state', event === 'whole', before);
}

// The events of one answer, until it ends.
async function read(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    live.seen = Date.now();
    text += value;
    // an event may come in many pieces
    if (!value.includes('\n')) continue;
    const events = text.split('\n\n');
    text = events.pop();
    for (const event of events) {
      const [head, data] = event.split('\ndata: ');
      take(head.slice('event: '.length), JSON.parse(data));
    }
  }
}

let connected = null;

// While a gateway stops, another process may take its place: it answers on new connections, the old one on this one alone.
async function lookForNext() {
  if (live.connection !== 'stopping' || !connected) return;
  try {
    const answer = await fetch('/api/status', { cache: 'no-store' });
    if (answer.ok && (await answer.json()).pid !== live.status.pid) {
      connected.abort();
      return;
    }
  } catch {
    // nobody yet
  }
  setTimeout(lookForNext, 2000);
}

async function follow() {
  for (;;) {
    while (document.hidden && hiddenLong()) await visible();
    connected = new AbortController();
    try {
      live.seen = Date.now();
      const answer = await fetch('/api/live', { signal: connected.signal, cache: 'no-store' });
      if (!answer.ok) {
        became('refused', (await answer.json().catch(() => ({}))).error || `it answers ${answer.status}`);
      } else {
        await read(answer);
        became('away', 'it has closed the connection');
      }
    } catch {
      became(document.hidden ? 'connecting' : 'away', 'no connection');
    }
    connected = null;
    await new Promise((again) => setTimeout(again, 1000));
  }
}

// A connection that says nothing is none: a machine may be gone without a word.
setInterval(() => {
  if (connected && Date.now() - live.seen > SILENT_AFTER) connected.abort();
  if (live.connection !== 'live') emit('connection');
}, 1000);

// A page that nobody sees costs the gateway nothing.
let hiddenSince = 0;
const hiddenLong = () => hiddenSince && Date.now() - hiddenSince > 30000;
const visible = () => new Promise((seen) => document.addEventListener('visibilitychange', seen, { once: true }));
document.addEventListener('visibilitychange', () => {
  hiddenSince = document.hidden ? Date.now() : 0;
  if (document.hidden) setTimeout(() => { if (hiddenLong() && connected) connected.abort(); }, 30500);
});
