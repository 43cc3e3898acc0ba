"""The client against a real server that behaves, and that misbehaves: nothing is raised or lost."""

import asyncio
import collections
import email.utils
import json
import logging
import threading
import time

import httpx2
import pytest
from tiny_endpoint import cut, drip, hang, ok, said, serve, status

from jaxrl.chat import tool_calls
from jaxrl.chat.http import Endpoint, HttpConfig
from jaxrl.messages import Message, Tool, ToolCall

ASK = [Message("user", "What is 2 + 2?")]
SECRET = "sk-very-secret"
CERTIFICATES = httpx2.create_ssl_context()  # 40 ms a time


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TINY_KEY", SECRET)
    monkeypatch.setattr("jaxrl.chat.http.httpx2.create_ssl_context", lambda: CERTIFICATES)


def endpoint(server, **more):
    """A quick client: pauses of milliseconds."""
    how = {"key": "TINY_KEY", "wait": 0.001, "seconds": 5.0, "tries": 3} | more
    return Endpoint(HttpConfig(server.url, "judge", **how))


def ask(act, conversations=(ASK,), **more):
    """(replies, the endpoint, the server) of one call."""
    with serve(act) as server:
        model = endpoint(server, **more)
        return asyncio.run(model(conversations)), model, server


def in_turn(*actions):
    """Each request gets the next action, and the last one all that follow."""
    return lambda body, number: actions[min(number, len(actions) - 1)]


