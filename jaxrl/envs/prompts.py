"""A question, and worked examples of it, as the messages a policy is shown.

few_shot, 1 shot:  Message("prompt", "Q: 2 + 3 =\nA: 5\n\nQ: 7 + 5 =\nA:")
chat, 1 shot:      user "2 + 3 =", assistant "5", user "7 + 5 ="  (each question with the suffix)
"""

from jaxrl.messages import Message

STYLES = ("chat", "few_shot")


def messages(style, question, examples, *, system="", suffix=""):
    """The prompt for `question` after `examples` [(question, answer)]: a tuple of messages.

    `system` and `suffix` (added to each question after a space) are for chat; few_shot has neither.
    """
    if style == "few_shot":
        shown = "".join(f"Q: {q}\nA: {a}\n\n" for q, a in examples)
        return (Message("prompt", f"{shown}Q: {question}\nA:"),)
    ask = lambda q: Message("user", f"{q} {suffix}" if suffix else q)
    turns = [m for q, a in examples for m in (ask(q), Message("assistant", a))]
    opening = [Message("system", system)] if system else []
    return (*opening, *turns, ask(question))


def cut(reply, stops):
    """The reply up to the first stop string: what a continued few-shot prompt makes of it."""
    for stop in stops:
        reply = reply.split(stop, 1)[0]
    return reply
