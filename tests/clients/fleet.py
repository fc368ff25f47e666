"""Starts two simulated nodes and a gateway on free ports, runs a command, stops everything.

    fleet.py BINARY COMMAND [ARGUMENT...]

The command finds GATEWAY, ADMIN, NODE_A and NODE_B in its environment, as http:// addresses.
"""

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

LIMIT = 30  # seconds; only a failing run waits so long

CONFIG = """\
server:
  listen: 127.0.0.1:{gateway}
  admin: 127.0.0.1:{admin}
  access_log: {{ path: {directory}/access.log }}
pools:
  sim:
    health: {{ max_fails: 0 }}
    nodes: [127.0.0.1:{a}, 127.0.0.1:{b}]
"""


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until_answered(process, url):
    end = time.monotonic() + LIMIT
    while True:
        try:
            urllib.request.urlopen(url, timeout=LIMIT).read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"fleet.py: {url}: {error}")
        time.sleep(0.02)


def main():
    binary, *command = sys.argv[1:]
    ports = {name: free_port() for name in ("gateway", "admin", "a", "b")}
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "gateway.yaml")
        with open(config, "w") as file:
            file.write(CONFIG.format(directory=directory, **ports))
        try:
            for name in ("a", "b"):
                address = f"127.0.0.1:{ports[name]}"
                node = [binary, "node", "--name", name, "--listen", address, "--step-base", "10ms"]
                processes.append(subprocess.Popen(node, stdout=subprocess.DEVNULL))
                until_answered(processes[-1], addresses[name] + "/health")
            quiet = os.environ | {"RUST_LOG": os.environ.get("RUST_LOG", "evenkeel=error")}
            processes.append(subprocess.Popen([binary, "run", "-c", config], env=quiet))
            until_answered(processes[-1], addresses["admin"] + "/readyz")
            told = {"GATEWAY": "gateway", "ADMIN": "admin", "NODE_A": "a", "NODE_B": "b"}
            told = {key: addresses[name] for key, name in told.items()}
            return subprocess.run(command, env=os.environ | told).returncode
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(LIMIT)


if __name__ == "__main__":
    sys.exit(main())
