// The curves of a pool, drawn by uPlot: requests in flight of each node, and the requests that wait.

const STRONG_MAX = 12; // lines with a colour of their own
const STRONG_LEAST = 4;
const FAINT_MAX = 24; // more others than that are a band with its median
const DASHES = [[], [7, 4], [2, 3]];
const SHADES = 12;

// Which nodes are drawn strongly: those chosen, those in trouble, then those furthest from the middle.
function strongNodes(pool, curves, chosen) {
  const middle = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };
  const means = new Map();
  for (const [name, curve] of curves.nodes) means.set(name, middle(curve.mean.slice(-60)));
  const sorted = [...means.values()].filter((mean) => mean !== null).sort((a, b) => a - b);
  const median = sorted.length ? sorted[sorted.length >> 1] : 0;
  const states = new Map(nodesOf(pool).map((node) => [node.name, node.state]));
  const rank = (name) => {
    if (view.pinned.has(`${pool.name}/${name}`)) return 1e9;
    if (chosen && chosen.has(name)) return 1e8;
    const mean = means.get(name);
    const trouble = states.has(name) && states.get(name) !== 'up' ? 1e6 : 0;
    return trouble + (mean === null ? -1 : Math.abs(mean - median));
  };
  const names = [...curves.nodes.keys()];
  if (names.length <= STRONG_MAX) return names;
  const ranks = new Map(names.map((name) => [name, rank(name)]));
  names.sort((a, b) => ranks.get(b) - ranks.get(a) || byName(a, b));
  // where all are alike, a few will do
  const far = names.filter((name) => ranks.get(name) > Math.max(1.5, median * 0.2)).length;
  return names.slice(0, Math.min(STRONG_MAX, Math.max(far, STRONG_LEAST))).sort(byName);
}

// Lowest, middle and highest of many curves at each time.
function band(curves, length) {
  const low = [], mid = [], high = [];
  const room = new Float64Array(curves.length);
  for (let place = 0; place < length; place += 1) {
    let count = 0;
    for (const curve of curves) if (known(curve[place])) room[count++] = curve[place];
    const values = room.subarray(0, count).sort();
    low.push(count ? values[0] : null);
    mid.push(count ? values[count >> 1] : null);
    high.push(count ? values[count - 1] : null);
  }
  return [low, mid, high];
}

const FONT = '11px ui-sans-serif, system-ui, sans-serif';
const axis = (more) => ({
  stroke: () => colour('muted'), font: FONT, grid: { stroke: () => colour('grid'), width: 1 }, ticks: { show: false }, ...more,
});
const timeLabels = (u, splits) => {
  const long = splits.every((at) => at % 60 === 0);
  return splits.map((at) => {
    const time = new Date(at * 1000);
    return two(time.getHours()) + ':' + two(time.getMinutes()) + (long ? '' : ':' + two(time.getSeconds()));
  });
};

class Plot {
  constructor(host, { height, onCursor, onDraw, label }) {
    Object.assign(this, { host, height, onCursor, onDraw, label });
    this.key = '';
    new ResizeObserver(() => this.resize()).observe(host);
  }

  resize() {
    const width = this.host.clientWidth;
    if (this.u && width && width !== this.u.width) this.u.setSize({ width, height: this.height });
  }

  // Lines as { name, values, stroke, width, dash, fill }, and bands between two of them.
  draw(times, lines, window, { cap = null, bands = [] } = {}) {
    this.window = window;
    this.cap = cap;
    const key = JSON.stringify([lines.map(({ name, stroke, width, dash, fill }) => [name, stroke, width, dash, fill]), bands]);
    const data = [times, ...lines.map((line) => line.values)];
    if (!this.u || key !== this.key) {
      if (this.u) this.u.destroy();
      this.key = key;
      this.make(lines, bands, data);
    } else {
      this.u.setData(data, false);
    }
    this.u.setScale('x', { min: window[0], max: window[1] });
  }

