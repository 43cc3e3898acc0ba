"""What a run writes down and shows while it trains: metric names, the writer, the progress line.

Knows no jax: values arrive as numbers or scalar arrays, on the one process that writes.
"""

import contextlib
import difflib
import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from jaxrl.training.board import Board

# The one place of all metric names: name -> (unit, meaning). Every value is one float an update.
# A count is of this update alone, never running: the sum over rows is the run's.
SCHEMA = {
    "step": ("updates", "updates done before this one; the first row has 0"),
    "reward/mean": ("reward", "mean over the update's scorable rollouts"),
    "reward/std": ("reward", "standard deviation over the same rollouts"),
    "reward/unscorable": ("rollouts", "count without a reward (NaN): the sum of the next four"),
    "scorer/error": ("rollouts", "count whose scorer raised, or returned no step"),
    "scorer/timeout": ("rollouts", "count whose scorer ran out of time"),
    "scorer/crash": ("rollouts", "count whose scorer's process ended"),
    "scorer/not_a_number": ("rollouts", "count whose reward was NaN, infinite or no number"),
    "reward/utility": (
        "utility",
        "mean of the env's own reward, where a judge gives the other one",
    ),
    "groups/zero_std": ("groups", "count in which every reward is equal: no signal"),
    "groups/dropped": ("groups", "count left out of the update"),
    "judge/comparisons": ("matches", "count judged: both orders of two trajectories"),
    "judge/calls": ("calls", "count made to the judge, retries included"),
    "judge/retries": ("calls", "count made again: it failed, or its reply could not be read"),
    "judge/neutral": ("judgements", "count that got the middle of the scale, no reply being read"),
    "judge/ties": ("matches", "count in which both got the same"),
    "judge/miscounted": ("judgements", "count whose sum does not follow from their dimensions"),
    "judge/first_wins": ("fraction", "calls won by the one shown first, of those with a winner"),
    "agent/turns": ("replies", "mean number of an episode"),
    "agent/calls": ("calls", "mean number of tool calls that could be read, of an episode"),
    "agent/malformed": ("calls", "count that could not be read"),
    "agent/refused": ("calls", "count of unknown tools, or with arguments that do not fit"),
    "agent/broken": ("calls", "count whose tool failed, crashed or took too long"),
    "ending/answer": ("fraction", "episodes that ended as the env says; the next five by a limit"),
    "ending/turns": ("fraction", "episodes with too many turns"),
    "ending/reply": ("fraction", "episodes with a reply that was too long"),
    "ending/tokens": ("fraction", "episodes without room for more tokens"),
    "ending/time": ("fraction", "episodes that took too long"),
    "ending/failed": ("fraction", "episodes whose env broke down: unscorable"),
    "length/mean": ("tokens", "mean response length, the stop token included"),
    "length/max": ("tokens", "longest response"),
    "length/truncated": ("rollouts", "count ended by the length limit"),
    "policy/loss": ("nats", "the minimized objective, per token in the loss"),
    "policy/entropy": ("nats", "mean entropy of the policy's next-token law"),
    "policy/clip_fraction": ("fraction", "tokens whose ratio was clipped"),
    "policy/kl": ("nats", "KL from the sampling policy to the updated one, per token"),
    "policy/ref_kl": ("nats", "KL from the policy to the reference, per token"),
    "policy/version": ("updates", "done by the oldest weights that sampled for this update"),
    "policy/staleness": ("updates", "between those weights and the ones updated now"),
    "policy/selected": ("fraction", "tokens that the loss singles out over the whole batch"),
    "preference/accuracy": ("fraction", "pairs whose preferred response has the higher reward"),
    "preference/margin": ("nats", "mean reward of the preferred response over the other"),
    "preference/chosen": ("nats", "mean implicit reward of preferred responses"),
    "preference/rejected": ("nats", "mean implicit reward of the others"),
    "embed/accuracy": ("fraction", "rows whose positive is above all negatives, or answer right"),
    "embed/positive": ("cosine", "mean of a query and its positive"),
    "embed/false_negatives": ("contents", "mean number a row left out of its negatives"),
    "embed/rank_net": ("nats", "RankNet's loss on the order of listed documents, per pair"),
    "embed/rank_accuracy": ("fraction", "pairs of listed documents in the right order"),
    "embed/cut": ("texts", "count that were too long, and lost tokens"),
    "embed/unreadable": ("contents", "count whose pictures cannot be read, and that were left out"),
    "correction/weight": ("ratio", "mean weight of the sampler-to-learner correction"),
    "correction/cut": ("fraction", "tokens whose weight was truncated or set to 0"),
    "sampler/gap_mean": ("nats", "mean |log-prob of sampler − of learner|, staleness included"),
    "sampler/gap_max": ("nats", "largest such difference"),
    "router/load": ("ratio", "choices of the busiest expert over the mean's, mean over layers"),
    "router/load_worst": ("ratio", "the same in the worst layer"),
    "router/entropy": ("nats", "mean entropy of a token's law over experts"),
    "router/balance": ("number", "load-balancing loss before its weight; top_k = even"),
    "router/dropped": ("fraction", "choices of an expert that were not computed: 0"),
    "optim/grad_norm": ("norm", "global gradient norm before clipping"),
    "optim/lr": ("rate", "learning rate"),
    "optim/skipped": ("updates", "1 if a non-finite gradient made this update a no-op"),
    "time/move": ("seconds", "moving weights to the sampler, and checking that they arrived"),
    "time/sample": ("seconds", "sampling; beside the loop, as scoring is"),
    "time/score": ("seconds", "scoring"),
    "time/wait": ("seconds", "in which the loop had to wait for rollouts"),
    "time/update": ("seconds", "the train step, its input included"),
    "time/eval": ("seconds", "held-out evaluation"),
    "time/checkpoint": ("seconds", "saving, after the update before this one, that blocked"),
    "time/total": ("seconds", "the whole update; less than the sum where stages overlap"),
    "tokens/sampled": ("tokens", "chosen by the policy: rollouts × length/mean"),
    "tokens/trained": ("tokens", "in the loss"),
    "tokens/per_second": ("tokens/s", "tokens/sampled (or, if none, /trained) over time/total"),
    "compile/count": ("programs", "count compiled during this update"),
    "run/resumed": (
        "starts",
        "count of resumes just before this update, however the run had ended",
    ),
    "run/redone": ("updates", "count done after the checkpoint, lost, and done again from here on"),
    "run/broken_checkpoints": ("checkpoints", "count that could not be read and were passed over"),
}
WINDOW = 20  # updates over which the time left is estimated
NESTED = "    "


