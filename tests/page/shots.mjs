// Pictures of the page, to be looked at: three widths, both lights, 2 and 200 nodes, calm and in trouble.
//   node shots.mjs EVENKEEL FOLDER

import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { openPage, startBrowser } from './browser.mjs';
import { Fleet, until } from './fleet.mjs';

const [binary, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const HEALTH = 'health: { max_fails: 3, fail_timeout: 10s, slow_start: 10s }\nmax_in_flight: 24\n';
const FLEETS = {
  '2-calm': { pools: { vllm: { yaml: HEALTH, nodes: [{ name: 'a' }, { name: 'b' }] } }, load: [36] },
  '2-trouble': {
    pools: { vllm: { yaml: HEALTH, nodes: [{ name: 'a' }, { name: 'b', args: ['--crash-every', '7s', '--startup', '3s'] }] } },
    load: [64], trouble: true,
  },
  '200-calm': { pools: { vllm: { yaml: `${HEALTH}models: [sim]`, nodes: [{ name: 'gpu', copies: 198 }] }, embed: { yaml: 'models: [embed]', nodes: [{ name: 'e1', args: ['--model', 'embed'] }, { name: 'e2', args: ['--model', 'embed'] }] } }, load: [600, 12] },
  '200-trouble': {
    pools: {
      vllm: { yaml: `${HEALTH}models: [sim]`, nodes: [{ name: 'gpu', copies: 190 }, { name: 'slow', args: ['--speed', '0.2'], copies: 4 }, { name: 'lost', dead: true }, { name: 'old', more: ', drain: true' }, { name: 'shaky', args: ['--crash-every', '9s', '--startup', '4s'] }] },
      embed: { yaml: 'models: [embed]', nodes: [{ name: 'e1', args: ['--model', 'embed'] }, { name: 'e2', args: ['--model', 'embed'] }] },
    },
    load: [900, 12], trouble: true,
  },
};

const browser = await startBrowser();
for (const [name, { pools, load, trouble }] of Object.entries(FLEETS)) {
  const fleet = await Fleet.start(binary, pools);
  try {
    const loads = load.map((concurrency, place) => fleet.load(concurrency, { model: ['sim', 'embed'][place], tokens: [40, 400] }));
    await until('a curve', async () => (await (await fetch(`${fleet.admin}/api/history`)).json()).bins > 45, 90000);
    if (trouble) {
      fleet.reload('  admim: off\n');
      await fleet.order('vllm', Object.keys(pools.vllm.nodes[0]).includes('copies') ? 'gpu-7' : 'a', 'drain');
      await until('events', async () => (await (await fetch(`${fleet.admin}/api/events`)).json()).length > 5);
      if (name.startsWith('2-')) await fleet.order('vllm', 'a', 'undrain');
    }
    for (const scheme of ['light', 'dark']) {
      for (const width of [1440, 900, 390]) {
        const page = await openPage(browser, fleet.admin, { scheme, width, height: width === 390 ? 844 : 900 });
        await until('rates', async () => !/–/.test(await page.locator('.tile .value').nth(2).textContent()));
        await page.screenshot({ path: path.join(folder, `${name}-${width}-${scheme}.png`), fullPage: true });
        await page.context().close();
      }
    }
    loads.forEach((one) => one.stop());
  } finally {
    fleet.stop();
  }
  console.log(`${folder}/${name}-*.png`);
}
await browser.close();
