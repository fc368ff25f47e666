"""A client that leaves frees its engine: vllm:num_requests_running is 0 again."""

import json
import socket
import statistics
import time
from urllib.parse import urlsplit

from processes import LIMIT, until
from suite import check

CLIENTS, ROUNDS = 8, 15
FREE_WITHIN = 0.1  # seconds
LONG = {"model": "random", "prompt": "The sea", "max_tokens": 2000, "temperature": 0, "ignore_eos": True}


@check
def clients_that_leave_streams_free_the_engine(fleet):
    return frees(fleet, LONG | {"stream": True})


@check
def clients_that_leave_whole_answers_free_the_engine(fleet):
    return frees(fleet, LONG)


def frees(fleet, body):
    with fleet.gateway(lines=["engine: vllm"]) as gateway:
        direct = [seconds_until_free(fleet.engines, fleet.a.url, body) for _ in range(ROUNDS)]
        through = [seconds_until_free(fleet.engines, gateway.url, body) for _ in range(ROUNDS)]
    told = f"{CLIENTS} clients, {ROUNDS} rounds: {figures(through)}; without the gateway {figures(direct)}"
    # whatever else this machine does only adds to it, and to what the engine itself takes
    assert min(through) <= FREE_WITHIN, told
    assert statistics.median(through) <= statistics.median(direct) + FREE_WITHIN, told
    return told


def figures(seconds):
    return f"best {1e3 * min(seconds):.0f} ms, median {1e3 * statistics.median(seconds):.0f} ms"


def seconds_until_free(engines, url, body):
    at_work = lambda: sum(engine.at_work() for engine in engines)
    clients = [connect(url, "/v1/completions", body) for _ in range(CLIENTS)]
    until("all are at work", lambda: at_work() == CLIENTS)
    if body.get("stream"):
        for client in clients:
            client.recv(1 << 16)
    began = time.monotonic()
    for client in clients:
        client.close()
    until("the engines are free", lambda: at_work() == 0)
    return time.monotonic() - began


def connect(url, path, body, fields=""):
    """A connection on which this request has been sent."""
    where, body = urlsplit(url), json.dumps(body).encode()
    client = socket.create_connection((where.hostname, where.port), timeout=LIMIT)
    head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n{fields}"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client
