"""Computes medians and ratios from rounds, and writes the figures of both README.md files from kept results."""

import json
import re
import statistics

import words
from machine import HERE, ROOT
from programs import BEFORE

RESULTS = HERE / "results"
# suffix of a commit's name if src had uncommitted changes
CHANGED = "-changed"
# the generated texts: each file, and the marks around its text
TABLE = HERE / "README.md", "<!-- figures: `tests/bench/run --readme` writes this table from tests/bench/results -->", "<!-- figures: end -->"
WORDS = ROOT / "README.md", "<!-- words: `tests/bench/run --readme` writes these figures from tests/bench/results -->", "<!-- words: end -->"
# with fewer rounds, or a higher load on the machine, the figures are preliminary
ROUNDS_MIN, LOAD_MAX = 5, 1.0
# Tables with fewer rounds: their numbers vary little between rounds, and they take long.
FEWER = {"open": 2, "waiting": 2, "batch": 3, "caps": 2, "tls-memory": 2}
BASES = ["nginx-tuned", "floor"]

# the columns of the figures, and the rows: table, key, form (ratio to tuned nginx, or the number itself), label
KINDS = {
    "round robin": "client-side round robin",
    "nginx-usual": "nginx, the usual config",
    "nginx-tuned": "nginx, tuned",
    "haproxy": "HAProxy",
    "evenkeel": "Evenkeel",
    "evenkeel-auto": "Evenkeel, `weight: auto`",
    "floor": "bare proxy on Pingora",
}
RATIO, NUMBER, PART = "ratio", "{:.0f}", "{:.2f}"
ROWS = [
    ("request", "cpu_us", RATIO, "CPU a request (POST of 2 KB, 64 connections)"),
    ("chunk-500", "cpu_us", RATIO, "CPU an event, 500 streams of 50/s"),
    ("chunk-2000", "cpu_us", RATIO, "CPU an event, 2000 streams of 12.5/s"),
    ("memory", "kib", RATIO, "memory an open stream"),
    ("memory", "kib", NUMBER, "the same in KiB"),
    ("waiting-answer", "kib", RATIO, "memory of a request that waits for its answer"),
    ("waiting-answer", "kib", NUMBER, "the same in KiB"),
    ("waiting-node", "kib", NUMBER, "memory of a request that waits for a node, in KiB"),
    ("latency", "added_p50", RATIO, "delay added to an event, p50"),
    ("latency", "lag_p99", RATIO, "delay of an event from node to client, p99"),
    ("saturation", "rate", RATIO, "requests/s with 256 connections (more is better)"),
    ("open", "mib", RATIO, "memory with {streams:,} streams open"),
    ("tls-request", "cpu_us", RATIO, "CPU a request over TLS"),
    ("tls-event", "cpu_us", RATIO, "CPU an event over TLS, 500 streams of 50/s"),
    ("tls-whole", "cpu_us", RATIO, "CPU a new TLS connection, with one request"),
    ("tls-resumed", "cpu_us", RATIO, "the same with its session resumed"),
    ("tls-memory-idle", "kib", NUMBER, "memory of an idle TLS connection, in KiB"),
    ("tls-memory-stream", "kib", NUMBER, "memory of an open stream over TLS, in KiB"),
    ("growth-nodes", "growth", PART, "CPU a request with 1000 nodes, against 1"),
    ("growth-nodes", "growth_whole", PART, "the same with the checks of the nodes, every 2 s"),
    ("growth-in-flight", "growth", PART, "CPU a request beside {sizes[3]:,} that are under way, against 10"),
    ("failing", "failed", NUMBER, "one of two nodes answers only 500: failed of 1000 POSTs"),
    ("batch-equal", "of_best", PART, "goodput, two equal nodes (1.00: the best that is known)"),
    ("batch-slow", "of_best", PART, "goodput, one of two nodes three times slower"),
    ("batch-crash", "of_best", PART, "goodput, one of two nodes crashes and returns"),
    ("batch-crash", "failed", NUMBER, "the same: failed of 3000 requests"),
    ("batch-mixed", "of_best", PART, "goodput, eight nodes of mixed speed"),
]


def complete(rounds):
    """Adds the delay due to the gateway: the difference to the rounds without one."""
    for seen in rounds.values():
        for each, direct in zip(seen, rounds.get("direct", [])):
            each["added_p50"] = each["lag_p50"] - direct["lag_p50"]
            each["added_p99"] = each["lag_p99"] - direct["lag_p99"]
    return rounds


def ratios(rounds, kind, base, key):
    """Ratios per round, because a disturbance affects all kinds in the same round."""
    pairs = zip(rounds.get(kind, []), rounds.get(base, []))
    return [a[key] / b[key] for a, b in pairs if b[key] > 0]


def typical(values):
    return statistics.mode(values) if isinstance(values[0], str) else statistics.median(values)


def spread(values, shape="{:.2f}"):
    if not values:
        return "-"
    return " ".join([shape.format(statistics.median(values)), f"({shape} to {shape})".format(min(values), max(values))])


