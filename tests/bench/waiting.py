"""The `waiting-*` tables: the memory of a request that waits for its answer, or for a node."""

import functools
import time

from machine import cpu_seconds, pss_bytes, stop_with
from peers import steady

WAITING = 2000
BODY = 2048
CHURN = {"count": 5000, "concurrency": 256, "body": BODY}
# More tokens than a run has time for: nothing is sent of an answer that is not streamed before its last token.
ENDLESS = {"tokens_min": 1 << 30, "body": BODY}
# limit of requests in flight on each of the two nodes, so that further ones wait
LIMIT = 4
# seconds: allocators return unused memory after 10 s, and `retry.wait` ends after 60 s
LATER = 12
COLUMNS = [
    ("kib", "KiB a request", "{:.1f}"),
    ("kib_churn", "of which were there before the first", "{:.1f}"),
    ("kib_later", f"KiB {LATER} s later", "{:.1f}"),
    ("failed", "failed", "{:.0f}"),
]


def waiting(lab):
    """The arguments of each table."""
    load = f"{WAITING} POSTs of 2 KB over as many connections, against the start; one worker thread"
    gateways = ["nginx-tuned", "haproxy", "floor", "evenkeel"]
    title = f"requests whose answer is not streamed and has not begun; 5000 others come and go before and beside them: {load}"
    yield "waiting-answer", title, gateways, functools.partial(for_an_answer, lab), COLUMNS
    title = f"requests in the queue, because all nodes are full; 5000 others came and went before them: {load}"
    yield "waiting-node", title, ["haproxy", "evenkeel"], functools.partial(for_a_node, lab), COLUMNS


def for_an_answer(lab, kind):
    arguments = steady("80ms")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        start, churned, failed = churn(lab, listen, pid)
        with lab.held([listen], WAITING, ramp=2.0, **ENDLESS) as held:
            failed += lab.load([listen], **CHURN)["failed"]
            return seen(pid, held, start, churned, failed)


def for_a_node(lab, kind):
    arguments = steady("2ms")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1, LIMIT) as (listen, pid):
        start, churned, failed = churn(lab, listen, pid)
        # the first 8 requests fill the nodes
        with lab.held([listen], WAITING + 2 * LIMIT, ramp=2.0, **ENDLESS) as held:
            return seen(pid, held, start, churned, failed)


def churn(lab, listen, pid):
    """Memory at the start and after requests that came and went, and how many of these failed."""
    lab.load([listen], count=1, concurrency=1)
    start = pss_bytes(pid)
    failed = lab.load([listen], **CHURN)["failed"]
    return start, pss_bytes(pid), failed


def seen(pid, held, start, churned, failed):
    until_idle(pid)
    during = pss_bytes(pid)
    time.sleep(LATER)
    return {
        "kib": (during - start) / WAITING / 1024,
        "kib_churn": (churned - start) / WAITING / 1024,
        "kib_later": (pss_bytes(pid) - start) / WAITING / 1024,
        "start_mib": start / 2**20,
        "failed": failed + held.look()["failed"],
    }


def until_idle(pid):
    """Waits until the gateway is idle: the load counts a request when its client starts, perhaps before the gateway has it."""
    for _ in range(60):
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < 0.02:
            return
    stop_with("the gateway does not come to rest")
