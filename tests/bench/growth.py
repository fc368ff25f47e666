"""The `growth-*` tables: the cost of a request as the fleet and the requests in flight grow."""

import functools
import time

from machine import cpu_seconds
from peers import INSTANT

NODES = [1, 10, 100, 1000]
IN_FLIGHT = [10, 100, 1000, 10_000]
KINDS = ["nginx-tuned", "floor", "evenkeel"]
COUNT = 40_000
# Seconds for which the idle gateway is measured: its checks of the nodes still cost something.
IDLE = 2.0


def growth(lab):
    """The arguments of each table; all sizes are measured in one round."""
    load = f"{COUNT:,} POSTs of 2 KB over 64 kept connections; one worker thread"
    yield table(f"with 1 to {NODES[-1]:,} nodes", "nodes", NODES, load, functools.partial(among_nodes, lab))
    held = [min(size, lab.streams_max - 100) for size in IN_FLIGHT]
    title = f"beside {held[0]} to {held[-1]:,} requests that are under way"
    yield table(title, "in-flight", held, load, functools.partial(beside_others, lab))


def table(title, name, sizes, load, measure):
    def one(kind):
        seen = {size: measure(kind, size) for size in sizes}
        costs = {size: of_request for size, (of_request, _) in seen.items()}
        wholes = [of_request + of_idling for of_request, of_idling in seen.values()]
        growth = {"growth": costs[sizes[-1]] / costs[sizes[0]], "growth_whole": wholes[-1] / wholes[0]}
        return {**growth, **{f"cpu_{size}": cost for size, cost in costs.items()}, "sizes": sizes}

    against = f"{sizes[-1]:,} against {sizes[0]}"
    columns = [("growth", against, "{:.2f}"), ("growth_whole", f"{against}, with what it does unasked", "{:.2f}")]
    columns += [(f"cpu_{size}", f"CPU us a request, {size:,}", "{:.1f}") for size in sizes]
    return f"growth-{name}", f"{title}: {load}", KINDS, one, columns


def among_nodes(lab, kind, count):
    """All nodes are addresses of one process, so that they cost the machine the same whatever their number."""
    with lab.many_nodes(count, INSTANT) as nodes, lab.gateway(kind, nodes, 1) as (listen, pid):
        return cost(lab, listen, pid)


def beside_others(lab, kind, count):
    """The first requests get no answer; all later ones are answered at once."""
    with lab.nodes([[*INSTANT, "--fault", f"hang,times={count}"]]) as nodes:
        with lab.gateway(kind, nodes, 1) as (listen, pid), lab.held([listen], count, ramp=count / 5000):
            return cost(lab, listen, pid)


def cost(lab, listen, pid):
    """CPU us per request: of the request itself, and of the background work during it."""
    lab.load([listen], count=4000, concurrency=64, body=2048)
    before = cpu_seconds(pid)
    time.sleep(IDLE)
    idling = (cpu_seconds(pid) - before) / IDLE
    before, began = cpu_seconds(pid), time.monotonic()
    seen = lab.load([listen], count=COUNT, concurrency=64, body=2048)
    # a failed request is a cheap one and would distort the result
    whole = (cpu_seconds(pid) - before) / seen["ok"] * 1e6
    of_idling = idling * (time.monotonic() - began) / seen["ok"] * 1e6
    return whole - of_idling, of_idling
