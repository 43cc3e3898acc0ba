"""A function's schema says what the function takes, and `checked` lets nothing else through."""

from typing import Literal

import hypothesis
import jsonschema
import pytest
from hypothesis import strategies

from jaxrl import tools
from jaxrl.messages import Tool, ToolCall
from jaxrl.tools import ToolError, checked, fitted


def search(
    world,
    query: str,
    place: dict[str, float],
    radius_km: float = 1.0,
    limit: int = 5,
    kind: Literal["food", "art"] = "art",
    tags: list[str] | None = None,
    deep: bool = False,
):
    """Points of interest, the nearest first.

    At most fifty of them.

    query: what to look for,
        in plain words.
    place: lat and lon.
    radius_km, limit: how far, how many.

    Returns a text.
    """
    return world, query, place, radius_km, limit, kind, tags, deep


SEARCH = tools.tool(search)
GOOD = {"query": "tea", "place": {"lat": 1, "lon": 2.5}}


def test_the_schema_of_a_function():
    """Every kind of type, the defaults, the meanings; the world is not the model's."""
    assert SEARCH.name == "search"
    assert SEARCH.description == "Points of interest, the nearest first.\n\nAt most fifty of them."
    assert SEARCH.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to look for, in plain words."},
            "place": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "lat and lon.",
            },
            "radius_km": {"type": "number", "default": 1.0, "description": "how far, how many."},
            "limit": {"type": "integer", "default": 5, "description": "how far, how many."},
            "kind": {"type": "string", "enum": ["food", "art"], "default": "art"},
            "tags": {
                "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                "default": None,
            },
            "deep": {"type": "boolean", "default": False},
        },
        "required": ["query", "place"],
        "additionalProperties": False,
    }
    jsonschema.Draft202012Validator.check_schema(SEARCH.parameters)


def test_checked_arguments_have_the_function_s_types():
    """JSON has one kind of number: 2 must arrive as 2.0 where a float is asked, deep inside too."""
    got = checked(SEARCH, GOOD | {"radius_km": 2, "limit": 3.0, "tags": ["a"], "deep": True})
    assert got["radius_km"] == 2.0 and isinstance(got["radius_km"], float)
    assert got["limit"] == 3 and isinstance(got["limit"], int) and got["deep"] is True
    assert isinstance(got["place"]["lat"], float)
    assert search("w", **got)[:2] == ("w", "tea") and search("w", **got)[6] == ["a"]
    assert checked(SEARCH, GOOD | {"tags": None})["tags"] is None


WRONG = [
    ({"query": "tea"}, "place", "it is missing; give an object"),
    (GOOD | {"querry": 1}, "querry", "no such parameter; did you mean 'query'"),
    (GOOD | {"world": 1}, "world", "no such parameter; the tool takes"),
    (GOOD | {"query": 7}, "query", "give a string"),
    (GOOD | {"limit": 2.5}, "limit", "give an integer"),
    (GOOD | {"limit": True}, "limit", "give an integer"),
    (GOOD | {"radius_km": "2"}, "radius_km", "give a number"),
    (GOOD | {"deep": 1}, "deep", "give a boolean"),
    (GOOD | {"kind": "Art"}, "kind", "one of ['food', 'art']"),
    (GOOD | {"tags": [1]}, "tags", "give an array, each item a string or null"),
    (GOOD | {"place": {"lat": "north"}}, "place.lat", "give a number"),
    ([1], "arguments", "give a JSON object"),
    (GOOD | {"query": "x" * 1_000_001}, "arguments", "longer than 1000000"),
    (GOOD | {"tags": [1] * 10_001}, "arguments", "or 10000 values"),
    (GOOD | {"query": "\ud800"}, "arguments", "surrogate"),
    (GOOD | {"radius_km": float("nan")}, "arguments", "not finite"),
    (GOOD | {"limit": 10**400}, "arguments", "beyond 64 bits"),
]


