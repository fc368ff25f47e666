// What the suites for Node share: the fleet (see fleet.py), the SDK, and the runner. Prints a line a check, and at the
// end how many passed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

// The SDK lies in the target directory, where an import from here does not look.
const installed = createRequire(process.env.NODE_SDK + "/");
export const { OpenAI } = installed("openai");
export const { VERSION } = installed("openai/version");
export const { GATEWAY, ADMIN } = process.env;
export const NODES = [process.env.NODE_A, process.env.NODE_B];
export const LIMIT = 30_000; // milliseconds; only a failing check waits so long
export const MESSAGES = [{ role: "user", content: "Tell me of the sea" }];

export const client = (options = {}) =>
    new OpenAI({ baseURL: GATEWAY + "/v1", apiKey: "none", maxRetries: 0, timeout: LIMIT, ...options });

const ask = async (url, options = {}) => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(LIMIT), ...options });
    assert(answer.ok, `${url}: ${answer.status}`);
    return answer;
};

// These nodes fail in this way from now on; null: not any more.
export const fault = async (what, nodes = NODES) => {
    const options = what ? { method: "POST", body: JSON.stringify(what) } : { method: "DELETE" };
    for (const node of nodes) await ask(node + "/sim/fault", options);
};

// From now on it is so many times as fast as normal.
export const hurry = (node, times) => ask(node + "/sim/speed", { method: "POST", body: String(times) });

export const stats = (nodes = NODES) => Promise.all(nodes.map(async (node) => (await ask(node + "/sim/stats")).json()));
export const status = async () => (await ask(ADMIN + "/api/status")).json();

export const until = async (what, condition) => {
    const end = Date.now() + LIMIT;
    while (!(await condition())) {
        assert(Date.now() < end, `not within ${LIMIT} ms: ${what}`);
        await pause(10);
    }
};

export const nothingInFlight = async (nodes = NODES) => {
    await until("nothing in flight at the nodes", async () => (await stats(nodes)).every((node) => node.in_flight === 0));
    await until("nothing in flight in the gateway", async () => (await status()).requests === 0);
};

// `call` fails with this very exception, and with this status where one is given.
export const raises = async (kind, call, code) => {
    let got;
    try {
        got = await call();
    } catch (error) {
        assert.equal(error.constructor.name, kind.name, error.message);
        if (code !== undefined) assert.equal(error.status, code);
        return error;
    }
    throw new Error(`no ${kind.name} but ${JSON.stringify(got)}`);
};

export const run = async (title, checks) => {
    let failed = 0;
    for (const [name, check] of Object.entries(checks)) {
        try {
            await check();
            console.log(`ok    ${name}`);
        } catch (error) {
            failed += 1;
            console.log(`FAIL  ${name}\n${error.stack}`);
            await fault(null).catch(() => {}); // a node may be gone
        }
    }
    console.log(`${title}: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
    process.exitCode = failed > 0 ? 1 : 0;
};
