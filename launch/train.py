"""Trains what a config file says. Rerun the same command to resume.

    python -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart
    ... --config.advantage.name=rloo --config.optimizer.lr=2e-6

Ctrl-C or SIGTERM ends the run at the next update, with a checkpoint.
"""

import logging
import sys

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from jaxrl.recipes import preference, rl, sft

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run, such as runs/NAME.")


def main(argv):
    """Picks the recipe by the kind of config, and prints what the run came to."""
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax narrates every save
    logging.getLogger("jaxrl").setLevel(logging.INFO)
    try:
        c = CONFIG.value
        recipe = rl if "rollout" in c else preference if "loss" in c else sft
        plan = recipe.prepare(c, WORKDIR.value)
    except (ValueError, KeyError, TypeError, OSError) as error:
        _refuse(error.args[0] if isinstance(error, KeyError) else error)
    evals = recipe.run(c, WORKDIR.value, plan)
    print(f"report: {WORKDIR.value}/report.html")
    if evals and evals[-1]["step"] == c.steps:
        kind = "loss" if "loss" in evals[0] else "accuracy"
        before, after = evals[0][kind], evals[-1][kind]
        print(f"held-out {kind}: before {before:.3f} → after {after:.3f}")


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
    print(f"launch.train: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse)
