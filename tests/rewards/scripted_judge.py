"""Judges that follow a script, as chat models: what a real one may do, and may do wrong."""

import json
import re

from jaxrl.chat.base import Reply


class Scripted:
    """Replies by `say(request, number of times asked so far)`; keeps the batches it was sent.

    `say` returns a text, or a Reply.
    """

    def __init__(self, say):
        self.say, self.batches, self.asked = say, [], {}

    async def __call__(self, conversations):
        self.batches.append(list(conversations))
        return [self._reply(c) for c in conversations]

    def _reply(self, request):
        first = request[-1].content.split("\n\nYour last reply")[0]
        times = self.asked[first] = self.asked.get(first, 0) + 1
        said = self.say(request, times)
        return said if isinstance(said, Reply) else Reply(said, prompt_tokens=7, new_tokens=3)


def sections(request):
    """{tag: text} of what stands between tags in a request; a judge that can only read those."""
    return dict(re.findall(r"<(\w+)>\n(.*?)\n</\1>", request[-1].content, re.S))


def verdict(a, b, **extra):
    """A pairwise verdict, in a code fence with prose around it."""
    body = {"combined_scores": {"Agent_A": a, "Agent_B": b}, "winner": "Tie", **extra}
    return f"Here it is:\n```json\n{json.dumps(body)}\n```\nDone."


def by_length(request, times=0):
    """Prefers the longer answer: a tenth of a point a character, up to 10."""
    shown = sections(request)
    a, b = (min(len(shown[f"ANSWER_{s}"]) / 10, 10.0) for s in "AB")
    return verdict(a, b)
