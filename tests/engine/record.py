"""Prints what the engines send, byte for byte: what tests/clients/README.md says of them can be seen here."""

import json
import signal
import socket
import subprocess
import tempfile
import time
from importlib.metadata import version

from engines import COMMANDS, CONTEXT, TOOLS, Engine
from processes import LIMIT, started, until

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "The sea"}]
SURE = {"temperature": 0, "repeat_penalty": 1.0}
LONG = {"prompt": "The sea", "max_tokens": 4000, "stream": True, **SURE}
USAGE = {"stream": True, "stream_options": {"include_usage": True}, **SURE}


def begin(engine, path, body=None, events=0, close=True):
    """Sends a request and reads until so many events have come: the connection, and what was read."""
    connection = socket.create_connection(engine.address.split(":"), timeout=LIMIT)
    body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: engine\r\n"
    head += "Connection: close\r\n" if close else ""
    head += "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + (body or b""))
    got = b""
    while got.count(b"data: ") < events:
        got += connection.recv(1 << 16)
    return connection, got


def rest(connection, got=b""):
    try:
        while piece := connection.recv(1 << 16):
            got += piece
        return got + b"<FIN>"
    except OSError as error:
        return got + f"<{error}>".encode()


def ask(engine, path, body=None):
    return rest(begin(engine, path, body)[0])


def show(title, got, most=1500):
    """The first and the last bytes; a line that ends in CR LF shows its CR."""
    shown = got if len(got) <= most else got[: most // 2] + b"\n[...]\n" + got[-most // 2 :]
    print(f"--- {title}\n{shown.decode(errors='replace')}".replace("\r\n", "\\r\n"))


def cpu_ticks(engine):
    with open(f"/proc/{engine.process.pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[11])


def starting(engine):
    """What a client sees from the start of the process until it answers 200."""
    seen = []
    log = open(engine.log, "ab")
    process = subprocess.Popen(engine.command, stdout=log, stderr=log, env=engine.env)
    while not seen or b" 200 " not in seen[-1]:
        try:
            now = ask(engine, "/v1/models")
        except OSError as error:
            now = f"<{error}>".encode()
        if now not in seen:
            seen.append(now)
        time.sleep(0.001)
    process.kill()
    process.wait()
    for answer in seen:
        show("while it starts: GET /v1/models", answer)


def requests(engine):
    show("GET /health", ask(engine, "/health"))
    show("a chat", ask(engine, CHAT, {"messages": MESSAGES, "max_tokens": 3, **SURE}))
    show("a chat, streamed, with usage", ask(engine, CHAT, {"messages": MESSAGES, "max_tokens": 2, **USAGE}), 4000)
    show("a completion, streamed, with usage", ask(engine, COMPLETION, {"prompt": "The", "max_tokens": 2, **USAGE}), 4000)
    show("what is no JSON", ask(engine, CHAT, b"{"))
    show("messages that are none", ask(engine, CHAT, {"messages": 1}))
    long = {"prompt": "a" * (CONTEXT + 1), "max_tokens": 5}
    show("a prompt over the context", ask(engine, COMPLETION, long))
    show("a prompt over the context, streamed", ask(engine, COMPLETION, long | {"stream": True}))
    full = {"prompt": "a" * (CONTEXT - 5), "max_tokens": 50, **USAGE}
    show("an answer that reaches the end of the context", ask(engine, COMPLETION, full)[-700:])
    got = ask(engine, COMPLETION, full | {"max_tokens": 0})
    print(f"--- the same with max_tokens: 0: {got.count(b'data: {')} events")


def continuation(engine):
    """Does the engine go on in the last message?"""
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    body = {"messages": MESSAGES, "max_tokens": 20, **SURE}
    content = lambda body: json.loads(ask(engine, CHAT, body).split(b"\r\n\r\n", 1)[1][: -len(b"<FIN>")])
    whole = content(body)["choices"][0]["message"]["content"]
    more = {"messages": [*MESSAGES, {"role": "assistant", "content": whole[:10]}], "max_tokens": 10}
    print(f"--- a chat: {whole!r}")
    for added in ({}, flags):
        told = content(body | more | added)["choices"][0]["message"]["content"]
        print(f"    goes on after the first 10, whole, with {added}: {told!r}")
        got = ask(engine, CHAT, body | more | added | {"stream": True}).replace(b"\r\n", b"")
        events = [json.loads(event.split(b"}\n\n")[0] + b"}") for event in got.split(b"data: ")[1:-1]]
        told = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
        print(f"    goes on after the first 10, streamed, with {added}: {told!r}")
    show("only continue_final_message", ask(engine, CHAT, body | more | {"continue_final_message": True}))


def endings(engine):
    connection, _ = begin(engine, "/v1/models", close=False)
    since = time.monotonic()
    rest(connection)
    print(f"--- an idle connection is closed after {time.monotonic() - since:.1f} s")

    first, got = begin(engine, COMPLETION, LONG, 20)
    second, got_second = begin(engine, COMPLETION, LONG, 20)
    second.close()
    got = rest(first, got)
    show(f"a stream while a second one came: {got.count(b'data: ')} events, the last of them", got[-300:])

    connection, got = begin(engine, COMPLETION, LONG, 20)
    ask(engine, "/v1/models")
    got = rest(connection, got)
    show(f"a stream while /v1/models was asked for: {got.count(b'data: ')} events, the last of them", got[-300:])

    connection, got = begin(engine, COMPLETION, LONG, 20)
    connection.close()
    since = time.monotonic()
    ask(engine, COMPLETION, {"prompt": "The", "max_tokens": 1})
    print(f"--- after a stream that was left, the next request took {time.monotonic() - since:.2f} s")
    before = cpu_ticks(engine)
    connection, _ = begin(engine, COMPLETION, LONG | {"stream": False})
    until("the engine works", lambda: cpu_ticks(engine) > before + 20)
    connection.close()
    since = time.monotonic()
    ask(engine, COMPLETION, {"prompt": "The", "max_tokens": 1})
    print(f"--- after a whole answer that was not waited for, the next request took {time.monotonic() - since:.2f} s")

    for name, number in (("SIGTERM", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
        connection, got = begin(engine, COMPLETION, LONG, 20)
        engine.process.send_signal(number)
        since = time.monotonic()
        events = got.count(b"data: ")
        got = rest(connection, got)
        more, seconds = got.count(b"data: ") - events, time.monotonic() - since
        show(f"{name} in mid-stream: {more} more events, end after {seconds:.1f} s", got[-300:])
        engine.process.wait(LIMIT)
        print(f"    the process ended with {engine.process.returncode} after {time.monotonic() - since:.1f} s")
        engine.start()


def main():
    subprocess.run([f"{TOOLS}/build/bin/llama-server", "--version"], check=True, stderr=subprocess.STDOUT)
    for package in ("llama_cpp_python", "uvicorn", "sse-starlette"):
        print(package, version(package))
    for kind in COMMANDS:
        print(f"\n====== {kind}: {' '.join(COMMANDS[kind]).replace(TOOLS, '...')}")
        with tempfile.TemporaryDirectory() as directory, started([Engine(kind, directory)]) as (engine,):
            engine.kill()
            starting(engine)
            engine.start()
            requests(engine)
            continuation(engine)
            endings(engine)


main()
