"""Starts engines and gateways on free ports, and stops them."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request

from fleet import free_port, until_answered

TOOLS = os.environ["ENGINE_TOOLS"]
LIMIT = 60  # seconds; only a failing run waits so long
CONTEXT = 8192

# One thread for each. llama-server's flash attention rounds a prompt otherwise than the same tokens one by one, so that a
# continued text may in time become another one; without it texts can be compared.
COMMANDS = {
    "llama-server": [
        *(f"{TOOLS}/build/bin/llama-server", "--model", f"{TOOLS}/model.gguf", "--alias", "random"),
        *("--ctx-size", str(2 * CONTEXT), "--parallel", "2", "--threads", "1", "--flash-attn", "off"),
    ],
    "llama-cpp-python": [
        *(f"{TOOLS}/venv/bin/python", "-m", "llama_cpp.server", "--model", f"{TOOLS}/model.gguf"),
        *("--model_alias", "random", "--n_ctx", str(CONTEXT), "--n_threads", "1", "--verbose", "false"),
    ],
}

CONFIG = """\
server:
  listen: 127.0.0.1:{port}
  admin: 127.0.0.1:{admin}
  access_log: {{ path: {directory}/access.log }}
pools:
  engines:
    health: {{ max_fails: 0 }}
    nodes: [{nodes}]
{more}
"""


def get(url):
    return urllib.request.urlopen(url, timeout=LIMIT)


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)


class Process:
    """A server on a port of its own."""

    def __init__(self, command, ready, log, env=None):
        self.command, self.ready, self.log, self.env = command, ready, log, os.environ | (env or {})

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env)
        until_answered(self.process, self.ready)

    def kill(self):
        self.process.kill()
        self.process.wait(LIMIT)

    def running(self):
        return self.process.poll() is None


class Engine(Process):
    def __init__(self, kind, directory):
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        port = self.address.rsplit(":", 1)[1]
        command = [*COMMANDS[kind], "--host", "127.0.0.1", "--port", port]
        log = os.path.join(directory, f"engine-{port}.log")
        super().__init__(command, self.url + "/v1/models", log, {"LLAMA_CPP_LIB_PATH": f"{TOOLS}/build/bin"})


class Gateway(Process):
    def __init__(self, engines, directory, lines=()):
        port, self.admin = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
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
            if process.running():
                process.kill()
