"""Starts engines and gateways, and ends them with all their processes."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request

from fleet import free_port, until_answered

LIMIT = 60  # seconds; only a failing run waits so long

CONFIG = """\
server:
  listen: 127.0.0.1:{port}
  admin: 127.0.0.1:{admin}
  access_log: {{ path: {directory}/access-{port}.log }}
pools:
  engines:
    nodes: [{nodes}]
{more}
"""


def get(url):
    return urllib.request.urlopen(url, timeout=LIMIT)


def until(what, condition, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.01)


class Process:
    """A server on a port of its own, the leader of a process group."""

    def __init__(self, command, ready, log, env=None, limit=LIMIT):
        self.command, self.ready, self.log, self.env = command, ready, log, os.environ | (env or {})
        self.limit, self.process = limit, None

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env, start_new_session=True)

    def until_ready(self):
        until_answered(self.process, self.ready, self.limit)

    def start(self):
        self.launch()
        self.until_ready()

    def kill(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)

    def running(self):
        return self.process is not None and self.process.poll() is None


class Gateway(Process):
    def __init__(self, engines, directory, lines=()):
        port, self.admin = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.access_log = os.path.join(directory, f"access-{port}.log")
        path = os.path.join(directory, f"gateway-{port}.yaml")
        values = {"port": port, "admin": self.admin, "directory": directory, "more": "\n".join("    " + x for x in lines)}
        with open(path, "w") as file:
            file.write(CONFIG.format(nodes=", ".join(engine.address for engine in engines), **values))
        command = [os.environ["EVENKEEL"], "run", "-c", path]
        log = os.path.join(directory, f"gateway-{port}.log")
        super().__init__(command, f"http://127.0.0.1:{self.admin}/readyz", log)

    def status(self):
        return json.load(get(f"http://127.0.0.1:{self.admin}/api/status"))

    def nodes(self):
        return [node for pool in self.status()["pools"] for node in pool["nodes"]]

    def is_idle(self):
        return self.status()["requests"] == 0 and all(node["in_flight"] == 0 for node in self.nodes())


@contextlib.contextmanager
def started(processes):
    """All started, in this order; killed at the end."""
    begun = []
    try:
        for process in processes:
            begun.append(process)
            process.start()
        yield processes
    finally:
        for process in reversed(begun):
            process.kill()