def test_what_is_sent_and_what_comes_back():
    """Model, law, tools and messages go out; text, calls, tokens and their cost come back."""
    tool = Tool("search", "Finds.", {"type": "object", "properties": {}})
    calls = [{"id": "c9", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    calls.append({"id": "c10", "type": "function", "function": {"name": "f", "arguments": "{a"}})
    talk = [*ASK, Message("assistant", "", (ToolCall("search", {"q": "é"}),)), Message("tool", "4")]
    act = in_turn(ok(said("It is 4.", tool_calls=calls)))
    law = {"temperature": 0, "max_tokens": 7, "top_k": 3}
    (reply,), model, server = ask(
        act, [talk], tools=(tool,), law=law, price_prompt=3.0, price_new=5.0
    )
    assert reply.text == "It is 4." and reply.failure == ""
    assert reply.calls == (ToolCall("search", {}, "c9"),)
    assert [m.id for m in reply.malformed] == ["c10"]
    assert (reply.prompt_tokens, reply.new_tokens) == (10, 2)
    assert model.counts == {"requests": 1, "prompt_tokens": 10, "new_tokens": 2}
    assert model.cost == pytest.approx((10 * 3 + 2 * 5) / 1e6)
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and headers["authorization"] == f"Bearer {SECRET}"
    messages = tool_calls.to_openai(talk)
    expected = {"model": "judge", "messages": messages, "tools": [tool_calls.signature(tool)]}
    assert body == expected | law


def test_replies_keep_their_order_and_the_limit_of_requests_holds():
    """Six of twelve once came back in the order of arrival; a server of four slots saw twelve."""
    gate = threading.Barrier(4)

    def act(body, number):
        if number < 4:  # all four places are taken at once, and the later ones answer first
            gate.wait(10)
        return ok(said(body["messages"][0]["content"]))

    talks = [[Message("user", str(i))] for i in range(12)]
    replies, model, server = ask(act, talks, concurrent=4)
    assert [r.text for r in replies] == [str(i) for i in range(12)]
    assert server.most == 4 and model.counts["requests"] == 12


PASSING = {
    "rate limit": (status(429, headers={"Retry-After": "0"}), "limit"),
    "server error": (status(500), "error"),
    "overloaded": (status(503), "error"),
    "cut-off body": (cut, "error"),
    "no JSON": (ok(b"<html>busy</html>"), "error"),
    "half JSON": (ok(b'{"choices": ['), "error"),
    "a bomb": (ok(b'{"a":' * 100_000), "error"),
    "not UTF-8": (ok(b'"\xff"'), "error"),
    "empty choices": (ok({"choices": []}), "error"),
    "no message": (ok({"choices": [{"message": None}]}), "error"),
    "a list": (ok([1]), "error"),
    "parts": (ok(said([{"type": "text"}])), "error"),
}


def test_what_passes_is_tried_again():
    """One bad answer costs a retry, and spoils no other conversation of the call."""
    seen = collections.Counter()

    def once(body, _):
        name = body["messages"][0]["content"]
        seen[name] += 1
        return PASSING[name][0] if seen[name] == 1 else ok(said(f"after {name}"))

    replies, model, _ = ask(once, [[Message("user", name)] for name in PASSING])
    assert [r.text for r in replies] == [f"after {name}" for name in PASSING]
    assert model.counts["requests"] == 2 * len(PASSING) and model.counts["retries"] == len(PASSING)


def test_what_does_not_pass_ends_in_a_reply_that_says_why():
    """After as many requests as there are tries; each failure is counted."""
    act = lambda body, _: PASSING[body["messages"][0]["content"]][0]
    replies, model, _ = ask(act, [[Message("user", name)] for name in PASSING])
    assert {n: r.failure for n, r in zip(PASSING, replies, strict=True)} == {
        n: failure for n, (_, failure) in PASSING.items()
    }
    assert all(r.detail and r.text == "" for r in replies)
    assert model.counts["requests"] == 3 * len(PASSING)
    assert model.counts["limit"] == 1 and model.counts["error"] == len(PASSING) - 1


@pytest.mark.parametrize("slow", [hang, drip])
def test_a_server_that_never_ends_is_left(slow):
    """A byte now and then keeps a read alive for ever: the limit is for the whole answer."""
    good = ok(said("It is 4."))
    (reply,), model, _ = ask(in_turn(slow, good), seconds=0.3)
    assert reply.text == "It is 4." and model.counts["retries"] >= 1
    (reply,), model, _ = ask(in_turn(slow), seconds=0.2, tries=2)
    assert reply.failure == "timeout" and "seconds = 0.2" in reply.detail


def test_one_that_hangs_does_not_take_the_others_along():
    """Each conversation of a call ends in its own Reply."""
    act = lambda body, _: hang if body["messages"][0]["content"] == "x" else ok(said("fine"))
    replies, _, _ = ask(act, [ASK, [Message("user", "x")], ASK], seconds=1.0, tries=1)
    assert [r.failure for r in replies] == ["", "timeout", ""]
    assert [r.text for r in replies] == ["fine", "", "fine"]


def test_nobody_listens():
    """The connection is refused: an error that can be read, after all tries."""
    with serve(in_turn(hang)) as server:
        model = endpoint(server)
    (reply,) = asyncio.run(model([ASK]))
    assert reply.failure == "error" and "Connect" in reply.detail
    assert model.counts["retries"] == 2


FINAL = {
    "bad request": (status(400, "context too long"), "refused", "400 - context too long"),
    "wrong key": (status(401), "refused", "check the key in the environment variable 'TINY_KEY'"),
    "no such model": (status(404), "refused", "404"),
    "no money": (status(429, "pay", code="insufficient_quota"), "limit", "pay"),
    "refusal": (ok(said(None, refusal="I will not")), "refused", "I will not"),
    "far too long a wait": (status(429, headers={"Retry-After": "999"}), "limit", "999 s, longer"),
}


@pytest.mark.parametrize("name", FINAL)
def test_what_will_not_pass_is_not_tried_again(name):
    """Five tries with a wrong key lock an account."""
    action, failure, words = FINAL[name]
    (reply,), model, _ = ask(in_turn(action))
    assert (reply.failure, model.counts["requests"]) == (failure, 1) and words in reply.detail


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(form, monkeypatch):
    """At least what the server asks; else pauses that double, less up to a half by chance."""
    pauses, sleep = [], asyncio.sleep
    monkeypatch.setattr("jaxrl.chat.http.asyncio.sleep", lambda s: (pauses.append(s), sleep(0))[1])
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    asked = {"Retry-After": "30" if form == "seconds" else date}
    plain = status(429)
    ask(
        in_turn(plain, plain, plain, status(429, headers=asked)), tries=5, wait=1.0, longest_wait=35
    )
    assert len(pauses) == 4 and 28 <= pauses[3] <= 30
    assert all(2**i / 2 <= pause <= 2**i for i, pause in enumerate(pauses[:3]))


def test_the_cost_limit_stops_asking():
    """12 tokens a call at 1 each: the limit of 30 is passed by the third, and no fourth is made."""
    money = {"price_prompt": 1e6, "price_new": 1e6, "cost_limit": 30.0, "concurrent": 1}
    replies, model, _ = ask(in_turn(ok(said("fine"))), [ASK] * 6, **money)
    assert [r.failure for r in replies] == [""] * 3 + ["limit"] * 3
    assert "cost_limit = 30.0" in replies[-1].detail
    assert model.cost == 36 and model.counts["requests"] == 3 and model.counts["limit"] == 3


def test_an_endpoint_that_reports_no_usage_still_costs():
    """Else a cost limit would never be reached: one token a byte, the most there can be."""
    body = said("It is 4.")
    del body["usage"]
    (reply,), model, _ = ask(in_turn(ok(body)))
    sent = json.dumps(tool_calls.to_openai(ASK))
    assert model.counts["prompt_tokens"] == len(sent) and reply.new_tokens >= len("It is 4.")


def test_the_key_is_never_shown(caplog):
    """Servers repeat it in their errors, and debug logs of clients print headers."""
    caplog.set_level(logging.DEBUG)
    for action in (status(401, f"bad key {SECRET}"), ok({"error": SECRET}), ok(said("fine"))):
        (reply,), model, _ = ask(in_turn(action), tries=1)
        assert SECRET not in reply.detail and SECRET not in repr(model) + repr(vars(model))
    assert caplog.records and SECRET not in caplog.text


def test_one_endpoint_serves_several_event_loops(caplog):
    """Connections of a loop that ended once made the next asyncio.run fail, or complain."""
    with serve(in_turn(ok(said("fine")))) as server:
        model = endpoint(server)
        for _ in range(3):
            assert asyncio.run(model([ASK, ASK]))[1].text == "fine"

        async def overlapping():
            return await asyncio.gather(model([ASK]), model([ASK, ASK]), model([ASK]))

        assert [len(r) for r in asyncio.run(overlapping())] == [1, 2, 1]
    assert model.counts["requests"] == 10 and "closed" not in caplog.text


def test_a_cancelled_call_leaves_the_endpoint_usable():
    """A run that stops waiting must not leave places taken or connections half closed."""
    with serve(in_turn(hang, hang, ok(said("fine")))) as server:
        model = endpoint(server, concurrent=2)

        async def cancelled():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(model([ASK, ASK]), 0.3)
            return await model([ASK, ASK, ASK])

        assert [r.text for r in asyncio.run(cancelled())] == ["fine"] * 3


def test_odd_texts_survive():
    """Half a surrogate pair, in and out: a failure or a mended text, never an exception."""
    odd = b'{"choices": [{"message": {"content": "a\\ud800"}}]}'
    replies, _, _ = ask(
        in_turn(ok(odd)), [ASK, [Message("user", "\ud800")], [Message("prompt", "")]]
    )
    assert [r.failure for r in replies] == ["", "error", "refused"]
    assert replies[0].text == "a?" and '"prompt"' in replies[2].detail


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"url": "api.example.com"}, "url = 'api.example.com' is no address"),
        ({"law": {"stream": True, "top_p": 1}}, r"law has \['stream'\], which the client itself"),
        ({"tries": 0}, "tries = 0 must be positive"),
        ({"cost_limit": 5.0}, "cost_limit = 5.0 needs price_prompt"),
        ({"key": "NO_SUCH_KEY"}, "key = 'NO_SUCH_KEY': no such environment variable"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_asked(wrong, words):
    with pytest.raises(ValueError, match=words):
        Endpoint(HttpConfig(**({"url": "http://x", "model": "m", "key": ""} | wrong)))


def test_a_key_in_place_of_its_name_is_refused_unseen():
    with pytest.raises(ValueError, match="never the key itself") as e:
        Endpoint(HttpConfig("http://x", "m", key="sk-123-abc"))
    assert "sk-123" not in str(e.value)
