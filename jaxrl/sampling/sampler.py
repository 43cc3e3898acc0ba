"""Prompts of any length -> the compiled program of the bucket that holds them -> host arrays."""

import logging
import time
from functools import partial

import jax
import numpy as np

from jaxrl.models import rotary
from jaxrl.parallel import hosts
from jaxrl.sampling import decode, stops

log = logging.getLogger(__name__)


class Sampler:
    """Compiled programs of `decode.sample`, one for each prompt length of the ladder.

    prompts: P of every program; a shorter list is padded with rows that never live. buckets: prompt
    lengths, ascending. place: puts a host array with a leading axis of P on the devices. Where
    several processes sample together, prompts and lists are those of this one.
    """

    def __init__(self, model, tokenizer, c, *, prompts, buckets, stop=(), place=jax.device_put):
        self._model, self._c, self._place = model, c, place
        self._prompts, self._buckets, self._programs = prompts, tuple(sorted(buckets)), {}
        check_lengths(model, self._buckets, c.max_new)
        table = stops.table(stop, tokenizer.eos_ids, tokenizer.token_bytes(), model.V)
        self._stops = jax.device_put(table)

    def compile(self, params):
        """Compiles the whole ladder for parameters (or abstract ones) of these shapes."""
        for bucket in self._buckets:
            self._program(params, bucket)

    def __call__(self, params, prompts, key):
        """Lists of token ids -> (prompt_tokens [P, T], prompt_valid [P, T], Samples), all numpy.

        P = len(prompts). A prompt longer than the last bucket is refused.
        """
        return self.launch(params, prompts, key)()

    def launch(self, params, prompts, key):
        """The same in two halves: starts the program; what it returns waits for the arrays."""
        T = self._bucket(hosts.largest(max(map(len, prompts), default=0)))
        tokens, valid = left_pad(prompts, self._prompts, T)
        wanted = np.arange(self._prompts) < len(prompts)
        arrays = map(self._place, (tokens, valid, wanted))
        out = self._program(params, T)(params, *arrays, key, self._stops)
        P = len(prompts)
        keep = lambda x: hosts.own(x)[: P * self._c.group]
        return lambda: (tokens[:P], valid[:P], jax.tree.map(keep, out))

    def _bucket(self, length):
        fits = [bucket for bucket in self._buckets if bucket >= length]
        if not fits:
            raise ValueError(
                f"a prompt has {length} tokens, rollout.buckets={self._buckets} end below that: "
                "add a longer bucket or shorten the prompts"
            )
        return fits[0]

    def _program(self, params, T):
        if T not in self._programs:
            start = time.monotonic()
            shape = lambda *s, dtype: self._place(np.zeros(s, dtype))
            P = self._prompts
            arrays = shape(P, T, dtype=np.int32), shape(P, T, dtype=bool), shape(P, dtype=bool)
            split = arrays[-1].sharding
            run = jax.jit(partial(decode.sample, model=self._model, c=self._c), out_shardings=split)
            lowered = run.lower(params, *arrays, jax.random.key(0), self._stops)
            self._programs[T] = lowered.compile()
            seconds = time.monotonic() - start
            log.info("sampler: %d prompts of %d tokens compiled in %.1f s", P, T, seconds)
        return self._programs[T]


def left_pad(prompts, rows, T):
    """Lists of ids -> tokens [rows, T] int32 and valid [rows, T] bool, ids at the right end."""
    tokens, valid = np.zeros((rows, T), np.int32), np.zeros((rows, T), bool)
    for p, ids in enumerate(prompts):
        tokens[p, T - len(ids) :], valid[p, T - len(ids) :] = ids, True
    return tokens, valid


def check_lengths(model, buckets, max_new):
    """Refuses buckets that the model's positions cannot hold."""
    if not buckets or buckets[0] < 1:
        raise ValueError(f"rollout.buckets={buckets}: give one or more lengths of at least 1")
    settings = f"rollout.buckets[-1]={buckets[-1]} and rollout.max_new={max_new}"
    rotary.check_length(model, buckets[-1] + max_new, settings, "lower one of them")
