"""Typed Python functions as tools: the schema a model reads, and the check of what it sends back.

    def around(world, place: str, radius_km: float = 1.0, top: int | None = None):
        '''Points of interest around a place, the nearest first.

        place: a name as poi_search gives it.
        radius_km: at most 50.
        '''

    t = tool(around)                           # what a template or an endpoint shows
    around(world, **checked(t, {"place": "Louvre", "radius_km": 2}))       # 2 became 2.0

A first parameter called `world` or `state` is the caller's to give, and the model never sees it.
"""

import difflib
import inspect
import itertools
import re
import reprlib
import types
import typing

import jsonschema
import referencing.exceptions

from jaxrl.messages import Tool

LONGEST = 1_000_000  # characters of a call's arguments
DEEPEST = 32  # levels of lists and objects in them
WIDEST = 10_000  # values in those: a validator takes 20 µs for each that is wrong
HIDDEN = ("world", "state")
REFUSED = "error: "  # begins the result of a call that was not made
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
LISTED = re.compile(r"(\w+(?:, \w+)*): +(\S.*)")  # of a docstring: "name: meaning"
SHORT = reprlib.Repr()  # a value in an error: cut, and safe for values of any depth
SHORT.maxstring = SHORT.maxother = 80


class ToolError(ValueError):
    """Arguments a tool does not take: which key, what it held, what it must hold."""

    def __init__(self, key, value, fix):
        super().__init__(f"{key} = {SHORT.repr(value)}: {fix}")
        self.key, self.value, self.fix = key, value, fix


def tool(function):
    """The Tool of a function, from its signature and docstring; a TypeError if it has no schema."""
    text = inspect.getdoc(function)
    if not text:
        raise TypeError(
            f"{function.__name__} has no docstring, which is what a model is told of it"
        )
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    if parameters and parameters[0].name in HIDDEN:
        parameters = parameters[1:]
    properties = {p.name: _property(function.__name__, p) for p in parameters}
    description, meanings = _read(text, properties)
    for name, meaning in meanings.items():
        properties[name]["description"] = meaning
    schema = {
        "type": "object",
        "properties": properties,
        "required": [p.name for p in parameters if p.default is p.empty],
        "additionalProperties": False,
    }
    return Tool(function.__name__, description, schema)


def checked(tool, arguments):
    """The arguments as the tool takes them (2 for a float becomes 2.0), or a ToolError."""
    if not isinstance(arguments, dict):
        raise ToolError("arguments", arguments, "give a JSON object of the tool's parameters")
    trouble = unfit(arguments)
    if trouble:
        raise ToolError("arguments", arguments, trouble)
    validator = _validator(tool.parameters)
    errors = itertools.islice(validator.iter_errors(arguments), 20)  # a long list may have 100,000
    try:
        worst = min(errors, key=lambda e: len(e.absolute_path), default=None)
    except referencing.exceptions.Unresolvable as e:  # the tool's fault, yet the run goes on
        raise ToolError("arguments", arguments, f"they cannot be checked: {e}"[:200]) from None
    if worst is not None:
        raise _explained(worst)
    return _coerced(tool.parameters, arguments)


def fitted(known, call):
    """(the ToolCall with arguments as its tool takes them, "") or (None, what is wrong with it).

    known: {name: Tool}. What is wrong is told the model as the call's result.
    """
    if call.name not in known:
        return None, f"{REFUSED}tool {call.name[:50]!r} is not known; one of {', '.join(known)}"
    try:
        return call._replace(arguments=checked(known[call.name], call.arguments)), ""
    except ToolError as error:
        return None, f"{REFUSED}{error}"


def unfit(value):
    """Why no tool takes this parsed JSON value, in words; "" if one may. No recursion."""
    size, number, level = 0, 0, [value]
    for _ in range(DEEPEST + 1):
        inner = []
        for x in level:
            if isinstance(x, dict):
                inner += [*x, *x.values()]
            elif isinstance(x, list):
                inner += x
            elif isinstance(x, str):
                size += len(x)
                if not _encodes(x):
                    return "a text holds half of a surrogate pair: write the character whole"
            elif isinstance(x, int | float) and not abs(x) < 2**63:  # NaN is not
                return "a number is not finite or beyond 64 bits: give a smaller one"
        number += len(inner)
        if size > LONGEST or number > WIDEST:
            return f"longer than {LONGEST} characters or {WIDEST} values: send less"
        if not inner:
            return ""
        level = inner
    return f"nested deeper than {DEEPEST} levels: send it flat"


