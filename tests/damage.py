"""Files as a bad disk or line leaves them, for readers that must survive them."""


def damaged(data, rng):
    """The bytes cut short, with some changed, or with some missing."""
    out, place = bytearray(data), int(rng.integers(1, len(data)))
    kind = rng.integers(3)
    if kind == 0:
        return bytes(out[:place])
    if kind == 1:
        for i in rng.integers(0, min(len(out), 400), 8):
            out[i] = rng.integers(256)
    else:
        del out[place : place + 50]
    return bytes(out)
