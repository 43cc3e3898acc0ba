"""The tools return JSON, and answer whatever a model sends."""

import inspect
import json

import pytest
import tiny_corpus

from jaxrl import tools as schemas
from jaxrl.envs.research import calls, tools
from jaxrl.messages import ToolCall


@pytest.mark.parametrize("function", tools.TOOLS, ids=lambda f: f.__name__)
def test_a_tool_has_a_schema_with_meanings(function):
    made = schemas.tool(function)
    assert made.parameters["required"] == [next(iter(made.parameters["properties"]))]
    assert all("description" in p for p in made.parameters["properties"].values())
    assert next(iter(inspect.signature(function).parameters)) == "world"


def test_search_gives_ids_titles_and_snippets(world):
    rows = json.loads(tools.search(world, tiny_corpus.title(3), 4))
    assert len(rows) == 4 and all(set(r) == {"id", "title", "snippet"} for r in rows)
    assert rows[0]["id"] == "d4" and rows[0]["title"] == tiny_corpus.title(3)
    assert len(json.loads(tools.search(world, tiny_corpus.title(3)))) == 5


def test_open_gives_a_document_page_by_page(world, monkeypatch):
    whole = json.loads(tools.open(world, "d4"))
    text = tiny_corpus.document(3)["text"]
    assert whole == {"id": "d4", "title": tiny_corpus.title(3), "page": 1, "pages": 1, "text": text}
    monkeypatch.setattr(tools, "PAGE", 100)
    parts = [json.loads(tools.open(world, "d4", n + 1)) for n in range(-(-len(text) // 100))]
    assert "".join(p["text"] for p in parts) == text and parts[0]["pages"] == len(parts) > 2


REFUSED = [
    ("search", {"query": "x" * 1_000_000}, "query = 'xxx.*: 1000000 characters; give at most 300"),
    ("search", {"query": " ?! "}, "it has no word"),
    ("search", {"query": ""}, "it has no word"),
    ("search", {"query": "x", "count": 0}, "count = 0: out of range; give a number from 1 to 10"),
    ("search", {"query": "x", "count": 11}, "count = 11"),
    ("open", {"id": "d4", "page": -1}, "page = -1: out of range; give a number from 1 to 1"),
    ("open", {"id": "d4", "page": 2}, "page = 2"),
    ("open", {"id": "d999999"}, "id = 'd999999': no such document"),
    ("open", {"id": "4"}, "no such document"),
    ("open", {"id": "d0"}, "no such document"),
    ("open", {"id": "d" + "9" * 1_000_000}, "no such document"),
    ("open", {"id": "d٣"}, "no such document"),
    ("open", {"id": "'; DROP TABLE pages"}, "no such document"),
]


@pytest.mark.parametrize("name, arguments, words", REFUSED, ids=[r[2][:30] for r in REFUSED])
def test_bad_arguments_are_refused_with_key_value_and_fix(world, name, arguments, words):
    with pytest.raises(schemas.ToolError, match=words) as caught:
        calls.BY_NAME[name](world, **arguments)
    assert calls.run(world, ToolCall(name, arguments)) == f"error: {caught.value}"
    assert len(str(caught.value)) < 300


def test_calls_that_fit_no_tool_become_observations(world):
    assert "one of search, open" in calls.run(world, ToolCall("browse", {}))
    assert "it takes query, count" in calls.run(world, ToolCall("search", {}))
    assert "it takes id, page" in calls.run(world, ToolCall("open", {"url": "x"}))


def test_what_calls_have_shown(world):
    wanted = [
        ToolCall("search", {"query": tiny_corpus.title(3), "count": 2}),
        ToolCall("open", {"id": "d9"}),
        ToolCall("open", {"id": "d99999"}),
    ]
    made = [(call, calls.run(world, call)) for call in wanted]
    listed = {row["id"] for row in json.loads(made[0][1])}
    assert calls.found(made) == listed | {"d9"} and calls.opened(made) == {"d9"}
    shown = calls.evidence(made)
    assert set(shown) == listed | {"d9"} and tiny_corpus.document(8)["text"] in shown["d9"]
