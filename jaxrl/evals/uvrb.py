"""UVRB's sixteen video retrieval tasks: metric and query prompt of each, and its averages.

arXiv:2510.27571. The paper says no more of its averages than that they run over tasks and domains;
those below reproduce its table. Documents have no prompt of their own.
"""

from typing import NamedTuple

import numpy as np


class VideoTask(NamedTuple):
    """One task."""

    ability: str  # a key of ABILITIES
    metric: str  # as evals.retrieval names it; hit@1 over a query's own candidates for MS-*
    prompt: str  # of its queries


_FIND = "Find the video according to the "

TASKS = {
    "MSRVTT": VideoTask(
        "CG",
        "recall@1",
        "Find the clip that corresponds to the described scene in the given video.",
    ),
    "DiDeMo": VideoTask(
        "CG", "recall@1", "Find a video that includes the following described scenes."
    ),
    "CRB-G": VideoTask("CG", "recall@1", f"{_FIND}general text description."),
    "CRB-S": VideoTask("S", "recall@1", f"{_FIND}spatial description."),
    "VDC-O": VideoTask("S", "recall@1", f"{_FIND}object description."),
    "CRB-T": VideoTask("T", "recall@1", f"{_FIND}temporal description."),
    "CMRB": VideoTask("T", "recall@10", f"{_FIND}camera motion description."),
    "DREAM-E": VideoTask("PR", "recall@1", f"{_FIND}text description."),
    "LoVR-TH": VideoTask(
        "PR",
        "recall@10",
        "Find the video according to text description about video theme information.",
    ),
    "PEV-K": VideoTask("PR", "recall@1", f"{_FIND}text description of a series of keywords."),
    "LoVR-V": VideoTask(
        "LC", "recall@1", "Find the long video according to the long text description."
    ),
    "VDC-D": VideoTask("LC", "recall@1", f"{_FIND}detailed text description."),
    "MS-TI": VideoTask(
        "CMP",
        "hit@1",
        "Find the video clip that corresponds to the given text and the given image.",
    ),
    "MS-TV": VideoTask(
        "CMP",
        "hit@1",
        "Find the video clip that corresponds to the given text and the given video.",
    ),
    "MSRVTT-I2V": VideoTask("VIS", "recall@1", f"{_FIND}image."),
    "LoVR-C2V": VideoTask(
        "VIS", "recall@1", "Find the original long video according to the short video clip."
    ),
}
ABILITIES = {  # name -> whose mean it is: tasks by their ability, or abilities named before
    "CG": (),
    "S": (),
    "T": (),
    "PR": (),
    "LC": (),
    "CMP": (),
    "VIS": (),
    "FG": ("S", "T", "PR"),
    "TXT": ("CG", "FG", "LC"),
    "AVG_A": ("TXT", "CMP", "VIS", "CG", "FG", "LC"),
}


def averages(scores):
    """{ability: mean} of {task: its metric}, all sixteen, with AVG_A and AVG_D.

    An ability is the mean of its parts, however many tasks they have; AVG_A that of six abilities,
    AVG_D that of all tasks.
    """
    wrong = scores.keys() ^ TASKS.keys()
    if wrong:
        raise KeyError(f"scores of {sorted(wrong)} are missing, or no task of UVRB: {list(TASKS)}")
    found = {}
    for name, parts in ABILITIES.items():
        tasks = [scores[task] for task, about in TASKS.items() if about.ability == name]
        found[name] = float(np.mean([found[part] for part in parts] or tasks))
    return found | {"AVG_D": float(np.mean(list(scores.values())))}
