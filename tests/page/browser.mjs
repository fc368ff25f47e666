// The Chromium that the tests drive, and what no page may do in it: log an error, or ask another host.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.env.PAGE_NODE, '/'));
const { chromium } = require('playwright-core');
export const axeSource = require('axe-core').source;

function binary() {
  for (const name of [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome']) {
    if (!name) continue;
    if (existsSync(name)) return name;
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
    } catch {
      // the next one
    }
  }
  throw new Error('no Chromium here: apt-get install chromium');
}

export async function startBrowser() {
  return chromium.launch({ executablePath: binary(), args: ['--no-sandbox', '--force-color-profile=srgb'] });
}

// A page, and the faults that it shows while `mayFail` is false.
export async function openPage(browser, url, { width = 1440, height = 1000, scheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const host = new URL(url).host;
  page.faults = [];
  page.mayFail = false;
  const fault = (text) => { if (!page.mayFail) page.faults.push(text); };
  page.on('console', (message) => { if (message.type() === 'error') fault(`console: ${message.text()} ${message.location().url || ''}`); });
  page.on('pageerror', (error) => page.faults.push(`error: ${error.stack}`));
  page.on('request', (request) => {
    const asked = new URL(request.url());
    if (asked.protocol !== 'data:' && asked.protocol !== 'blob:' && asked.host !== host) page.faults.push(`another host: ${request.url()}`);
  });
  await page.goto(url);
  return page;
}
