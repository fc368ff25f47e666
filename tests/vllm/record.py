"""Writes what vLLM sends, byte for byte, into tests/vllm/wire: the tests of src/classify and src/resume read it.

A file is the request's line and body, an empty line, and the response as it came. Of a long stream some of the chunks in
the middle are left out.

    record.py DIRECTORY [plain] [limited]    those of one engine, or of both; DIRECTORY is for their logs
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time

from engine import LIMITED, Engine
from leaving import connect
from processes import LIMIT, started, until

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wire")
CHAT, COMPLETION, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"
SAID = [{"role": "user", "content": "The sea"}]
SURE = {"model": "random", "temperature": 0, "ignore_eos": True}
SHORT, LONG, LONGEST = {"max_tokens": 5}, {"max_tokens": 1500}, 1500
STREAM, USAGE = {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}
CONTINUOUS = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
IDS = {"return_token_ids": True}
END_LIMIT = 10 * LIMIT  # seconds, for an answer of 1500 tokens on a busy machine
FIRST, LAST = 6, 4  # chunks that are kept of a long stream

CHATTED, COMPLETED = SURE | {"messages": SAID}, SURE | {"prompt": "The sea"}
MESSAGE = {"model": "random", "messages": SAID, "temperature": 0}
RESPONSE = {"model": "random", "input": "The sea", "temperature": 0}

UNDISTURBED = {
    "chat": (CHAT, CHATTED | SHORT),
    "chat-stream": (CHAT, CHATTED | SHORT | STREAM),
    "chat-stream-usage": (CHAT, CHATTED | SHORT | USAGE),
    "chat-stream-continuous-usage": (CHAT, CHATTED | SHORT | CONTINUOUS),
    "chat-stream-ids": (CHAT, CHATTED | SHORT | USAGE | IDS),
    "chat-stream-logprobs": (CHAT, CHATTED | SHORT | STREAM | {"logprobs": True, "top_logprobs": 1}),
    "completion": (COMPLETION, COMPLETED | SHORT),
    "completion-stream": (COMPLETION, COMPLETED | SHORT | STREAM),
    "completion-stream-usage": (COMPLETION, COMPLETED | SHORT | USAGE),
    "completion-stream-continuous-usage": (COMPLETION, COMPLETED | SHORT | CONTINUOUS),
    "completion-stream-ids": (COMPLETION, COMPLETED | SHORT | USAGE | IDS),
    "completion-stream-two-prompts": (COMPLETION, COMPLETED | SHORT | STREAM | {"prompt": ["One", "Two"]}),
    "messages": (MESSAGES, MESSAGE | SHORT),
    "messages-stream": (MESSAGES, MESSAGE | SHORT | STREAM),
    "responses": (RESPONSES, RESPONSE | {"max_output_tokens": 16}),
    "responses-stream": (RESPONSES, RESPONSE | {"max_output_tokens": 3} | STREAM),
    "unknown-model": (CHAT, CHATTED | SHORT | {"model": "nobody"}),
    "too-long": (COMPLETION, COMPLETED | SHORT | {"prompt": [5] * 3000}),
    "bad-regex": (CHAT, CHATTED | SHORT | {"structured_outputs": {"regex": "(["}}),
    "bad-regex-stream": (CHAT, CHATTED | SHORT | STREAM | {"structured_outputs": {"regex": "(["}}),
    "bad-token-stream": (COMPLETION, COMPLETED | SHORT | STREAM | {"prompt": [5, 999999]}),
}
DISTURBED = {
    "chat": (CHAT, CHATTED | LONG),
    "chat-stream": (CHAT, CHATTED | LONG | USAGE),
    "chat-stream-ids": (CHAT, CHATTED | LONG | STREAM | IDS),
    "completion-stream": (COMPLETION, COMPLETED | LONG | STREAM),
    "messages-stream": (MESSAGES, MESSAGE | LONG | STREAM),
    "responses-stream": (RESPONSES, RESPONSE | {"max_output_tokens": LONGEST} | STREAM),
    "responses": (RESPONSES, RESPONSE | {"max_output_tokens": LONGEST}),
}


class Exchange:
    """A request under way, and what has come of its response."""

    def __init__(self, engine, path, body):
        self.path, self.body, self.got = path, body, b""
        self.connection = connect(engine.url, path, body, "Connection: close\r\n")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with contextlib.suppress(OSError):
            while piece := self.connection.recv(1 << 16):
                self.got += piece

    def events(self):
        return self.got.count(b"data: ")

    def end(self):
        self.reader.join(END_LIMIT)
        assert not self.reader.is_alive(), f"{self.path}: no end after {END_LIMIT} s"
        self.connection.close()
        return self.got

    def write(self, name):
        with open(os.path.join(HERE, f"{name}.http"), "wb") as file:
            file.write(f"POST {self.path}\n{json.dumps(shown(self.body))}\n\n".encode() + trimmed(self.end()))
        print(f"{name}: {self.events()} events")


def shown(body):
    return {key: value if len(str(value)) < 1000 else "long" for key, value in body.items()}


def trimmed(response):
    """Without the chunks in the middle."""
    head, end, body = response.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return response
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = len(size) + 2 + int(size, 16) + 2
        chunks.append(body[:length])
        body = body[length:]
    if len(chunks) > FIRST + LAST + 8:
        largest = max(chunks[FIRST:-LAST], key=len)  # of all events it has the most tokens
        chunks = [*chunks[:FIRST], largest, *chunks[-LAST:]]
    return head + end + b"".join(chunks)


def disturbed(engine, name, disturb):
    asked = {key: Exchange(engine, *request) for key, request in DISTURBED.items()}
    until("all speak", lambda: all(asked[key].events() > 12 for key in asked if "stream" in key))
    disturb()
    for key, exchange in asked.items():
        exchange.write(f"{name}-{key}")


def packed(engine):
    """Several tokens in one event, as they come when many streams are served."""
    crowd = [Exchange(engine, COMPLETION, COMPLETED | {"max_tokens": 300} | STREAM) for _ in range(100)]
    crowd.append(Exchange(engine, CHAT, CHATTED | {"max_tokens": 300} | USAGE | IDS))
    for exchange in crowd:
        exchange.end()
    crowd[-1].write("chat-stream-ids-packed")


def plain(directory):
    with started([Engine("a", directory)]) as (engine,):
        for name, request in UNDISTURBED.items():
            Exchange(engine, *request).write(name)
        packed(engine)
        disturbed(engine, "core-killed", lambda: os.kill(engine.core(), signal.SIGKILL))
        engine.until_gone()
        engine.start()
        disturbed(engine, "stopped", lambda: engine.signal(signal.SIGTERM))
        engine.until_gone()
        engine.start()
        disturbed(engine, "killed", engine.crash)


def limited(directory):
    """An engine with room for 4 requests and a queue of 8; comments each second; at the end it drains."""
    with started([Engine("c", directory, *LIMITED, "--sse-keep-alive-interval", "1")]) as (engine,):
        full(engine)
        frozen(engine)
        draining(engine)


def full(engine):
    crowd = [Exchange(engine, COMPLETION, COMPLETED | LONG | STREAM) for _ in range(12)]
    until("it is full", lambda: sum(exchange.events() > 0 for exchange in crowd) == 4)
    Exchange(engine, COMPLETION, COMPLETED | SHORT | STREAM).write("full-completion-stream")
    Exchange(engine, CHAT, CHATTED | SHORT | STREAM).write("full-chat-stream")
    Exchange(engine, CHAT, CHATTED | SHORT).write("full-chat")
    for exchange in crowd:
        exchange.connection.close()
    until("it is free", lambda: engine.at_work() == 0)


def frozen(engine):
    silent = Exchange(engine, COMPLETION, COMPLETED | LONG | STREAM)
    until("it speaks", lambda: silent.events() > 3)
    core = engine.core()
    os.kill(core, signal.SIGSTOP)
    until("comments have come", lambda: silent.got.count(b": keep-alive") >= 3)
    silent.connection.shutdown(2)
    silent.write("frozen-completion-stream")
    os.kill(core, signal.SIGCONT)


def draining(engine):
    last = Exchange(engine, COMPLETION, COMPLETED | LONG | STREAM)
    until("it speaks", lambda: last.events() > 3)
    engine.signal(signal.SIGTERM)
    time.sleep(1)
    Exchange(engine, CHAT, CHATTED | SHORT | STREAM).write("draining-chat-stream")
    last.write("draining-completion-stream")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engines are ended
    os.makedirs(HERE, exist_ok=True)
    for part in (plain, limited):
        if part.__name__ in (sys.argv[2:] or part.__name__):
            part(sys.argv[1])


main()
