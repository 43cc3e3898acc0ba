"""An agent at work: a chat model, or a script, on the tasks of an env with tools.

    episodes = await play(env, model, range(100), turns=10)
    episodes = [scripted(env, expert.solve, i) for i in range(100)]

Every call goes through env.use; what cannot be made of a call is told the model. All tasks go on
together, a turn of all of them in one call of the model.
"""

import collections
from typing import Any, NamedTuple

from jaxrl import tools
from jaxrl.chat import tool_calls
from jaxrl.chat.base import FAILURES
from jaxrl.chat.text import split
from jaxrl.messages import Message
from jaxrl.rollouts.episodes import LAST

ENDINGS = ("answer", "empty", "turns", *FAILURES)  # turns: the limit came before an answer


class Episode(NamedTuple):
    """One task from its prompt to its end."""

    state: Any  # of the env: the task, and the calls made with their results
    prompt: tuple[Message, ...]
    messages: tuple[Message, ...] = ()  # what came after it
    answer: str = ""  # of the last message, thinking left out
    ending: str = ""  # one of ENDINGS; "" while it goes on
    detail: str = ""  # of a failure, for a person to read


def scripted(env, policy, index):
    """The Episode of a policy that writes all messages at once from a task, results included."""
    state, prompt = env.reset(index)
    messages = policy(state.task)
    wanted = [call for m in messages for call in m.calls]
    results = [m.content for m in messages if m.role == "tool"]
    state = state._replace(calls=tuple(zip(wanted, results, strict=True)))
    answer = messages[-1].content
    return Episode(state, prompt, tuple(messages), answer, "answer" if answer else "empty")


async def play(env, model, indices, *, turns, tell=lambda finished: None):
    """One Episode a task index, in their order, of at most `turns` replies each.

    model: a chat.base.ChatModel that was told of env.tools. tell: is given how many have ended.
    """
    known = {f.__name__: tools.tool(f) for f in env.tools}
    episodes = [Episode(*env.reset(index)) for index in indices]
    for turn in range(turns):
        going = [i for i, e in enumerate(episodes) if not e.ending]
        if not going:
            break
        replies = await model([[*episodes[i].prompt, *episodes[i].messages] for i in going])
        for i, reply in zip(going, replies, strict=True):
            episodes[i] = _turn(env, known, episodes[i], reply, turns - 1 - turn)
        tell(sum(bool(e.ending) for e in episodes))
    return episodes


def endings(episodes):
    """How many episodes ended how: {ending: count}, those that occur."""
    counts = collections.Counter(e.ending for e in episodes)
    return {name: counts[name] for name in ENDINGS if counts[name]}


def _turn(env, known, episode, reply, left):
    """The episode after a reply: its calls made, or its answer kept. left: turns that follow."""
    if reply.failure:
        return episode._replace(ending=reply.failure, detail=reply.detail)
    text, calls, malformed = _read(reply)
    episode = _with(episode, Message("assistant", text, calls))
    if not (calls or malformed):
        answer = split(reply.text)[1]
        return episode._replace(answer=answer, ending="answer" if answer else "empty")
    if not left:
        return episode._replace(ending="turns")
    told, state = [], episode.state
    for call in calls:
        fit, text = tools.fitted(known, call)
        if fit:
            state, text = env.use(state, fit)
        told.append(Message("tool", text, call_id=call.id))
    told += map(tool_calls.observation, malformed)
    if left == 1:
        told[-1] = told[-1]._replace(content=f"{told[-1].content}\n\n{LAST}")
    return _with(episode._replace(state=state), *told)


def _read(reply):
    """(text, calls, malformed calls) of a reply; some endpoints leave calls in the text."""
    if reply.calls or reply.malformed:
        return reply.text, reply.calls, reply.malformed
    said, found = tool_calls.parse(reply.text)
    calls = tuple(c for c in found if not isinstance(c, tool_calls.Malformed))
    malformed = tuple(c for c in found if isinstance(c, tool_calls.Malformed))
    return said if calls else reply.text, calls, malformed


def _with(episode, *messages):
    return episode._replace(messages=(*episode.messages, *messages))