def table(spec, rounds):
    """Medians and spread. Ratios are those of the first column, to peers and to the same kind of the earlier build."""
    first, _, first_shape = spec.columns[0]
    heads = [head for _, head, _ in spec.columns]
    bases = [base for base in BASES if base in rounds] or list(rounds)[:1]
    lines = [f"### {spec.name}: {spec.title}", ""]
    heads += [f"ratio to {base}" for base in bases]
    has_before = any(kind.endswith(BEFORE) for kind in rounds)
    if has_before:
        heads.append("ratio to before")
    lines.append("| | " + " | ".join(heads) + " |")
    lines.append("|---" * (1 + len(heads)) + "|")
    for kind, seen in rounds.items():
        cells = [spread([each[first] for each in seen], first_shape)]
        cells += [shape.format(typical([each[key] for each in seen])) for key, _, shape in spec.columns[1:]]
        cells += [spread(ratios(rounds, kind, base, first)) for base in bases]
        if has_before:
            cells.append(spread(ratios(rounds, kind, kind + BEFORE, first)))
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def text(result, specs):
    told = "\n".join(f"{key}: {value}" for key, value in result["circumstances"].items())
    parts = [table(spec, complete(result["rounds"][spec.name])) for spec in specs if spec.name in result["rounds"]]
    return f"{told}\nmedians, and in brackets least to most\n\n" + "\n".join(parts)


def keep(result, shown):
    moment, commit = result["circumstances"]["date"][:16].replace(":", ""), result["circumstances"]["commit"]
    stem = f"{moment}-{commit}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{stem}.md").write_text(shown)
    return f"{RESULTS.relative_to(ROOT)}/{stem}.*"


def newest():
    """The newest results of each table, of commits that anyone can check out."""
    kept = [json.loads(path.read_text()) for path in RESULTS.glob("*.json")]
    kept = [result for result in kept if not result["circumstances"]["commit"].endswith(CHANGED)]
    found = {}
    for result in sorted(kept, key=lambda result: result["circumstances"]["date"]):
        for name, rounds in result["rounds"].items():
            found[name] = (result["circumstances"], complete(rounds))
    return found


def readme_table():
    results = newest()
    # kept results may be older than a row
    rows = [row for row in ROWS if row[0] in results and row[1] in results[row[0]][1]["evenkeel"][0]]
    if not rows:
        return ""
    kinds = [kind for kind in KINDS if any(kind in results[row[0]][1] for row in rows)]
    lines = ["| | " + " | ".join(KINDS[kind] for kind in kinds) + " |", "|---" * (1 + len(kinds)) + "|"]
    for name, key, how, says in rows:
        rounds = results[name][1]
        cells = [cell(rounds, kind, key, how) for kind in kinds]
        lines.append(f"| {says.format(**rounds['evenkeel'][0])} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *sources({row[0] for row in rows}, results)]) + "\n"


def cell(rounds, kind, key, how):
    if kind not in rounds:
        return ""
    values = ratios(rounds, kind, "nginx-tuned", key) if how == RATIO else [each[key] for each in rounds[kind]]
    shape = "{:.2f}" if how == RATIO else how
    return shape.format(statistics.median(values)) if values else "-"


def sources(names, results):
    """The source of the figures: usually a single run."""
    runs = {results[name][0]["date"]: results[name][0] for name in names}
    rounds = {name: len(results[name][1]["evenkeel"]) for name in names}
    least = min(count for name, count in rounds.items() if enough(name) == ROUNDS_MIN)
    too_few = any(count < enough(name) for name, count in rounds.items())
    for date, run in sorted(runs.items()):
        machine = f"{run['cores']} cores of {run['cpu']}"
        peers = f"nginx {version(run['nginx'])}, HAProxy {version(run['haproxy'])}"
        yield f"{date[:10]}, commit {run['commit']}, profile `{run['profile']}`, {machine}, {peers}."
    profiles = {run["profile"] for run in runs.values()}
    load = max(run["load_before"] for run in runs.values())
    if too_few or profiles != {"release"} or load > LOAD_MAX:
        wanted = f"{ROUNDS_MIN} rounds of the release binary on a quiet machine"
        yield f"**Preliminary**: these are not {wanted} (its load was {load:.1f} before)."
    fewer = [f"{count} in `{name}`" for name, count in sorted(rounds.items()) if enough(name) < ROUNDS_MIN]
    but = f" ({', '.join(fewer)})" if fewer else ""
    yield f"Medians of {least} or more rounds that alternate{but}; ratios to tuned nginx but where the row says otherwise."


def enough(name):
    """Rounds of a table."""
    return next((rounds for start, rounds in FEWER.items() if name.startswith(start)), ROUNDS_MIN)


def version(said):
    return re.search(r"\d+(\.\d+)+", said).group()


def readme_words():
    results = newest()
    shapes = {"ratio": RATIO, "number": NUMBER, "part": PART}
    return words.told(lambda name, kind, key, how: cell(results[name][1], kind, key, shapes[how]))


def write_readme(only_look):
    """Writes the table and the words; or only reports which of them differ from the results."""
    for place, text in ((TABLE, readme_table()), (WORDS, readme_words())):
        wrong = write_between(*place, text, only_look)
        if wrong:
            return wrong
    return None


def write_between(path, begin, end, text, only_look):
    before, name = path.read_text(), path.relative_to(ROOT)
    if before.count(begin) != 1 or before.count(end) != 1:
        return f"{name} has no place for the figures: between {begin!r} and {end!r}"
    head, rest = before.split(begin)
    after = f"{head}{begin}\n{text}{end}{rest.split(end)[1]}"
    if only_look and after != before:
        return f"the figures in {name} are not those of the newest results: run `tests/bench/run --readme`"
    if not only_look:
        path.write_text(after)
    return None
