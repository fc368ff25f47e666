'use strict';
// Words and numbers as people read them. Symbols stand beside colours, so that colour is never the only sign.

const STATES = {
  up: { symbol: '●', word: 'up', tone: 'good', rank: 4 },
  probing: { symbol: '◐', word: 'probing', tone: 'warn', rank: 2 },
  draining: { symbol: '▽', word: 'draining', tone: 'calm', rank: 3 },
  ejected: { symbol: '✕', word: 'ejected', tone: 'bad', rank: 1 },
};

const KINDS = {
  ejected: { symbol: '✕', word: 'ejected', tone: 'bad' },
  accepts: { symbol: '◌', word: 'last resort', tone: 'warn' },
  probing: { symbol: '◐', word: 'probing', tone: 'warn' },
  back: { symbol: '✓', word: 'back', tone: 'good' },
  joined: { symbol: '+', word: 'joined', tone: 'good' },
  registered: { symbol: '⋯', word: 'registered', tone: 'calm' },
  drained: { symbol: '▽', word: 'drained', tone: 'calm' },
  undrained: { symbol: '△', word: 'undrained', tone: 'good' },
  skipped: { symbol: '⊘', word: 'skipped', tone: 'warn' },
  reloaded: { symbol: '↻', word: 'reload', tone: 'calm' },
  reload_refused: { symbol: '!', word: 'reload refused', tone: 'bad' },
  here: { symbol: '·', word: 'page', tone: 'calm' },
};

const SEVERITIES = {
  bad: { symbol: '✕', word: 'Bad' },
  warn: { symbol: '!', word: 'Warning' },
  info: { symbol: 'i', word: 'Note' },
};

const OUTCOMES = {
  ok: 'ok', connect: 'no connection', stale: 'stale connection', reset: 'reset', timeout: 'timeout', http_5xx: '5xx',
  busy: 'busy', truncated: 'cut off', engine_error: 'engine error', aborted: 'aborted', stalled: 'stalled',
  client_gone: 'client left', gateway: 'gateway',
};
// counted against the node, as the gateway does
const FAILURES = ['connect', 'reset', 'timeout', 'http_5xx', 'truncated', 'engine_error', 'aborted', 'stalled'];

const NONE = '–';
const NUMBER = new Intl.NumberFormat('en');
const DECIMAL = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const known = (value) => value !== undefined && value !== null;

function count(value) {
  return known(value) ? NUMBER.format(value) : NONE;
}

// At most four characters and a unit, for numbers that are looked at and not added up.
function short(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size < 10) return DECIMAL.format(value);
  if (size < 10000) return NUMBER.format(Math.round(value));
  if (size < 999500) return DECIMAL.format(value / 1e3) + ' k';
  if (size < 999.5e6) return DECIMAL.format(value / 1e6) + ' M';
  return DECIMAL.format(value / 1e9) + ' G';
}

function percent(part) {
  if (!known(part) || !Number.isFinite(part)) return NONE;
  return (part > 0 && part < 0.1 ? DECIMAL.format(part * 100) : Math.round(part * 100)) + ' %';
}

// A measured time: 0.0123 is "12 ms".
function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 0.00095) return '<1 ms';
  if (value < 0.9995) return Math.round(value * 1000) + ' ms';
  if (value < 10) return value.toFixed(1) + ' s';
  return lasting(value);
}

// A time that passes: "4 min 10 s", in at most two units.
function lasting(value) {
  if (!known(value)) return NONE;
  let left = Math.max(0, Math.round(value));
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = Math.max(0, units.findIndex(([, size]) => left >= size));
  if (left < 1) return '0 s';
  const parts = [];
  for (const [unit, size] of units.slice(first, first + 2)) {
    const amount = Math.floor(left / size);
    left -= amount * size;
    if (amount) parts.push(`${amount} ${unit}`);
  }
  return parts.join(' ');
}

const two = (value) => String(value).padStart(2, '0');

// Local time of day; with the date where it is another day than today.
function clock(ms, withSeconds = true) {
  const at = new Date(ms);
  const time = two(at.getHours()) + ':' + two(at.getMinutes()) + (withSeconds ? ':' + two(at.getSeconds()) : '');
  const today = new Date();
  const same = at.toDateString() === today.toDateString();
  return same ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

const iso = (ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;

// Names in the order of people: a2 before a10.
const byName = new Intl.Collator('en', { numeric: true }).compare;
