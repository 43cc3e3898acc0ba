"""Many requests of any length at once: slots that are refilled while others decode.

A request is a list of tokens to go on from. The engine prefills what no page holds yet, a piece a
round, so that nobody waits for a long prompt; then it decodes all live slots some steps at a time.
What a request draws depends on (key, its seed, its own past), not on who shares the device. The
prompt of a group, the earlier turns of a conversation and whatever else prompts begin with in
common are computed once (pages.py). Where pages run out, the youngest request goes back into the
queue and is prefilled again.
"""

import collections
import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.models import decoder
from jaxrl.ops import distributions
from jaxrl.sampling import engine_step, stops
from jaxrl.sampling.constraints import Grammars
from jaxrl.sampling.pages import Pages
from jaxrl.sampling.requests import Job, Request, check


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """What is compiled, and how much memory the keys and values may take."""

    slots: int = 8  # requests that decode at once
    pages: int = 512
    page: int = 16  # tokens of a page
    steps: int = 8  # tokens a slot draws between two looks of the host
    chunk: int = 256  # tokens of a piece of a prompt
    # Pieces prefilled between two turns of decoding, those of like length in one program. More fill
    # the slots sooner and compute faster; with 1, requests that come a little sooner or later are
    # batched alike, to the bit.
    pieces: int = 1
    dtype: Any = jnp.float32

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "dtype" and value < 1:
                raise ValueError(f"engine.{field.name}={value}: give at least 1")


