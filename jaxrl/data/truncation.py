"""Shortening a prompt to the tokens a model may see, without losing what it is read at."""


def cut(ids, limit, tail, kept=None):
    """At most `limit` of the ids: the last `tail` stay, and all that are kept; others go from the
    end of what stands before. Qwen3-VL-Reranker's rule (arXiv:2601.04720, official code).

    kept: a bool for each id, None = no further one. Refuses a limit below what must stay.
    """
    if len(ids) <= limit:
        return ids
    body, end = ids[: len(ids) - tail], ids[len(ids) - tail :]
    kept = [False] * len(body) if kept is None else kept[: len(body)]
    room = limit - tail - sum(kept)
    if room < 0:
        raise ValueError(
            f"limit={limit} is below the {limit - room} tokens that no truncation removes (the end "
            "of the prompt, special tokens): raise it"
        )
    out = []
    for i, stays in zip(body, kept, strict=True):
        if stays:
            out.append(i)
        elif room:
            out.append(i)
            room -= 1
    return out + end