class Writer:
    """Appends a run's records to its directory; with resume_at = s, first drops those of steps ≥ s.

    So the files of a resumed run equal those of an uninterrupted one, the clock's values apart. An
    evaluation labelled s is of the parameters after s updates, and belongs before update s: a run
    resumed at s makes it again. `dropped`: the rows of metrics.jsonl that went.
    """

    def __init__(self, run_dir, resume_at=0):
        folder = Path(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        rows, _ = read_rows(folder / "metrics.jsonl")
        self.dropped = [row for row in rows if row["step"] >= resume_at]
        with contextlib.ExitStack() as stack:
            open_ = lambda name: stack.enter_context(_reopen(folder / name, resume_at))
            self._metrics, self._rollouts = open_("metrics.jsonl"), open_("rollouts.jsonl")
            self._evals, self._tournaments = open_("eval.jsonl"), open_("tournaments.jsonl")
            board = Board(folder / "tensorboard", resume_at)
            self._board = stack.enter_context(contextlib.closing(board))
            self._open = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Flushes and closes every file."""
        self._open.close()

    def update(self, step, metrics):
        """One row of metrics.jsonl and of TensorBoard. metrics: name in SCHEMA -> scalar."""
        row = {name: _scalar(name, value) for name, value in metrics.items() if name != "step"}
        _append(self._metrics, {"step": int(step)} | row)
        self._chart(row, step)

    def rollouts(self, rows):
        """Kept samples: {step, version, task, prompt, reward, advantage, pieces, logp, ended}."""
        for row in rows:
            _append(self._rollouts, row)

    def tournaments(self, rows):
        """Tournaments of groups: {step, task, topology, players, matches}."""
        for row in rows:
            _append(self._tournaments, row)

    def evaluation(self, row):
        """One evaluated set: {step, name, n, correct, accuracy, low, high, rows}.

        With `reward` in place of correct and accuracy where tasks have degrees; where nothing is
        answered {step, name, n, loss} and figures of its kind; of retrieval {step, name, n,
        ndcg@10, …, examples}.
        """
        _append(self._evals, row)
        kind = headline(row)
        self._chart({f"eval/{row['name']}": row[kind]}, row["step"])

    def _chart(self, values, step):
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._board.scalars(int(step), finite)


class Progress:
    """The line one watches: a bar in a terminal, one plain flushed line an update anywhere else."""

    def __init__(self, total_steps, console=None):
        console = console or Console()
        self._total, self._ends, self._bar = total_steps, deque(maxlen=WINDOW + 1), None
        self._console = console
        if console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter:
            text = TextColumn("{task.description}", markup=False, table_column=Column(ratio=9))
            bar = BarColumn(bar_width=None, table_column=Column(ratio=1))
            self._bar = Bar(text, bar, console=console, expand=True)  # a narrow terminal folds it
            self._task = self._bar.add_task(f"update 0/{total_steps}", total=total_steps)

    def __enter__(self):
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def update(self, step, metrics):
        """Shows that update `step` is done, with what it measured."""
        self._ends.append(time.monotonic())
        line = _line(step + 1, self._total, metrics, self._left(step + 1))
        if self._bar:
            self._bar.update(self._task, completed=step + 1, description=line)
        else:
            print(line, file=self._console.file, flush=True)

    def _left(self, done):
        if len(self._ends) < 2:
            return None  # the first update compiles: no pace to go by
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        return pace * (self._total - done)


def read_rows(path):
    """(JSON objects of a .jsonl file, count of broken lines): a killed run tears its last.

    A missing file is an empty one: a run that has not evaluated yet has no eval.jsonl.
    """
    if not Path(path).exists():
        return [], 0
    rows, broken = [], 0
    for line in Path(path).read_text(encoding="utf-8", errors="replace").split("\n"):
        if line:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                broken += 1
    return rows, broken


def headline(row):
    """Which figure of a row of eval.jsonl is the one to look at."""
    return next(kind for kind in ("ndcg@10", "loss", "reward", "accuracy") if kind in row)


def finished(run_dir, steps):
    """Whether a run's records reach its last update."""
    rows = read_rows(Path(run_dir) / "metrics.jsonl")[0]
    return bool(rows) and rows[-1]["step"] + 1 >= steps


def config_lines(config, depth=0):
    """A nested config as YAML-like (indented key, value) lines; the value of a sub-tree is ""."""
    lines = []
    for key, value in config.items():
        if isinstance(value, Mapping) or hasattr(value, "items"):  # a ConfigDict is no Mapping
            lines += [(NESTED * depth + str(key), ""), *config_lines(value, depth + 1)]
        else:
            lines.append((NESTED * depth + str(key), json.dumps(value, default=str)))
    return lines


def print_config(config, console=None):
    """Prints the resolved config, coloured in a terminal and plain in a pipe."""
    line = lambda key, value: Text(f"{key}:", style="cyan").append(
        f" {value}" if value else "", style="default"
    )
    lines = Text("\n").join(line(*pair) for pair in config_lines(config))
    (console or Console()).print(lines, soft_wrap=True)  # at once: a notebook frames each print


def _reopen(path, resume_at):
    rows, broken = read_rows(path)
    kept = [row for row in rows if row["step"] < resume_at]
    if broken or len(kept) < len(rows):
        fresh = path.with_name(path.name + ".partial")
        fresh.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        os.replace(fresh, path)  # at no moment is there a half-written file under the name
    return path.open("a", encoding="utf-8")


def _append(file, row):
    file.write(json.dumps(_nulled(row), allow_nan=False) + "\n")
    file.flush()


def _nulled(x):
    """NaN and infinities are no JSON; they become null, anywhere in the row."""
    if isinstance(x, Mapping):
        return {key: _nulled(value) for key, value in x.items()}
    if isinstance(x, str) or x is None or isinstance(x, bool | int):
        return x
    if hasattr(x, "tolist"):
        return _nulled(x.tolist())
    if isinstance(x, list | tuple):
        return [_nulled(value) for value in x]
    return float(x) if math.isfinite(x) else None


def _scalar(name, value):
    if name not in SCHEMA:
        near = difflib.get_close_matches(name, SCHEMA, n=1)
        hint = f"did you mean {near[0]!r}? If it is new, " if near else ""
        raise KeyError(
            f"metric {name!r} is not documented: {hint}add it to training/metrics.SCHEMA"
        )
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"metric {name!r} must be one number, got {value!r}: reduce it first"
        ) from None


def _line(done, total, metrics, left):
    shown = [
        ("reward {:.3f}", "reward/mean")
        if "reward/mean" in metrics
        else ("loss {:.4f}", "policy/loss"),
        ("KL {:.4f}", "policy/ref_kl" if "policy/ref_kl" in metrics else "policy/kl"),
        ("entropy {:.2f}", "policy/entropy"),
        ("length {:.1f}", "length/mean"),
        ("{:,.0f} tok/s", "tokens/per_second"),
    ]
    parts = [form.format(float(metrics[name])) for form, name in shown if name in metrics]
    end = "left –" if left is None else f"left {_clock(left)}"
    return "  ".join([f"update {done:>{len(str(total))}}/{total}", *parts, end])


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
