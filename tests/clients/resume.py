"""Streams go on when their node is killed: 400 at once, through a gateway with `retry: { resume: on }`, with the OpenAI
Python SDK; see fleet.py for what it finds. No client may see that anything happened.

The simulated node says the same words to the same prompt, each with its number, on every node: what a client should get
can be asked for beforehand.
"""

import asyncio
import os
import signal
from string import ascii_lowercase

import httpx2
import openai

from checks import GATEWAY, NODES, check, hurry, nothing_in_flight, run, status

EACH, TOKENS = 200, 60
LIMIT = 120  # seconds; a small machine has much to read
# Killed when the slowest stream has begun; then the fastest must still have far to go. The nodes are slow until then.
BEGUN, NEAR_END = 3, TOKENS // 2


class Tee(httpx2.AsyncByteStream):
    """A response's bytes as they came, for a look at what the SDK does not show."""

    def __init__(self, stream, kept):
        self.stream, self.kept = stream, kept

    async def __aiter__(self):
        async for piece in self.stream:
            self.kept.append(piece)
            yield piece

    async def aclose(self):
        await self.stream.aclose()


class Seen:
    """What one client gets."""

    def __init__(self, number):
        self.is_chat = number % 2 == 0
        self.prompt = f"Stream {number} of the sea"
        self.name = f"{'chat' if self.is_chat else 'completion'}-{number}"
        self.chunks, self.bytes, self.error = [], [], None

    def options(self):
        asked = {"messages": [{"role": "user", "content": self.prompt}]} if self.is_chat else {"prompt": self.prompt}
        return asked | {"model": "sim", "max_tokens": TOKENS}

    async def whole(self, server):
        """The undisturbed answer: its text, and its usage."""
        if self.is_chat:
            answer = await server.chat.completions.create(**self.options())
            return answer.choices[0].message.content, answer.usage
        answer = await server.completions.create(**self.options())
        return answer.choices[0].text, answer.usage

    async def stream(self, server):
        make = server.chat.completions.create if self.is_chat else server.completions.create
        usage = {"stream_options": {"include_usage": True}}
        try:
            headers = {"X-Request-Id": self.name}  # by which the tee knows whose bytes it has
            async for chunk in await make(**self.options(), **usage, stream=True, extra_headers=headers):
                self.chunks.append(chunk)
        except openai.OpenAIError as error:
            self.error = error

    def judge(self, text, usage):
        """What is wrong with it."""
        if self.error:
            return [f"{type(self.error).__name__}: {self.error}"]
        choices = [choice for chunk in self.chunks for choice in chunk.choices]
        texts = [(choice.delta.content if self.is_chat else choice.text) or "" for choice in choices]
        roles = [choice.delta.role for choice in choices if self.is_chat and choice.delta.role]
        used = [chunk.usage for chunk in self.chunks if chunk.usage]
        raw = b"".join(self.bytes)
        pairs = {
            "text": ("".join(texts), text),
            "numbers": ([int(word.lstrip(ascii_lowercase)) for word in "".join(texts).split()], list(range(TOKENS))),
            "tokens": (len([word for word in texts if word]), TOKENS),
            "ids": (len({chunk.id for chunk in self.chunks}), 1),
            "created and model": (len({(chunk.created, chunk.model) for chunk in self.chunks}), 1),
            "roles": (roles, ["assistant"] if self.is_chat else []),
            "finish reasons": ([choice.finish_reason for choice in choices if choice.finish_reason], ["length"]),
            "usage": (used, [usage]),
            "[DONE]": (raw.count(b"[DONE]"), 1),
            "end": (raw[-16:], b"\n\ndata: [DONE]\n\n"),
        }
        return [f"{what}: {got!r} in place of {want!r}" for what, (got, want) in pairs.items() if got != want]


def server(url, **options):
    return openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=LIMIT, **options)


async def storm(all_seen):
    """All streams at once; one node is killed in the middle of them."""
    kept = {seen.name: seen.bytes for seen in all_seen}

    async def tee(response):
        response.stream = Tee(response.stream, kept[response.request.headers["X-Request-Id"]])

    async with server(GATEWAY, http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [tee]})) as gateway:
        streams = [asyncio.ensure_future(seen.stream(gateway)) for seen in all_seen]
        while min(len(seen.chunks) for seen in all_seen) < BEGUN:
            assert not any(stream.done() for stream in streams), [seen.error for seen in all_seen if seen.error][:3]
            await asyncio.sleep(0.001)
        os.kill(int(os.environ["PID_A"]), signal.SIGKILL)
        most = max(len(seen.chunks) for seen in all_seen)
        assert most < NEAR_END, f"killed too late to say anything: a stream had {most} of {TOKENS} tokens"
        hurry(NODES[1], 10)
        await asyncio.gather(*streams)


async def undisturbed(all_seen):
    hurry(NODES[1], 1000)
    async with server(NODES[1]) as node:
        return await asyncio.gather(*(seen.whole(node) for seen in all_seen))


@check
def four_hundred_streams_survive_their_node():
    all_seen = [Seen(number) for number in range(2 * EACH)]
    asyncio.run(storm(all_seen))
    nothing_in_flight(NODES[1:])
    answers = asyncio.run(undisturbed(all_seen))
    wrong = [f"{seen.name}: {told}" for seen, whole in zip(all_seen, answers) for told in seen.judge(*whole)]
    assert not wrong, f"{len(wrong)} problems:\n" + "\n".join(wrong[:10])
    (pool,) = status()["pools"]
    assert pool["resumes"] == {"asked": EACH, "finished": 0, "refused": 0}, pool["resumes"]


run(f"Resumed streams, OpenAI Python SDK {openai.__version__}")
