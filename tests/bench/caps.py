"""The `caps-*` tables: a batch on engines whose memory holds fewer sequences than come at once, with and without a cap."""

import dataclasses
import functools

# a node's memory, in tokens of prompts and answers: about 60 of the requests below, though it would take in 256
MEMORY, SEQUENCES = 8 * 1024, 256
TOKENS = 100, 300
ENGINE = ["--step-base", "20ms", "--step-per-seq", "0.1ms", "--step-per-prompt-token", "0.2ms", "--prefill-tokens", "512"]
CAP = 64
COLUMNS = [
    ("wall", "wall s", "{:.1f}"),
    ("first_p99", "first token p99 s", "{:.1f}"),
    ("p99", "whole answer p99 s", "{:.1f}"),
    ("failed", "failed", "{:.0f}"),
]
CAPPED = " capped"


@dataclasses.dataclass
class Scene:
    nodes: int
    at_once: int

    @property
    def requests(self):
        return 4 * self.at_once

    @property
    def title(self):
        return (
            f"{self.requests} streams, {self.at_once} at a time, over {self.nodes} nodes whose memory holds about 60 each; "
            f"capped: {CAP} in flight on each node"
        )


SCENES = [Scene(2, 384), Scene(2, 2000), Scene(8, 384), Scene(8, 2000)]
AUTO = " max_in_flight: auto"
KINDS = ["nginx-tuned", "haproxy", "haproxy" + CAPPED, "evenkeel", "evenkeel" + CAPPED, "evenkeel" + AUTO]


def caps(lab):
    """The arguments of the table of each scene."""
    for scene in SCENES:
        name = f"caps-{scene.nodes}-{scene.at_once}"
        yield name, scene.title, KINDS, functools.partial(batch, lab, scene), COLUMNS


def batch(lab, scene, kind):
    node = [*ENGINE, "--kv-tokens", str(MEMORY), "--max-seqs", str(SEQUENCES)]
    program = kind.removesuffix(CAPPED).removesuffix(AUTO)
    limit = CAP if kind.endswith(CAPPED) else "auto" if kind.endswith(AUTO) else None
    job = {"count": scene.requests, "concurrency": scene.at_once, "stream": 1}
    sizes = {"tokens_min": TOKENS[0], "tokens_max": TOKENS[1]}
    with lab.nodes([node] * scene.nodes) as nodes, lab.gateway(program, nodes, limit=limit) as (listen, _):
        return lab.load([listen], **job, **sizes)
