// The stories of trouble, each played by `evenkeel demo --story NAME` and read from the page alone: what a screen reader is given
// names the sick node and the reason.
//   node stories.mjs EVENKEEL                    all of them, as a test
//   node stories.mjs EVENKEEL pictures FOLDER    the README's pictures, of the first three

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { openPage, startBrowser } from './browser.mjs';
import { until } from './fleet.mjs';

const LIMIT = 90000; // ms; only a failing run waits so long

// What the page must say, by story; `then`: what it says later on.
const STORIES = {
  crash: { says: /\bb (takes no connection|breaks)[^\n]*its server (is down|has crashed)/, then: /\bb is back: its share rises/ },
  slow: { says: /\bc is slow: a request there gets \d+ tokens a second, on other nodes \d+/ },
  hang: { says: /\bb has been silent for \d+ s with \d+ requests, its health check passes: it hangs/ },
  full: { says: /\d+ requests? waits?, the longest for [\d.]+ s: all 3 nodes that are up are at max_in_flight/ },
  model: { says: /\bb answers 404 for .?"sim.?"[^\n]*it does not serve that model/ },
  reload: { says: /the last reload was refused, generation 1 stays in use: [^\n]*evenkeel\.yaml:\d+: pools\.demo\.no+ds/ },
  thrash: { says: /\bc preempts: \d+ of its \d+ streams have paused[^\n]*KV cache/ },
  prefix: { says: /\d+ % of the requests went to another node than their key's[^\n]*\b[abc] is the fullest/ },
};
const PICTURES = ['crash', 'slow', 'hang'];

// Plays a story; the address of its page, and its end.
async function play(binary, name) {
  const child = spawn(binary, ['demo', '--story', name, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0']);
  let said = '';
  child.stdout.on('data', (data) => { said += data; });
  child.stderr.on('data', (data) => { said += data; });
  let ended;
  child.on('exit', (code) => { ended = code; });
  const url = await until(`the page of ${name}`, () => {
    assert.equal(ended, undefined, `${name} has ended: ${said}`);
    return said.match(/see it at (http:\S+)/)?.[1];
  }, LIMIT);
  return { url, said: () => said, stop: () => child.kill('SIGTERM') };
}

// The part of the page's accessibility tree that names causes.
const causes = (page) => page.getByRole('region', { name: /stands out|causes/i }).ariaSnapshot();

async function tell(browser, binary, name) {
  const { says, then } = STORIES[name];
  const story = await play(binary, name);
  try {
    const page = await openPage(browser, story.url);
    for (const words of [says, then].filter(Boolean)) {
      await until(`${name}: ${words}`, async () => words.test((await causes(page)).replaceAll("''", "'")), LIMIT);
    }
    assert.deepEqual(page.faults, [], name);
    await page.context().close();
  } catch (error) {
    throw new Error(`${name}: ${error.message}\nthe story said:\n${story.said()}`);
  } finally {
    story.stop();
  }
  console.log(`  ${name}: read from the page`);
}

async function picture(browser, binary, name, folder) {
  const story = await play(binary, name);
  try {
    const page = await openPage(browser, story.url, { width: 1200, height: 900, scheme: 'light' });
    const { says, then } = STORIES[name];
    for (const words of [says, then].filter(Boolean)) {
      await until(`${name}: ${words}`, async () => words.test(await causes(page)), LIMIT);
    }
    const bins = async () => (await (await fetch(new URL('/api/history', story.url))).json()).bins;
    const told = await bins();
    await until('the trouble shows in the curves', async () => (await bins()) > told + 14, LIMIT);
    await page.screenshot({ path: path.join(folder, `${name}.png`) });
  } finally {
    story.stop();
  }
}

const [binary, what, folder] = process.argv.slice(2);
const browser = await startBrowser();
try {
  if (what === 'pictures') {
    mkdirSync(folder, { recursive: true });
    for (const name of PICTURES) await picture(browser, binary, name, folder);
  } else {
    const names = what ? [what] : Object.keys(STORIES);
    await Promise.all(names.map((name) => tell(browser, binary, name)));
  }
} finally {
  await browser.close();
}
