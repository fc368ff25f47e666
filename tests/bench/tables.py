"""The tables of `make bench`: the load and the measurement of each. A table's `one` measures one kind once."""

import dataclasses
import time
from collections.abc import Callable

from caps import caps
from goodput import goodput
from growth import growth
from machine import cpu_seconds, pss_bytes
from peers import INSTANT, steady
from report import FEWER
from secure import secure
from waiting import waiting

TUNED = "nginx-tuned"
GATEWAYS = [TUNED, "haproxy", "floor", "evenkeel"]
WITH_USUAL = ["nginx-usual", *GATEWAYS]
RESUME = ["evenkeel", "evenkeel-resume"]


@dataclasses.dataclass
class Table:
    name: str
    title: str
    kinds: list[str]
    one: Callable
    # key, heading, format; ratios are made from the first
    columns: list[tuple[str, str, str]]
    # more rounds would not improve the result
    rounds_max: int = 1000


def tables(lab):
    """All tables, in the order in which they run."""
    return [
        Table(
            "request",
            "40,000 POSTs of 2 KB, answered at once, over 64 kept connections; one worker thread",
            WITH_USUAL,
            lambda kind: request(lab, kind),
            [("cpu_us", "CPU us a request", "{:.1f}"), ("failed", "failed", "{:.0f}")],
        ),
        chunk("chunk-500", lab, 500, 20),
        chunk("chunk-2000", lab, 2000, 80),
        chunk("chunk-resume", lab, 500, 20, RESUME),
        memory("memory", lab),
        memory("memory-resume", lab, RESUME, rounds_max=2),
        *(Table(*each, rounds_max=FEWER["waiting"]) for each in waiting(lab)),
        Table(
            "latency",
            "100 streams of one event each 20 ms: from the node's sending to the client's reading; one worker thread",
            ["direct", *GATEWAYS],
            lambda kind: latency(lab, kind),
            [
                ("added_p50", "added us, p50", "{:.0f}"),
                ("added_p99", "added us, p99", "{:.0f}"),
                ("lag_p50", "us, p50", "{:.0f}"),
                ("lag_p99", "us, p99", "{:.0f}"),
            ],
        ),
        Table(
            "saturation",
            "60,000 short requests, 256 at a time; one worker thread",
            WITH_USUAL,
            lambda kind: saturation(lab, kind),
            [
                ("rate", "requests/s", "{:.0f}"),
                ("busy", "of its core", "{:.0%}"),
                ("per_core", "requests/s of a whole core", "{:.0f}"),
                ("failed", "failed", "{:.0f}"),
            ],
        ),
        Table(
            "open",
            f"{min(10_000, lab.streams_max)} open streams of one event each 2 s, for 10 s; one worker thread",
            GATEWAYS,
            lambda kind: open_streams(lab, kind),
            [
                ("mib", "MiB", "{:.0f}"),
                ("failed", "failed", "{:.0f}"),
                ("part", "events of those due", "{:.1%}"),
                ("cpu", "of a core", "{:.1%}"),
            ],
            rounds_max=FEWER["open"],
        ),
        Table(
            "failing",
            "1000 POSTs, 64 at a time, two nodes, one of which always answers 500",
            ["nginx-usual", TUNED, "haproxy", "evenkeel"],
            lambda kind: failing(lab, kind),
            [("failed", "failed of 1000", "{:.0f}"), ("wall", "wall s", "{:.2f}")],
        ),
        *(Table(*each, rounds_max=FEWER["tls-memory"] if "memory" in each[0] else 1000) for each in secure(lab)),
        *(Table(*each) for each in growth(lab)),
        *(Table(*each, rounds_max=FEWER["batch"]) for each in goodput(lab)),
        *(Table(*each, rounds_max=FEWER["caps"]) for each in caps(lab)),
    ]


