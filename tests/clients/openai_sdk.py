"""The unmodified OpenAI Python SDK through the gateway; see fleet.py for what it finds."""

import asyncio

import openai

from checks import GATEWAY, LIMIT, MESSAGES, NODES, check, client, fault, nothing_in_flight, raises, run, stats, status


def chat(**options):
    return client().chat.completions.create(
        **{"model": "sim", "messages": MESSAGES, "max_tokens": 20} | options
    )


@check
def chat_is_answered():
    answer = chat()
    assert answer.choices[0].message.content and answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 20, answer.usage


@check
def chat_streams_the_same_words():
    whole = chat().choices[0].message.content
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole, (said, whole)
    assert chunks[-1].usage.completion_tokens == 20


@check
def completions_are_answered_and_streamed():
    options = {"model": "sim", "prompt": "The sea", "max_tokens": 10}
    whole = client().completions.create(**options).choices[0].text
    chunks = client().completions.create(**options, stream=True)
    said = "".join(chunk.choices[0].text for chunk in chunks)
    assert whole and said == whole, (said, whole)


@check
def models_are_listed():
    assert [model.id for model in client().models.list()] == ["sim"]


@check
def the_request_id_reaches_the_sdk():
    answer = chat(extra_headers={"X-Request-Id": "check-7"})
    assert answer._request_id == "check-7", answer._request_id
    raw = client().chat.completions.with_raw_response.create(model="sim", messages=MESSAGES, max_tokens=1)
    assert raw.headers["x-evenkeel-attempts"] == "1", raw.headers


@check
def errors_become_the_sdks_own_exceptions():
    kinds = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }
    for code, kind in kinds.items():
        fault({"kind": "status", "code": code})
        for stream in (False, True):
            error = raises(kind, lambda: chat(stream=stream), code)
            assert error.body and "message" in error.body, error.body
    fault(None)


@check
def a_bad_request_is_a_bad_request():
    raises(openai.BadRequestError, lambda: chat(max_tokens=0), 400)
    raises(openai.NotFoundError, lambda: client().get("/nowhere", cast_to=object), 404)


@check
def a_failure_of_one_node_is_not_seen():
    for kind in ({"kind": "status", "code": 500}, {"kind": "status", "code": 503}, {"kind": "reset"}):
        fault(kind, NODES[:1])
        for _ in range(4):
            assert chat().choices
            assert len(list(chat(stream=True))) > 20
    fault(None)
    assert sum(sum(pool["retries"].values()) for pool in status()["pools"]) >= 8, status()


@check
def an_error_of_the_gateways_own_reads_like_any_other():
    fault({"kind": "reset"})
    for stream in (False, True):
        error = raises(openai.InternalServerError, lambda: chat(stream=stream), 502)
        assert "broke the connection" in error.body["message"], error.body
    fault(None)


@check
def a_timeout_of_the_client_frees_the_node():
    fault({"kind": "hang"})
    for stream in (False, True):
        raises(openai.APITimeoutError, lambda: chat(stream=stream, timeout=0.5))
    fault(None)
    nothing_in_flight()


@check
def a_stream_that_breaks_is_not_taken_for_whole():
    for kind in ("die", "truncate", "error_event", "no_done", "abort"):
        fault({"kind": kind, "after": 5})
        got = []
        try:
            for chunk in chat(stream=True, max_tokens=50):
                got.append(chunk)
        except openai.APIError as error:
            print(f"      a stream cut by {kind!r}: {len(got)} chunks, then {type(error).__name__}: {error}")
        else:
            raise AssertionError(f"{kind}: the stream ended silently after {len(got)} chunks")
        assert got, "the words before the cut are there"
    fault(None)


@check
def an_error_event_raises():
    fault({"kind": "error_event", "after": 5})
    stream = chat(stream=True, max_tokens=50)
    raises(openai.APIError, lambda: list(stream))
    fault(None)


@check
def a_cancelled_stream_frees_the_node():
    stream = chat(stream=True, max_tokens=10_000)
    next(stream)
    assert sum(node["running"] for node in stats()) == 1
    stream.close()
    nothing_in_flight()
    assert sum(node["in_flight"] for pool in status()["pools"] for node in pool["nodes"]) == 0


@check
def sixty_four_streams_at_once():
    async def one(shared):
        stream = await shared.chat.completions.create(
            model="sim", messages=MESSAGES, max_tokens=50, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them():
        async with openai.AsyncOpenAI(
            base_url=GATEWAY + "/v1", api_key="none", max_retries=0, timeout=LIMIT
        ) as shared:
            return await asyncio.gather(*(one(shared) for _ in range(64)))

    before = [node["received"] for node in stats()]
    said = asyncio.run(all_of_them())
    assert len(said) == 64 and len(set(said)) == 1 and said[0], set(said)
    shares = [node["received"] - was for node, was in zip(stats(), before)]
    assert shares == [32, 32], shares


@check
def a_large_prompt_passes():
    messages = [{"role": "user", "content": "sea " * 500_000}]
    assert chat(messages=messages, max_tokens=2).choices


@check
def nothing_is_left_in_flight():
    nothing_in_flight()


run(f"OpenAI Python SDK {openai.__version__}")