class Engine:
    """submit() any number of requests, then step() until they have an ending."""

    def __init__(self, model, tokenizer, c, key):
        self._model, self._c, self._key = model, c, key
        self._ends = tuple(tokenizer.eos_ids)
        self._bytes = tokenizer.token_bytes()
        self.pages = Pages(c.pages, c.page)
        self._pool = engine_step.pools(model, c.pages, c.page, c.dtype)
        self._waiting, self._filling, self._live = collections.deque(), [], []
        self._grammars = Grammars(tokenizer, model.V)
        self._decode = partial(DECODE, model=model)
        self._prefill = partial(PREFILL, model=model)
        self._params = self._turned = None
        self.evicted = 0  # requests that gave up their pages and were prefilled again

    def load(self, params):
        """Other weights: what was computed with the earlier ones is not found any more."""
        if self.busy:  # one that waits may have drawn with the earlier ones, and been evicted
            raise RuntimeError("weights change while requests are under way: finish or cancel them")
        self._params, self._turned = TURN(params, self._model, self._c.slots, self._c.dtype)
        self.pages.forget()

    def submit(self, request: Request) -> Job:
        """Puts a request in the queue; refuses one that could never be served."""
        if self._params is None:
            raise RuntimeError("an engine without weights draws nothing: load(params) first")
        check(request, self._model, self._c.pages * self._c.page)
        job = Job(request)
        if request.stop:
            job.watch = stops.Watch(request.stop, self._bytes)
        if request.constraint is not None:
            job.matcher = self._grammars.matcher(request.constraint, request.max_new)
        self._waiting.append(job)
        return job

    def cancel(self, job):
        """Ends a job now; what it has drawn stays in it."""
        for queue in (self._waiting, self._filling, self._live):
            if any(other is job for other in queue):
                queue.remove(job)
                self._leave(job, "cancelled")

    def run(self, requests):
        """All at once, to their ends, in order."""
        jobs = [self.submit(request) for request in requests]
        while self.busy:
            self.step()
        return jobs

    @property
    def busy(self):
        """True while some request has no ending."""
        return bool(self._waiting or self._filling or self._live)

    def step(self):
        """A round: admits, prefills a piece or some, draws some tokens of every live slot."""
        self._admit()
        left = self._c.pieces
        while self._filling and left:
            jobs = self._alike(left)
            self._fill(jobs)
            self._admit()  # those who waited for the same pages
            left -= len(jobs)
        if self._live:
            self._draw()

    def _admit(self):
        while self._waiting and len(self._filling) + len(self._live) < self._c.slots:
            job = self._waiting[0]
            before = job.whole[:-1]
            if self._comes(before):
                return
            table = self.pages.find(before)
            if not self.pages.grow(table, len(before) + 1):
                self.pages.release(table)
                return
            job.table, job.written = table, min(self.pages.known(before), len(before))
            job.found += job.written
            self._waiting.popleft()
            (self._filling if job.written < len(before) else self._live).append(job)

    def _comes(self, tokens):
        """True while another request is computing pages that these tokens begin with."""
        size, known = self._c.page, self.pages.known(tokens)
        for other in self._filling:
            whole = other.whole[:-1]
            n = min(len(tokens), len(whole))
            same = np.asarray(tokens[:n]) == np.asarray(whole[:n])
            shared = n if same.all() else int(same.argmin())
            if shared // size * size > max(known, other.written):
                return True
        return False

    def _alike(self, most):
        """Jobs whose next pieces make one program: as long as the first one's, but for padding."""
        rung = self._piece(self._filling[0])
        return [job for job in self._filling if self._piece(job) == rung][:most]

    def _piece(self, job):
        return min(_rung(len(job.whole) - 1 - job.written, 16), self._c.chunk)

    def _fill(self, jobs):
        P, Q = _rung(len(jobs)), self._piece(jobs[0])
        tokens_PQ = np.zeros((P, Q), np.int32)
        start_P, count_P = np.zeros((2, P), np.int32)
        for p, job in enumerate(jobs):
            piece = job.whole[job.written : -1][:Q]
            tokens_PQ[p, : len(piece)] = piece
            start_P[p], count_P[p] = job.written, len(piece)
        table_PM = self._tables(jobs, max(len(job.table) for job in jobs), P)
        where = table_PM, tokens_PQ, start_P, count_P
        self._pool = self._prefill(self._params, self._pool, *where)
        for job, count in zip(jobs, count_P.tolist(), strict=False):
            job.written += count
            job.prefilled += count
            self.pages.publish(job.table, job.whole[: job.written])
            if job.written == len(job.whole) - 1:
                self._filling.remove(job)
                self._live.append(job)

    def _draw(self):
        self._make_room()
        jobs = self._live
        S = min(_rung(len(jobs)), self._c.slots)
        allowed_SV = self._allowed(jobs, S)
        drawn, _, self._pool = self._decode(
            self._params,
            self._turned,
            self._pool,
            self._slots(jobs, S),
            self._key,
            allowed_SV,
            steps=self._c.steps if allowed_SV is None else 1,  # the next mask hangs on the draw
        )
        drawn = jax.device_get(drawn)
        for s, job in enumerate(list(jobs)):
            self._take(job, *(x[s][drawn.mask[s]].tolist() for x in _parts(drawn)))

    def _take(self, job, tokens, logp, full_logp):
        """What one job has drawn; it may have ended somewhere inside."""
        stopped = None if job.watch is None else job.watch.feed(tokens)
        kept = len(tokens) if stopped is None else stopped + 1
        job.tokens += tokens[:kept]
        job.logp += logp[:kept]
        job.full_logp += full_logp[:kept]
        job.written += kept
        if job.matcher is not None and not job.matcher.take(job.tokens[-1]):
            self._live.remove(job)
            self._leave(job, "broken")
        elif stopped is not None or job.tokens[-1] in self._ends:
            self._live.remove(job)
            self._leave(job, "stop")
        elif len(job.tokens) == job.request.max_new:
            self._live.remove(job)
            self._leave(job, "length")

    def _make_room(self):
        """Pages for the next tokens of all live slots; the youngest give theirs up if need be."""
        for job in list(self._live):
            while job in self._live and not self.pages.grow(job.table, self._reach(job)):
                victim = (self._filling or self._live).pop()
                self._let_go(victim)
                self._waiting.appendleft(victim)
                self.evicted += 1

    def _reach(self, job):
        left = job.request.max_new - len(job.tokens)
        return job.written + min(self._c.steps, left)

    def _leave(self, job, ending):
        self._let_go(job)
        job.ending = ending

    def _let_go(self, job):
        self.pages.publish(job.table, job.whole[: job.written])
        self.pages.release(job.table)
        job.table, job.written = [], 0

    def _allowed(self, jobs, S):
        """[S, V] bool, or None where no reply is constrained."""
        if all(job.matcher is None for job in jobs):
            return None
        allowed_SV = np.ones((S, self._model.V), bool)
        for s, job in enumerate(jobs):
            if job.matcher is not None:
                allowed_SV[s] = job.matcher.allowed()
        return allowed_SV

    def _slots(self, jobs, S):
        put = lambda values, dtype: np.array([*values, *[0] * (S - len(jobs))], dtype)
        ints = lambda of: put(map(of, jobs), np.int32)
        laws = [job.request.law for job in jobs]
        return engine_step.Slots(
            table=self._tables(jobs, max(len(job.table) for job in jobs), S),
            length=ints(lambda job: job.written),
            token=ints(lambda job: job.whole[-1]),
            live=put([True] * len(jobs), bool),
            left=ints(lambda job: job.request.max_new - len(job.tokens)),
            drawn=ints(lambda job: len(job.tokens)),
            seed=ints(lambda job: job.request.seed),
            laws=distributions.Laws(
                put((law.temperature for law in laws), np.float32),
                put((min(law.top_k, self._model.V) for law in laws), np.int32),
                put((law.top_p for law in laws), np.float32),
            ),
            ends=np.broadcast_to(
                np.array(self._ends or (-1,), np.int32), (S, len(self._ends or (-1,)))
            ),
        )

    def _tables(self, jobs, longest, rows=1):
        """[rows, M] int32, M a rung that holds the longest; where there is no page, c.pages."""
        tables = np.full((rows, _rung(longest, 8)), self._c.pages, np.int32)
        for s, job in enumerate(jobs):
            tables[s, : len(job.table)] = job.table
        return tables


def _turned(params, model, rows, dtype):
    params = jax.tree.map(lambda x: x.astype(dtype), params)
    return params, decoder.columns(params, model, rows)


# Shared by all engines of a process: what is compiled for one is there for the next.
DECODE = jax.jit(engine_step.decode, static_argnames=("model", "steps"), donate_argnums=2)
PREFILL = jax.jit(engine_step.prefill, static_argnames="model", donate_argnums=1)
TURN = jax.jit(_turned, static_argnums=(1, 2, 3))


def _parts(drawn):
    return drawn.tokens, drawn.logp, drawn.full_logp


def _rung(n, least=1):
    """The least power of two that is at least n: so many programs are compiled, and no more."""
    return max(least, 1 << max(n - 1, 0).bit_length())
