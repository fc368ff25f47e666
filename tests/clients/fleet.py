"""Starts two simulated nodes and a gateway on free ports, runs a command, stops everything.

    fleet.py [--tls] [--pool LINE]... [--node ARGUMENT]... BINARY COMMAND [ARGUMENT...]

The command finds GATEWAY, ADMIN, NODE_A and NODE_B in its environment, as http:// addresses, and the nodes' process ids
as PID_A and PID_B. With --tls GATEWAY is https://, and its certificate is named in the variables by which Python, Node and curl
learn whom to trust.
"""

import argparse
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
  listen: {{ address: "127.0.0.1:{gateway}", tls: {tls} }}
  admin: 127.0.0.1:{admin}
  access_log: {{ path: {directory}/access.log }}
pools:
  sim:
    health: {{ max_fails: 0 }}
    nodes: [127.0.0.1:{a}, 127.0.0.1:{b}]
{more}
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


def certificate(directory):
    """A certificate for this machine and its key, as files."""
    cert, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", names, "-keyout", key, "-out", cert],
        check=True, stderr=subprocess.DEVNULL)
    return cert, key


def until_answered(process, url, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        try:
            urllib.request.urlopen(url, timeout=LIMIT).read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"fleet.py: {url}: {error}")
        time.sleep(0.02)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tls", action="store_true", help="the gateway speaks TLS")
    parser.add_argument("--pool", action="append", default=[], help="a line for the pool's config")
    parser.add_argument("--node", action="append", default=[], help="an argument for the nodes, as in --node=--speed=2")
    parser.add_argument("binary")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main():
    args = arguments()
    ports = {name: free_port() for name in ("gateway", "admin", "a", "b")}
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "gateway.yaml")
        tls, trusts = "off", {}
        if args.tls:
            cert, key = certificate(directory)
            tls = f"{{ cert: {cert}, key: {key} }}"
            addresses["gateway"] = addresses["gateway"].replace("http:", "https:")
            trusts = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"), cert)
        with open(config, "w") as file:
            file.write(CONFIG.format(directory=directory, tls=tls, more="\n".join("    " + line for line in args.pool), **ports))
        try:
            for name in ("a", "b"):
                address = f"127.0.0.1:{ports[name]}"
                node = [args.binary, "node", "--name", name, "--listen", address, *(args.node or ["--step-base=10ms"])]
                processes.append(subprocess.Popen(node, stdout=subprocess.DEVNULL))
                until_answered(processes[-1], addresses[name] + "/health")
            quiet = os.environ | {"RUST_LOG": os.environ.get("RUST_LOG", "evenkeel=error")}
            processes.append(subprocess.Popen([args.binary, "run", "-c", config], env=quiet))
            until_answered(processes[-1], addresses["admin"] + "/readyz")
            told = {"GATEWAY": "gateway", "ADMIN": "admin", "NODE_A": "a", "NODE_B": "b"}
            told = {key: addresses[name] for key, name in told.items()}
            told |= trusts
            told |= {"PID_A": str(processes[0].pid), "PID_B": str(processes[1].pid)}
            return subprocess.run(args.command, env=os.environ | told).returncode
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(LIMIT)


if __name__ == "__main__":
    sys.exit(main())
