"""Rollouts and their advantages -> packed rows -> updates, on the mesh."""

import dataclasses

import numpy as np

from jaxrl.data import packing
from jaxrl.parallel import hosts
from jaxrl.training import step


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """The `learner` keys of a config, sizes resolved."""

    width: int  # columns of a row
    scored: int  # scored tokens of a row
    rows: int  # a whole batch in the worst case; a multiple of micro
    micro: int  # rows a micro-batch
    epochs: int  # updates on each batch
    old_logp: str = "sampler"  # or "learner"
    temperature: float = 1.0

    def __post_init__(self):
        for key in ("width", "scored", "micro", "epochs"):
            if getattr(self, key) < 1:
                raise ValueError(f"learner.{key}={getattr(self, key)}: give at least 1")
        if self.old_logp not in ("sampler", "learner"):
            raise ValueError(f"learner.old_logp={self.old_logp!r}: give sampler or learner")


class Learner:
    """Holds the compiled update.

    frozen: from `Base.load_frozen`. reference: parameters for the KL term, None without one.
    prepare: as for `step.make_prepare`, None where the objective needs nothing of the whole batch.
    """

    def __init__(self, base, objective, c, *, frozen=None, reference=None, prepare=None):
        self._c, self._base, self._frozen, self._reference = c, base, frozen, reference
        how = base.how | {"temperature": c.temperature}
        loss_fn = step.make_loss(objective, base.model, **how)
        self._step = base.train_step(loss_fn, objective)
        self._score = step.make_score(base.model, **how)
        self._prepare = step.make_prepare(prepare, base.model, **how) if prepare else None

    def __call__(self, state, traj, groups, adv, in_loss=True):
        """One batch. adv: [B] or [B, R]; groups: rows of traj.prompt_tokens that are in the loss;
        in_loss: which of their chosen tokens are, if not all, [B, 1] or [B, R] bool.

        Where there are several processes, all of it is of this one's own samples.

        returns: state, metrics of the last epoch, and the learner's log-prob of each token before
        the first update [B, R], NaN where none was computed.
        """
        rows, count, where = self._pack(traj, groups, np.asarray(adv), in_loss)
        rows = rows.replace(sampler_logp=rows.old_logp)
        if self._c.old_logp == "learner":
            rows = rows.replace(old_logp=self._score(self._whole(state), rows, count))
        if self._reference is not None:
            rows = rows.replace(ref_logp=self._score(self._reference, rows, count))
        state, metrics, first = self._update(state, rows, count)
        for _ in range(self._c.epochs - 1):
            state, metrics, _ = self._update(state, rows, count)
        logp = np.where(where >= 0, hosts.own(first, axis=1).reshape(-1)[where], np.nan)
        return state, metrics | self._gaps(traj, logp, where >= 0), logp

    def _update(self, state, rows, count):
        if self._prepare:
            rows = rows.replace(prepared=self._prepare(self._whole(state), rows, count))
        return self._step(state, rows, count, self._frozen)

    def _whole(self, state):
        return self._base.join(state.params, self._frozen)

    def _pack(self, traj, groups, adv, in_loss):
        c = self._c
        per_token = {
            "mask": (traj.mask & in_loss).astype(np.float32),
            "adv": np.broadcast_to(adv[:, None] if adv.ndim == 1 else adv, traj.tokens.shape),
            "old_logp": traj.full_logp,
            "ref_logp": np.zeros(traj.tokens.shape, np.float32),
        }
        room = self._base.room(c.rows, c.micro)
        rows, used, where = packing.pack(
            traj, per_token, groups=groups, width=c.width, scored=c.scored, rows=room
        )
        return *self._base.place_micro(rows, used, c.micro), where

    def _gaps(self, traj, logp, known):
        gap = np.abs(traj.full_logp - logp)[known].astype(np.float64)
        parts = hosts.gathered(np.array([gap.size, gap.sum(), gap.max(initial=0)]))
        size, total, largest = *parts[:, :2].sum(0), parts[:, 2].max()
        return {
            "sampler/gap_mean": total / size if size else np.nan,
            "sampler/gap_max": largest if size else np.nan,
            "tokens/trained": size / self._base.share(self._c.micro).copies,
        }
