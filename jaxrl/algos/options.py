"""The options of a loss: which belong to it, their defaults, and what they may be."""


def fill(c, options, checks, *, further=None):
    """Completes a frozen config whose keys depend on c.name; refuses what it cannot have.

    options: {name: {key: default}}; a key that is None becomes the default, or stays None where the
    loss does not take it. further: (key, {its value: {key: default}}), keys that come with the
    value of another. checks: {key: (holds, what to give instead)} of keys that are not None.
    """
    if c.name not in options:
        raise KeyError(f"loss.name={c.name!r} is unknown: give one of {', '.join(options)}")
    _complete(c, "name", options)
    if further is not None:
        _complete(c, *further)
    for key, (holds, fix) in checks.items():
        require(getattr(c, key) is None or holds(getattr(c, key)), key, getattr(c, key), fix)


def require(holds, key, value, fix):
    """Refuses a value by its key, with what to give instead."""
    if not holds:
        raise ValueError(f"loss.{key}={value!r}: give {fix}")


def _complete(c, chooser, table):
    chosen = getattr(c, chooser)
    taken = table[chosen] if chosen in table else {}
    who = chooser if chosen is not None else "name"
    for key in sorted({key for keys in table.values() for key in keys}):
        value = getattr(c, key)
        if value is None and key in taken:
            object.__setattr__(c, key, taken[key])  # frozen for all others
        elif value is not None and key not in taken:
            asked = f"loss.{who}={getattr(c, who)!r}"
            raise ValueError(f"loss.{key}={value!r}: {asked} does not take it; leave it out")
