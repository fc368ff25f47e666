// The curves: /api/history for what was, the live status for each second that comes.

const SPANS = {
  '5m': { step: 1, bins: 300, label: '5 min', refresh: 0, words: 'the last 5 minutes' },
  '1h': { step: 10, bins: 360, label: '1 h', refresh: 10, words: 'the last hour' },
  '24h': { step: 240, bins: 360, label: '24 h', refresh: 60, words: 'the last 24 hours' },
};

// The part of the history that is looked at: a span up to now, or a moment of the past.
const view = { span: '5m', since: null, until: null, filter: '', pinned: new Set() };

// By span: { first, bins, pools: Map of { waiting, nodes: Map } }; a curve is { mean: [], max: [] }, null where nothing is known.
const kept = {};
let origin = 0;

// The finest span that reaches back to a moment, or the one that was chosen.
function spanNow() {
  if (view.since === null) return view.span;
  const age = (gatewayNow() - view.since) / 1000;
  return Object.keys(SPANS).find((span) => age <= SPANS[span].step * (SPANS[span].bins - 1)) || '24h';
}

const list = (value, bins) => (Array.isArray(value) ? value : new Array(bins).fill(value));

function extend(old, fresh, keep, bins) {
  const curve = {};
  for (const name of ['mean', 'max']) {
    if (!known(fresh[name])) continue;
    const before = old ? old[name].slice(0, keep) : new Array(keep).fill(null);
    curve[name] = before.concat(list(fresh[name], bins));
  }
  return curve;
}

// Takes an answer of /api/history, whole or from some bin on.
function absorb(answer) {
  origin = answer.origin;
  const { span, first, bins } = answer;
  const old = kept[span] && kept[span].first <= first && kept[span].first + kept[span].bins >= first ? kept[span] : null;
  const begin = old ? Math.max(old.first, first + bins - SPANS[span].bins) : first;
  const cut = old ? begin - old.first : 0;
  const keep = first - begin;
  const shifted = (curve) => curve && { mean: curve.mean.slice(cut), max: curve.max && curve.max.slice(cut) };
  const pools = new Map();
  for (const pool of answer.pools) {
    const before = old && old.pools.get(pool.name);
    const nodes = new Map();
    for (const node of pool.nodes) {
      nodes.set(node.name, extend(before && shifted(before.nodes.get(node.name)), node, keep, bins));
    }
    pools.set(pool.name, { waiting: extend(before && shifted(before.waiting), pool.waiting, keep, bins), nodes });
  }
  kept[span] = { first: begin, bins: keep + bins, pools, at: Date.now() };
}

// A second of the live status.
function append(status) {
  origin = status.origin;
  const now = kept['5m'];
  if (!now) return;
  const steps = status.second - (now.first + now.bins - 1);
  if (steps > 60 || steps < 0) {
    load('5m', true);
    return;
  }
  const put = (curve, value) => {
    for (let step = 1; step < steps; step += 1) curve.mean.push(null);
    if (steps > 0) curve.mean.push(value);
    else if (known(value)) curve.mean[curve.mean.length - 1] = value;
    if (curve.mean.length > SPANS['5m'].bins) curve.mean.splice(0, curve.mean.length - SPANS['5m'].bins);
  };
  const empty = () => ({ mean: new Array(now.bins).fill(null) });
  for (const [name, pool] of Object.entries(status.pools)) {
    if (!now.pools.has(name)) now.pools.set(name, { waiting: empty(), nodes: new Map() });
    const curves = now.pools.get(name);
    put(curves.waiting, pool.queue);
    const loads = new Map();
    for (const node of nodesOf(pool)) loads.set(node.name, (loads.get(node.name) || 0) + node.in_flight);
    for (const node of loads.keys()) if (!curves.nodes.has(node)) curves.nodes.set(node, empty());
    for (const [node, curve] of curves.nodes) put(curve, loads.has(node) ? loads.get(node) : null);
  }
  for (const [name, curves] of now.pools) {
    if (status.pools[name]) continue;
    put(curves.waiting, null);
    for (const curve of curves.nodes.values()) put(curve, null);
  }
  const bins = Math.min(now.bins + steps, SPANS['5m'].bins);
  now.first += now.bins + steps - bins;
  now.bins = bins;
}

const loading = {};
async function load(span, whole = false) {
  if (loading[span]) return;
  loading[span] = true;
  try {
    const old = whole ? null : kept[span];
    const from = old ? `&from=${old.first + old.bins - 1}` : '';
    const answer = await fetch(`/api/history?span=${span}${from}`, { cache: 'no-store' });
    if (answer.ok) absorb(await answer.json());
    emit('curves');
  } catch {
    // the feed says that the gateway is away
  } finally {
    loading[span] = false;
  }
}

// Sees to it that the span that is shown is there and fresh.
function refresh() {
  const span = spanNow();
  const { refresh: every } = SPANS[span];
  const old = kept[span];
  if (!old || (every && Date.now() - old.at > every * 1000)) load(span);
}

// The times of a span's bins, in seconds, and the curves of a pool.
function curvesOf(pool, span) {
  const now = kept[span];
  const curves = now && now.pools.get(pool);
  if (!curves) return null;
  const { step } = SPANS[span];
  const times = Array.from({ length: now.bins }, (_, place) => origin / 1000 + (now.first + place) * step);
  return { times, ...curves };
}

// The window that is shown, in seconds.
function windowOf(span) {
  if (view.since !== null) return [view.since / 1000, (view.until ?? gatewayNow()) / 1000];
  const { step, bins } = SPANS[span];
  const status = live.status;
  const end = status ? origin / 1000 + status.second : gatewayNow() / 1000;
  return [end - step * (bins - 1), end];
}

on.state.push((isWhole, before) => {
  if (isWhole && before && before.pid !== live.status.pid) {
    for (const span of Object.keys(kept)) delete kept[span];
  }
  if (isWhole && before) load('5m', true);
  append(live.status);
  refresh();
});
