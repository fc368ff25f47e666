"""Whether a request costs more as the fleet and the work under way grow."""

import functools

from machine import cpu_seconds
from peers import INSTANT

NODES = [1, 10, 100, 1000]
IN_FLIGHT = [10, 100, 1000, 10_000]
KINDS = ["nginx-tuned", "floor", "evenkeel"]
COUNT = 20_000


def growth(lab):
    """For each question what a table is made of; all sizes are measured in one round."""
    load = f"{COUNT:,} POSTs of 2 KB over 64 kept connections; one worker thread"
    yield table(f"with 1 to {NODES[-1]:,} nodes", "nodes", NODES, load, functools.partial(among_nodes, lab))
    held = [min(size, lab.streams_max - 100) for size in IN_FLIGHT]
    title = f"beside {held[0]} to {held[-1]:,} requests that are under way"
    yield table(title, "in-flight", held, load, functools.partial(beside_others, lab))


def table(title, name, sizes, load, measure):
    def one(kind):
        cpu = {f"cpu_{size}": measure(kind, size) for size in sizes}
        costs = list(cpu.values())
        return {**cpu, "growth": costs[-1] / costs[0], "sizes": sizes}

    columns = [("growth", f"{sizes[-1]:,} against {sizes[0]}", "{:.2f}")]
    columns += [(f"cpu_{size}", f"CPU us a request, {size:,}", "{:.1f}") for size in sizes]
    return f"growth-{name}", f"{title}: {load}", KINDS, one, columns


def among_nodes(lab, kind, count):
    """The nodes are addresses of one process, so that the nodes cost the machine the same however many they are."""
    with lab.many_nodes(count, INSTANT) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        return cost(lab, listen, pid)


def beside_others(lab, kind, count):
    """The first ones get no answer, all that come later get theirs at once."""
    with lab.nodes([[*INSTANT, "--fault", f"hang,times={count}"]]) as nodes:
        with lab.gateway(kind, nodes, 1) as (listen, pid), lab.held([listen], count, ramp=count / 5000):
            return cost(lab, listen, pid)


def cost(lab, listen, pid):
    lab.load([listen], count=4000, concurrency=64, body=2048)
    before = cpu_seconds(pid)
    seen = lab.load([listen], count=COUNT, concurrency=64, body=2048)
    # one that failed is a cheap one
    return (cpu_seconds(pid) - before) / seen["ok"] * 1e6
