"""How long a batch takes, against the least that it can take: which gateway keeps unequal nodes busy."""

import dataclasses
import heapq

REQUESTS = 3000
AT_ONCE = 384
TOKENS = (20, 60)
# seconds of a step, and what each sequence adds: with 60 it takes twice as long
STEP, PER_SEQ = 0.008, 0.00013
KINDS = ["round robin", "nginx-usual", "nginx-tuned", "haproxy", "evenkeel"]
COLUMNS = [
    ("wall", "wall s", "{:.2f}"),
    ("of_best", "of the least there can be", "{:.2f}"),
    ("p99", "p99 s", "{:.2f}"),
    ("failed", "failed", "{:.0f}"),
]


@dataclasses.dataclass
class Scene:
    name: str
    title: str
    speeds: list[float]
    # the first node is away from the first of these times to the second
    away: tuple[float, float] | None = None

    def arguments(self):
        step = ["--step-base", f"{STEP * 1e3}ms", "--step-per-seq", f"{PER_SEQ * 1e3}ms", "--max-seqs", "1024"]
        nodes = [[*step, "--speed", str(speed)] for speed in self.speeds]
        if self.away:
            leaves, comes = self.away
            nodes[0] += ["--crash-after", f"{leaves}s", "--startup", f"{comes - leaves}s"]
        return nodes

    def least(self):
        """No order of requests takes less: all tokens at the highest rate that so many sequences can have."""
        tokens = REQUESTS * sum(TOKENS) / 2
        whole = rate(self.speeds)
        if not self.away:
            return tokens / whole
        leaves, comes = self.away
        before, without = leaves * whole, (comes - leaves) * rate(self.speeds[1:])
        if tokens <= before:
            return tokens / whole
        if tokens <= before + without:
            return leaves + (tokens - before) / rate(self.speeds[1:])
        return comes + (tokens - before - without) / whole


SCENES = [
    Scene("batch-equal", "two equal nodes", [1, 1]),
    Scene("batch-slow", "two nodes, one three times slower", [1 / 3, 1]),
    Scene("batch-crash", "two equal nodes, one of which crashes after 3 s and is back 2 s later", [1, 1], (3, 5)),
    Scene("batch-mixed", "eight nodes of mixed speed", [1, 1, 0.8, 0.6, 0.5, 0.4, 1 / 3, 1]),
]


def rate(speeds):
    """Tokens a second at the best spread of the sequences: the more a node has, the less one more adds."""

    def tokens(speed, running):
        return speed * running / (STEP + PER_SEQ * running)

    def gain(speed, running):
        return tokens(speed, running + 1) - tokens(speed, running)

    line = [(-gain(speed, 0), node, 0) for node, speed in enumerate(speeds)]
    heapq.heapify(line)
    total = 0
    for _ in range(AT_ONCE):
        less, node, running = line[0]
        total -= less
        heapq.heapreplace(line, (-gain(speeds[node], running + 1), node, running + 1))
    return total


def goodput(lab):
    """For each scene what a table is made of."""
    kinds = KINDS + ["evenkeel-auto"] * lab.knows("evenkeel-auto")
    for scene in SCENES:
        title = f"{REQUESTS} requests of {TOKENS[0]} to {TOKENS[1]} tokens, {AT_ONCE} at a time: {scene.title}"
        yield scene.name, title, kinds, lambda kind, scene=scene: batch(lab, scene, kind), COLUMNS


def batch(lab, scene, kind):
    job = {"count": REQUESTS, "concurrency": AT_ONCE, "tokens_min": TOKENS[0], "tokens_max": TOKENS[1]}
    with lab.nodes(scene.arguments()) as nodes:
        if kind == "round robin":
            seen = lab.load(nodes, **job)
        else:
            with lab.gateway(kind, nodes) as (listen, _):
                seen = lab.load([listen], **job)
    return {**seen, "least": scene.least(), "of_best": scene.least() / seen["wall"]}
