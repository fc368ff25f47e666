"""The SDKs of OpenAI and Anthropic, unmodified: through the gateway all is as it is at the engine."""

import anthropic
import openai

from processes import LIMIT
from suite import check

MESSAGES = [{"role": "user", "content": "Tell me of the sea"}]
CHAT = {"model": "random", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
# The SDK has no parameter for a temperature.
MESSAGE = {"model": "random", "messages": MESSAGES, "max_tokens": 8, "extra_body": {"temperature": 0}}
COMPLETION = {"model": "random", "prompt": "The sea", "max_tokens": 8, "temperature": 0}
RESPONSE = {"model": "random", "input": "hello", "max_output_tokens": 8, "temperature": 0}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
SCHEMA = {
    "type": "object",
    "properties": {"calm": {"type": "boolean"}},
    "required": ["calm"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sea", "schema": SCHEMA}}
# What differs from one request to the next.
OWN = {"id", "created", "created_at", "completed_at", "item_id", "_request_id", "system_fingerprint", "sequence_number"}
# What a token adds to, wherever it stands.
SAID = {"content", "text", "token_ids", "delta"}

OPENAI = {
    "models": lambda sdk: sdk.models.list().data[0].id,
    "chat": lambda sdk: sdk.chat.completions.create(**CHAT),
    "chat stream": lambda sdk: list(sdk.chat.completions.create(**CHAT, stream=True)),
    "chat stream, usage": lambda sdk: list(sdk.chat.completions.create(**CHAT, **USAGE)),
    "chat, two choices": lambda sdk: sdk.chat.completions.create(**CHAT | {"temperature": 1}, n=2, seed=1),
    "chat, logprobs": lambda sdk: sdk.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2),
    "chat, schema": lambda sdk: sdk.chat.completions.create(**CHAT | {"max_tokens": 40}, response_format=FORMAT),
    "chat, ids": lambda sdk: list(
        sdk.chat.completions.create(**CHAT, **USAGE, extra_body={"return_token_ids": True})
    ),
    "completion": lambda sdk: sdk.completions.create(**COMPLETION),
    "completion stream": lambda sdk: list(sdk.completions.create(**COMPLETION, stream=True)),
    "completion stream, usage": lambda sdk: list(sdk.completions.create(**COMPLETION, **USAGE)),
    "completion, two prompts": lambda sdk: sdk.completions.create(**COMPLETION | {"prompt": ["One", "Two"]}),
    "response": lambda sdk: sdk.responses.create(**RESPONSE),
    "response stream": lambda sdk: list(sdk.responses.create(**RESPONSE, stream=True)),
    "embeddings": lambda sdk: sdk.embeddings.create(model="random", input="hello"),
    "unknown model": lambda sdk: sdk.chat.completions.create(**CHAT | {"model": "nobody"}),
    "unknown model, stream": lambda sdk: list(sdk.chat.completions.create(**CHAT | {"model": "nobody"}, stream=True)),
    "too long": lambda sdk: sdk.completions.create(**COMPLETION | {"prompt": "sea " * 3000}),
    "bad temperature": lambda sdk: sdk.chat.completions.create(**CHAT | {"temperature": -1}),
    "bad regex, stream": lambda sdk: list(
        sdk.chat.completions.create(**CHAT, stream=True, extra_body={"structured_outputs": {"regex": "(["}})
    ),
    "bad token, stream": lambda sdk: list(sdk.completions.create(**COMPLETION | {"prompt": [5, 999999]}, stream=True)),
}
ANTHROPIC = {
    "message": lambda sdk: sdk.messages.create(**MESSAGE),
    "message stream": lambda sdk: list(sdk.messages.create(**MESSAGE, stream=True)),
    "count tokens": lambda sdk: sdk.messages.count_tokens(model="random", messages=MESSAGES),
    "unknown model": lambda sdk: sdk.messages.create(**MESSAGE | {"model": "nobody"}),
    "unknown model, stream": lambda sdk: list(sdk.messages.create(**MESSAGE | {"model": "nobody"}, stream=True)),
}


@check
def the_OpenAI_SDK_gets_what_the_engine_says(fleet):
    make = lambda url: openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=LIMIT)
    return f"SDK {openai.__version__}: " + compare(fleet, make, OPENAI)


@check
def the_Anthropic_SDK_gets_what_the_engine_says(fleet):
    make = lambda url: anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=LIMIT)
    return f"SDK {anthropic.__version__}: " + compare(fleet, make, ANTHROPIC)


def compare(fleet, make, calls):
    with fleet.gateway() as gateway:
        direct, through = make(fleet.b.url), make(gateway.url)
        wrong, errors = [], 0
        for name, call in calls.items():
            want, got = outcome(call, direct), outcome(call, through)
            errors += isinstance(want, str) and "Error" in want
            if got != want:
                wrong.append(f"{name}: {got}\n    in place of {want}")
    assert not wrong, f"{len(wrong)} of {len(calls)} calls differ:\n  " + "\n  ".join(wrong)
    return f"{len(calls)} calls as at the engine, {errors} of them errors"


def outcome(call, sdk):
    """The result without what is new in each, or the exception."""
    try:
        result = call(sdk)
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        return f"{type(error).__name__}: {getattr(error, 'body', error)}"
    if isinstance(result, list):
        return joined([without_own(event.model_dump()) for event in result])
    return without_own(result.model_dump()) if hasattr(result, "model_dump") else result


def without_own(value):
    if isinstance(value, dict):
        return {key: without_own(inner) for key, inner in value.items() if key not in OWN}
    return [without_own(item) for item in value] if isinstance(value, list) else value


def joined(events):
    """A stream however its tokens were packed into events: all it says, and events that differ in more than that."""
    said, rest = {}, []
    for event in events:
        choices = event.get("choices", [])
        parts = [*choices, *(choice.get("delta") for choice in choices), event, event.get("delta")]
        for part in (part for part in parts if isinstance(part, dict)):
            for name in SAID & set(part):
                if isinstance(part[name], (str, list)):
                    said[name] = said.get(name, part[name][:0]) + part.pop(name)
        if event not in rest:
            rest.append(event)
    # where all tokens came with the last event, there is none that has only tokens
    return said, [event for event in rest if not any(event is not other and is_within(event, other) for other in rest)]


def is_within(less, more):
    """The same but for nulls of it."""
    if isinstance(less, dict) and isinstance(more, dict):
        return less.keys() <= more.keys() and all(is_within(value, more[name]) for name, value in less.items())
    if isinstance(less, list) and isinstance(more, list):
        return len(less) == len(more) and all(map(is_within, less, more))
    return less is None or less == more
