"""vLLM's own benchmark client, with an engine killed in the middle."""

import contextlib
import glob
import json
import os
import subprocess
import tempfile
import time

from engine import MODEL, TOOLS
from suite import check

REQUESTS, TOKENS, AT_ONCE, KILLED_AFTER = 400, 100, 64, 100
BENCH_LIMIT = 900  # seconds, of which the imports take some


@check
def vllm_bench_serve_fails_no_request_when_an_engine_is_killed(fleet):
    # a crash shows at once: without timeouts.stall, a busy machine's pauses are no failures
    with fleet.gateway(lines=["engine: vllm", "retry: { resume: on }"]) as gateway:
        with tempfile.TemporaryDirectory() as directory, open(f"{fleet.directory}/bench.log", "wb") as log:
            command = [
                *("nice", "-n", "10", f"{TOOLS}/venv/bin/vllm", "bench", "serve", "--base-url", gateway.url),
                *("--backend", "openai-chat", "--endpoint", "/v1/chat/completions"),
                *("--model", "random", "--tokenizer", MODEL, "--dataset-name", "random", "--random-input-len", "64"),
                *("--random-output-len", str(TOKENS), "--num-prompts", str(REQUESTS), "--max-concurrency", str(AT_ONCE)),
                *("--ignore-eos", "--temperature", "0", "--save-result", "--result-dir", directory),
            ]
            client = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | fleet.a.env)
            try:
                kill_in_the_middle(fleet.a, gateway, client)
                assert client.wait(BENCH_LIMIT) == 0, f"vllm bench serve ended with {client.returncode}: {log.name}"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    client.kill()
                fleet.a.until_gone()
            (result,) = glob.glob(f"{directory}/*.json")
            with open(result) as file:
                result = json.load(file)
        (pool,) = gateway.status()["pools"]
    told = {name: result[name] for name in ("completed", "failed", "total_output_tokens")}
    want = {"completed": REQUESTS, "failed": 0, "total_output_tokens": REQUESTS * TOKENS}
    assert told == want, f"{told} in place of {want}"
    moved = f"retries: {sum(pool['retries'].values())}, resumes: {pool['resumes']}"
    return f"{REQUESTS} chats, {AT_ONCE} at once: 0 failed, {result['total_output_tokens']} tokens; {moved}"


def kill_in_the_middle(engine, gateway, client):
    end = time.monotonic() + BENCH_LIMIT
    while True:
        with open(gateway.access_log, "rb") as file:
            done = file.read().count(b"/v1/chat/completions")
        if done >= KILLED_AFTER:
            assert done < REQUESTS - AT_ONCE, f"{done} requests are done already"
            return engine.crash()
        assert client.poll() is None, f"vllm bench serve ended early with {client.returncode}"
        assert time.monotonic() < end, f"only {done} requests in {BENCH_LIMIT} s"
        time.sleep(0.01)