def request(lab, kind):
    count = 40_000
    with lab.nodes([INSTANT, INSTANT]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        lab.load([listen], count=2000, concurrency=64, body=2048)
        before = cpu_seconds(pid)
        seen = lab.load([listen], count=count, concurrency=64, body=2048)
        seen["cpu_us"] = (cpu_seconds(pid) - before) / count * 1e6
        return seen


def chunk(name, lab, streams, interval, kinds=GATEWAYS):
    """CPU time while all streams are open, without their beginning and end."""
    seconds = 5

    def one(kind):
        arguments = steady(f"{interval}ms")
        with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
            with lab.streams([listen], streams) as open_ones:
                before, cpu_before = open_ones.look(), cpu_seconds(pid)
                time.sleep(seconds)
                after, cpu_after = open_ones.look(), cpu_seconds(pid)
        events = after["events"] - before["events"]
        return {
            "cpu_us": (cpu_after - cpu_before) / events * 1e6,
            "events": events,
            # below 1, the machine did not keep up
            "part": events / (seconds * streams * 1000 / interval),
            "failed": after["failed"],
        }

    return Table(
        name,
        f"{streams} open streams of one event each {interval} ms; one worker thread",
        kinds,
        one,
        [
            ("cpu_us", "CPU us an event", "{:.1f}"),
            ("part", "events of those due", "{:.1%}"),
            ("failed", "failed", "{:.0f}"),
        ],
    )


def memory(name, lab, kinds=GATEWAYS, rounds_max=1000):
    return Table(
        name,
        "2000 open streams, before and during which 5000 requests of 2 KB come and go, against the start; one worker thread",
        kinds,
        lambda kind: memory_of_streams(lab, kind),
        [
            ("kib", "KiB a stream", "{:.1f}"),
            ("kib_churn", "of which were there before the first stream", "{:.1f}"),
            ("kib_after", "of which are kept 12 s after the last", "{:.1f}"),
            ("start_mib", "MiB at the start", "{:.1f}"),
        ],
        rounds_max,
    )


def memory_of_streams(lab, kind):
    streams = 2000
    churn = {"count": 5000, "concurrency": 256, "body": 2048}
    arguments = steady("80ms")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        lab.load([listen], count=1, concurrency=1)
        start = pss_bytes(pid)
        failed = lab.load([listen], **churn)["failed"]
        churned = pss_bytes(pid)
        with lab.streams([listen], streams, ramp=2.0) as open_ones:
            failed += lab.load([listen], **churn)["failed"]
            during = pss_bytes(pid)
            failed += open_ones.look()["failed"]
        # allocators return memory that was unused for 10 s, at their next call
        time.sleep(12)
        lab.load([listen], count=100, concurrency=10)
        after = pss_bytes(pid)
    return {
        "kib": (during - start) / streams / 1024,
        "kib_churn": (churned - start) / streams / 1024,
        "kib_after": (after - start) / streams / 1024,
        "start_mib": start / 2**20,
        "failed": failed,
    }


def latency(lab, kind):
    arguments = [*steady("20ms"), "--stamp"]
    with lab.nodes([arguments, arguments]) as nodes:
        if kind == "direct":
            return lags(lab, nodes)
        with lab.gateway(kind, nodes, 1) as (listen, _):
            return lags(lab, [listen])


def lags(lab, targets):
    with lab.streams(targets, 100) as open_ones:
        time.sleep(1)
        open_ones.look()
        time.sleep(6)
        seen = open_ones.look()
    us = {key: seen[key] * 1e6 for key in ("lag_p50", "lag_p99")}
    return {**us, "lags": seen["lags"], "failed": seen["failed"]}


def saturation(lab, kind):
    with lab.nodes([INSTANT, INSTANT]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        lab.load([listen], count=5000, concurrency=256)
        before = cpu_seconds(pid)
        seen = lab.load([listen], count=60_000, concurrency=256)
        cpu = cpu_seconds(pid) - before
    # below a whole core, client and nodes were the bottleneck
    return {**seen, "rate": seen["ok"] / seen["wall"], "busy": cpu / seen["wall"], "per_core": seen["ok"] / cpu}


def open_streams(lab, kind):
    streams, seconds = min(10_000, lab.streams_max), 10
    arguments = steady("2s")
    with lab.nodes([arguments, arguments]) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        with lab.streams([listen], streams, ramp=5.0) as open_ones:
            before, cpu_before = open_ones.look(), cpu_seconds(pid)
            time.sleep(seconds)
            after, cpu_after = open_ones.look(), cpu_seconds(pid)
            mib = pss_bytes(pid) / 2**20
    return {
        "mib": mib,
        "failed": after["failed"],
        "streams": streams,
        "part": (after["events"] - before["events"]) / (streams * seconds / 2),
        "cpu": (cpu_after - cpu_before) / seconds,
    }


def failing(lab, kind):
    quick = ["--step-base", "2ms", "--step-per-seq", "0"]
    with lab.nodes([[*quick, "--fault", "status:500"], quick]) as nodes, lab.gateway(kind, nodes) as (listen, _):
        return lab.load([listen], count=1000, concurrency=64, tokens_min=1, tokens_max=4)
