"""launch.encode and launch.search: a corpus becomes an index, and what it holds is found."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_embedder
import tiny_encoder
import tiny_media
import tiny_vl

from jaxrl.models import checkpoints, qwen3_vl
from jaxrl.retrieval import build, documents, index

ROOT = Path(__file__).parents[2]
MODEL = "--model=tiny_encoder:opened"
ENV = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "tests"), "COLUMNS": "140"}
DRIVER = """
import contextlib, importlib, io, json, sys
from absl import flags
module = importlib.import_module(sys.argv[1])
for argv, stdin in json.loads(sys.argv[2]):
    flags.FLAGS.unparse_flags()
    for flag in flags.FLAGS.flags_by_module_dict()[sys.argv[1]]:
        flag.unparse()
    out, error, sys.stdin = io.StringIO(), io.StringIO(), io.StringIO(stdin)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            module.main(flags.FLAGS([sys.argv[1], *argv]))
        except SystemExit as stop:
            print(stop, file=sys.stderr)
    print(json.dumps([out.getvalue(), error.getvalue()]))
"""


def command(name, *flags):
    """The command itself: what it printed."""
    command = [sys.executable, "-m", f"launch.{name}", *flags]
    done = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands(name, *calls):
    """[(output, errors)] of several calls (flags, input), in one process: starting it is dear."""
    driver = [sys.executable, "-c", DRIVER, f"launch.{name}", json.dumps(calls)]
    done = subprocess.run(driver, cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def corpus(at, rows):
    at.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return at


ROWS = [
    {"_id": "a", "title": "Sky", "text": "why is it blue"},
    {"_id": "b", "text": "grass is [green]"},
    {"_id": "c", "text": "house of brick"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus with a broken line, and the index that was made of it in the second try."""
    folder = tmp_path_factory.mktemp("launch")
    corpus(folder / "corpus.jsonl", [*ROWS, {"_id": "a", "text": "again"}])
    flags = [f"--corpus={folder}", MODEL, f"--out={folder}/index", "--shard=2"]
    refused, done = commands("encode", (flags, ""), ([*flags, "--bad=skip"], ""))
    assert not refused[0] and "launch.encode: " in refused[1] and "id 'a' stands" in refused[1]
    assert "3 documents, 24 dimensions, 3 encoded, 1 skipped (duplicate)" in done[0]
    return folder


def test_encode_makes_an_index_that_names_its_model(folder):
    opened = index.open_index(folder / "index", encoder=tiny_encoder.make())
    assert opened.ids == ["a", "b", "c"] and opened.header["model"] == "tiny_encoder:opened"


def test_search_prints_a_table_of_the_best_or_says_why_not(folder):
    here = f"--index={folder}/index"
    (out, errors), missing, other, neither = commands(
        "search",
        ([here, f"--corpus={folder}", "--top=2"], "grass green\n\nblue sky\n"),
        ([f"--index={folder}/none", "--query=x"], ""),
        ([here, "--model=gpt", "--query=x"], ""),
        ([here, f"--exact={folder}/none", "--query=x"], ""),
    )
    first, second = out.split("blue sky")
    assert "grass is [green]" in first and first.index(" b ") < first.index("grass is")
    assert "Sky why is it blue" in second and "encoded in" in second and "ms" in second
    assert "an empty query finds nothing" in errors
    assert first.count("│ 2 ") == 1 and "│ 3 " not in out
    assert missing[1].startswith("launch.search: ") and "holds no index" in missing[1]
    assert "no model at gpt" in other[1] and "holds no index" in neither[1]
    assert not missing[0] + other[0] + neither[0]


@pytest.mark.slow
def test_a_killed_encode_goes_on_to_the_same_bits(tmp_path):
    """The signal comes while shards are written: some are there, the header does not list all."""
    rows = [{"_id": f"d{i}", "text": f"word{i} of{i % 7}"} for i in range(4000)]
    corpus(tmp_path / "corpus.jsonl", rows)
    flags = [f"--corpus={tmp_path}", MODEL, "--shard=10", "--batch=4", f"--out={tmp_path}/killed"]
    process = subprocess.Popen([sys.executable, "-m", "launch.encode", *flags], cwd=ROOT, env=ENV)
    while len(list((tmp_path / "killed").glob("*.rows"))) < 25:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(ValueError, match="unfinished"):
        index.open_index(tmp_path / "killed")
    kept = int(command("encode", *flags).split(" kept")[0].split()[-1].replace(",", ""))
    assert 200 < kept < 4000
    whole = documents.open_corpus(tmp_path)
    c = build.IndexConfig(shard=10, batch=4)
    build.build(tmp_path / "whole", whole, tiny_encoder.make(), c, model="tiny_encoder:opened")
    names = sorted(at.name for at in (tmp_path / "whole").iterdir())
    assert [n for n in names if not n.endswith(".part")] == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_an_index_in_another_dtype_is_made_and_rescored(folder):
    flags = (f"--from={folder}/index", "--dtype=binary", f"--out={folder}/bits")
    assert "3 encoded" in command("encode", *flags)
    flags = (f"--index={folder}/bits", f"--exact={folder}/index", "--query=grass green")
    assert "│ b " in command("search", *flags)


@pytest.mark.slow
def test_pictures_are_encoded_and_searched_for(tmp_path):
    """A checkpoint that sees: what cannot be read is named, and found by nothing."""
    files = tiny_media.files(tmp_path)
    c, params = tiny_vl.MODEL, tiny_embedder.params(qwen3_vl.specs(tiny_vl.MODEL))
    checkpoints.save(params, c, tiny_media.CHAT, tmp_path / "model")
    rows = [{"_id": f"p{n}", "image": f"{n}.png"} for n in ("one", "two", "broken", "gone")]
    rows += [{"_id": "v", "video": "clip.mkv"}, {"_id": "e", "text": "ab", "video": "empty.mkv"}]
    corpus(tmp_path / "corpus.jsonl", rows)
    flags = [f"--corpus={tmp_path}", f"--model={tmp_path}/model", f"--out={tmp_path}/index"]
    refused, stopped, done = commands(
        "encode", (flags, ""), ([*flags, "--bad=skip"], ""), ([*flags, "--bad=skip"], "")
    )
    assert "line 4: image" in refused[1] and "gone.png' is no file" in refused[1]
    told = "5 documents, 24 dimensions, 5 encoded, 2 absent, 1 skipped (malformed)"
    assert told in stopped[0] and "without a row: pbroken, e\n" in stopped[0]
    assert "5 kept, 2 absent" in done[0] and "without a row: pbroken, e\n" in done[0]
    here, query = (
        [f"--index={tmp_path}/index", f"--corpus={tmp_path}"],
        f"--image={files['two.png']}",
    )
    alone, beside, bad = commands(
        "search",
        ([*here, query], ""),
        ([*here, query, "--query=ab [he]"], ""),
        ([*here, f"--image={files['broken.png']}"], ""),
    )
    first = next(line for line in alone[0].splitlines() if "│ 1 " in line)
    assert "1.0000" in first and "ptwo" in first and "[two.png]" in first
    assert "pbroken" not in alone[0] and "[clip.mkv]" in alone[0]
    assert "[two.png] ab [he]" in beside[0]
    assert bad[1].startswith("launch.search: ") and "broken.png cannot be read" in bad[1]
