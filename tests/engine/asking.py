"""How the checks ask: with the OpenAI Python SDK, or with exactly these bytes."""

import urllib.error
import urllib.request

import openai

from processes import LIMIT

MESSAGES = [{"role": "user", "content": "Tell me of the sea"}]
# llama-cpp-python's own default, 1.1, counts the words of this request's answer only: a continued text would differ.
SURE = {"temperature": 0, "extra_body": {"repeat_penalty": 1.0}}


def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=LIMIT)


def chat(server, **options):
    asked = {"model": "random", "messages": MESSAGES, "max_tokens": 40} | SURE | options
    return client(server).chat.completions.create(**asked)


def complete(server, **options):
    asked = {"model": "random", "prompt": "The sea", "max_tokens": 40} | SURE | options
    return client(server).completions.create(**asked)


def words(stream):
    """The text of a stream, and what else came: why it ended, what was used, how many ids and roles it had."""
    said, reasons, used, ids, roles = [], [], [], set(), 0
    for chunk in stream:
        ids.add(chunk.id)
        used.extend([(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)] if chunk.usage else [])
        for choice in chunk.choices:
            delta = getattr(choice, "delta", None)
            said.append(choice.text if delta is None else delta.content or "")
            roles += bool(delta and delta.role)
            reasons.extend([choice.finish_reason] if choice.finish_reason else [])
    return "".join(said), (reasons, used, len(ids), roles)


def begun(fleet, gateway, stream, count):
    """Reads `count` chunks; the chunks, and the engine that they come from."""
    got = [next(stream) for _ in range(count)]
    (address,) = [node["address"] for node in gateway.nodes() if node["in_flight"] == 1]
    return got, next(engine for engine in fleet.engines if engine.address == address)


def status_of(url, body):
    """An answer's status and body, of a request with exactly this body."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
