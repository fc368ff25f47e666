"""The `batch-*` tables: the time of a batch relative to the best known, which shows how well unequal nodes are used."""

import dataclasses
import functools
import json
import subprocess

# requests per node, so that the job takes at least 10 s whatever their number: a shorter one ends before speeds are learned
REQUESTS = 1500
AT_ONCE = 192
TOKENS = (20, 60)
# seconds of a step, and the addition of each sequence: with 60 sequences a step takes twice as long
STEP, PER_SEQ = 0.008, 0.00013
KINDS = ["round robin", "nginx-tuned", "haproxy", "evenkeel"]
COLUMNS = [
    ("wall", "wall s", "{:.2f}"),
    ("of_best", "goodput: of the best", "{:.2f}"),
    ("p99", "p99 s", "{:.2f}"),
    ("failed", "failed", "{:.0f}"),
]


@dataclasses.dataclass
class Scene:
    name: str
    title: str
    speeds: list[float]
    # the first node is down between these times
    away: tuple[float, float] | None = None

    def kinds(self):
        """Without failures nginx's usual config distributes like the tuned one, so it is left out."""
        return ["nginx-usual", *KINDS] if self.away else KINDS

    @property
    def requests(self):
        return REQUESTS * len(self.speeds)

    @property
    def at_once(self):
        return AT_ONCE * len(self.speeds)

    def arguments(self):
        step = ["--step-base", f"{STEP * 1e3}ms", "--step-per-seq", f"{PER_SEQ * 1e3}ms", "--max-seqs", "1024"]
        nodes = [[*step, "--speed", str(speed)] for speed in self.speeds]
        if self.away:
            leaves, comes = self.away
            nodes[0] += ["--crash-after", f"{leaves}s", "--startup", f"{comes - leaves}s"]
        return nodes

    def best(self, oracle):
        """The wall time of policies that know the speeds, in virtual time (tests/bench/oracle.rs)."""
        command = [oracle, "--step-base", STEP, "--step-per-seq", PER_SEQ, "--requests", self.requests]
        command += ["--at-once", self.at_once]
        command += ["--tokens-min", TOKENS[0], "--tokens-max", TOKENS[1]]
        command += [word for speed in self.speeds for word in ("--speed", speed)]
        command += ["--away", *self.away] if self.away else []
        told = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True)
        return json.loads(told.stdout)["best"]


SCENES = [
    Scene("batch-equal", "two equal nodes", [1, 1]),
    Scene("batch-slow", "two nodes, one three times slower", [1 / 3, 1]),
    Scene("batch-crash", "two equal nodes, one of which crashes after 3 s and is back 2 s later", [1, 1], (3, 5)),
    Scene("batch-mixed", "eight nodes of mixed speed", [1, 1, 0.8, 0.6, 0.5, 0.4, 1 / 3, 1]),
]


def goodput(lab):
    """The arguments of the table of each scene."""
    more = ["evenkeel-auto"] * lab.knows("evenkeel-auto")
    for scene in SCENES:
        best = functools.cache(lambda scene=scene: scene.best(lab.programs.oracle))
        title = f"{scene.requests} requests of {TOKENS[0]} to {TOKENS[1]} tokens, {scene.at_once} at a time: {scene.title}"
        yield scene.name, title, scene.kinds() + more, functools.partial(batch, lab, scene, best), COLUMNS


def batch(lab, scene, best, kind):
    job = {"count": scene.requests, "concurrency": scene.at_once, "tokens_min": TOKENS[0], "tokens_max": TOKENS[1]}
    with lab.nodes(scene.arguments()) as nodes:
        if kind == "round robin":
            seen = lab.load(nodes, **job)
        else:
            with lab.gateway(kind, nodes) as (listen, _):
                seen = lab.load([listen], **job)
    # failed requests do not count as work done
    return {**seen, "best": best(), "of_best": best() / seen["wall"] * seen["ok"] / scene.requests}