  make(lines, bands, data) {
    const options = {
      width: Math.max(this.host.clientWidth, 200),
      height: this.height,
      padding: [14, 22, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.18 },
      cursor: {
        sync: { key: 'all', setSeries: false }, points: { show: false }, drag: { x: true, y: false, setScale: false }, y: false,
      },
      scales: {
        x: { time: true, auto: false, range: () => this.window },
        y: { range: (u, min, max) => [0, Math.max(4, this.cap && max > this.cap * 0.45 ? Math.max(max, this.cap) * 1.08 : (max || 0) * 1.12)] },
      },
      series: [{}, ...lines.map((line) => ({
        label: line.name, stroke: () => colour(line.stroke), width: line.width, dash: line.dash, points: { show: false },
        fill: line.fill ? () => colour(line.fill) : undefined, spanGaps: false,
      }))],
      bands: bands.map((series) => ({ series, fill: () => colour('band') })),
      axes: [
        axis({ size: 24, space: this.host.clientWidth < 500 ? 64 : 90, values: timeLabels, gap: 6 }),
        axis({ size: 46, space: this.height > 120 ? 34 : 24, gap: 6, incrs: [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000, 20000] }),
      ],
      hooks: {
        draw: [(u) => this.drawCap(u), (u) => this.onDraw && this.onDraw(u)],
        setCursor: [(u) => this.onCursor && this.onCursor(this.placeAt(u))],
        setSelect: [(u) => {
          if (u.select.width < 8) return;
          const [from, to] = [u.select.left, u.select.left + u.select.width].map((left) => u.posToVal(left, 'x') * 1000);
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          lookAt(Math.floor(from), Math.ceil(to));
        }],
      },
    };
    this.u = new uPlot(options, data, this.host);
    this.u.root.setAttribute('role', 'img');
    this.u.root.setAttribute('aria-label', this.label);
  }

  // The place in the data under the cursor; null: none, or the nearest is far.
  placeAt(u) {
    const { idx, left } = u.cursor;
    if (!known(idx) || left < 0) return null;
    const times = u.data[0];
    const step = times.length > 1 ? times[1] - times[0] : 1;
    return Math.abs(u.posToVal(left, 'x') - times[idx]) <= Math.max(step, 4 * (this.window[1] - this.window[0]) / u.over.clientWidth) ? idx : null;
  }

  drawCap(u) {
    if (!this.cap || this.cap > u.scales.y.max) return;
    const y = Math.round(u.valToPos(this.cap, 'y', true));
    const { left, width } = u.bbox;
    u.ctx.save();
    u.ctx.strokeStyle = colour('muted');
    u.ctx.fillStyle = colour('muted');
    u.ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.beginPath();
    u.ctx.moveTo(left, y);
    u.ctx.lineTo(left + width, y);
    u.ctx.stroke();
    u.ctx.font = `${10.5 * devicePixelRatio}px ui-sans-serif, system-ui, sans-serif`;
    u.ctx.textAlign = 'left';
    const text = `cap ${this.cap}`;
    // at the old end of the curves, not over the news
    const [from, wide] = [left + 8 * devicePixelRatio, u.ctx.measureText(text).width];
    u.ctx.fillStyle = colour('panel');
    u.ctx.fillRect(from - 4 * devicePixelRatio, y - 8 * devicePixelRatio, wide + 8 * devicePixelRatio, 16 * devicePixelRatio);
    u.ctx.fillStyle = colour('muted');
    u.ctx.fillText(text, from, y + 4 * devicePixelRatio);
    u.ctx.restore();
  }

  focus(name) {
    if (!this.u) return;
    const place = this.u.series.findIndex((series, index) => index > 0 && series.label === name);
    this.u.setSeries(place > 0 ? place : null, { focus: true }, false);
  }

  repaint() {
    if (this.u) this.u.redraw(false);
  }
}

on.theme.push(() => MADE.clear());
