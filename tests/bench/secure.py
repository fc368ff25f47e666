"""The `tls-*` tables: a request, an event, a connection and the memory of idle ones over TLS."""

import functools
import time

from machine import cpu_seconds, pss_bytes, stop_with
from peers import INSTANT, steady
from waiting import until_idle

KINDS = ["nginx-tuned", "haproxy", "evenkeel"]
CPU_US = ("cpu_us", "CPU us {}", "{:.1f}")
REST = [("failed", "failed", "{:.0f}"), ("agreed", "agreed on", "{}")]
STREAMS, INTERVAL = 500, 20
HELD = 1000


def secure(lab):
    """The arguments of each table."""
    one = "one worker thread"
    load = f"40,000 POSTs of 2 KB, answered at once, over 64 kept connections with TLS; {one}"
    yield "tls-request", load, KINDS, functools.partial(request, lab), cpu("a request")
    load = f"{STREAMS} open streams with TLS of one event each {INTERVAL} ms; {one}"
    yield "tls-event", load, KINDS, functools.partial(event, lab), cpu("an event")
    load = f"3000 connections, 16 at a time, each with its handshake, one POST and its answer; {one}"
    yield "tls-whole", f"new sessions: {load}", KINDS, functools.partial(connection, lab, forget=True), cpu("a connection")
    yield "tls-resumed", f"resumed sessions: {load}", KINDS, functools.partial(connection, lab), cpu("a connection")
    load = f"{HELD} connections with TLS, against the start; {one}"
    of_memory = [("kib", "KiB a connection", "{:.1f}"), ("failed", "failed", "{:.0f}")]
    yield "tls-memory-idle", f"idle after a POST of 2 KB: {load}", KINDS, functools.partial(idle, lab), of_memory
    yield "tls-memory-stream", f"with an open stream: {load}", KINDS, functools.partial(streaming, lab), of_memory


def cpu(what):
    key, head, shape = CPU_US
    return [(key, head.format(what), shape), *REST]


def request(lab, kind):
    load = {"concurrency": 64, "body": 2048, **lab.tls}
    return costs(lab, kind, load, warm_up=2000, count=40_000)


def connection(lab, kind, **more):
    load = {"concurrency": 16, "body": 256, "fresh": True, **lab.tls, **more}
    return costs(lab, kind, load, warm_up=100, count=3000)


def costs(lab, kind, load, warm_up, count):
    with lab.nodes([INSTANT, INSTANT]) as nodes, lab.gateway(kind, nodes, 1, tls=True) as (listen, pid):
        lab.load([listen], count=warm_up, **load)
        before = cpu_seconds(pid)
        seen = lab.load([listen], count=count, **load)
        # a connection's end may come after its answer
        time.sleep(0.2)
        seen["cpu_us"] = (cpu_seconds(pid) - before) / count * 1e6
    seen["agreed"] = agreed(seen["handshakes"])
    return seen


def event(lab, kind):
    seconds = 5
    arguments = steady(f"{INTERVAL}ms")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1, tls=True) as (listen, pid):
        terms = agreed(lab.load([listen], count=1, **lab.tls)["handshakes"])
        with lab.streams([listen], STREAMS, **lab.tls) as open_ones:
            before, cpu_before = open_ones.look(), cpu_seconds(pid)
            time.sleep(seconds)
            after, cpu_after = open_ones.look(), cpu_seconds(pid)
    events = after["events"] - before["events"]
    return {
        "cpu_us": (cpu_after - cpu_before) / events * 1e6,
        "part": events / (seconds * STREAMS * 1000 / INTERVAL),
        "failed": after["failed"],
        "agreed": terms,
    }


def idle(lab, kind):
    with lab.nodes([INSTANT, INSTANT]) as nodes, lab.gateway(kind, nodes, 1, tls=True) as (listen, pid):
        lab.load([listen], count=1, **lab.tls)
        start = pss_bytes(pid)
        with lab.idle([listen], HELD, body=2048, **lab.tls) as held:
            until_idle(pid)
            return memory(pid, start, held.look())


def streaming(lab, kind):
    arguments = steady("80ms")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1, tls=True) as (listen, pid):
        lab.load([listen], count=1, **lab.tls)
        start = pss_bytes(pid)
        with lab.streams([listen], HELD, **lab.tls) as held:
            time.sleep(2)
            return memory(pid, start, held.look())


def memory(pid, start, seen):
    return {"kib": (pss_bytes(pid) - start) / HELD / 1024, "start_mib": start / 2**20, "failed": seen["failed"]}


def agreed(handshakes):
    """The terms of most connections: all of one run have the same, but for each client's first session."""
    if not handshakes:
        stop_with("no connection has TLS")
    return max(handshakes, key=handshakes.get)
