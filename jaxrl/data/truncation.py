"""Shortening a prompt to the tokens a model may see, without losing what it is read at."""


def cut(ids, limit, tail, kept=frozenset()):
    """At most `limit` of the ids: the last `tail` stay, and all that are in `kept`; others go from
    the end of what stands before. Qwen3-VL-Reranker's rule (arXiv:2601.04720, official code).

    Refuses a limit below what must stay.
    """
    if len(ids) <= limit:
        return ids
    body, end = ids[: len(ids) - tail], ids[len(ids) - tail :]
    room = limit - tail - sum(i in kept for i in body)
    if room < 0:
        raise ValueError(
            f"limit={limit} is below the {limit - room} tokens that no truncation removes (the end "
            "of the prompt, special tokens): raise it"
        )
    out = []
    for i in body:
        if i in kept:
            out.append(i)
        elif room:
            out.append(i)
            room -= 1
    return out + end
