"""The moving parts of an `rl` run: what is sampled, scored, compiled, learned and evaluated."""

import contextlib
import dataclasses
import functools

import jax
import numpy as np

from jaxrl.algos import estimators, objectives
from jaxrl.data import sources
from jaxrl.evals import held_out
from jaxrl.ops import advantages, policy_losses
from jaxrl.parallel import hosts
from jaxrl.rewards import verified
from jaxrl.rollouts import collect, signals, summary
from jaxrl.rollouts.ahead import Ahead
from jaxrl.rollouts.workers import EnvPool
from jaxrl.sampling.sampler import Sampler
from jaxrl.sampling.weights import Mover
from jaxrl.training.learner import Learner
from jaxrl.training.session import Session


class Run:
    """A context manager whose methods are the arrows of `recipes.rl.train`."""

    def __init__(self, c, plan, workdir):
        self._c, self._plan, self._workdir = c, plan, workdir
        self._open = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._enter(stack.enter_context)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._open.__exit__(*exception)

    def _enter(self, enter):
        c, p = self._c, self._plan
        limits = {key: c.rollout[key] for key in ("workers", "seconds", "memory_mb")}
        self._share = p.base.share(c.rollout.prompts // c.rollout.parts)
        self._known = None, None
        self.tasks = sources.task_batches(len(p.env), c.rollout.prompts, c.seed)
        # Before the pool, so that it closes after it: a thread that waits for a score ends then.
        self._ahead = enter(Ahead(self.tasks, c.rollout.max_staleness))
        self._pool = enter(EnvPool(c.env.name, c.env.params.to_dict(), **limits))
        s = self._session = enter(
            Session(
                c,
                p.base,
                self._workdir,
                self._ahead,
                epochs=c.learner.epochs,
                breaks=not c.rollout.max_staleness,
            )
        )
        self.state = s.state
        shapes, self._policy = p.base.policy()
        weights = p.base.abstract_sampler()
        self._move = Mover(shapes, weights)
        self._sampler = self._make_sampler(p.sample, p.env, c.rollout.prompts // c.rollout.parts)
        self._sampler.compile(weights)
        self._baseline = None  # the sampler of greedy responses to the training prompts
        if "greedy" in estimators.find(p.estimator.name).needs:
            self._baseline = self._make_sampler(
                p.greedy, p.env, c.rollout.prompts // c.rollout.parts
            )
        self._estimate = jax.jit(estimators.estimate, static_argnums=1)
        self._learner = make_learner(p, s.frozen)
        if p.held_out:
            self._judge = enter(EnvPool(c.env.name, p.held_out_params, **limits))
            self._greedy = self._make_sampler(p.greedy, p.held_out, c.eval.prompts)
            if s.evaluates(s.start):  # also on a resume: the writer dropped what was due here
                self._evaluate(self.state, s.start)

    def _make_sampler(self, how, env, prompts):
        b = self._plan.base
        buckets = self._c.rollout.buckets
        return Sampler(
            b.model,
            b.tokenizer,
            how,
            prompts=len(b.share(prompts).mine),
            buckets=buckets,
            stop=env.stop,
            place=b.place_rows,
        )

    def collect(self, params, tasks, key, i):
        """Batch i with its rewards; with `resample`, as many as bring enough groups a signal.

        Starts what may run ahead of it: params are the weights of update i.
        """
        weights = self._moved(params, i)
        launch = lambda j, n=0: self._launch(weights, next(tasks), key, j, n, version=i)
        self._ahead.fill(i, launch)
        rounds = iter(range(self._c.rollout.rounds))
        more = lambda: self._ahead.take(i) if (n := next(rounds)) == 0 else launch(i, n)()
        # Scorers that hang may take longer than the grace period of who sent a signal.
        with self._session.clock.stage("wait"), self._session.at_once():
            if self._c.rollout.zero_variance != "resample":
                return more()
            limits = {"prompts": self._c.rollout.prompts, "rounds": self._c.rollout.rounds}
            return collect.resample(more, self._has_signal, **limits)

    def _moved(self, params, version):
        with self._session.clock.stage("move"):
            return self._move(self._policy(params, self._session.frozen), version)

    def _launch(self, weights, indices, key, j, n=0, *, version):
        """Starts round n of batch j, and returns what waits for its rewards.

        The sampler takes the parts of a batch one by one: while it works on one, the one before it
        is scored.
        """
        parts, key = self._c.rollout.parts, jax.random.fold_in(key, j)
        keys = [jax.random.fold_in(key, n * parts + part) for part in range(parts)]
        asked = list(zip(np.split(indices, parts), keys, strict=True))
        how = {"version": version, "step": j}
        start = lambda sampler: [self._start(sampler, weights, *one, **how) for one in asked]
        under_way = start(self._sampler)
        greedy = start(self._baseline) if self._baseline else []

        def finish():
            traj = collect.join([scored() for scored in under_way])
            if not greedy:
                return traj
            best = collect.join([scored() for scored in greedy])
            return dataclasses.replace(traj, greedy=best.reward[traj.group])

        return finish

    def _start(self, sampler, weights, indices, key, **how):
        """Starts the sampler, and returns what waits for its samples and scores them."""
        p, clock = self._plan, self._session.clock
        indices = indices[self._share.mine]
        with clock.stage("sample"):
            sampled = collect.launch(p.env, p.base.tokenizer, sampler, weights, indices, key, **how)

        def scored():
            with clock.stage("sample"):
                traj, states = sampled()
            with clock.stage("score"):
                reward, failure = verified.score(self._pool, states, traj.texts)
            share = hosts.times(self._share, len(reward) // len(indices))
            length = hosts.everyone(traj.mask.sum(1), share)
            reward = hosts.everyone(reward, share) + self._overlong(length)
            return dataclasses.replace(traj, reward=reward[share.mine], failure=failure)

        return scored

    def _overlong(self, length):
        o = self._c.overlong
        if not o.buffer:
            return np.float32(0)
        limits = {"max_length": self._c.rollout.max_new, "buffer": o.buffer, "factor": o.factor}
        return np.asarray(policy_losses.overlong_penalty(length, **limits))

    def _shares(self, traj):
        """The hosts.Share of the groups and of the samples, of one round or of several."""
        rounds = len(traj.task) // len(self._share.mine)
        how = len(traj.reward) // len(traj.task), rounds
        return hosts.times(self._share, 1, rounds), hosts.times(self._share, *how)

    def _whole(self, traj):
        """What all processes know of the batch; the last is kept, as several arrows ask for it."""
        if self._known[0] is not traj:
            needs = {"logp", "log_ratio", "squares"}
            tokens = bool(needs & set(estimators.find(self._plan.estimator.name).needs))
            self._known = traj, collect.everyone(traj, *self._shares(traj), tokens=tokens)
        return self._known[1]

    def _has_signal(self, traj):
        """Of every group of the whole batch, [P] bool."""
        traj, tolerance = self._whole(traj), self._plan.estimator.zero_std_rel_tol
        flat = advantages.zero_variance(
            traj.reward, traj.group, len(traj.task), zero_std_rel_tol=tolerance
        )
        return ~np.asarray(flat)

    def select(self, traj):
        """The groups to learn from, of this process's."""
        if self._c.rollout.zero_variance == "keep":
            return np.arange(len(traj.task))
        chosen = np.flatnonzero(self._has_signal(traj))[: self._c.rollout.prompts]
        return np.flatnonzero(np.isin(self._shares(traj)[0].mine, chosen))

    def estimate(self, traj):
        """Advantages over the whole batch, and of them this process's, [B] or [B, R]."""
        given, c = signals.single_turn(self._whole(traj)), self._plan.estimator
        estimators.check_signals(given, c)
        return np.asarray(self._estimate(given, c))[self._shares(traj)[1].mine]

    def learn(self, state, traj, groups, adv):
        """One batch of updates."""
        with self._session.clock.stage("update"):
            given = signals.single_turn(self._whole(traj))
            kept = estimators.in_loss(given, self._plan.estimator)
            kept = True if kept is None else np.asarray(kept)[self._shares(traj)[1].mine]
            return self._learner(state, traj, groups, adv, kept)

    def after(self, state, i, traj, groups, adv, stats, logp):
        """Logs update i, evaluates and saves when due; True if a signal asked to stop."""
        s, p = self._session, self._plan
        if p.held_out and s.evaluates(i + 1):
            self._evaluate(state, i + 1)
        every, samples = self._shares(traj)
        groups = np.flatnonzero(hosts.everyone(np.isin(np.arange(len(traj.task)), groups), every))
        row = summary.numbers(self._whole(traj), ~self._has_signal(traj), groups) | stats
        shown = p.base.tokenizer, i, self._c.log.rollouts
        s.writer.rollouts(summary.extremes(traj, adv, logp, *shown, share=samples))
        return s.record(state, i, row, row["tokens/sampled"])

    def finish(self, state):
        """Saves what the last cadence left unsaved."""
        self._session.save(state)

    def _evaluate(self, state, step):
        p, c = self._plan, self._c
        with self._session.clock.stage("eval"):
            row = held_out.evaluate(
                p.held_out,
                self._judge,
                p.base.tokenizer,
                self._greedy,
                self._moved(state.params, step),
                jax.random.key(c.seed),  # greedy draws nothing from it
                name="held_out",
                step=step,
                prompts=c.eval.prompts,
                share=p.base.share(c.eval.prompts),
            )
        self._session.writer.evaluation(row)


def make_learner(p, frozen=None):
    """The compiled update that a Plan asks for, with its reference if the loss has one."""
    reference = p.base.reference(frozen) if p.objective.kl_coef else None
    objective = functools.partial(objectives.OBJECTIVES[p.objective.name], c=p.objective)
    prepare = objectives.prepare(p.objective)
    given = {"frozen": frozen, "reference": reference, "prepare": prepare}
    return Learner(p.base, objective, p.learner, **given)
