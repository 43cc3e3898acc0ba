"""An embedder's run as a file for launch.train, --config=tests/tiny_embed_run.py:FOLDER.

FOLDER holds the model and the rows: tests/recipes/test_embed.py writes them.
"""

from pathlib import Path

from configs import base_embedders


def get_config(folder):
    """Prefixes and int8 beside the whole, and held-out rows."""
    c, folder = base_embedders.embed(), Path(folder)
    c.steps, c.model.checkpoint = 3, str(folder / "model")
    c.optimizer.update(lr=1e-2, eps=1e-3)  # a large ε, or Adam would amplify the rounding
    c.data.update(path=str(folder / "pairs.jsonl"), batch=8, documents=3)
    c.data.eval_path = c.data.path
    c.loss.update(dims=(16, 8), formats=("int8",))
    c.mesh.update(data=-1, fsdp=2)
    c.checkpoint.update(every=1, keep=9)
    return c
