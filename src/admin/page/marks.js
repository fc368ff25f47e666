// Marks on the curves: what happened, as a line with a symbol that can be pointed at or reached by keyboard.

// The marks of a pool within a window, those of the gateway among them.
function marksOf(pool, [from, to]) {
  const marks = (live.status && live.status.marks) || [];
  const within = (mark) => mark.ms >= from * 1000 && mark.ms <= to * 1000 + 999;
  for (const mark of marks) mark.ms ??= Date.parse(mark.time);
  return marks.filter((mark) => (mark.pool === pool || !mark.pool) && within(mark));
}

const TONES = ['bad', 'warn', 'good', 'calm'];

// Marks whose symbols would lie on each other are one, which says all of them.
function clusters(marks, positionOf) {
  const groups = [];
  for (const mark of marks) {
    const left = positionOf(mark);
    const last = groups[groups.length - 1];
    if (last && left - last.left < 17) last.marks.push(mark);
    else groups.push({ left, marks: [mark] });
  }
  return groups;
}

const markText = (mark) => `${clock(mark.ms)}  ${mark.node ? mark.node + ': ' : ''}${mark.text}`;

class MarkLayer {
  constructor(host) {
    this.layer = h('div', { class: 'marks' });
    this.tip = h('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
    host.append(this.layer, this.tip);
  }

  draw(u, pool, window) {
    const { left, width, top, height } = u.over.getBoundingClientRect();
    const base = this.layer.parentElement.getBoundingClientRect();
    this.layer.style.left = `${left - base.left}px`;
    this.layer.style.width = `${width}px`;
    this.layer.style.top = `${top - base.top - 14}px`;
    this.layer.style.height = `${height + 14}px`;
    const positionOf = (mark) => u.valToPos(mark.ms / 1000, 'x');
    const groups = clusters(marksOf(pool, window), positionOf);
    const keyOf = (group) => group.marks[0].number;
    keep(this.layer, groups, keyOf, () => this.make(), (element, group) => this.place(element, group));
    // one stop for Tab; the arrows lead to the others
    for (const element of this.layer.children) element.firstChild.tabIndex = element === this.layer.lastChild ? 0 : -1;
  }

  make() {
    const show = (event) => this.show(event.currentTarget);
    const hide = () => { this.tip.hidden = true; };
    const button = h('button', { type: 'button', onmouseenter: show, onfocus: show, onmouseleave: hide, onblur: hide, onclick: show });
    button.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') hide();
      const step = { ArrowLeft: 'previousSibling', ArrowRight: 'nextSibling' }[event.key];
      const next = step && button.parentElement[step];
      if (next) next.firstChild.focus();
    });
    return h('div', { class: 'mark' }, button);
  }

  place(element, { left, marks }) {
    const kinds = marks.map((mark) => KINDS[mark.kind] || KINDS.here);
    const worst = kinds.reduce((a, b) => (TONES.indexOf(a.tone) <= TONES.indexOf(b.tone) ? a : b));
    element.style.transform = `translateX(${left.toFixed(1)}px)`;
    mark(element, 'class', `mark ${worst.tone}`);
    const button = element.firstChild;
    button.marks = marks;
    say(button, marks.length > 1 ? `${worst.symbol}${marks.length > 9 ? '…' : marks.length}` : worst.symbol);
    mark(button, 'aria-label', marks.length > 1 ? `${marks.length} events from ${clock(marks[0].ms)} on: ${marks.slice(0, 5).map(markText).join('; ')}` : markText(marks[0]));
  }

  show(button) {
    const shown = button.marks.slice(0, 8);
    this.tip.replaceChildren(...shown.map((mark) => {
      const kind = KINDS[mark.kind] || KINDS.here;
      return h('p', {}, h('time', {}, clock(mark.ms)), ' ', h('i', { class: `sym ${kind.tone}` }, kind.symbol), ' ',
        mark.node && h('b', {}, mark.node), mark.node && ' ', mark.text);
    }));
    if (button.marks.length > shown.length) this.tip.append(h('p', { class: 'muted' }, `and ${button.marks.length - shown.length} more`));
    this.tip.hidden = false;
    const host = this.layer.parentElement.getBoundingClientRect();
    const at = button.getBoundingClientRect();
    const left = Math.min(Math.max(0, at.left - host.left - 20), Math.max(0, host.width - this.tip.offsetWidth));
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${at.bottom - host.top + 4}px`;
  }
}
