"""launch.mine: rows go in, rows with mined negatives come out, or one line that says why not."""

import json

from test_search import MODEL, commands

from jaxrl.data import embedding_rows

ROWS = [
    {"query": "blue sky", "positives": ["blue sky above"], "instruction": "Find."},
    {"query": "green grass", "positives": ["green grass below", "house"], "negatives": ["brick"]},
    {"query": "far away", "positives": ["near by"]},
]


def lines(at, rows):
    at.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return at


def test_rows_come_back_with_negatives_and_what_cannot_be_is_refused(tmp_path):
    rows = lines(tmp_path / "rows.jsonl", ROWS)
    broken = lines(tmp_path / "broken.jsonl", [{"query": "", "positives": ["p"]}])
    corpus = [{"_id": str(i), "text": text} for i, text in enumerate(["grass", "sky so", "brick"])]
    lines(tmp_path / "corpus.jsonl", corpus)
    base = [f"--rows={rows}", MODEL, "--t_plus=0.3", "--negatives=2", "--noinstructions"]
    out = tmp_path / "mined.jsonl"
    done, again, own, bad, none, lost, of_corpus = commands(
        "mine",
        ([*base, f"--out={out}"], ""),
        ([*base, f"--out={out}"], ""),
        ([*base, f"--out={tmp_path}/own.jsonl", "--instructions"], ""),
        ([f"--rows={broken}", MODEL, f"--out={tmp_path}/bad.jsonl"], ""),
        ([*base, f"--out={tmp_path}/none.jsonl", "--t_plus=0.999"], ""),
        ([*base, f"--out={tmp_path}/no/where.jsonl"], ""),
        ([*base, f"--out={tmp_path}/other.jsonl", f"--corpus={tmp_path}"], ""),
    )
    assert "mined.jsonl: 2 of 3 rows; 2 mined, 1 no positive above t_plus" in done[0]
    assert "1 positives left out" in done[0]
    first, second = embedding_rows.read_rows(out).found
    assert first.query.text == "blue sky" and first.instruction == "Find."
    assert [d.text for d in second.positives] == ["green grass below"]
    assert len(first.negatives) == len(second.negatives) == 2
    assert "is there already" in again[1] and "'Find.': 'tiny_encoder:opened' has" in own[1]
    assert "line 1: query: it is empty" in bad[1] and "no row is left" in none[1]
    assert "there is no directory" in lost[1]
    assert all(e.startswith("launch.mine: ") for _, e in (again, bad, lost))
    assert "2 mined" in of_corpus[0]
    texts = {
        d.text
        for r in embedding_rows.read_rows(tmp_path / "other.jsonl").found
        for d in r.negatives
    }
    assert "sky so" in texts
    left = sorted(at.name for at in tmp_path.iterdir())
    assert left == ["broken.jsonl", "corpus.jsonl", "mined.jsonl", "other.jsonl", "rows.jsonl"]
