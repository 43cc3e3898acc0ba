"""Evaluations of an embedder as training leaves them, made up: two sets, found better each time."""

import json
from pathlib import Path

import numpy as np

from tests.report.synthetic import HOSTILE

SUBJECTS = ("tides", "granite", "yeast", "comets", "looms", "salt", "locks", "bees")


def write(run_dir, steps=(0, 20, 40)):
    """Writes config.json, metrics.jsonl and eval.jsonl of a run that trained an embedder."""
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    losses = [{"step": s, "policy/loss": float(3 / (1 + s) + rng.random())} for s in range(40)]
    rows = [evaluation(name, step) for step in steps for name in ("squad", f"wiki {HOSTILE}")]
    for name, lines in (("metrics", losses), ("eval", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (folder / "config.json").write_text(json.dumps({"model": {"checkpoint": "minilm"}}))
    return folder


def evaluation(name, step):
    """The relevant document of query i climbs from place 1 + i to the first; one falls to 4."""
    figure = (0.5 if name == "squad" else 0.4) + 0.008 * step
    examples = []
    for i, subject in enumerate(SUBJECTS):
        place = i if not step else (3 if i == 0 else 0)
        examples.append({"query": f"why {subject}?", "found": ranking(subject, place)})
    examples[-1]["query"] = f"why {HOSTILE}"
    metrics = {"ndcg@10": figure, "recall@100": figure + 0.1, "mrr@10": figure - 0.05}
    return {"step": step, "name": name, "n": 300} | metrics | {"examples": examples}


def ranking(subject, place):
    """Six documents, the one at `place` relevant; the last text is hostile, the second long."""
    texts = [f"{other} are older than the sea around them." for other in SUBJECTS[:6]]
    texts[5], texts[1] = HOSTILE, "word " * 200
    found = [
        {"id": f"p{n}", "text": text, "score": 0.9 - 0.07 * n, "relevant": False}
        for n, text in enumerate(texts)
    ]
    if place < len(found):
        found[place] |= {"relevant": True, "text": f"All that is known about {subject}."}
    return found
