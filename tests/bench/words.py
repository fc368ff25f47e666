"""The sentences in README.md that contain figures. Each number comes from the results, so that none can go stale."""

import re

# {table|kind|key|how}, where how is one of SHAPES: a ratio to tuned nginx, the number itself, or a part of one
SENTENCES = [
    """**A failing node costs no request.** One of two nodes answers only 500: {failing|evenkeel|failed|number} of 1000 POSTs fail. Behind the usual
  nginx config {failing|nginx-usual|failed|number} do: a node that fails at once always has the fewest in flight, so it gets the most.""",
    """**A crash costs next to no work.** One of two nodes crashes during a batch and returns: {batch-crash|evenkeel|failed|number} of 3000 requests fail, and goodput is
  {batch-crash|evenkeel|of_best|part} of the best that is known. Tuned nginx: {batch-crash|nginx-tuned|failed|number} and {batch-crash|nginx-tuned|of_best|part}; client-side round robin: {batch-crash|round robin|failed|number} and {batch-crash|round robin|of_best|part}.""",
    """**Unequal nodes are used fully.** One of two nodes is three times slower: goodput is {batch-slow|evenkeel-auto|of_best|part} with `weight: auto`,
  {batch-slow|nginx-tuned|of_best|part} with tuned nginx, {batch-slow|round robin|of_best|part} with round robin.""",
    """**CPU time is close to nginx's, peak throughput below it.** A request takes {request|evenkeel|cpu_us|ratio} of tuned nginx's CPU time, a streamed
  event {chunk-500|evenkeel|cpu_us|ratio} to {chunk-2000|evenkeel|cpu_us|ratio}; one-token requests over 256 connections reach {saturation|evenkeel|rate|ratio} of its rate.""",
    """**Streams are small, and fleets may be large.** An open stream takes {memory|evenkeel|kib|number} KiB, {memory|evenkeel|kib|ratio} of nginx's. Among 1000 nodes a
  request takes {growth-nodes|evenkeel|growth|part} times the CPU time that it takes with one.""",
]


def told(shown):
    """The sentences as a list. `shown` gives the text of one figure."""
    pattern = re.compile(r"\{([^|}]+)\|([^|}]+)\|([^|}]+)\|([^|}]+)\}")
    lines = (" ".join(each.split()) for each in SENTENCES)
    return "".join(f"- {pattern.sub(lambda found: shown(*found.groups()), line)}\n" for line in lines)
