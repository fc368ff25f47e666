// Simulated nodes, a gateway and load, on free ports of this machine.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const LIMIT = 30000; // ms; only a failing run waits so long
const LOOK_EVERY = 25;

// Waits for a condition, never for time to pass. The value that it became.
export async function until(what, condition, limit = LIMIT) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`never came: ${what}${last ? ` (${last.message})` : ''}`);
    await new Promise((again) => setTimeout(again, LOOK_EVERY));
  }
}

// A port below the ephemeral range, so that no outgoing connection takes it.
async function freePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 22000);
    const free = await new Promise((found) => {
      const server = net.createServer().once('error', () => found(false));
      server.listen(port, '0.0.0.0', () => server.close(() => found(true)));
    });
    if (free) return port;
  }
}

export class Fleet {
  // binary: evenkeel. pools: { name: { nodes: [{ name, args, copies }], yaml } }; copies of a node are addresses of one process.
  static async start(binary, pools) {
    const fleet = new Fleet();
    fleet.binary = binary;
    fleet.children = [];
    fleet.directory = mkdtempSync(path.join(tmpdir(), 'evenkeel-page-'));
    fleet.ports = { gateway: await freePort(), admin: await freePort() };
    fleet.admin = `http://127.0.0.1:${fleet.ports.admin}`;
    fleet.pools = {};
    for (const [name, pool] of Object.entries(pools)) {
      const lines = [];
      for (const node of pool.nodes) lines.push(...(await fleet.startNode(node)));
      fleet.pools[name] = { lines, yaml: pool.yaml || '' };
    }
    fleet.config = path.join(fleet.directory, 'evenkeel.yaml');
    fleet.write();
    await fleet.startGateway();
    return fleet;
  }

  async startNode({ name, args = [], copies = 1, dead = false, more = '' }) {
    const port = dead ? 1 : await freePort();
    if (!dead) {
      const child = this.spawn(['node', '--listen', `0.0.0.0:${port}`, '--name', name, ...args]);
      this[name] = child;
      await until(`node ${name}`, () => answers(`http://127.0.0.1:${port}/health`));
    }
    return Array.from({ length: copies }, (_, place) => {
      const address = `127.${Math.floor(place / 200)}.0.${(place % 200) + 1}:${port}`;
      return `{ address: "${address}", name: ${copies > 1 ? `${name}-${place + 1}` : name}${more} }`;
    });
  }

  spawn(args) {
    const child = spawn(this.binary, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, RUST_LOG: 'warn' } });
    child.errors = '';
    child.stderr.on('data', (data) => { child.errors = (child.errors + data).slice(-4000); });
    this.children.push(child);
    return child;
  }

  write(broken = '') {
    const pools = Object.entries(this.pools).map(([name, { lines, yaml }]) => `  ${name}:\n${yaml.replace(/^(?=.)/gm, '    ')}\n    nodes:\n${lines.map((line) => `      - ${line}`).join('\n')}\n`);
    writeFileSync(this.config, `server:
  listen: 127.0.0.1:${this.ports.gateway}
  admin: 127.0.0.1:${this.ports.admin}
  access_log: { format: off }
  drain_timeout: 0s
${broken}pools:
${pools.join('')}`);
  }

  async startGateway() {
    this.gateway = this.spawn(['run', '-c', this.config]);
    const gateway = this.gateway;
    await until('the gateway', async () => {
      if (gateway.exitCode !== null) throw new Error(gateway.errors);
      return answers(`${this.admin}/livez`);
    });
  }

  // kill -9: it says no goodbye.
  async killGateway() {
    const ended = new Promise((end) => this.gateway.once('exit', end));
    this.gateway.kill('SIGKILL');
    await ended;
  }

  reload(broken = '') {
    this.write(broken);
    this.gateway.kill('SIGHUP');
  }

  async status() {
    return (await fetch(`${this.admin}/api/status`)).json();
  }

  async order(pool, node, order) {
    return (await fetch(`${this.admin}/api/nodes/${pool}/${node}/${order}`, { method: 'POST' })).status;
  }

  // So many requests at a time, each a stream, until the fleet stops.
  load(concurrency, { model = 'sim', tokens = [40, 220], headers = {} } = {}) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
    const load = { done: 0, failed: 0, stopped: false };
    const one = () => {
      if (load.stopped || this.stopped) return;
      const [low, high] = tokens;
      const max_tokens = low + Math.floor(Math.random() * (high - low + 1));
      const body = JSON.stringify({ model, stream: true, max_tokens, messages: [{ role: 'user', content: 'hello' }] });
      let ended = false;
      const end = (isGood) => {
        if (ended) return;
        ended = true;
        load[isGood ? 'done' : 'failed'] += 1;
        setTimeout(one, isGood ? 0 : 250);
      };
      const request = http.request({ agent, port: this.ports.gateway, path: '/v1/chat/completions', method: 'POST', headers: { 'content-type': 'application/json', ...headers } }, (answer) => {
        answer.resume();
        answer.on('end', () => end(answer.statusCode === 200));
        answer.on('error', () => end(false));
        answer.on('close', () => end(false));
      });
      request.on('error', () => end(false));
      request.end(body);
      load.requests.add(request);
      request.on('close', () => load.requests.delete(request));
    };
    load.requests = new Set();
    load.stop = () => {
      load.stopped = true;
      for (const request of load.requests) request.destroy();
    };
    for (let started = 0; started < concurrency; started += 1) one();
    return load;
  }

  stop() {
    this.stopped = true;
    for (const child of this.children) child.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function answers(url) {
  return (await fetch(url, { signal: AbortSignal.timeout(2000) })).ok;
}
