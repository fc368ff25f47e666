// A pool: its curves with their legend, and the table of its nodes below.

const boxes = new Map();

class PoolBox {
  constructor(name) {
    this.name = name;
    this.shades = new Map();
    this.strong = [];
    this.chosenAt = 0;
    this.title = h('h2', {}, name);
    this.facts = h('span', { class: 'facts muted' });
    this.stage = h('div', { class: 'stage' });
    this.waitStage = h('div', { class: 'stage small' });
    this.calmWait = h('p', { class: 'muted calm-wait' });
    this.legendBody = h('tbody');
    this.at = h('th', { scope: 'col', class: 'n' }, 'now');
    this.legend = h('table', { class: 'legend' },
      h('caption', { class: 'quiet' }, `Requests in flight in pool ${name}: now, mean and most in the window shown`),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'node'), this.at, h('th', { scope: 'col', class: 'n' }, 'mean'), h('th', { scope: 'col', class: 'n' }, 'max'))), this.legendBody);
    this.words = h('p', { class: 'quiet' });
    this.flight = new Plot(this.stage, {
      height: 230, label: `Curves of requests in flight, pool ${name}; the table beside them has the numbers`,
      onCursor: (place) => this.cursor(place), onDraw: (u) => this.marks.draw(u, name, this.window),
    });
    this.waiting = new Plot(this.waitStage, { height: 96, label: `Curve of requests that wait, pool ${name}`, onCursor: (place) => this.waitCursor(place) });
    this.waitNow = h('b');
    this.waitTitle = h('h3', {}, 'Waiting ', this.waitNow);
    const figure = h('div', { class: 'figure' }, h('h3', {}, 'In flight'), this.stage, this.waitTitle, this.waitStage, this.calmWait, this.words);
    this.marks = new MarkLayer(this.stage);
    this.table = new NodeTable(this);
    this.curvesPanel = h('div', { class: 'curves' }, figure, h('div', { class: 'scroll legend-box', tabindex: '0', role: 'region', 'aria-label': `Legend, pool ${name}` }, this.legend));
    this.element = h('section', { class: 'panel pool', 'aria-label': `Pool ${name}` },
      h('div', { class: 'title' }, this.title, this.facts), this.curvesPanel, this.table.element);
  }

  shade(name) {
    if (!this.shades.has(name)) {
      for (const old of this.shades.keys()) if (!this.strong.includes(old)) this.shades.delete(old);
      const used = new Set(this.shades.values());
      let free = 0;
      while (used.has(free)) free += 1;
      this.shades.set(name, free);
    }
    return this.shades.get(name);
  }

  update(pool) {
    const nodes = nodesOf(pool);
    const up = nodes.filter((node) => node.state === 'up').length;
    const flight = nodes.reduce((sum, node) => sum + node.in_flight, 0);
    say(this.facts, `${up === nodes.length ? plural(up, 'node') + ' up' : `${up} of ${plural(nodes.length, 'node')} up`} · ${count(flight)} in flight · ${count(pool.queue)} waiting${waitersByClass(pool)}${sourcesOf(pool)}`);
    this.pool = pool;
    this.drawCurves();
    this.table.update(pool, nodes);
  }

  drawCurves() {
    const span = spanNow();
    const curves = curvesOf(this.name, span);
    if (!curves || !this.pool) return;
    this.window = windowOf(span);
    const filtered = view.filter ? new Set(nodesOf(this.pool).filter(matches).map((node) => node.name)) : null;
    const key = `${view.filter}|${[...view.pinned]}|${span}|${view.since}|${curves.nodes.size}`;
    if (key !== this.chosenKey || Date.now() - this.chosenAt > 10000) {
      this.strong = strongNodes(this.pool, curves, filtered);
      this.chosenKey = key;
      this.chosenAt = Date.now();
    }
    const strong = this.strong.filter((name) => curves.nodes.has(name));
    const others = [...curves.nodes].filter(([name]) => !strong.includes(name));
    const lines = [];
    let bands = [];
    if (others.length > FAINT_MAX) {
      const [low, mid, high] = this.band = band(others.map(([, curve]) => curve.mean), curves.times.length);
      lines.push({ name: ' high', values: high, stroke: 'band', width: 1 }, { name: ' low', values: low, stroke: 'band', width: 1 }, { name: ' median', values: mid, stroke: 'faint-strong', width: 1.25 });
      bands = [[1, 2]];
    } else {
      for (const [name, curve] of others) lines.push({ name, values: curve.mean, stroke: 'faint', width: 1 });
    }
    // lines of few nodes that lie on each other show as one within the other
    for (const [place, name] of strong.entries()) {
      const shade = this.shade(name);
      lines.push({ name, values: curves.nodes.get(name).mean, stroke: `c${shade % SHADES}`, width: 1.75 + (curves.nodes.size <= 3 ? curves.nodes.size - 1 - place : 0), dash: DASHES[Math.floor(shade / 6) % DASHES.length] });
    }
    const caps = new Set(nodesOf(this.pool).map((node) => node.max_in_flight ?? null));
    const cap = caps.size === 1 ? [...caps][0] : null;
    this.curves = curves;
    this.flight.draw(curves.times, lines, this.window, { cap, bands });
    const waits = curves.waiting.mean.some((value) => value > 0);
    this.waitStage.hidden = !waits;
    this.waitTitle.hidden = !waits;
    this.calmWait.hidden = waits;
    say(this.calmWait, `No request waited in ${view.since === null ? SPANS[span].words : 'this window'}.`);
    if (waits) this.waiting.draw(curves.times, [{ name: 'waiting', values: curves.waiting.mean, stroke: 'warn', width: 1.5, fill: 'warn-soft' }], this.window);
    say(this.waitNow, count(this.pool.queue));
    this.drawLegend(strong, others);
  }

  drawLegend(strong, others) {
    const [from, to] = this.window;
    const { times, nodes } = this.curves;
    const inside = (values) => values.filter((value, place) => value !== null && times[place] >= from - 1 && times[place] <= to);
    const numbers = (curve) => {
      const values = inside(curve.mean);
      const most = curve.max ? inside(curve.max) : values;
      const mean = values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
      return { mean, max: most.length ? most.reduce((a, b) => Math.max(a, b)) : null };
    };
    const rows = strong.map((name) => ({ name, curve: nodes.get(name), ...numbers(nodes.get(name)) }));
    if (others.length > FAINT_MAX) rows.push({ name: `${others.length} others: median`, rest: true, curve: { mean: this.band[1] }, mean: null, max: null });
    else for (const [name, curve] of others) rows.push({ name, curve, faint: true, ...numbers(curve) });
    this.rows = rows;
    keep(this.legendBody, rows, (row) => row.name, (row) => this.legendRow(row), (element, row) => this.fillLegend(element, row));
    this.cursor(this.place ?? null);
    const said = rows.filter((row) => !row.rest).map((row) => `${row.name} ${short(row.mean)} on average, at most ${short(row.max)}`);
    if (Date.now() - (this.saidAt || 0) > 10000) {
      this.saidAt = Date.now();
      say(this.words, `In flight from ${clock(from * 1000)} to ${clock(to * 1000)}: ${said.join('; ')}.`);
    }
  }

  legendRow(row) {
    const focus = (name) => () => this.flight.focus(name);
    const swatch = h('canvas', { width: 44, height: 12, 'aria-hidden': 'true' });
    const pin = row.rest ? h('span', {}, row.name)
      : h('button', { type: 'button', class: 'plain', title: 'Keep this line strong', onclick: () => togglePin(this.name, row.name), onfocus: focus(row.name), onblur: focus(null) }, row.name);
    return h('tr', { onmouseenter: focus(row.name), onmouseleave: focus(null) },
      h('th', { scope: 'row' }, swatch, pin), h('td', { class: 'n' }), h('td', { class: 'n' }), h('td', { class: 'n' }));
  }

  fillLegend(element, row) {
    const [head, , mean, max] = element.children;
    const shade = this.shades.get(row.name);
    const isStrong = !row.rest && !row.faint;
    const stroke = isStrong ? `c${shade % SHADES}` : row.rest ? 'faint-strong' : 'faint';
    const key = `${colour(stroke)}${shade}`;
    const canvas = head.firstChild;
    if (canvas.key !== key) {
      canvas.key = key;
      const ctx = canvas.getContext('2d');
      ctx.clearRect(0, 0, 44, 12);
      ctx.strokeStyle = colour(stroke);
      ctx.lineWidth = isStrong ? 4 : 2;
      ctx.setLineDash(isStrong ? DASHES[Math.floor(shade / 6) % DASHES.length].map((dash) => dash * 2) : []);
      ctx.beginPath();
      ctx.moveTo(0, 6);
      ctx.lineTo(44, 6);
      ctx.stroke();
    }
    if (!row.rest) mark(head.lastChild, 'aria-pressed', view.pinned.has(`${this.name}/${row.name}`));
    else say(head.lastChild, row.name);
    say(mean, row.rest ? '' : short(row.mean));
    say(max, row.rest ? '' : short(row.max));
  }

  // The values at the cursor, or those of now.
  cursor(place) {
    this.place = place;
    if (!this.rows) return;
    const { times } = this.curves;
    const at = known(place) && place < times.length ? place : null;
    say(this.at, at === null ? (view.since === null ? 'now' : 'end') : clock(times[at] * 1000, times[1] - times[0] < 60));
    const last = times.findLastIndex((time) => time <= this.window[1]);
    for (const [index, row] of this.rows.entries()) {
      const element = this.legendBody.children[index];
      if (element) say(element.children[1], short(row.curve.mean[at ?? last]));
    }
  }

  waitCursor(place) {
    if (!this.curves) return;
    const values = this.curves.waiting.mean;
    say(this.waitNow, short(known(place) ? values[place] : this.pool.queue));
  }
}