@pytest.mark.parametrize("arguments, key, fix", WRONG, ids=[w[1] + w[2][:20] for w in WRONG])
def test_what_is_refused_and_how(arguments, key, fix):
    """An error names the key, shows the value cut short, and says what to give."""
    with pytest.raises(ToolError) as e:
        checked(SEARCH, arguments)
    assert e.value.key == key and fix in e.value.fix
    assert len(str(e.value)) < 600 and str(e.value).startswith(f"{key} = ")


def test_deep_arguments_are_refused_without_recursion():
    """100,000 nested lists once ended the interpreter's stack in a validator."""
    bomb = []
    for _ in range(100_000):
        bomb = [bomb]
    with pytest.raises(ToolError, match="deeper than 32"):
        checked(SEARCH, {"query": bomb})
    while bomb:  # an own way out: freeing it recursively is CPython's business
        bomb = bomb.pop()


def no_docs(x: int):
    return x


def no_type(x):
    """One."""


def odd_type(x: set[int]):
    """One."""


def two_types(x: int | str):
    """One."""


def starred(*x: int):
    """One."""


def wrong_default(x: int = "one"):
    """One."""


def int_keys(x: dict[int, str]):
    """One."""


@pytest.mark.parametrize(
    "function, words",
    [
        (no_docs, "no_docs has no docstring"),
        (no_type, r"parameter 'x' of no_type has no type: annotate it"),
        (odd_type, r"parameter 'x' of odd_type has the type set\[int\].*use str"),
        (two_types, r"has the type int \| str"),
        (starred, "has no name to call it by"),
        (wrong_default, r"default 'one', which is not an integer"),
        (int_keys, r"has the type dict\[int, str\]"),
    ],
)
def test_functions_without_a_schema_are_refused(function, words):
    """Before a run, by the parameter's name, with what to write instead."""
    with pytest.raises(TypeError, match=words):
        tools.tool(function)


def test_methods_and_string_annotations():
    """`self` is bound, `state` is hidden, and postponed annotations are read as types."""

    class Shop:
        def buy(self, state, item: "str", count: "int | None" = None):
            """Buys.

            Args:
                item: its name.
            """

    made = tools.tool(Shop().buy)
    assert made.description == "Buys." and list(made.parameters["properties"]) == ["item", "count"]
    assert made.parameters["properties"]["item"] == {"type": "string", "description": "its name."}


def test_a_foreign_schema_is_not_fetched():
    """Schemas of servers come from outside: a $ref to an address must stay unread."""
    there = Tool("t", "", {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}})
    with pytest.raises(ToolError, match="cannot be checked"):
        checked(there, {"a": 1})


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats()
    | strategies.text(max_size=5),
    lambda x: strategies.lists(x, max_size=3) | strategies.dictionaries(strategies.text(), x),
    max_leaves=8,
)  # fmt: skip
KEYS = strategies.sampled_from([*SEARCH.parameters["properties"], "other"])


@hypothesis.given(strategies.dictionaries(KEYS, JSON, max_size=8))
@hypothesis.settings(max_examples=100, deadline=None, database=None)
def test_any_arguments_are_refused_or_can_be_called(arguments):
    """Whatever JSON a model writes: a ToolError, or arguments that the function's types allow."""
    try:
        got = checked(SEARCH, GOOD | arguments)
    except ToolError:
        return
    _, query, place, radius_km, limit, kind, tags, deep = search("w", **got)
    assert type(query) is str and {type(x) for x in place.values()} <= {float}
    assert type(radius_km) is float and type(limit) is int and type(deep) is bool
    assert kind in ("food", "art") and (tags is None or {type(x) for x in tags} <= {str})


def test_a_call_is_fitted_to_its_tool_or_told_what_is_wrong():
    known = {SEARCH.name: SEARCH}
    fit, wrong = fitted(known, ToolCall(SEARCH.name, GOOD | {"radius_km": 2}, "c"))
    assert wrong == "" and fit.id == "c" and type(fit.arguments["radius_km"]) is float
    for call, words in (
        (ToolCall("serch", GOOD), "tool 'serch' is not known; one of"),
        (ToolCall(SEARCH.name, GOOD | {"radius_km": "far"}), "radius_km = 'far': give a number"),
    ):
        fit, wrong = fitted(known, call)
        assert fit is None and wrong.startswith(f"error: {words}")
