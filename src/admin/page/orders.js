// Orders about nodes and requests. Each asks first, and says what it will do.

const ORDERS = {
  drain: {
    title: 'Drain', danger: false,
    will: (node) => `It gets no new requests. ${plural(node.in_flight, 'request')} in flight there ${node.in_flight === 1 ? 'goes' : 'go'} on to the end. It stays so over reloads, until it is undrained.`,
  },
  undrain: { title: 'Undrain', danger: false, will: () => 'It gets requests again; its share rises by slow start.' },
  eject: {
    title: 'Eject', danger: true, time: true,
    will: (node) => `It gets no requests, not even as a last resort. ${plural(node.in_flight, 'request')} in flight there ${node.in_flight === 1 ? 'goes' : 'go'} on.`,
  },
  restore: { title: 'Restore', danger: false, will: () => 'Its ejection ends at once, whatever the reason for it was; its share rises by slow start.' },
};

function ordersFor(node) {
  const drained = node.drained_by.includes('operator') ? 'undrain' : node.state === 'draining' ? null : 'drain';
  const ejected = known(node.ejected_for_seconds) || node.state === 'probing' ? 'restore' : 'eject';
  return [drained, ejected].filter(Boolean);
}

function fillOrders(cell, pool, node) {
  cell.node = node;
  const orders = ordersFor(node);
  keep(cell, orders, (order) => order, (order) => h('button', {
    type: 'button', class: `small ${ORDERS[order].danger ? 'danger' : ''}`, 'data-order': order,
    'aria-label': `${ORDERS[order].title} ${node.name}`, onclick: () => askOrder(order, pool, cell.node),
  }, ORDERS[order].title));
}

function askOrder(order, pool, node) {
  const { title, will, time, danger } = ORDERS[order];
  const choice = time && h('select', { id: 'for' }, ...[['', 'until it is restored'], ['1m', 'for 1 minute'], ['10m', 'for 10 minutes'], ['1h', 'for 1 hour']].map(([value, text]) => h('option', { value }, text)));
  ask({
    title: `${title} ${node.name}?`,
    text: [h('p', {}, `Pool ${pool}. `, will(node)), lastOne(pool, node, order), choice && h('p', {}, h('label', { for: 'for' }, 'How long '), choice)],
    action: `${title} ${node.name}`,
    danger,
    run: async () => {
      const query = choice && choice.value ? `?for=${choice.value}` : '';
      const path = [pool, node.name, order].map(encodeURIComponent).join('/');
      const answer = await post(`/api/nodes/${path}${query}`);
      const word = STATES[answer.state]?.word || answer.state;
      announce(`${node.name}: ${word}${answer.warning ? `. ${answer.warning}` : ''}`, Boolean(answer.warning));
    },
  });
}

function lastOne(pool, node, order) {
  if (order !== 'drain' && order !== 'eject') return null;
  const others = nodesOf(live.status.pools[pool] || {}).filter((other) => other.name !== node.name && other.state === 'up');
  return others.length ? null : h('p', { class: 'bad' }, 'No other node of this pool is up: its requests will wait.');
}

async function post(path) {
  let answer;
  try {
    answer = await fetch(path, { method: 'POST' });
  } catch {
    throw new Error('The gateway does not answer.');
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `The gateway answers ${answer.status}.`);
  return body;
}

// A question with one action. It stays until it is answered; an error is shown in it.
function ask({ title, text, action, danger, run }) {
  const dialog = $('dialog');
  if (dialog.open) return;
  const error = h('p', { class: 'bad', role: 'alert' });
  const go = h('button', { type: 'button', class: danger ? 'primary danger' : 'primary' }, action);
  const stop = h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Cancel');
  go.addEventListener('click', async () => {
    go.disabled = true;
    error.textContent = '';
    try {
      await run();
      dialog.close();
    } catch (problem) {
      error.textContent = problem.message;
      go.disabled = false;
    }
  });
  dialog.replaceChildren(h('h2', { id: 'dialog-title' }, title), ...text.filter(Boolean), error, h('div', { class: 'buttons' }, stop, go));
  dialog.showModal();
}

// Something to read.
function tell(title, ...children) {
  const dialog = $('dialog');
  if (dialog.open) return;
  dialog.replaceChildren(h('h2', { id: 'dialog-title' }, title), ...children,
    h('div', { class: 'buttons' }, h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')));
  dialog.showModal();
}
