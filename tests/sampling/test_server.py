"""The endpoint, asked by the real `openai` client over a real socket."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
from functools import partial

import openai
import pytest
import tiny_engine
import uvicorn
from tiny_engine import CHAT, Scripted, until

from jaxrl.chat import templates
from jaxrl.messages import Message
from jaxrl.ops.distributions import Law
from jaxrl.sampling import server
from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Request

ASK = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@contextlib.contextmanager
def serve(engine, **limits):
    """(a client, the driver, the port) of a server in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with Driver(engine) as driver:
        c = server.ServerConfig("tiny", **{"max_new": 7} | limits)
        asgi = server.app(driver, CHAT, tiny_engine.CHAT_MODEL, c)
        running = uvicorn.Server(uvicorn.Config(asgi, log_level="error"))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        url = f"http://127.0.0.1:{port}/v1"
        try:
            with openai.OpenAI(api_key="none", base_url=url, max_retries=0, timeout=20) as client:
                yield client, driver, port
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def tiny():
    with serve(tiny_engine.make_chat()) as (client, driver, _):
        yield partial(client.chat.completions.create, model="tiny", messages=ASK), driver


@pytest.fixture
def says():
    """says(text): asks a server whose engine says this, whatever it is asked."""
    text = []
    with serve(Scripted(lambda request: CHAT.encode(text[-1]))) as (client, *_):
        yield (
            lambda said, **how: (
                text.append(said)
                or client.chat.completions.create(model="tiny", messages=ASK, **how)
            )
        )


