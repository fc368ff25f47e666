"""Starts the gateways under test, the nodes and the client."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

from machine import HERE, free_addresses, running, stop_with
from programs import BEFORE

TEMPLATES = {
    "nginx-usual": "nginx-usual.conf",
    "nginx-tuned": "nginx-tuned.conf",
    "haproxy": "haproxy.cfg",
    "evenkeel": "evenkeel.yaml",
    "evenkeel-auto": "evenkeel.yaml",
    "evenkeel-resume": "evenkeel.yaml",
}
# lines of evenkeel.yaml that only one kind has
MORE = {"evenkeel-auto": "weight: auto", "evenkeel-resume": "engine: vllm\n    retry: { resume: on }"}
# TLS in the place of each config that has one: versions 1.2 and 1.3, tickets for sessions, and all else as it is by default
TLS = {
    "nginx-tuned": " ssl",
    "haproxy": " ssl crt {}/both.pem alpn http/1.1",
    "evenkeel": ", tls: {{ cert: {0}/cert.pem, key: {0}/key.pem }}",
}
TLS_MORE = "ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;"
# a node's limit of requests in flight; those beyond it queue, which nginx cannot do
LIMIT = {"evenkeel": ", max_in_flight: {}", "haproxy": " maxconn {}"}
INSTANT = ["--step-base", "0", "--step-per-seq", "0", "--max-seqs", "16384"]


def steady(interval):
    """Arguments of a node whose streams have one event per interval, whatever their number."""
    return ["--step-base", interval, "--step-per-seq", "0", "--max-seqs", "16384"]


class Lab:
    """Starts everything fresh for each measurement, so that none affects the next."""

    def __init__(self, directory, programs, files):
        self.directory = directory
        self.programs = programs
        # a copy, because program pages shared with the gateway would count less in the gateway's `Pss`
        self.node = shutil.copy(programs.evenkeel, directory / "node")
        subprocess.run([programs.load, "--new-certificate", directory], check=True)
        # HAProxy wants certificate and key in one file
        both = [(directory / name).read_text() for name in ("cert.pem", "key.pem")]
        (directory / "both.pem").write_text("".join(both))
        # of a client
        self.tls = {"tls": directory / "cert.pem"}
        # a stream takes two files
        self.streams_max = (files - 256) // 2

    @contextlib.contextmanager
    def nodes(self, arguments):
        with contextlib.ExitStack() as stack:
            addresses = free_addresses(len(arguments))
            for address, more in zip(addresses, arguments):
                command = [self.node, "node", "--listen", address, *more]
                stack.enter_context(running(command, address))
            yield addresses

    @contextlib.contextmanager
    def many_nodes(self, count, arguments):
        """One node with many addresses: all of 127.0.0.0/8 is this machine."""
        (address,) = free_addresses(1)
        port = address.split(":")[1]
        command = [self.node, "node", "--listen", f"0.0.0.0:{port}", *arguments]
        with running(command, address):
            yield [f"127.0.{1 + number // 250}.{1 + number % 250}:{port}" for number in range(count)]

    @contextlib.contextmanager
    def gateway(self, kind, nodes, workers=None, limit=None, tls=False):
        """Starts a gateway with the given number of worker threads, or one per core; `limit` is each node's request limit."""
        workers = workers or os.cpu_count()
        (listen,) = free_addresses(1)
        programs = self.programs
        options = {"stderr": subprocess.DEVNULL}
        if kind == "floor":
            command = [programs.floor, "--listen", listen, "--threads", workers]
            command += [word for node in nodes for word in ("--node", node)]
        else:
            config = self.config(kind, listen, nodes, workers, limit, tls)
        if kind.startswith("evenkeel"):
            command = [programs.binary(kind), "run", "-c", config]
        elif kind.startswith("nginx"):
            command = [programs.nginx, "-p", self.directory, "-c", config, "-g", "daemon off;"]
            options["env"] = programs.nginx_env
        elif kind == "haproxy":
            command = [programs.haproxy, "-db", "-f", config]
            # receives HAProxy's access log, which it cannot write to a file
            options.update(env=programs.haproxy_env, stdout=open(self.directory / "haproxy-access.log", "ab"))
        with running(command, listen, **options) as process:
            yield listen, process.pid

    def config(self, kind, listen, nodes, workers, limit=None, tls=False):
        kind = kind.removesuffix(BEFORE)
        name = TEMPLATES[kind]
        # HAProxy counts clients only, and refuses to start with more than its limit of open files allows; nginx counts
        # both sides, and drops clients when fewer than a sixteenth of its connections are left
        connections = min(self.streams_max + 50, 16384) if kind == "haproxy" else 32768
        values = {
            "LISTEN": listen,
            "DIR": self.directory,
            "WORKERS": workers,
            "CONNECTIONS": connections,
            # at least one per node, or nginx opens a connection for each request
            "KEPT": max(256, len(nodes)),
            "MORE": MORE.get(kind, ""),
            "TLS_MORE": TLS_MORE.format(self.directory) if tls else "",
            "TLS": TLS[kind].format(self.directory) if tls else "",
            "LIMIT": LIMIT[kind].format(limit) if limit else "",
        }
        lines = []
        for line in (HERE / name).read_text().splitlines():
            if "@NODE@" in line:
                each = enumerate(nodes, 1)
                lines += [line.replace("@NODE@", node).replace("@N@", str(number)) for number, node in each]
            else:
                lines.append(line)
        text = "\n".join(lines) + "\n"
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        config = self.directory / name
        config.write_text(text)
        return config

    def knows(self, kind):
        """True if all binaries accept this config; an older one may not."""
        config = self.config(kind, "127.0.0.1:1", ["127.0.0.1:2"], 1)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        binaries = filter(None, [self.programs.evenkeel, self.programs.before])
        return all(subprocess.call([binary, "check", "-c", config], **quiet) == 0 for binary in binaries)

    def load_command(self, targets, options):
        command = [self.programs.load]
        for target in targets:
            command += ["--target", target]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), *([] if value is True else [str(value)])]
        return command

    def load(self, targets, **options):
        """Runs a load to its end."""
        command = self.load_command(targets, options)
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    @contextlib.contextmanager
    def held(self, targets, count, ramp, within=60, **more):
        """Keeps this many requests in flight."""
        options = {"count": count, "concurrency": count, "body": 512, "ramp": ramp, **more}
        with self.watched(targets, options) as held:
            held.wait_for("in_flight", count, within + ramp)
            yield held

    @contextlib.contextmanager
    def idle(self, targets, count, ramp=1.0, within=60, **more):
        """Keeps this many connections open, after one request on each."""
        options = {"count": count, "concurrency": count, "idle": True, "ramp": ramp, **more}
        with self.watched(targets, options) as idle:
            idle.wait_for("done", count, within + ramp)
            yield idle

    @contextlib.contextmanager
    def streams(self, targets, count, ramp=1.0, within=60, **more):
        """Keeps this many endless streams open, once the last one has its first event; failures are counted."""
        options = {"count": count, "concurrency": count, "body": 512, "tokens_min": 1 << 30, "stream": 1, "ramp": ramp, **more}
        with self.watched(targets, options) as streams:
            streams.wait_for("streams", count, within + ramp)
            yield streams

    @contextlib.contextmanager
    def watched(self, targets, options):
        """A load that reports its progress and is cut off at the end; failures are counted."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*self.load_command(targets, options), "--watch"], **pipes)
        try:
            yield Watched(process)
        finally:
            told = process.communicate()[0]
            if failures := json.loads(told)["failures"]:
                print(f"bench: requests that failed: {', '.join(failures)}", file=sys.stderr)


class Watched:
    def __init__(self, process):
        self.process = process

    def look(self):
        """The progress so far; lags are those since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait_for(self, what, count, seconds):
        """Waits until this many have arrived or failed."""
        end = time.monotonic() + seconds
        while (seen := self.look())[what] + seen["failed"] < count:
            if time.monotonic() > end:
                stop_with(f"{seen[what]} of {count} {what}, {seen['failed']} failed")
            time.sleep(0.1)
