"""The gateway in front of two real engines of one kind: check.py llama-server, or check.py llama-cpp-python.

The client is the unmodified OpenAI Python SDK. Prints a line a check, and at the end how many passed.
"""

import json
import signal
import sys
import tempfile
import traceback

import openai

from asking import begun, chat, client, complete, status_of, words
from engines import CONTEXT, Engine
from processes import Gateway, get, started, until

KIND = sys.argv[1]
OWN = KIND == "llama-server"
LONG = 3000
# llama-cpp-python has no /health and cannot continue a chat
NO_EJECTION = "health: { max_fails: 0 }"
CARRYING = ["retry: { resume: on }", "timeouts: { stall: 2s }", *(["engine: llamacpp"] if OWN else [])]
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def models_and_health_are_those_of_the_engine(fleet):
    assert [model.id for model in client(fleet.plain).models.list()] == ["random"]
    if OWN:
        assert json.load(get(fleet.plain.url + "/health")) == {"status": "ok"}
    else:
        code, _ = status_of(fleet.plain.url + "/health", None)
        assert code == 404, "llama-cpp-python has a health path now: tell so in tests/clients/README.md"


@check
def texts_are_the_same_as_without_the_gateway(fleet):
    for gateway in fleet.gateways:
        for ask in (chat, complete):
            direct = ask(fleet.engines[0])
            told = direct.choices[0].message.content if ask is chat else direct.choices[0].text
            whole = ask(gateway)
            assert (whole.choices[0].message.content if ask is chat else whole.choices[0].text) == told
            assert whole.usage.completion_tokens == 40, whole.usage
            text, (reasons, *_) = words(ask(gateway, stream=True))
            assert (text, reasons) == (told, ["length"])
            assert len(told) == 40, "a token is a character"


@check
def a_seed_makes_the_same_text_through_the_gateway(fleet):
    luck = {"temperature": 1.0, "seed": 11}
    direct = complete(fleet.engines[0], **luck).choices[0].text
    assert direct != complete(fleet.engines[0]).choices[0].text, "the seed has no influence"
    for _ in range(4):
        assert complete(fleet.plain, **luck).choices[0].text == direct


@check
def a_bad_request_comes_back_as_the_engine_answers_it(fleet):
    bodies = {
        b'{"messages": 1}': 400 if OWN else 500,
        b"{": 500,
        json.dumps({"prompt": "a" * (CONTEXT + 1), "max_tokens": 5}).encode(): 400,
    }
    for body, code in bodies.items():
        path = "/v1/completions" if b"prompt" in body else "/v1/chat/completions"
        direct = status_of(fleet.engines[0].url + path, body)
        assert direct[0] == code, direct
        assert status_of(fleet.plain.url + path, body) == direct, direct
    until("no request is left", fleet.plain.is_idle)


@check
def a_stream_that_is_left_frees_the_engine(fleet):
    for ask in (chat, complete):
        stream = ask(fleet.plain, stream=True, max_tokens=LONG)
        _, engine = begun(fleet, fleet.plain, stream, 20)
        stream.close()
        until("nothing in flight", fleet.plain.is_idle)
        if OWN:
            until("no slot works", lambda: not any(slot["is_processing"] for slot in json.load(get(engine.url + "/slots"))))
        # llama-cpp-python serves one at a time: an answer says that it is free
        assert complete(engine, max_tokens=1).choices


@check
def a_stream_whose_engine_is_killed_ends_visibly(fleet):
    for ask in (chat, complete):
        ends_visibly(fleet, fleet.plain, ask)


@check
def a_completion_whose_engine_is_killed_goes_on_at_the_other(fleet):
    carried_on(fleet, complete, signal.SIGKILL)


@check
def a_completion_whose_engine_is_stopped_goes_on_at_the_other(fleet):
    # llama-server is silent for 30 s and then gone: `timeouts.stall` comes before
    carried_on(fleet, complete, signal.SIGTERM)


@check
def a_chat_whose_engine_is_killed_goes_on_at_the_other(fleet):
    if OWN:
        carried_on(fleet, chat, signal.SIGKILL)
    else:
        # it takes the text said so far for a turn that is over, so for the gateway it is `engine: generic`
        ends_visibly(fleet, fleet.carrying, chat)


def ends_visibly(fleet, gateway, ask):
    stream = ask(gateway, stream=True, max_tokens=LONG)
    got, engine = begun(fleet, gateway, stream, 50)
    engine.kill()
    try:
        got.extend(stream)
    except openai.APIError as error:
        print(f"      {len(got)} of {LONG} tokens, then {type(error).__name__}: {error}")
    else:
        raise AssertionError(f"the stream ended silently after {len(got)} chunks")
    assert 50 <= len(got) < LONG
    # the other one serves
    for _ in range(4):
        assert complete(gateway).choices
    engine.start()
    until("nothing in flight", gateway.is_idle)


def carried_on(fleet, ask, end):
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": LONG}
    undisturbed, rest = words(ask(fleet.engines[0], **options))
    stream = ask(fleet.carrying, **options)
    got, engine = begun(fleet, fleet.carrying, stream, 50)
    engine.process.send_signal(end)
    text, rest_of_two = words([*got, *stream])
    engine.kill()
    engine.start()
    same = next((at for at, (one, other) in enumerate(zip(text, undisturbed)) if one != other), min(len(text), LONG))
    assert text == undisturbed, f"{len(text)} characters of {LONG}, the same up to {same}"
    assert rest_of_two == rest, f"{rest_of_two} in place of {rest}"
    until("nothing in flight", fleet.carrying.is_idle)


class Fleet:
    def __init__(self, directory):
        self.engines = [Engine(KIND, directory), Engine(KIND, directory)]
        self.plain = Gateway(self.engines, directory, [NO_EJECTION])
        self.carrying = Gateway(self.engines, directory, [NO_EJECTION, *CARRYING])
        self.gateways = [self.plain, self.carrying]
        self.all = [*self.engines, *self.gateways]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as directory, started((fleet := Fleet(directory)).all):
        for function in CHECKS:
            name = f"{KIND}: " + function.__name__.replace("_", " ")
            try:
                function(fleet)
                print(f"ok    {name}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
                for process in fleet.all:
                    if not process.running():
                        process.start()
    print(f"{KIND}: {len(CHECKS) - failed} passed, {failed} failed")
    raise SystemExit(failed > 0)


main()
