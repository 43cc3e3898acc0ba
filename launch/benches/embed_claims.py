"""What each stage of E2Rank and of Qwen3-VL-Embedding adds, on real text, from one small model.

    python -m launch.bench embed_claims --json=FILE --plot=FILE

MiniLM-L6 in f32 learns from questions of two thirds of SQuAD's articles and is to find the
sentences that answer those of the others, 2,133 to choose from (embed_data.py); three seeds each,
Student's 95 % intervals. E2Rank (arXiv:2510.22733): its first stage alone; its second without
RankNet, without the listwise prompt, and whole; nDCG@10 of retrieval, and of the order that the
listwise prompt gives. Qwen3-VL-Embedding (arXiv:2601.04720): contrastive, multi-task, distilled,
merged; retrieval and classification; prefixes and few bits, trained for and not. No package carries
a reranker, so lists are in the order of BM25 and MiniLM together, behind the right sentence.
Text, pictures and clips in one space: a small Qwen3-VL from nothing (embed_claims_media.py).
"""

import pathlib
import tempfile

from launch.benches import embed_claims_e2rank, embed_claims_media, embed_claims_stages, several

SEEDS = 3
# The first refuses at once where its media are missing.
PARTS = (embed_claims_media, embed_claims_e2rank, embed_claims_stages)


def run(peer, plot_file=None):
    """Yields the rows of the bench; writes the figures to the file asked for."""
    if peer is not None:
        raise ValueError(f"--peer={peer}: embed_claims compares stages: leave it out")
    drawn = {}
    with tempfile.TemporaryDirectory() as folder, several.compiled_once(f"{folder}/compiled"):
        folder = pathlib.Path(folder)
        for part in PARTS:
            yield from part.run(folder, SEEDS, drawn)
    if plot_file:
        from launch.benches import embed_claims_plot  # needs matplotlib

        embed_claims_plot.draw(drawn, plot_file)