function waitersByClass(pool) {
  const classes = Object.entries(pool.queue_by_class || {}).filter(([, waiting]) => waiting > 0);
  return classes.length > 1 ? ` (${classes.map(([name, waiting]) => `${count(waiting)} ${name}`).join(', ')})` : '';
}

// Where nodes come from besides the config, and what is wrong with it.
function sourcesOf(pool) {
  const words = (pool.sources || []).map((one) => `${one.source}: ${one.error ? `fails, ${plural(one.nodes, 'node')} kept` : one.answered ? plural(one.nodes, 'node') : 'not asked yet'}`);
  return words.map((word) => ` · ${word}`).join('');
}

function togglePin(pool, node) {
  const key = `${pool}/${node}`;
  if (!view.pinned.delete(key)) view.pinned.add(key);
  emit('view');
}

function drawPools() {
  if (!live.status) return;
  keep($('pools'), pools(), (pool) => pool.name, (pool) => {
    const box = new PoolBox(pool.name);
    boxes.set(pool.name, box);
    return box.element;
  }, (element, pool) => boxes.get(pool.name).update(pool));
  for (const name of boxes.keys()) if (!live.status.pools[name]) boxes.delete(name);
}

on.state.push(drawPools);
on.view.push(drawPools);
on.curves.push(drawPools);
on.theme.push(() => { for (const box of boxes.values()) { box.flight.key = box.waiting.key = ''; } drawPools(); });
