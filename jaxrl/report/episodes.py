"""Episodes of agents as records a template can print: what was said, called, seen and drawn."""

import itertools
import json

from jaxrl.report import samples
from jaxrl.report.excerpts import excerpt, fair, visible

CHARS = 12_000  # of all messages and arguments of one episode
MESSAGES = 40  # of one episode: its beginning and its end
CALLS = 4  # of one message
ARGUMENTS = 8  # of one call
NAME = 40  # characters of a tool's or an argument's name
OPEN = 240  # characters of an observation that needs no folding
MEMBERS = 16  # of one group
TOKENS = 300  # of one episode, the world's between two replies being one: beginning and end
WORLD = 300  # characters of the world's between two replies
PIECE = 60  # characters of one token
ENDED = {
    "answer": "gave its answer",
    "turns": "used up its turns",
    "reply": "a reply was too long and was cut",
    "tokens": "no room for more tokens",
    "time": "took too long",
    "failed": "the environment failed: not scored",
}
COUNTS = {"malformed": "unreadable", "refused": "refused", "broken": "failed"}


def of_agents(rollouts):
    """The rows that are episodes; the others are single samples."""
    return [row for row in rollouts if "messages" in row]


def shown(row, scale):
    """One row of rollouts.jsonl for the page. scale: advantage at the end of the colour scale."""
    messages = row["messages"]
    cut = max(0, len(messages) - MESSAGES)
    kept = _ends(messages)
    limit = fair([len(text) for m in kept for text in _texts(m)], CHARS)
    places = _ends(_places(messages, row["ended"]))
    return {
        **{key: row[key] for key in ("step", "task", "reward", "utility", "advantage", "ended")},
        "meaning": ENDED[row["ended"]],
        "turns": sum(m["role"] == "assistant" for m in messages),
        "calls": row["counts"].get("calls", 0),
        "failures": [
            (word, row["counts"][key]) for key, word in COUNTS.items() if row["counts"].get(key)
        ],
        "messages": [_message(m, place, limit) for m, place in zip(kept, places, strict=True)],
        "half": MESSAGES // 2 if cut else None,
        "cut": cut,
        "tokens": _tokens(row, scale),
    }


def _ends(items):
    half = MESSAGES // 2
    return items if len(items) <= MESSAGES else items[:half] + items[-half:]


def _texts(message):
    yield message["content"]
    for call in message["calls"][:CALLS]:
        for value in itertools.islice(call["arguments"].values(), ARGUMENTS):
            yield _written(value)


def _written(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _places(messages, ended):
    """(kind, label) of each message, in order."""
    turn, waiting, found = 0, [], []
    for n, m in enumerate(messages):
        if m["role"] == "assistant":
            turn += 1
            last = n == len(messages) - 1 and not m["calls"]
            kind, label = ("answer", "last reply") if last else ("says", "reply")
            if last and ended == "answer":
                label = "final answer"
            found.append((kind, f"{label}, turn {turn}"))
            waiting = _answers(messages[n + 1 :], m["calls"])
        elif m["role"] == "tool":
            found.append(("sees", f"result of {waiting.pop(0)}" if waiting else "result"))
        else:
            found.append(
                ("asks", {"user": "task" if not turn else "user"}.get(m["role"], m["role"]))
            )
    return found


def _answers(behind, calls):
    """Names of the calls that the next results answer; none where a call was unreadable too."""
    results = len(list(itertools.takewhile(lambda m: m["role"] == "tool", behind)))
    return [visible(c["name"][:NAME]) for c in calls] if results == len(calls) else []


def _message(m, place, limit):
    kind, label = place
    text = m["content"].strip()
    long = kind == "sees" and (len(text) > OPEN or text.count("\n") > 4)
    return {
        "kind": kind,
        "label": label,
        "text": excerpt(text, limit),
        "folded": long or m["role"] == "system",
        "first": visible(" ".join(text[:OPEN].split())),
        "length": len(text),
        "calls": [_call(call, limit) for call in m["calls"][:CALLS]],
        "more": max(0, len(m["calls"]) - CALLS),
    }


def _call(call, limit):
    arguments = list(call["arguments"].items())
    return {
        "name": visible(call["name"][:NAME]),
        "arguments": [
            (visible(key[:NAME]), excerpt(_written(value), limit))
            for key, value in arguments[:ARGUMENTS]
        ],
        "more": max(0, len(arguments) - ARGUMENTS),
    }


def _tokens(row, scale):
    """The tokens by turn, each a list of runs: the policy's one by one, the world's as one text."""
    every = list(_joined(row))
    half = TOKENS // 2
    head, tail = (every[:half], every[-half:]) if len(every) > TOKENS else (every, [])
    return {
        "head": _by_turn(head, row["advantage"], scale),
        "tail": _by_turn(tail, row["advantage"], scale),
        "cut": len(row["pieces"]) - sum(count for *_, count in (*head, *tail)),
        "all": len(row["pieces"]),
        "chosen": sum(row["chosen"]),
    }


def _joined(row):
    """(turn, chosen, text, log-prob, count): each token of the policy, each run of the world's."""
    every = zip(row["turn"], row["chosen"], row["pieces"], row["logp"], strict=True)
    for (turn, chosen), run in itertools.groupby(every, key=lambda token: token[:2]):
        run = list(run)
        if chosen:
            yield from ((turn, 1, excerpt(piece, PIECE), logp, 1) for _, _, piece, logp in run)
        else:
            yield turn, 0, excerpt("".join(piece for _, _, piece, _ in run), WORLD), None, len(run)


def _by_turn(tokens, advantage, scale):
    turns = []
    for turn, of_turn in itertools.groupby(tokens, key=lambda token: token[0]):
        runs = []
        for chosen, run in itertools.groupby(of_turn, key=lambda token: token[1]):
            run = [(text, logp, count) for _, _, text, logp, count in run]
            drawn = [samples.token(text, logp, advantage, scale) for text, logp, _ in run]
            runs.append({"chosen": drawn} if chosen else {"chosen": [], "world": run[0]})
        turns.append({"turn": turn, "runs": runs})
    return turns
