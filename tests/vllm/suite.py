"""Two engines, the gateways in front of them, and the runner of the checks.

A check is a function of the fleet; it returns what it has shown, in a line.
"""

import asyncio
import contextlib
import os
import time
import traceback

from engine import LIMITED, Engine
from processes import Gateway, started, until
from streams import run_all, streams

# As many chats as completions; the half of each is at the engine that is disturbed.
COUNT = 144
CONFIG = ["engine: vllm", "retry: { resume: on }", "timeouts: { stall: 15s }"]
CHECKS = []


def check(function, engines="ab"):
    function.engines = engines
    CHECKS.append(function)
    return function


def check_with(engines):
    """A check that needs these; the others are ended before, because each takes 3 GB of memory."""
    return lambda function: check(function, engines)


def title(function):
    return function.__name__.replace("_", " ")


class Fleet:
    def __init__(self, directory):
        self.directory = directory
        self.a, self.b = Engine("a", directory), Engine("b", directory)
        self.c = Engine("c", directory, *LIMITED)
        self.engines, self.undisturbed = [], None

    def make_ready(self, names):
        """Starts what does not run of these, and ends the others."""
        self.engines = [engine for engine in (self.a, self.b, self.c) if engine.name in names]
        for engine in {self.a, self.b, self.c} - set(self.engines):
            engine.kill()
        missing = [engine for engine in self.engines if not engine.running()]
        for engine in missing:
            engine.launch()
        for engine in missing:
            engine.until_ready()
        if self.undisturbed is None:
            self.undisturbed = asyncio.run(run_all(self.b.url, streams(COUNT)))
            assert not any(seen.error for seen in self.undisturbed), self.undisturbed[0].error
        for engine in self.engines:
            until(f"engine {engine.name} is idle", lambda: engine.at_work() == 0)

    @contextlib.contextmanager
    def gateway(self, engines=None, lines=CONFIG):
        """A gateway that knows nothing yet of its nodes; left idle."""
        with started([Gateway(engines or self.engines, self.directory, lines)]) as (gateway,):
            yield gateway
            until("nothing in flight", gateway.is_idle)

    def end(self):
        for engine in (self.a, self.b, self.c):
            engine.kill()


def run(directory, chosen):
    fleet, results = Fleet(directory), []
    try:
        for function in chosen:
            began = time.monotonic()
            try:
                fleet.make_ready(function.engines)
                began = time.monotonic()
                word, told = "ok", function(fleet)
            except Exception as error:
                word, told = "FAIL", str(error) or type(error).__name__
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
            seconds = time.monotonic() - began
            results.append((word, title(function), told.split("\n")[0], seconds))
            print(f"{word:5} {title(function)} [{seconds:.0f} s]: {told}", flush=True)
    finally:
        fleet.end()
    print()
    for word, name, told, seconds in results:
        print(f"{word:5} {name:58} {seconds:4.0f} s  {told}")
    failed = sum(word != "ok" for word, *_ in results)
    print(f"vLLM: {len(results) - failed} passed, {failed} failed; logs in {os.path.relpath(directory)}" * bool(results))
    return failed
