"""A question, and worked examples of it, as the messages a policy is shown.

few_shot, 1 shot:  Message("prompt", "Q: 2 + 3 =\nA: 5\n\nQ: 7 + 5 =\nA:")
chat, 1 shot:      user "2 + 3 =", assistant "5", user "7 + 5 ="  (each question with the suffix)
"""

from jaxrl.messages import Message

STYLES = ("chat", "few_shot")


def messages(style, question, examples, *, system="", suffix=""):
    """The prompt for `question` after `examples` [(question, answer)]: a tuple of messages.

    `suffix` is added to each question after a space; `system` is for chat.
    """
    ask = lambda q: f"{q} {suffix}" if suffix else q
    if style == "few_shot":
        shown = "".join(f"Q: {ask(q)}\nA: {a}\n\n" for q, a in examples)
        return (Message("prompt", f"{shown}Q: {ask(question)}\nA:"),)
    shown = ((Message("user", ask(q)), Message("assistant", a)) for q, a in examples)
    turns = [message for pair in shown for message in pair]
    opening = [Message("system", system)] if system else []
    return (*opening, *turns, Message("user", ask(question)))


def cut(reply, stops):
    """The reply up to the first stop string: what a continued few-shot prompt makes of it."""
    for stop in stops:
        reply = reply.split(stop, 1)[0]
    return reply
