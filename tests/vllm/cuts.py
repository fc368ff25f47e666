"""An engine fails under its streams: each client gets what it would have got undisturbed."""

import asyncio
import os
import signal
import urllib.request
from collections import Counter

from processes import LIMIT
from streams import TOKENS, Other, chats_without_a_limit, run_all, streams
from suite import COUNT, check

SURE = {"model": "random", "temperature": 0, "stream": True}
MESSAGE = ("/v1/messages", SURE | {"messages": [{"role": "user", "content": "The sea"}], "max_tokens": 1500})
RESPONSE = ("/v1/responses", SURE | {"input": "The sea", "max_output_tokens": 1500})
BEGUN = 40  # characters of a stream that is cut; it has some 1000
SPOKEN = 8  # events of a stream of another dialect, of which the first say nothing
LEAST = 32  # of chats and of completions, cut in each way
SHOWN = 8  # streams in a failure


@check
def streams_through_the_gateway_are_those_of_the_engine(fleet):
    with fleet.gateway() as gateway:
        return judge(asyncio.run(run_all(gateway.url, streams(COUNT))), fleet.undisturbed)


@check
def streams_survive_a_frozen_EngineCore(fleet):
    core = fleet.a.core()
    try:
        return cut(fleet, lambda: os.kill(core, signal.SIGSTOP))
    finally:
        os.kill(core, signal.SIGCONT)


@check
def streams_survive_SIGSTOP_of_an_engine(fleet):
    try:
        return cut(fleet, lambda: os.killpg(fleet.a.process.pid, signal.SIGSTOP))
    finally:
        os.killpg(fleet.a.process.pid, signal.SIGCONT)


@check
def chats_without_max_tokens_survive_SIGSTOP_of_an_engine(fleet):
    """They go on from their text: from its ids the next node would not know where to end."""
    all_seen = chats_without_a_limit(COUNT // 2)
    undisturbed = asyncio.run(run_all(fleet.b.url, chats_without_a_limit(COUNT // 2)))
    try:
        at_work, resumes = disturbed(fleet, lambda: os.killpg(fleet.a.process.pid, signal.SIGSTOP), all_seen)
    finally:
        os.killpg(fleet.a.process.pid, signal.SIGCONT)
    cut = [(seen, whole) for seen, whole in zip(all_seen, undisturbed) if seen in at_work]
    # of a client that wants ids they would be others than those of its text
    ended = [seen for seen, _ in cut if not seen.error]
    broken = [seen for seen in ended if (seen.ends, seen.finishes, len(seen.identities)) != (1, ["length"], 1)]
    assert ended and not broken, f"{len(broken)} of {len(cut)}: {broken[0].finishes}, {broken[0].ends} [DONE]"
    assert all(seen.wants_ids for seen, _ in cut if seen.error), [seen.error for seen, _ in cut if seen.error]
    same = sum(not seen.differences(whole) for seen, whole in cut)
    return f"{len(cut)} cut: {len(ended)} whole, {same} of them word for word; resumes: {resumes}"


@check
def streams_survive_a_paused_engine(fleet):
    post = lambda path: urllib.request.urlopen(fleet.a.url + path, b"", timeout=LIMIT)
    try:
        told = cut(fleet, lambda: post("/pause"))
        with fleet.gateway() as gateway:
            judge(asyncio.run(run_all(gateway.url, streams(COUNT))), fleet.undisturbed)
        return f"{told}; the same again for streams that it gets while it is paused"
    finally:
        post("/resume")


@check
def streams_survive_kill_9_of_an_engine(fleet):
    return cut(fleet, fleet.a.crash, is_lost=True)


@check
def streams_survive_the_death_of_an_EngineCore(fleet):
    return cut(fleet, lambda: os.kill(fleet.a.core(), signal.SIGKILL), is_lost=True)


@check
def streams_survive_SIGTERM_of_an_engine(fleet):
    others = [Other(*asked) for asked in (MESSAGE, RESPONSE) for _ in range(8)]
    told = cut(fleet, lambda: fleet.a.signal(signal.SIGTERM), is_lost=True, others=others)
    at_a = [other for other in others if other.node == fleet.a.address]
    messages = [other for other in at_a if other.path == MESSAGE[0]]
    passed = [other for other in messages if not other.error and b"event: error" not in other.bytes]
    assert messages and not passed, f"{len(passed)} of {len(messages)} messages were cut and passed for whole"
    # vLLM says `response.completed` of a response that it cuts: nothing tells it from a whole one.
    responses = [other for other in at_a if other.path == RESPONSE[0]]
    unseen = sum(not other.error and b"event: response.completed" in other.bytes for other in responses)
    return f"{told}; {len(messages)} messages ended visibly; {unseen} of {len(responses)} cut responses said completed"


def cut(fleet, disturb, is_lost=False, others=()):
    all_seen = streams(COUNT)
    at_work, resumes = disturbed(fleet, disturb, all_seen, is_lost, others)
    chats = sum(seen.is_chat for seen in at_work)
    told = judge(all_seen, fleet.undisturbed, at_work)
    told = f"{told}; cut: {chats} chats, {len(at_work) - chats} completions; resumes: {resumes}"
    assert resumes["refused"] == 0 and resumes["asked"] >= 2 * LEAST, told
    return told


def disturbed(fleet, disturb, all_seen, is_lost=False, others=()):
    """Those of the streams that were cut, and how they were continued."""
    kinds, at_work = {seen.is_chat for seen in all_seen}, []

    def is_time():
        """Enough streams of each kind are at work at the engine. Where the machine is busy the other one may be far ahead."""
        at_work[:] = [seen for seen in all_seen if seen.node == fleet.a.address and not seen.ends]
        begun = [seen.is_chat for seen in at_work if len(seen.text) >= BEGUN]
        others_begun = all(other.events >= SPOKEN for other in others if other.node in (None, fleet.a.address))
        return others_begun and all(begun.count(kind) >= LEAST for kind in kinds)

    with fleet.gateway() as gateway:
        try:
            asyncio.run(run_all(gateway.url, [*others, *all_seen], disturb, is_time))
        finally:
            if is_lost:
                fleet.a.until_gone()
        (pool,) = gateway.status()["pools"]
    return at_work, pool["resumes"]


def judge(all_seen, all_undisturbed, cut=()):
    wrong = {
        str(seen): differences
        for seen, undisturbed in zip(all_seen, all_undisturbed)
        if (differences := seen.differences(undisturbed))
    }
    if wrong:
        kinds = Counter(
            f"{text.split(':')[0]} of {'chats' if seen.is_chat else 'completions'} with{'' if seen.wants_ids else 'out'} ids"
            for seen in all_seen
            for text in wrong.get(str(seen), [])
        )
        first = "\n".join(f"  {name}: {'; '.join(differences)}" for name, differences in list(wrong.items())[:SHOWN])
        raise AssertionError(f"{len(wrong)} of {len(all_seen)} differ, {len(cut)} were cut: {dict(kinds)}\n{first}")
    return f"{len(all_seen)} streams of {TOKENS} tokens: every text, id and usage the same"
