// The unmodified OpenAI Node SDK through the gateway; see fleet.py for what it finds.

import assert from "node:assert/strict";
import { MESSAGES, OpenAI, VERSION, client, fault, nothingInFlight, raises, run, stats, status } from "./checks.mjs";

const chat = (options = {}, more = {}) =>
    client().chat.completions.create({ model: "sim", messages: MESSAGES, max_tokens: 20, ...options }, more);

const chunks = async (stream) => {
    const all = [];
    for await (const chunk of await stream) all.push(chunk);
    return all;
};

const said = (all) => all.map((chunk) => chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text ?? "").join("");

await run(`OpenAI Node SDK ${VERSION} on ${process.version}`, {
    "chat is answered": async () => {
        const answer = await chat();
        assert(answer.choices[0].message.content);
        assert.equal(answer.choices[0].finish_reason, "length");
        assert.equal(answer.usage.completion_tokens, 20);
    },

    "chat streams the same words": async () => {
        const whole = (await chat()).choices[0].message.content;
        const all = await chunks(chat({ stream: true, stream_options: { include_usage: true } }));
        assert.equal(said(all), whole);
        assert.equal(all.at(-1).usage.completion_tokens, 20);
    },

    "completions are answered and streamed": async () => {
        const options = { model: "sim", prompt: "The sea", max_tokens: 10 };
        const whole = (await client().completions.create(options)).choices[0].text;
        const all = await chunks(client().completions.create({ ...options, stream: true }));
        assert(whole);
        assert.equal(said(all), whole);
    },

    "the request id reaches the SDK": async () => {
        const answer = await chat({}, { headers: { "X-Request-Id": "check-8" } });
        assert.equal(answer._request_id, "check-8");
    },

    "errors become the SDK's own exceptions": async () => {
        const kinds = {
            400: OpenAI.BadRequestError,
            401: OpenAI.AuthenticationError,
            404: OpenAI.NotFoundError,
            422: OpenAI.UnprocessableEntityError,
            429: OpenAI.RateLimitError,
            500: OpenAI.InternalServerError,
            503: OpenAI.InternalServerError,
        };
        for (const [code, kind] of Object.entries(kinds)) {
            await fault({ kind: "status", code: Number(code) });
            for (const stream of [false, true]) {
                const error = await raises(kind, () => chat({ stream }), Number(code));
                assert(error.error?.message, JSON.stringify(error.error));
            }
        }
        await fault(null);
    },

    "an error of the gateway's own reads like any other": async () => {
        await fault({ kind: "reset" });
        for (const stream of [false, true]) {
            const error = await raises(OpenAI.InternalServerError, () => chat({ stream }), 502);
            assert.match(error.error.message, /broke the connection/);
        }
        await fault(null);
    },

    "a stream that breaks is not taken for whole": async () => {
        for (const kind of ["die", "truncate", "error_event", "no_done", "abort"]) {
            await fault({ kind, after: 5 });
            const got = [];
            let error;
            try {
                for await (const chunk of await chat({ stream: true, max_tokens: 50 })) got.push(chunk);
            } catch (raised) {
                error = raised;
            }
            assert(error, `${kind}: the stream ended silently after ${got.length} chunks`);
            assert(got.length > 0, "the words before the cut are there");
            console.log(`      a stream cut by ${kind}: ${got.length} chunks, then ${error.constructor.name}: ${error.message}`);
        }
        await fault(null);
    },

    "a time-out of the client frees the node": async () => {
        await fault({ kind: "hang" });
        await raises(OpenAI.APIConnectionTimeoutError, () => chat({}, { timeout: 500 }));
        await fault(null);
        await nothingInFlight();
    },

    "a cancelled stream frees the node": async () => {
        const stream = await chat({ stream: true, max_tokens: 10_000 });
        for await (const chunk of stream) {
            assert(chunk.choices);
            break; // leaving the loop cancels, as `stream.controller.abort()` does
        }
        await nothingInFlight();
        const nodes = (await status()).pools.flatMap((pool) => pool.nodes);
        assert(nodes.every((node) => node.in_flight === 0));
    },

    "sixty-four streams at once": async () => {
        const before = await stats();
        const all = await Promise.all(
            Array.from({ length: 64 }, async () => said(await chunks(chat({ stream: true, max_tokens: 50 })))),
        );
        assert(all[0]);
        assert.equal(new Set(all).size, 1);
        const after = await stats();
        assert.deepEqual(after.map((node, at) => node.received - before[at].received), [32, 32]);
    },

    "nothing is left in flight": nothingInFlight,
});
