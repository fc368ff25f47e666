"""What the suites in Python share: the fleet (see fleet.py), the SDK, and the runner.

The runner prints a line a check, and at the end how many passed.
"""

import contextlib
import json
import os
import time
import traceback
import urllib.request

import openai

GATEWAY, ADMIN = os.environ["GATEWAY"], os.environ["ADMIN"]
NODES = [os.environ["NODE_A"], os.environ["NODE_B"]]
LIMIT = 30  # seconds; only a failing check waits so long
MESSAGES = [{"role": "user", "content": "Tell me of the sea"}]
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(**options):
    return openai.OpenAI(base_url=GATEWAY + "/v1", api_key="none", max_retries=0, timeout=LIMIT, **options)


def fault(text, nodes=NODES):
    """These nodes fail in this way from now on; None: not any more."""
    for node in nodes:
        body = None if text is None else json.dumps(text).encode()
        method = "DELETE" if text is None else "POST"
        urllib.request.urlopen(urllib.request.Request(node + "/sim/fault", body, method=method), timeout=LIMIT)


def hurry(node, times):
    """From now on it is so many times as fast as normal."""
    urllib.request.urlopen(node + "/sim/speed", b"%d" % times, timeout=LIMIT)


def stats(nodes=NODES):
    return [json.load(urllib.request.urlopen(node + "/sim/stats", timeout=LIMIT)) for node in nodes]


def status():
    return json.load(urllib.request.urlopen(ADMIN + "/api/status", timeout=LIMIT))


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)


def nothing_in_flight(nodes=NODES):
    until("nothing in flight at the nodes", lambda: all(node["in_flight"] == 0 for node in stats(nodes)))
    until("nothing in flight in the gateway", lambda: status()["requests"] == 0)


def raises(kind, call, code=None):
    try:
        got = call()
    except openai.OpenAIError as error:
        assert type(error) is kind, f"{type(error).__name__} in place of {kind.__name__}: {error}"
        if code is not None:
            assert error.status_code == code, error.status_code
        return error
    raise AssertionError(f"no {kind.__name__} but {got}")


def run(title):
    failed = 0
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok    {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
            with contextlib.suppress(OSError):  # a node may be gone
                fault(None)
    print(f"{title}: {len(CHECKS) - failed} passed, {failed} failed")
    raise SystemExit(failed > 0)