def _encodes(text):
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _property(function, p):
    where = f"parameter {p.name!r} of {function}"
    if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
        raise TypeError(f"{where} has no name to call it by: make it an ordinary parameter")
    if p.annotation is p.empty:
        raise TypeError(f"{where} has no type: annotate it, for instance {p.name}: str")
    schema = _schema(p.annotation, where)
    if p.default is not p.empty:
        if not _validator(schema).is_valid(p.default):
            raise TypeError(f"{where} has the default {p.default!r}, which is not {words(schema)}")
        schema["default"] = p.default
    return schema


def _schema(kind, where):
    """The JSON schema of a type, or a TypeError that starts with `where`."""
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    if origin is list:
        return {"type": "array"} | ({"items": _schema(inside[0], where)} if inside else {})
    if origin is dict and (not inside or inside[0] is str):
        more = {"additionalProperties": _schema(inside[1], where)} if inside else {}
        return {"type": "object"} | more
    if origin is typing.Literal and all(isinstance(x, str | int) for x in inside):
        same = {type(x) for x in inside}
        named = {"type": SCALARS[same.pop()]} if len(same) == 1 else {}
        return named | {"enum": list(inside)}
    if origin in (typing.Union, types.UnionType) and len(inside) == 2 and type(None) in inside:
        other = next(x for x in inside if x is not type(None))
        return {"anyOf": [_schema(other, where), {"type": "null"}]}
    raise TypeError(
        f"{where} has the type {kind!r}, which has no schema here: use str, int, float, bool, "
        "Literal of texts or integers, list[...], dict[str, ...], or one of these | None"
    )


def _read(text, names):
    """A docstring -> (description, meaning of each parameter it lists as "name: meaning")."""
    description, meanings, current = [], {}, ()
    for line in text.splitlines():
        found = LISTED.fullmatch(line.strip())
        listed = found[1].split(", ") if found else []
        if listed and all(name in names for name in listed):
            current = listed
            meanings |= dict.fromkeys(listed, found[2])
        elif current and line.strip():
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in current}
        elif not meanings and line.strip() != "Args:":
            description.append(line)
        else:
            current = ()
    return "\n".join(description).strip(), meanings


def _validator(schema):
    # The empty registry: a "$ref" to an address must not make the validator fetch it.
    return jsonschema.Draft202012Validator(schema, registry=referencing.Registry())


def _explained(error):
    """A ToolError in our words from one of jsonschema's."""
    path = ".".join(map(str, error.absolute_path)) or "arguments"
    inside = lambda name: name if path == "arguments" else f"{path}.{name}"
    properties = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    if error.validator == "required":
        name = next(n for n in error.validator_value if n not in error.instance)
        return ToolError(inside(name), None, f"it is missing; give {words(properties.get(name))}")
    if error.validator == "additionalProperties" and properties:
        name = next(n for n in error.instance if n not in properties)
        near = difflib.get_close_matches(name[:80], list(properties), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the tool takes {list(properties)}"
        return ToolError(inside(name[:80]), error.instance[name], f"no such parameter; {hint}")
    if error.validator in ("type", "enum", "anyOf"):
        return ToolError(path, error.instance, f"give {words(error.schema)}")
    return ToolError(path, error.instance, error.message[:200])


def words(schema):
    """What a schema takes, for a person or a model: "a number", "one of ['a', 'b'] or null"."""
    if not isinstance(schema, dict):
        return "a value"
    if "anyOf" in schema:
        return " or ".join(map(words, schema["anyOf"]))
    if "enum" in schema:
        return f"one of {schema['enum']}"
    kind = schema.get("type", "value")
    if kind == "array" and "items" in schema:
        return f"an array, each item {words(schema['items'])}"
    kinds = kind if isinstance(kind, list) else [kind]
    article = lambda k: k if k == "null" else f"{'an' if k[0] in 'aio' else 'a'} {k}"
    return " or ".join(map(article, kinds))


def _coerced(schema, value):
    """A value that fits the schema, with JSON's numbers as the types the schema names."""
    if "anyOf" in schema:
        fits = (s for s in schema["anyOf"] if _validator(s).is_valid(value))
        return _coerced(next(fits, {}), value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"number": float, "integer": int}.get(schema.get("type"), lambda x: x)(value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_coerced(schema["items"], x) for x in value]
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        rest = rest if isinstance(rest, dict) else {}
        return {k: _coerced(properties.get(k, rest), x) for k, x in value.items()}
    return value
