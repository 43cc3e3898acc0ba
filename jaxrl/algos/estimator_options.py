"""What values the options of the estimators may have. Which takes which is in their table."""

import numpy as np

_share = (None, lambda x: 0 <= x <= 1, "a number in [0, 1]")
_weight = (None, lambda x: 0 <= x < float("inf"), "0 or more")
_small = (None, lambda x: 0 <= x < 1, "a number in [0, 1)")
_limit = (None, lambda x: x > 0, "a number above 0")
_switch = ((False, True), None, "False or True")
_level = (("group", "batch", "none"), None, "group, batch or none")
RULES = {  # the values there are, or what must hold; and how to say it
    "ddof": ((0, 1), None, "0 (population) or 1 (sample)"),
    "eps": _small,
    "eps_mode": (("add", "floor"), None, "add or floor"),
    "singleton": (("zero", "raw", "error"), None, "zero, raw or error"),
    "zero_std_rel_tol": _small,
    "style": (
        ("", "verl", "trl", "tunix", "openrlhf"),
        None,
        "empty or one of verl, trl, tunix, openrlhf",
    ),
    "mean_level": _level,
    "std_level": _level,
    "leave_one_out": _switch,
    "weights": (None, lambda x: all(np.isfinite(w) for w in x), "a number a dimension, or ()"),
    "whiten_by": (("tokens", "samples"), None, "tokens or samples"),
    "gpg_counts": (("groups", "rewards"), None, "groups or rewards"),
    "keep": (None, lambda x: x >= 0, "0 (half of the group) or more samples"),
    "keep_by": (("length", "efficiency"), None, "length or efficiency"),
    "gamma": _share,
    "lam": _share,
    "whiten": _switch,
    "rho_clip": _limit,
    "c_clip": _limit,
    "zero_tail": _switch,
    "step_weight": _weight,
    "round_gamma": _share,
    "all_correct": (("keep", "zero"), None, "keep or zero"),
    "multiple": (None, lambda x: x >= 1, "1 (all rows) or the data-parallel size"),
    "evidence_mode": (("abs", "minmax", "z"), None, "abs, minmax or z"),
    "evidence_weight": _weight,
    "outcome_weight": _weight,
    "format_weight": _weight,
    "execution_tokens": (("later", "all"), None, "later or all"),
}


def check(key, value):
    """Refuses a value that the option cannot have."""
    choices, holds, fix = RULES[key]
    if not (value in choices if choices else holds(value)):
        raise ValueError(f"advantage.{key}={value!r}: give {fix}")
