// Streams go on when their node is killed: as resume.py, with the OpenAI Node SDK.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { GATEWAY, NODES, VERSION, client, hurry, nothingInFlight, run, status } from "./checks.mjs";

const [EACH, TOKENS] = [200, 60];
const LIMIT = 120_000; // milliseconds; a small machine has much to read
// Killed when the slowest stream has begun; then the fastest must still have far to go. The nodes are slow until then.
const [BEGUN, NEAR_END] = [3, TOKENS / 2];

// A server's SDK, which puts the bytes that come aside for a look at what it does not show.
const server = (url, bytes) =>
    client({
        baseURL: url + "/v1",
        timeout: LIMIT,
        fetch: async (...request) => {
            const answer = await fetch(...request);
            const tee = new TransformStream({
                transform(piece, controller) {
                    bytes.push(piece);
                    controller.enqueue(piece);
                },
            });
            return new Response(answer.body.pipeThrough(tee), answer);
        },
    });

// What one client gets.
class Seen {
    constructor(number) {
        this.isChat = number % 2 === 0;
        this.name = `${this.isChat ? "chat" : "completion"}-${number}`;
        const prompt = `Stream ${number} of the sea`;
        const asked = this.isChat ? { messages: [{ role: "user", content: prompt }] } : { prompt };
        this.options = { ...asked, model: "sim", max_tokens: TOKENS };
        this.chunks = [];
        this.bytes = [];
    }

    ask(url, bytes, more) {
        const sdk = server(url, bytes);
        return (this.isChat ? sdk.chat.completions : sdk.completions).create({ ...this.options, ...more });
    }

    async stream() {
        try {
            const options = { stream: true, stream_options: { include_usage: true } };
            for await (const chunk of await this.ask(GATEWAY, this.bytes, options)) this.chunks.push(chunk);
        } catch (error) {
            this.error = error;
        }
    }

    // What is wrong with it, compared with the undisturbed answer.
    judge({ choices: [choice], usage }) {
        if (this.error) return [`${this.error.constructor.name}: ${this.error.message}`];
        const choices = this.chunks.flatMap((chunk) => chunk.choices);
        const texts = choices.map((choice) => (this.isChat ? choice.delta.content : choice.text) ?? "");
        const raw = Buffer.concat(this.bytes).toString();
        const distinct = (name) => new Set(this.chunks.map((chunk) => chunk[name])).size;
        const pairs = {
            text: [texts.join(""), this.isChat ? choice.message.content : choice.text],
            numbers: [texts.join("").match(/\d+/g).map(Number), Array.from({ length: TOKENS }, (_, at) => at)],
            tokens: [texts.filter(Boolean).length, TOKENS],
            "ids, created, model": [[distinct("id"), distinct("created"), distinct("model")], [1, 1, 1]],
            roles: [choices.map((choice) => choice.delta?.role).filter(Boolean), this.isChat ? ["assistant"] : []],
            "finish reasons": [choices.map((choice) => choice.finish_reason).filter(Boolean), ["length"]],
            usage: [this.chunks.map((chunk) => chunk.usage).filter(Boolean), [withoutNulls(usage)]],
            "[DONE]": [raw.split("[DONE]").length - 1, 1],
            end: [raw.slice(-16), "\n\ndata: [DONE]\n\n"],
        };
        return Object.entries(pairs)
            .map(([what, [got, want]]) => [what, JSON.stringify(got), JSON.stringify(want)])
            .filter(([, got, want]) => got !== want)
            .map(([what, got, want]) => `${what}: ${got} in place of ${want}`);
    }
}

// vLLM names the details that it does not have in whole answers only.
const withoutNulls = (usage) => Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null));

// All streams at once; one node is killed in the middle of them.
const storm = async (all) => {
    const counts = () => all.map((seen) => seen.chunks.length);
    const streams = all.map((seen) => seen.stream());
    while (Math.min(...counts()) < BEGUN) {
        const failed = all.find((seen) => seen.error);
        assert(!failed, failed?.error.message);
        await pause(1);
    }
    process.kill(Number(process.env.PID_A), "SIGKILL");
    const most = Math.max(...counts());
    assert(most < NEAR_END, `killed too late to say anything: a stream had ${most} of ${TOKENS} tokens`);
    await hurry(NODES[1], 10);
    await Promise.all(streams);
};

await run(`Resumed streams, OpenAI Node SDK ${VERSION}`, {
    "four hundred streams survive their node": async () => {
        const all = Array.from({ length: 2 * EACH }, (_, number) => new Seen(number));
        await storm(all);
        await nothingInFlight(NODES.slice(1));
        await hurry(NODES[1], 1000);
        const answers = await Promise.all(all.map((seen) => seen.ask(NODES[1], [])));
        const wrong = all.flatMap((seen, at) => seen.judge(answers[at]).map((told) => `${seen.name}: ${told}`));
        assert.equal(wrong.length, 0, `${wrong.length} problems:\n${wrong.slice(0, 10).join("\n")}`);
        const { resumes } = (await status()).pools[0];
        assert.deepEqual(resumes, { asked: EACH, finished: 0, refused: 0 });
    },
});