def joined(stream):
    """(text of each choice, finish_reason of each, tool calls, usage) of a stream."""
    texts, finish, calls, usage = {}, {}, [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            calls += choice.delta.tool_calls or []
            if choice.finish_reason:
                assert choice.index not in finish
                finish[choice.index] = choice.finish_reason
    return texts, finish, calls, usage


def test_an_answer_is_what_the_engine_draws(tiny):
    create, driver = tiny
    prompt = templates.render(CHAT, [Message("user", "Hi")])
    job = driver.submit(Request(tuple(prompt), 7, Law(0.0))).result()
    got = create(temperature=0, logprobs=True)
    assert got.choices[0].message.content == CHAT.decode(job.tokens)
    assert got.choices[0].finish_reason == job.ending and got.model == "tiny"
    assert got.usage.prompt_tokens == len(prompt)
    assert got.usage.completion_tokens == len(job.tokens)
    assert [t.logprob for t in got.choices[0].logprobs.content] == pytest.approx(job.full_logp)
    shorter = create(temperature=0, max_tokens=3)
    assert shorter.usage.completion_tokens == 3 and shorter.choices[0].finish_reason == "length"


def test_seeds_answers_and_their_streams_agree(tiny):
    """n answers differ; a seed gives them again; streamed they are the same."""
    create, _ = tiny
    ask = {"n": 2, "seed": -5, "temperature": 1.3, "top_p": 0.9, "max_completion_tokens": 12}
    first, again, other = create(**ask), create(**ask), create(**ask | {"seed": 6})
    texts = lambda got: [c.message.content for c in got.choices]
    assert texts(first) == texts(again) != texts(other) and len(set(texts(first))) == 2
    stream = create(**ask, stream=True, stream_options={"include_usage": True})
    streamed, finish, _, usage = joined(stream)
    assert [streamed[0], streamed[1]] == texts(first)
    assert [finish[0], finish[1]] == [c.finish_reason for c in first.choices]
    assert usage.completion_tokens == first.usage.completion_tokens


def test_a_stop_string_ends_an_answer_and_is_no_part_of_it(tiny):
    create, _ = tiny
    whole = create(seed=3, max_tokens=20).choices[0].message.content
    stop = next(a + b for a, b in itertools.pairwise(whole) if "�" not in a + b)
    got = create(seed=3, max_tokens=20, stop=["never", stop])
    assert got.choices[0].message.content == whole.split(stop)[0]
    assert got.choices[0].finish_reason == "stop"
    stream = create(seed=3, max_tokens=20, stop=stop, stream=True)
    assert joined(stream)[0][0] == got.choices[0].message.content


def test_a_stream_says_no_half_characters_and_nothing_a_stop_takes_back(says):
    """Three tokens a step: é and the stop string are cut in the middle."""
    ask = lambda said: [
        chunk.choices[0].delta.content
        for chunk in says(said, max_tokens=40, stream=True, stop=["END."])
        if chunk.choices[0].delta.content
    ]
    pieces = ask("aé日本 ENDE")
    assert "".join(pieces) == "aé日本 ENDE" and len(pieces) > 2
    assert not any("�" in piece for piece in pieces)
    assert "".join(ask("aé日本 END. And on")) == "aé日本 "


def test_tool_calls_come_in_openais_form(says):
    said = 'Look. <tool_call>{"name": "f", "arguments": {"x": "é"}}</tool_call>'
    whole = says(said, tools=[TOOL], max_tokens=99).choices[0]
    assert whole.finish_reason == "tool_calls" and whole.message.content == "Look."
    (call,) = whole.message.tool_calls
    assert call.function.name == "f" and json.loads(call.function.arguments) == {"x": "é"}
    texts, finish, (call,), _ = joined(says(said, tools=[TOOL], max_tokens=99, stream=True))
    assert (texts, finish) == ({0: "Look."}, {0: "tool_calls"})
    assert call.function.name == "f" and call.index == 0
    broken = says(said[:40], tools=[TOOL], max_tokens=99).choices[0]
    assert broken.message.content == said[:40] and broken.finish_reason == "stop"
    unread = says(said, tools=[TOOL], tool_choice="none", max_tokens=99).choices[0]
    assert unread.message.content == said and not unread.message.tool_calls


def test_a_conversation_with_calls_and_results_is_rendered():
    asked = []
    with serve(Scripted(lambda r: asked.append(r.tokens) or [])) as (client, *_):
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        talk = [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
        ]
        client.chat.completions.create(model="tiny", messages=talk, tools=[TOOL])
    text = "".join(CHAT.pieces(asked[0]))
    assert "Be brief." in text and "user\nHi<" in text and '{"name": "f", "arguments": {}}' in text
    assert "<tool_response>\n4\n</tool_response>" in text and "# Tools" in text


def test_a_response_format_is_kept(tiny):
    create, _ = tiny
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema |= {"additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    got = create(n=2, seed=1, max_tokens=40, response_format=form)
    for choice in got.choices:
        assert choice.finish_reason == "stop"
        assert isinstance(json.loads(choice.message.content)["ok"], bool)
    form["json_schema"]["schema"] = {"type": "string", "not": {"const": "x"}}
    with pytest.raises(openai.BadRequestError, match="not"):
        create(response_format=form)


BAD = {
    "response_format": ({"type": "xml"}, "response_format.type", "one of ['text'"),
    "temperature": (3, "temperature", "maximum of 2"),
    "top_p": (0, "top_p", "0"),
    "n": (99, "n", "maximum of 16"),
    "max_tokens": (0, "max_tokens", "minimum of 1"),
    "stop": ([""], "stop", "empty string"),
    "stop ": ("x" * 101, "stop", "a string"),
    "seed": ("x", "seed", "an integer"),
    "logit_bias": ({"5": 1}, "logit_bias", "no such parameter"),
    "presence_penalty": (1, "presence_penalty", "one of [0]"),
    "tool_choice": ("required", "tool_choice", "one of ['auto', 'none']"),
    "tools": ([{"type": "function"}], "tools.0.function", "missing"),
    "messages": ([{"role": "wizard", "content": "x"}], "messages.0.role", "one of"),
}
BAD_MESSAGES = {
    "a number": ({"role": "user", "content": 0}, "messages.0.content"),
    "an image": ({"role": "user", "content": [{"type": "image_url"}]}, "messages.0.content"),
    "broken arguments": (
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{a"}}]},
        "messages.0.tool_calls",
    ),
    "too long": ({"role": "user", "content": "x" * 3000}, None),
}


def test_bad_values_are_refused_with_key_value_and_fix(tiny):
    create, _ = tiny
    for key, (value, param, words) in BAD.items():
        with pytest.raises(openai.BadRequestError) as refused:
            create(extra_body={key.strip(): value})
        assert refused.value.param == param and words in refused.value.message, key
    for name, (message, param) in BAD_MESSAGES.items():
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                create(extra_body={"messages": [message]}, stream=stream)
            assert refused.value.param == param, name
    with pytest.raises(openai.NotFoundError, match="the one model is 'tiny'"):
        create(extra_body={"model": "other"})
    with pytest.raises(openai.BadRequestError, match="leave out tools"):
        create(response_format={"type": "json_object"}, tools=[TOOL])
    with pytest.raises(openai.BadRequestError, match="leave out stream"):
        create(stream=True, logprobs=True)


def raw(port, body, path="/v1/chat/completions", method="POST"):
    """(status, parsed body) of a request that no client would send."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    line.request(method, path, body)
    answer = line.getresponse()
    got = answer.status, json.loads(answer.read())
    line.close()
    return got


def test_bodies_that_are_none_and_wrong_paths_are_refused_in_openais_form():
    half = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "\ud800"}]})
    with serve(Scripted(), body=2000) as (client, _, port):
        assert [m.id for m in client.models.list()] == ["tiny"]
        assert client.models.retrieve("tiny").id == "tiny"
        for body in (b"{", b"\xff", b"[" * 500, b"[1]", b"NaN", b"", half):
            status, told = raw(port, body)
            assert status == 400 and told["error"]["type"] == "invalid_request_error", body
        assert raw(port, b"x" * 3000)[0] == 413
        assert raw(port, b"", "/v1/nothing")[0] == 404
        status, told = raw(port, b"", method="GET")
        assert status == 405 and "GET" in told["error"]["message"]


def test_more_than_fit_are_told_to_come_again():
    engine = Scripted(steps=0)
    with serve(engine, concurrent=3) as (client, *_):
        create = partial(client.chat.completions.create, model="tiny", messages=ASK)
        first = threading.Thread(target=create, kwargs={"n": 2})
        first.start()
        until(lambda: len(engine.jobs) == 2)
        with pytest.raises(openai.RateLimitError, match="2 answers are under way, of 3"):
            create(n=2)
        engine.allowed.release(100)
        first.join()
        assert len(create(n=3).choices) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_request(stream):
    """Before the first token and, of a stream, after it; and its room is free again."""
    engine = Scripted(lambda request: [5] * 1000, steps=0)
    with serve(engine, concurrent=1, max_new=500) as (client, _, port):
        for steps in (0, 1):
            body = json.dumps({"model": "tiny", "messages": ASK, "stream": stream})
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            line.request("POST", "/v1/chat/completions", body)
            until(lambda: len(engine.jobs) == 1)
            if steps:
                engine.allowed.release()
            if steps and stream:
                assert line.getresponse().readline().startswith(b"data: ")
            gone = len(engine.cancelled)
            line.sock.close()
            line.close()
            until(lambda gone=gone: engine.allowed.release() or len(engine.cancelled) > gone)
        engine.say = lambda request: [5] * 3
        engine.allowed.release(9)
        until(lambda: not engine.jobs)
        assert client.chat.completions.create(model="tiny", messages=ASK).choices


@pytest.mark.parametrize("steps", [0, 1])
def test_an_engine_that_breaks_is_told(steps):
    """As a status, or in a stream that has begun as an event."""

    class Broken(Scripted):
        def step(self):
            super().step()
            if self.allowed.acquire(blocking=False) is False:
                raise MemoryError("no room on the device")

    with serve(Broken(steps=1 + 2 * steps)) as (client, *_):
        with pytest.raises(openai.APIError, match="no room on the device"):
            stream = client.chat.completions.create(model="tiny", messages=ASK, stream=True)
            assert steps
            list(stream)
