"""Stop tokens and stop strings as one automaton over token ids, so that the device can run it.

A stop string may begin inside one token and end inside another. The automaton reads bytes (Aho and
Corasick 1975); here its steps are composed per token, which leaves a table [states, V].
"""

import functools

import numpy as np

START = 0


def table(strings, stop_ids, token_bytes, vocab):
    """next_state [states, vocab] int32; the last state is "stopped", and a stopped row stays so.

    stop_ids: token ids that end a row; token_bytes: bytes of every id of the tokenizer, which may
    be fewer than vocab. Without strings there are two states.
    """
    wrong = [i for i in stop_ids if not 0 <= i < vocab]
    if wrong:
        raise ValueError(
            f"stop ids {wrong} are outside the vocabulary of {vocab}: give its own ids"
        )
    step = _byte_steps(tuple(strings))
    stopped = len(step) - 1
    states = np.repeat(np.arange(len(step), dtype=np.int32)[:, None], vocab, axis=1)
    for i, text in _by_position(token_bytes):
        states[:, i] = step[states[:, i], text]
    states[:, list(stop_ids)] = stopped
    return states


def _by_position(token_bytes):
    """For each position: the ids of tokens that long, and their bytes there."""
    lengths = np.array([len(b) for b in token_bytes], int)
    for position in range(lengths.max(initial=0)):
        ids = np.flatnonzero(lengths > position)
        yield ids, np.array([token_bytes[i][position] for i in ids])


@functools.lru_cache(maxsize=32)  # requests come with the same few again and again
def _byte_steps(texts):
    """The automaton over bytes [states, 256]; a state is a prefix of a stop string."""
    if not all(texts):
        raise ValueError(f"stop strings {list(texts)!r}: an empty string stops everything; drop it")
    strings = {text.encode() for text in texts}
    prefixes = sorted({s[:n] for s in strings for n in range(len(s))} | {b""}, key=len)
    number = {prefix: i for i, prefix in enumerate(prefixes)}
    stopped = len(prefixes)
    step = np.full((stopped + 1, 256), stopped, np.int32)
    for prefix, i in number.items():
        # From a state as from its longest end that is a prefix too, but where it goes on itself.
        shorter = _walk(step, prefix[1:])
        step[i] = step[shorter] if prefix else 0
        for byte in range(256):
            longer = prefix + bytes([byte])
            if longer in strings:
                step[i, byte] = stopped
            elif longer in number and step[i, byte] != stopped:
                step[i, byte] = number[longer]
    return step


def _walk(step, text):
    state = 0
    for byte in text:
        state = step[state, byte]
    return state


class Watch:
    """The same automaton on the host, of one row: for strings that no compiled table holds."""

    def __init__(self, strings, token_bytes):
        self._step, self._bytes, self._state = _byte_steps(tuple(strings)), token_bytes, 0

    def feed(self, ids):
        """The place of the token in which a string ended; None if none did."""
        stopped = len(self._step) - 1
        for place, token in enumerate(ids):
            said = self._bytes[token] if token < len(self._bytes) else b""  # a model may have more
            for byte in said:
                self._state = self._step[self._state, byte]
            if self._state == stopped:
                return place
        return None
