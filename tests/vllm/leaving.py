"""A client that leaves frees its engine: vllm:num_requests_running is 0 again."""

import json
import os
import socket
import statistics
import time
import urllib.request
from urllib.parse import urlsplit

from processes import LIMIT, until
from suite import check

CLIENTS, ROUNDS, ATTEMPTS = 8, 7, 6
FREE_WITHIN = 0.1  # seconds
TRIES, AT_WORK_WITHIN = 5, 5
LONG = {"model": "random", "prompt": "The sea", "max_tokens": 2000, "temperature": 0, "ignore_eos": True}


@check
def clients_that_leave_streams_free_the_engine(fleet):
    return frees(fleet, LONG | {"stream": True})


@check
def clients_that_leave_whole_answers_free_the_engine(fleet):
    return frees(fleet, LONG)


def frees(fleet, body):
    """Other work on this machine only adds to the time, so that some rounds without it are enough."""
    for engine in fleet.engines:
        warm_up(engine)
    with fleet.gateway(lines=["engine: vllm"]) as gateway:
        for attempt in range(1, ATTEMPTS + 1):
            direct, through = (
                statistics.median(seconds_until_free(fleet.engines, urls, body) for _ in range(ROUNDS))
                for urls in ([engine.url for engine in fleet.engines], [gateway.url])
            )
            told = f"{CLIENTS} clients, median of {ROUNDS} rounds: {1e3 * through:.0f} ms"
            told += f", without the gateway {1e3 * direct:.0f} ms (attempt {attempt})"
            if through <= FREE_WITHIN:
                return told
    told += f"; load average: {os.getloadavg()[0]:.1f}"
    assert through <= direct, told
    return f"{told}: too busy a machine for {1e3 * FREE_WITHIN:.0f} ms, and no slower with the gateway"


def warm_up(engine):
    """An engine's first request takes seconds, in which the other engine would be done with its own."""
    body = json.dumps(LONG).encode()
    request = urllib.request.Request(engine.url + "/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        answer.read()


def seconds_until_free(engines, urls, body):
    at_work = lambda: sum(engine.at_work() for engine in engines)
    clients = all_at_work(at_work, urls, body)
    if body.get("stream"):
        for client in clients:
            client.recv(1 << 16)
    began = time.monotonic()
    for client in clients:
        client.close()
    until("the engines are free", lambda: at_work() == 0)
    return time.monotonic() - began


def all_at_work(at_work, urls, body):
    """Clients whose requests run at the same time: where one engine was late, the other may be done with its own by then."""
    for _ in range(TRIES):
        clients = [connect(url, "/v1/completions", body) for _ in range(CLIENTS // len(urls)) for url in urls]
        begun = time.monotonic()
        while time.monotonic() < begun + AT_WORK_WITHIN:
            if at_work() == CLIENTS:
                return clients
        for client in clients:
            client.close()
        until("the engines are free", lambda: at_work() == 0)
    raise AssertionError(f"{CLIENTS} requests do not run at the same time")


def connect(url, path, body, fields=""):
    """A connection on which this request has been sent."""
    where, body = urlsplit(url), json.dumps(body).encode()
    client = socket.create_connection((where.hostname, where.port), timeout=LIMIT)
    head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n{fields}"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client
