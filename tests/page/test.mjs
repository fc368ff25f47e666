// The page in a real Chromium, on a real gateway with simulated nodes and load. Nothing waits for time to pass.
//   node test.mjs EVENKEEL

import assert from 'node:assert/strict';
import http from 'node:http';

import { axeSource, openPage, startBrowser } from './browser.mjs';
import { Fleet, until } from './fleet.mjs';

const BYTES_MAX = 150 * 1000;
const PAINT_MAX = 200; // ms

const POOLS = {
  small: { yaml: 'models: [sim]\nmax_in_flight: 12\nhealth: { slow_start: 0s }', nodes: [{ name: 'a' }, { name: 'b' }] },
  many: { yaml: 'models: [many]', nodes: [{ name: 'w', args: ['--model', 'many'], copies: 200 }] },
};

const browser = await startBrowser();
const fleet = await Fleet.start(process.argv[2], POOLS);
const figures = {};
let page;

// A request with any head.
const ask = (path, headers = {}) => new Promise((answered, failed) => {
  http.get({ port: fleet.ports.admin, host: '127.0.0.1', path, headers }, (answer) => {
    const chunks = [];
    if (answer.headers['content-type'] === 'text/event-stream') answer.destroy();
    answer.on('data', (chunk) => chunks.push(chunk));
    answer.on('close', () => answered({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) }));
  }).on('error', failed);
});

const text = (selector) => page.locator(selector).first().textContent();
const row = (node) => page.locator('tbody tr', { has: page.getByRole('button', { name: node, exact: true }) }).and(page.locator('.nodes tr'));
const tile = (title) => page.locator('.tile', { has: page.getByText(title, { exact: true }) }).locator('.value').textContent();
const number = (words) => Number(words.replaceAll(',', ''));

