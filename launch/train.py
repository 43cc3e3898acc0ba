"""Trains what a config file says. Rerun the same command to resume.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart
    ... --config.advantage.name=rloo --config.optimizer.lr=2e-6

Ctrl-C or SIGTERM ends the run at the next update, with a checkpoint. The exit code says how the run
ended: 0 all updates done; 2 settings refused; 74 no room for what it writes; 75 stopped by a signal
and saved. After 74 (make room first) and 75 the same command goes on. Several processes, each on
its own devices, train together when all are started with --distributed on a cluster that says who
they are (launch/README.md), or with --coordinator, --processes and --process.
"""

import errno
import logging
import os
import sys
import traceback
from pathlib import Path

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from jaxrl.parallel import hosts
from jaxrl.recipes import agent, distill, e2rank, embed, preference, reranker, rl, sft, stages
from jaxrl.training import metrics
from jaxrl.training.checkpoint import SaveFailed

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run, such as runs/NAME.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Ask the cluster for the other processes.")
COORDINATOR = flags.DEFINE_string("coordinator", "", "Or: host:port of process 0,")
PROCESSES = flags.DEFINE_integer("processes", 0, "how many processes there are,")
PROCESS = flags.DEFINE_integer("process", -1, "and which of them this one is.")
RECIPES = {
    "rl": stages,
    "second": e2rank,
    "student": distill,
    "embedder": embed,
    "reranker": reranker,
    "engine": agent,
    "rollout": rl,
    "loss": preference,
}
PATIENCE = flags.DEFINE_integer("patience", 100, "Seconds until a silent process counts as dead.")


def main(argv):
    """Trains, alone or as one process of several."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax narrates every save
    where = COORDINATOR.value, PROCESSES.value, PROCESS.value
    if DISTRIBUTED.value or where != ("", 0, -1):
        return together(where)
    logging.getLogger("jaxrl").setLevel(logging.INFO)
    train()
    _end_early()


def together(where):
    """Trains as one process of several. where: as for hosts.start."""
    try:
        hosts.start(*where, patience=PATIENCE.value)
    except (ValueError, RuntimeError) as error:
        _refuse(error)
    try:
        if hosts.first():
            logging.getLogger("jaxrl").setLevel(logging.INFO)
        _warn()
        train()
    except SystemExit as end:  # refused
        hosts.leave(end.code)
    except BaseException:
        traceback.print_exc()
        _warn()
        hosts.leave(1)
    _end_early()


def train():
    """Picks the recipe by the kind of config, and prints what the run came to."""
    try:
        c = CONFIG.value
        recipe = _recipe(c)
        if "://" in WORKDIR.value:
            raise ValueError(f"--workdir={WORKDIR.value}: mount the bucket and give its directory")
        plan = recipe.prepare(c, WORKDIR.value)
    except (ValueError, KeyError, TypeError, OSError) as error:
        _refuse(error.args[0] if isinstance(error, KeyError) else error)
    evals = _run(recipe, c, plan)
    if not hosts.first():
        return
    where, steps = _last_stage()
    print(f"report: {where}/report.html")
    if evals and evals[-1]["step"] == steps:
        kind = metrics.headline(evals[0])
        same = [row[kind] for row in evals if row["name"] == evals[0]["name"]]
        before, after = same[0], same[-1]
        print(f"held-out {kind}: before {before:.3f} → after {after:.3f}")


def _recipe(c):
    """The module whose kind of config this is: configs/base.py and base_embedders.py have a
    function for each, and each kind a key that no other has."""
    return next((module for key, module in RECIPES.items() if key in c), sft)


def _last_stage():
    """(directory, updates) of the run, or of the last of its stages."""
    c, where = CONFIG.value, Path(WORKDIR.value)
    last = next((name for name in ("rl", "second", "student") if name in c), None)
    return (where / last, c[last].steps) if last else (where, c.steps)


def _end_early():
    """Where a signal stopped the run, the exit code by which a cluster's manager starts it anew."""
    if not metrics.finished(*_last_stage()):
        print("stopped by a signal, and saved: the same command goes on", flush=True)
        sys.exit(os.EX_TEMPFAIL)


def _run(recipe, c, plan):
    """What the run returns; a full disk ends it in a line, not in a traceback."""
    try:
        return recipe.run(c, WORKDIR.value, plan)
    except SaveFailed as error:
        _end(error, os.EX_IOERR)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        fix = "make room, then run the same command again: it goes on from the last checkpoint"
        _end(f"--workdir={WORKDIR.value}: {error}: {fix}", os.EX_IOERR)


def _warn():
    """What to do when a process dies; at the start too, as jax may leave no time for it later."""
    which, of = jax.process_index(), jax.process_count()
    print(
        f"launch.train: process {which} of {of}. If one ends with an error or dies, the others end "
        f"too, after at most --patience={PATIENCE.value} seconds. Then start all of them again "
        "with the same command: the run goes on from the newest checkpoint of "
        f"--workdir={WORKDIR.value}.",
        file=sys.stderr,
    )


def parse(argv):
    """Reads flags and the config file; a key that base.py lacks is refused in one line."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError) as error:
        said = error.args[0] if isinstance(error, AttributeError | KeyError) else error
        said = said.args[0] if isinstance(said, KeyError) else said  # ml_collections nests them
        _refuse(f"{said}\nAll config keys and their types are listed in configs/base.py.")


def _refuse(message):
    """Bad settings end the run with what to do about them; after that, errors are bugs."""
    _end(message, 2)


def _end(message, code):
    print(f"launch.train: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse)
