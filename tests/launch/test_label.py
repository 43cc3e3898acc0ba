"""launch.label over real HTTP: rows go in, ranked rows come out; a second run asks for the rest."""

import json
import re

from test_search import commands
from tiny_endpoint import ok, said, serve, status

from jaxrl.data import embedding_rows

ROWS = [
    {"query": "one", "positives": ["a long answer"], "negatives": ["no", "nor"]},
    {"query": "two", "positives": ["a longer answer"], "negatives": ["n"]},
    {"query": "three", "positives": ["alone"]},
    {"query": "four", "positives": ["yes"], "negatives": ["no"], "kind": "classification"},
]


def act(body, number):
    """The longest document first; the second request is refused."""
    if number == 1:
        return status(400)
    shown = re.findall(r"<DOCUMENT_(\d+)>\n(.*?)\n<", body["messages"][-1]["content"])
    best = sorted(shown, key=lambda found: -len(found[1]))
    return ok(said(" > ".join(f"[{n}]" for n, _ in best)))


def test_rows_are_ranked_and_what_is_missing_is_asked_again(tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "ranked.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with serve(act) as server:
        flags = [f"--rows={rows}", f"--url={server.url}", "--model=big", "--key=", f"--out={out}"]
        law = '--law={"temperature": 0, "seed": 3}'
        first, second, bad, address, none = commands(
            "label",
            ([*flags, law, "--concurrent=1"], ""),
            (flags, ""),
            ([*flags, "--law=[]"], ""),
            ([*flags, "--url=big"], ""),
            ([*flags, f"--rows={tmp_path}/none.jsonl"], ""),
        )
        asked = [body for _, _, body in server.requests]
    assert "of 4 rows 1 of kind classification, 1 with a single document, 1 ranked" in first[0]
    assert "1 dropped/refused" in first[0]
    assert "1 there already, or twice, 1 ranked" in second[0]
    found = embedding_rows.read(out).found
    assert sorted(x.query.text for x in found) == ["one", "two"]
    assert all("answer" in x.documents[0].text for x in found)
    assert len(asked) == 3 and asked[0]["seed"] == 3 and asked[0]["model"] == "big"
    assert "give a JSON object" in bad[1] and "is no address" in address[1]
    assert "none.jsonl" in none[1]
    assert all(e.startswith("launch.label: ") for _, e in (bad, address, none))
