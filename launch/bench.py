"""Measures one part of the library against its floor and a peer.

    python -m launch.bench NAME [--json=FILE] [--peer=PEER] [--csv=FILE] [--plot=FILE]

Each case is printed as soon as it is measured, the table of all at the end.
NAME: a key of BENCHES, below. The JSON is a list of rows with case, value and unit, and where they
apply peer, peer_value, ratio (value / peer_value), floor and percent_of_floor; survival's have
case, expected, seen, counter and surprise, and its exit code is 1 where anything surprised.
"""

import importlib
import sys

from absl import app, flags, logging

from launch.benches import tables

BENCHES = {  # imported when asked for: a bench may need its peer's packages
    "sampler": "launch.benches.sampler",
    "engine": "launch.benches.engine",
    "train_step": "launch.benches.train_step",
    "encode": "launch.benches.encode",
    "embed_claims": "launch.benches.embed_claims",
    "rerank": "launch.benches.rerank",
    "overlap": "launch.benches.overlap",
    "logprobs": "launch.benches.logprobs",
    "estimators": "launch.benches.estimators",
    "tournaments": "launch.benches.tournaments",
    "survival": "launch.benches.survival",
    "judge_noise": "launch.benches.judge_noise",
    "arena_claim": "launch.benches.arena_claim",
    "long_context": "launch.benches.long_context",
    "scaling": "launch.benches.scaling",
    "accelerator": "launch.benches.accelerator",
}

FILES = {
    "judge_noise": {"csv", "plot"},
    "arena_claim": {"plot"},
    "embed_claims": {"plot"},
    "long_context": {"plot"},
    "scaling": {"plot"},
}

JSON = flags.DEFINE_string("json", None, "also write the rows to this file")
CSV = flags.DEFINE_string("csv", None, "judge_noise: all figures with their intervals")
PLOT = flags.DEFINE_string("plot", None, "the figures, drawn; .png or .pdf")
PEER = flags.DEFINE_string("peer", None, "the library to compare with; each bench names its own")


def main(argv):
    """Runs the bench named on the command line."""
    if len(argv) != 2 or argv[1] not in BENCHES:
        given = " ".join(argv[1:]) or "nothing"
        raise app.UsageError(f"bench={given}: give one of {', '.join(BENCHES)}")
    logging.set_verbosity(logging.ERROR)  # Orbax narrates every save
    files = {flag: value for flag, value in (("csv", CSV.value), ("plot", PLOT.value)) if value}
    if wrong := sorted(files.keys() - FILES.get(argv[1], set())):
        raise app.UsageError(f"--{wrong[0]} is not for {argv[1]}: leave it out")
    files = {f"{flag}_file": value for flag, value in files.items()}
    rows = tables.announced(importlib.import_module(BENCHES[argv[1]]).run(PEER.value, **files))
    tables.show(f"{argv[1]}, peer {PEER.value}" if PEER.value else argv[1], rows)
    if JSON.value:
        tables.write_json(rows, JSON.value)
    if any(isinstance(row, tables.Finding) and row.surprise for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
