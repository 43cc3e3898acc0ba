"""The moving parts of an `agent` run: what is played, graded, learned and evaluated."""

import contextlib
import dataclasses
import functools

import jax
import numpy as np

from jaxrl.algos import estimators
from jaxrl.chat import http, replay
from jaxrl.data import sources
from jaxrl.evals import episodes as evaluation
from jaxrl.ops import advantages
from jaxrl.ops.distributions import Law
from jaxrl.recipes import agent_summary as summary
from jaxrl.recipes.rl_run import make_learner
from jaxrl.records import Signals
from jaxrl.rewards import transcript
from jaxrl.rewards.graders import Graded, Grader
from jaxrl.rollouts import agents
from jaxrl.rollouts.episodes import Player
from jaxrl.rollouts.workers import EnvPool
from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Engine
from jaxrl.sampling.weights import Mover
from jaxrl.training.session import Session


@dataclasses.dataclass(frozen=True)
class Played:
    """A batch with its grades."""

    batch: agents.Batch
    graded: Graded


class AgentRun:
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
        self.tasks = sources.task_batches(len(p.env), c.rollout.prompts, c.seed)
        pool = enter(self._pool(c.env.params.to_dict()))
        s = self._session = enter(
            Session(c, p.base, self._workdir, self.tasks, epochs=c.learner.epochs)
        )
        self.state = s.state
        shapes, self._policy = p.base.policy()
        self._move = Mover(shapes, p.base.abstract_sampler())
        engine = Engine(p.base.model, p.base.tokenizer, p.engine, jax.random.key(c.seed))
        self._driver = enter(Driver(engine))
        self._player = self._make_player(p.env, pool)
        self._grade = Grader(p.reward, c.seed, self._judge(enter))
        self._estimate = jax.jit(estimators.estimate, static_argnums=1)
        self._learner = make_learner(p, s.frozen)
        if p.held_out:
            judged = enter(self._pool(p.held_out_params))
            self._examined = self._make_player(p.held_out, judged)
            if s.evaluates(s.start):  # also on a resume: the writer dropped what was due here
                self._evaluate(self.state, s.start)

    def _pool(self, params):
        r = self._c.rollout
        limits = {"workers": r.workers, "seconds": r.call_seconds, "memory_mb": r.memory_mb}
        return EnvPool(self._c.env.name, params, **limits)

    def _make_player(self, env, pool):
        p, draw = self._plan, functools.partial(self._driver.draw, stop=env.stop)
        schemas = self._c.rollout.schemas
        return Player(env, pool, p.base.tokenizer, draw, p.limits, schemas=schemas)

    def _judge(self, enter):
        """The chat model that judges, if one does; its replies are kept in reward.record."""
        r = self._plan.reward
        if r.name == "env" or r.judge != "endpoint":
            return None
        settings = http.HttpConfig(r.url or "http://recorded", r.model, {"temperature": 0})
        model = http.Endpoint(settings) if r.url else None
        if not r.record:
            return model
        about = {"model": r.model, "temperature": 0}
        return enter(contextlib.closing(replay.Recording(r.record, about, model)))

    def collect(self, params, tasks, _key, i):
        """Batch i, played by the weights of update i, with its grades."""
        p, clock, session = self._plan, self._session.clock, self._session
        self._load(params, i)
        with clock.stage("sample"), session.at_once():
            how = {"at_once": self._c.rollout.at_once, "version": i, "step": i}
            batch = agents.collect(self._player, next(tasks), p.laws, f"{self._c.seed}/{i}", **how)
        with clock.stage("score"), session.at_once():
            utility = np.array([e.reward for e in batch.episodes], np.float32)
            shown = lambda e: transcript.of(batch.episodes[e].asked, batch.episodes[e].said)
            key = jax.random.fold_in(jax.random.key(self._c.seed), i)
            graded = self._grade(utility, shown, batch.group, key, f"{i}")
        return Played(batch, graded)

    def _load(self, params, version):
        with self._session.clock.stage("move"):
            weights = self._move(self._policy(params, self._session.frozen), version)
            self._driver.load(weights)

    def _flat(self, played):
        """Of every group: whether all its grades are equal, [P] bool."""
        tolerance = self._plan.estimator.zero_std_rel_tol
        n = self._c.rollout.prompts
        flat = advantages.zero_variance(
            played.graded.reward, played.batch.group, n, zero_std_rel_tol=tolerance
        )
        return np.asarray(flat)

    def select(self, played):
        """The groups to learn from."""
        every = np.arange(self._c.rollout.prompts)
        return every if self._c.rollout.zero_variance == "keep" else every[~self._flat(played)]

    def estimate(self, played):
        """Advantages of the episodes, [E]."""
        given, c = self._signals(played), self._plan.estimator
        estimators.check_signals(given, c)
        return np.asarray(self._estimate(given, c))

    def _signals(self, played):
        batch, graded = played.batch, played.graded
        length = np.zeros(len(batch.group), np.int32)
        np.add.at(length, batch.of, batch.traj.mask.sum(1).astype(np.int32))
        return Signals(
            rewards=graded.reward,
            group=batch.group,
            length=length,
            num_groups=self._c.rollout.prompts,
            rank=graded.rank,
        )

    def learn(self, state, played, groups, adv):
        """One batch of updates; every sample has the advantage of its episode."""
        traj, of = played.batch.traj, played.batch.of
        with self._session.clock.stage("update"):
            kept = estimators.in_loss(self._signals(played), self._plan.estimator)
            kept = True if kept is None else np.asarray(kept)[of]
            rows = np.unique(traj.group[np.isin(played.batch.group[of], groups)])
            return self._learner(state, traj, rows, adv[of], kept)

    def after(self, state, i, played, groups, adv, stats, logp):
        """Logs update i, evaluates and saves when due; True if a signal asked to stop."""
        s = self._session
        if self._plan.held_out and s.evaluates(i + 1):
            self._evaluate(state, i + 1)
        row = summary.numbers(played, self._flat(played), groups) | stats
        tokenizer = self._plan.base.tokenizer
        s.writer.rollouts(summary.rows(played, adv, logp, tokenizer, self._c.log.rollouts))
        s.writer.tournaments(summary.brackets(played, self._plan.reward.topology))
        return s.record(state, i, row, row["tokens/sampled"])

    def finish(self, state):
        """Saves what the last cadence left unsaved."""
        self._session.save(state)

    def _evaluate(self, state, step):
        p, c = self._plan, self._c
        self._load(state.params, step)
        with self._session.clock.stage("eval"):
            indices = np.arange(len(p.held_out))
            how = {"at_once": c.rollout.at_once, "version": step, "step": step}
            batch = agents.collect(self._examined, indices, (Law(temperature=0.0),), "eval", **how)
        self._session.writer.evaluation(evaluation.row(p.held_out, batch, step=step))
