"""Many streams at once: chats and completions, of clients that ask for token ids and usage or do not."""

import asyncio
import json

import aiohttp

from processes import LIMIT

TOKENS = 400
# By the number of the stream; 4 in turn are 2 chats and 2 completions, so that each of two nodes gets both.
USAGES = [
    None,
    {"stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
]
# Tokens of a prompt that leaves room for about TOKENS in the context of 2048: a chat without max_tokens fills it.
LONG_PROMPT = 1600
# Seconds in which one round must be over.
ROUND_LIMIT = 3 * LIMIT


class Seen:
    """What one client asks for, and gets."""

    def __init__(self, number, has_limit=True):
        self.number, self.has_limit = number, has_limit
        self.is_chat = number // 2 % 2 == 0
        variant = number // 4 % (2 * len(USAGES))
        self.wants_ids, self.usage_options = variant % 2 == 1, USAGES[variant // 2]
        self.path = "/v1/chat/completions" if self.is_chat else "/v1/completions"
        self.node, self.error, self.rest = None, None, b""
        self.events, self.text, self.ids, self.usage, self.finishes, self.roles = 0, "", [], [], [], []
        self.prompt_ids, self.identities, self.fields, self.ends = [], set(), set(), 0

    def __str__(self):
        kind = "chat" if self.is_chat else "completion"
        usage = ["no usage", "usage", "usage in each event"][USAGES.index(self.usage_options)]
        limit = "" if self.has_limit else ", no max_tokens"
        return f"{kind} {self.number}, {'ids' if self.wants_ids else 'no ids'}, {usage}{limit}"

    def body(self):
        more = self.number % 7 + (0 if self.has_limit else LONG_PROMPT)
        prompt = f"Stream {self.number} of the sea, {'and ' * more}all that is in it"
        asked = {"messages": [{"role": "user", "content": prompt}]} if self.is_chat else {"prompt": prompt}
        asked |= {"model": "random", "temperature": 0, "seed": 7, "ignore_eos": True}
        asked |= {"max_tokens": TOKENS} if self.has_limit else {}
        ids = {"return_token_ids": True} if self.wants_ids else {}
        return asked | {"stream": True} | ids | (self.usage_options or {})

    async def run(self, session, url):
        try:
            async with session.post(url + self.path, json=self.body()) as answer:
                self.node = answer.headers.get("X-Evenkeel-Node")
                assert answer.status == 200, (answer.status, await answer.text())
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        self.take(line[5:].strip())
        except (aiohttp.ClientError, AssertionError, asyncio.TimeoutError) as error:
            self.error = f"{type(error).__name__}: {error}"
        return self

    def take(self, data):
        if data == b"[DONE]":
            self.ends += 1
            return
        event = json.loads(data)
        if event.get("error"):
            self.error = self.error or event["error"]
            return
        self.events += 1
        self.identities.add((event["id"], event["created"], event["model"]))
        self.fields |= fields(event)
        if event.get("usage"):
            self.usage.append(event["usage"])
        self.prompt_ids += event.get("prompt_token_ids") or []
        for choice in event["choices"]:
            said = choice["delta"] if self.is_chat else choice
            self.text += (said.get("content") if self.is_chat else said["text"]) or ""
            self.roles += [said["role"]] if said.get("role") else []
            self.ids += choice.get("token_ids") or []
            self.prompt_ids += choice.get("prompt_token_ids") or []
            self.finishes += [choice["finish_reason"]] if choice["finish_reason"] else []

    def total(self):
        return self.usage[-1] if self.usage else None

    def differences(self, undisturbed):
        """In what it is not as it should be."""
        if self.error:
            return [f"error: {self.error}"]
        told = {
            "text": (self.text, undisturbed.text),
            "ids": (self.ids, undisturbed.ids),
            "ids of the prompt": (self.prompt_ids, undisturbed.prompt_ids),
            "usage": (self.total(), undisturbed.total()),
            "finish reasons": (self.finishes, undisturbed.finishes),
            "roles": (self.roles, undisturbed.roles),
            "identities": (len(self.identities), 1),
            "[DONE]": (self.ends, 1),
            "fields": (sorted(self.fields ^ undisturbed.fields), []),
        }
        wrong = [difference(what, got, want) for what, (got, want) in told.items() if got != want]
        counts = [usage["completion_tokens"] for usage in self.usage]
        return wrong + ([f"usage falls: {counts}"] if counts != sorted(counts) else [])


class Other:
    """A stream of another dialect, which is not resumed."""

    def __init__(self, path, body):
        self.path, self.body, self.node, self.error, self.events, self.bytes = path, body, None, None, 0, b""

    def __str__(self):
        return self.path

    async def run(self, session, url):
        try:
            async with session.post(url + self.path, json=self.body) as answer:
                self.node = answer.headers.get("X-Evenkeel-Node")
                async for line in answer.content:
                    self.bytes += line
                    self.events += line.startswith(b"data:")
        except aiohttp.ClientError as error:
            self.error = f"{type(error).__name__}: {error}"
        return self


def fields(value, path=""):
    """The names of all fields in it, and whether they are null."""
    if isinstance(value, dict):
        return {name for key, inner in value.items() for name in fields(inner, f"{path}.{key}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {name for inner in value for name in fields(inner, path + "[]")}
    return {path + (": null" if value is None else "")}


def difference(what, got, want):
    if not isinstance(got, (str, list)) or what == "fields":
        return f"{what}: {got} in place of {want}"
    same = next((at for at, (one, other) in enumerate(zip(got, want)) if one != other), min(len(got), len(want)))
    around = slice(max(same - 8, 0), same + 24)
    return f"{what}: {len(got)} in place of {len(want)}, the same up to {same}: {got[around]} in place of {want[around]}"


def session():
    limit = aiohttp.ClientTimeout(total=ROUND_LIMIT)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit)


async def run_all(url, all_seen, disturb=None, is_time=None):
    """All streams at once; something is done to them when it is time."""
    async with session() as shared:
        tasks = [asyncio.ensure_future(seen.run(shared, url)) for seen in all_seen]
        if disturb:
            while not is_time():
                assert not all(task.done() for task in tasks), f"all over before the disturbance: {all_seen[0].error}"
                await asyncio.sleep(0.001)
            await asyncio.to_thread(disturb)
        return await asyncio.gather(*tasks)


def streams(count):
    return [Seen(number) for number in range(count)]


def chats_without_a_limit(count):
    """As many chats: a completion without max_tokens ends after 16 tokens."""
    return [seen for seen in (Seen(number, has_limit=False) for number in range(2 * count)) if seen.is_chat]
