"""An engine that is full, and one that finishes its requests before it ends."""

import asyncio
import signal
import time

from streams import Other, run_all, session
from suite import check_with

SOME = {"model": "random", "prompt": "The sea", "max_tokens": 200, "temperature": 0, "ignore_eos": True}


@check_with("bc")
def a_full_engine_makes_clients_wait(fleet):
    """It says so with 503, and to streams with 200 and an error event."""
    with fleet.gateway([fleet.c]) as gateway:
        statuses, refused = asyncio.run(crowd(gateway.url, 40)), count(gateway, "busy")
        direct = asyncio.run(crowd(fleet.c.url, 40))
    assert set(direct) != {"ok"}, "the engine was never full"
    assert set(statuses) == {"ok"}, f"{statuses}; the engine itself: {direct}"
    return f"40 at once, 12 fit: 40 answered; {refused} attempts refused, the engine itself: {tally(direct)}"


@check_with("bc")
def an_engine_that_drains_loses_no_request(fleet):
    """It finishes what it has, and answers 500 to all that is new while /health says 200."""
    with fleet.gateway() as gateway:
        long = [Other("/v1/completions", SOME | {"max_tokens": 1900, "stream": True}) for _ in range(4)]
        statuses = []

        def drain():
            fleet.c.signal(signal.SIGTERM)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                statuses.extend(asyncio.run(crowd(gateway.url, 8)))

        asyncio.run(run_all(gateway.url, long, drain, lambda: all(other.events > 20 for other in long)))
        assert not any(other.error for other in long), [other.error for other in long]
        whole = sum(b"[DONE]" in other.bytes for other in long)
        at_c = sum(other.node == fleet.c.address for other in long)
        errors = count(gateway, "http_5xx")
        fleet.c.until_gone()
    assert set(statuses) == {"ok"} and whole == len(long), f"{tally(statuses)}; {whole} of {len(long)} long streams whole"
    return f"{len(statuses)} new requests answered, {errors} attempts got 500; {at_c} long streams ended at their node"


async def crowd(url, count):
    """So many at once, whole answers and streams: what each got."""

    async def one(shared, is_stream):
        async with shared.post(url + "/v1/completions", json=SOME | {"stream": is_stream}) as answer:
            body = await answer.read()
            if answer.status != 200:
                return str(answer.status)
            return "an error event" if b'"error": {' in body else "ok" if b'"finish_reason":"length"' in body else "cut"

    async with session() as shared:
        return await asyncio.gather(*(one(shared, number % 2 == 0) for number in range(count)))


def count(gateway, outcome):
    """Attempts with this outcome."""
    with open(gateway.access_log) as file:
        return sum(line.count(outcome) for line in file)


def tally(words):
    return ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
