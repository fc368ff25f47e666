"""The unmodified Anthropic Python SDK through the gateway; see fleet.py for what it finds."""

import anthropic

from checks import GATEWAY, LIMIT, MESSAGES, check, fault, nothing_in_flight, run


def client():
    return anthropic.Anthropic(base_url=GATEWAY, api_key="none", max_retries=0, timeout=LIMIT)


def message(**options):
    return client().messages.create(**{"model": "sim", "messages": MESSAGES, "max_tokens": 20} | options)


@check
def a_message_is_answered():
    answer = message()
    assert answer.content[0].text and answer.stop_reason == "max_tokens", answer
    assert answer.usage.output_tokens == 20, answer.usage


@check
def a_message_streams_the_same_words():
    whole = message().content[0].text
    with client().messages.stream(model="sim", messages=MESSAGES, max_tokens=20) as stream:
        said = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert said == whole, (said, whole)
    assert last.usage.output_tokens == 20, last.usage


@check
def tokens_are_counted():
    assert client().messages.count_tokens(model="sim", messages=MESSAGES).input_tokens > 0


@check
def errors_become_the_sdks_own_exceptions():
    kinds = {400: anthropic.BadRequestError, 401: anthropic.AuthenticationError, 429: anthropic.RateLimitError}
    for status, kind in kinds.items():
        fault({"kind": "status", "code": status})
        try:
            message()
        except kind as error:
            assert error.status_code == status
        else:
            raise AssertionError(f"no {kind.__name__}")
        finally:
            fault(None)


@check
def an_error_of_the_gateways_own_has_anthropics_shape():
    fault({"kind": "reset"})
    try:
        message()
    except anthropic.APIStatusError as error:
        assert error.status_code in (502, 503) and error.body["type"] == "error", error.body
    else:
        raise AssertionError("no error")
    finally:
        fault(None)


@check
def nothing_is_left():
    nothing_in_flight()


run(f"Anthropic Python SDK {anthropic.__version__}")