const steps = {
  async 'the page is one small answer, for browsers alone'() {
    const html = await ask('/', { accept: 'text/html' });
    figures['bytes of the page'] = html.body.length;
    figures['bytes of it, packed'] = (await ask('/', { accept: 'text/html', 'accept-encoding': 'gzip' })).body.length;
    assert.ok(html.body.length <= BYTES_MAX, `${html.body.length} bytes`);
    assert.match(html.headers['content-security-policy'], /^default-src 'none'; script-src 'sha256-[^;]*'; style-src 'sha256-/);
    assert.match((await ask('/', { accept: '*/*' })).body.toString(), /^evenkeel: .*\/api\/live/);
  },

  async 'another name or site gets nothing that is live'() {
    for (const path of ['/api/live', '/api/history', '/api/events', '/api/requests', '/api/nodes?format=csv']) {
      assert.equal((await ask(path, { host: 'evil.example' })).status, 403, path);
      assert.equal((await ask(path, { 'sec-fetch-site': 'cross-site' })).status, 403, path);
      assert.equal((await ask(path)).status, 200, path);
    }
    assert.equal((await ask('/', { host: 'evil.example', accept: 'text/html' })).status, 403);
    assert.equal((await ask('/', { 'sec-fetch-site': 'cross-site', accept: 'text/html' })).status, 200, 'a link may lead here');
  },

  async 'its first paint comes soon'() {
    const paints = [];
    for (let time = 0; time < 3; time += 1) {
      const fresh = await openPage(browser, fleet.admin);
      const paint = () => fresh.evaluate(() => performance.getEntriesByType('paint').find((entry) => entry.name === 'first-contentful-paint')?.startTime);
      paints.push(Math.round(await until('a paint', paint)));
      await fresh.context().close();
    }
    figures['first contentful paint, ms'] = paints.join(' ');
    assert.ok(Math.min(...paints) < PAINT_MAX, `${paints} ms`);
  },

  async 'it shows what /api/status says, under load'() {
    page = await openPage(browser, fleet.admin);
    const short = fleet.load(30, { tokens: [5, 20] });
    await until('some answers', () => short.done > 60);
    short.stop();
    await until('an idle gateway', async () => (await fleet.status()).requests === 0);
    fleet.long = fleet.load(30, { tokens: [100000, 100000] });
    fleet.many = fleet.load(20, { model: 'many', tokens: [100000, 100000] });
    await until('long streams', async () => (await fleet.status()).pools.every((pool, place) => pool.nodes.reduce((sum, node) => sum + node.in_flight, 0) === [24, 20][place]));
    const status = await fleet.status();
    const small = status.pools.find((pool) => pool.name === 'small');
    assert.equal(small.queue, 6);
    for (const node of small.nodes) {
      const cells = row(node.name).locator('td');
      await until(`node ${node.name}`, async () => (await cells.nth(1).locator('.num').textContent()) === `${node.in_flight} / ${node.max_in_flight}`);
      await until('its attempts', async () => number(await cells.nth(4).locator('span').first().textContent()) === node.attempts.ok);
      assert.match(await cells.nth(0).textContent(), new RegExp(node.state));
    }
    await until('the totals', async () => number(await tile('In flight')) === 44 && number(await tile('Waiting')) === 6);
    assert.equal(number(await tile('Connections')), (await fleet.status()).connections);
    assert.match(await text('#facts'), new RegExp(`^${status.version} · config generation 1 · up `));
    assert.match(await text('#link-text'), /^live$/);
  },

  async 'the curves move'() {
    const picture = () => page.locator('section[aria-label="Pool small"] canvas').nth(0).evaluate((canvas) => canvas.toDataURL());
    const before = await picture();
    await until('another picture', async () => (await picture()) !== before);
    assert.equal(await text('section[aria-label="Pool small"] .legend tbody td'), '12');
    const bins = (await (await fetch(`${fleet.admin}/api/history?span=5m`)).json()).bins;
    assert.ok(bins > 1, `${bins} bins`);
    for (const span of ['1 h', '24 h', '5 min']) {
      await page.getByRole('button', { name: span, exact: true }).click();
      await until(`curves of ${span}`, async () => (await text('section[aria-label="Pool small"] .legend tbody td:nth-child(3)')) !== '–');
    }
  },

  async 'Drain asks, and then drains'() {
    const state = async () => (await fleet.status()).pools[0].nodes[0].state;
    await page.getByRole('button', { name: 'Drain a', exact: true }).click();
    await until('the question', () => page.locator('dialog').isVisible());
    assert.match(await text('dialog'), /gets no new requests\. 12 requests in flight there go on/);
    assert.ok(await page.evaluate(() => document.querySelector('dialog').contains(document.activeElement)), 'the focus is in the dialog');
    await page.keyboard.press('Escape');
    await until('no question', () => page.locator('dialog').isHidden());
    assert.equal(await state(), 'up');
    await page.getByRole('button', { name: 'Drain a', exact: true }).press('Enter');
    await page.locator('dialog').getByRole('button', { name: 'Drain a' }).click();
    await until('a drained node', async () => (await state()) === 'draining');
    await until('its row', async () => /draining/.test(await row('a').textContent()));
    await until('its event', async () => /a.*drained by an operator/.test(await text('#events-list li')));
    await until('its mark', () => page.locator('section[aria-label="Pool small"] .mark button').first().isVisible());
    await page.locator('section[aria-label="Pool small"] .mark button').last().focus();
    assert.match(await text('section[aria-label="Pool small"] .tip'), /drained by an operator/);
    await page.getByRole('button', { name: 'Undrain a', exact: true }).click();
    await page.locator('dialog').getByRole('button', { name: 'Undrain a' }).click();
    await until('an undrained node', async () => (await state()) === 'up');
  },

  async 'causes are told in words'() {
    const told = async () => (await page.locator('#causes-list li p').allTextContents()).join('|');
    await fleet.order('small', 'a', 'eject');
    const causes = async () => (await fleet.status()).causes.map((cause) => cause.text).join('|') || 'Nothing stands out.';
    await until('a cause', async () => /\ba\b/.test(await causes()));
    // some count seconds
    const still = (text) => text.replace(/\d+/g, '#');
    await until('the same on the page', async () => still(await told()) === still(await causes()));
    await fleet.order('small', 'a', 'restore');
  },

  async 'open requests are listed, and one is cancelled'() {
    await page.locator('#requests').scrollIntoViewIfNeeded();
    const open = () => fleet.status().then((status) => status.requests);
    const shown = async () => number(await text('#requests .title .muted'));
    await until('the number of requests', async () => (await shown()) === (await open()));
    const before = await open();
    fleet.long.stopped = true;
    await page.locator('#requests tbody button').first().click();
    assert.match(await text('dialog'), /Cancel request/);
    await page.locator('dialog').getByRole('button', { name: 'Cancel the request' }).click();
    await until('one less', async () => (await open()) === before - 1);
    await until('one less on the page', async () => (await shown()) === before - 1);
  },

  async 'a fleet of 200 nodes is folded, filtered and sorted'() {
    const rows = page.locator('section[aria-label="Pool many"] .nodes tbody tr');
    await until('a folded table', async () => (await rows.count()) < 30);
    await page.keyboard.press('/');
    await page.keyboard.type('w-17');
    await until('the rows that match', async () => (await rows.count()) === 11);
    assert.match(page.url(), /q=w-17/);
    await page.keyboard.press('Escape');
    const head = page.locator('section[aria-label="Pool many"] thead').getByRole('button', { name: 'Node' });
    await head.click();
    await head.click();
    await until('the last first', async () => (await rows.first().textContent()).startsWith('w-200'));
    await head.click();
    await page.locator('section[aria-label="Pool many"] .fold').click();
    await until('all', async () => (await rows.count()) === 200);
    await page.locator('section[aria-label="Pool many"] .fold').click();
  },

  async 'a refused reload is shown in full'() {
    fleet.reload('  admim: off\n');
    await until('the refusal', async () => !(await fleet.status()).last_reload.ok);
    const { error } = (await fleet.status()).last_reload;
    await until('its text', async () => (await text('#reload-text')) === error);
    assert.match(error, /evenkeel\.yaml:\d+: /);
    fleet.reload();
    await until('no refusal', () => page.locator('#reload').isHidden());
    await until('the generation', async () => /config generation 2, reloaded/.test(await text('#facts')));
  },

  async 'it survives a restart of the gateway, and says so'() {
    page.mayFail = true;
    const { pid } = await fleet.status();
    await fleet.killGateway();
    await until('a word about it', async () => /does not answer/.test(await text('#away-text')));
    assert.equal(await text('#link-text'), 'away');
    await fleet.startGateway();
    await until('the new one', async () => (await text('#link-text')) === 'live' && (await page.locator('#away').isHidden()));
    page.mayFail = false;
    assert.equal(await text('#away-text'), '');
    const status = await fleet.status();
    assert.notEqual(status.pid, pid);
    await until('its generation', async () => /config generation 1 · /.test(await text('#facts')));
    assert.match(await text('#said'), /restarted/);
  },

  async 'a link leads to a moment'() {
    const since = new Date(Date.now() - 120000).toISOString();
    await page.goto(`${fleet.admin}/?since=${since}`);
    await until('the moment', () => page.locator('#moment').isVisible());
    await page.getByRole('button', { name: 'Back to now' }).click();
    await until('now', () => page.locator('#moment').isHidden());
    assert.equal(new URL(page.url()).search, '');
  },

  async 'keys do what the help says'() {
    await page.keyboard.press('?');
    assert.match(await text('dialog'), /filter nodes/);
    await page.keyboard.press('Escape');
    await page.keyboard.press('2');
    assert.match(page.url(), /span=1h/);
    await page.keyboard.press('1');
    await page.keyboard.press('t');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  },

  async 'axe finds nothing serious'() {
    const found = [];
    for (const [scheme, width] of [['light', 1440], ['dark', 1440], ['light', 390], ['dark', 390]]) {
      const fresh = await openPage(browser, fleet.admin, { scheme, width, height: 900 });
      await until('a table', () => fresh.locator('.nodes tbody tr').first().isVisible());
      await until('events', () => fresh.locator('#events-list li').first().isVisible());
      await fresh.evaluate(axeSource);
      const { violations } = await fresh.evaluate(() => window.axe.run());
      figures[`axe, ${scheme}, ${width} px`] = violations.map(({ id, impact, nodes }) => `${id} ${impact} ${nodes.length}`).join(', ') || 'nothing';
      for (const { id, impact, nodes } of violations) {
        if (['serious', 'critical'].includes(impact)) found.push(`${scheme} ${width}: ${id} ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + ' ' + (node.any[0]?.message || '')).join('\n    ')}`);
      }
      assert.ok(await fresh.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width} px: nothing sticks out`);
      assert.deepEqual(fresh.faults, []);
      await fresh.context().close();
    }
    assert.deepEqual(found, []);
  },

  async 'no error, and no other host'() {
    assert.deepEqual(page.faults, []);
  },
};

let failed = 0;
const only = process.argv[3];
const began = Date.now();
try {
  for (const [name, step] of Object.entries(steps)) {
    if (only && !name.includes(only) && !name.includes('/api/status')) continue;
    const since = Date.now();
    try {
      await step();
      console.log(`ok      ${name} (${Date.now() - since} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack}\n${(page?.faults || []).join('\n')}`);
      if (page?.mayFail) page.mayFail = false;
      await page?.keyboard.press('Escape').catch(() => {});
    }
  }
} finally {
  await browser.close();
  fleet.stop();
}
for (const [name, value] of Object.entries(figures)) console.log(`${name}: ${value}`);
console.log(failed ? `${failed} failed` : `the page: all passed in ${Math.round((Date.now() - began) / 1000)} s`);
process.exit(failed ? 1 : 0);
