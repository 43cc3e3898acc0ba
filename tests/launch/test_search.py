"""launch.encode and launch.search: a corpus becomes an index, and what it holds is found."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_encoder

from jaxrl.retrieval import build, documents, index

ROOT = Path(__file__).parents[2]
MODEL = "--model=tiny_encoder:opened"
ENV = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "tests"), "COLUMNS": "140"}
RUN = {"cwd": ROOT, "env": ENV, "capture_output": True, "text": True}


def command(name, *flags, **how):
    return subprocess.run([sys.executable, "-m", f"launch.{name}", *flags], **RUN, **how)


def corpus(at, rows):
    at.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return at


ROWS = [
    {"_id": "a", "title": "Sky", "text": "why is it blue"},
    {"_id": "b", "text": "grass is [green]"},
    {"_id": "c", "text": "house of brick"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, what launch.encode said) of a corpus with a broken line."""
    folder = tmp_path_factory.mktemp("launch")
    corpus(folder / "corpus.jsonl", [*ROWS, {"_id": "a", "text": "again"}])
    flags = (f"--corpus={folder}", MODEL, f"--out={folder}/index", "--shard=2")
    refused = command("encode", *flags)
    assert refused.returncode and "id 'a' stands twice" in refused.stderr
    assert "Traceback" not in refused.stderr and not (folder / "index").exists()
    return folder, command("encode", *flags, "--bad=skip")


def test_encode_says_what_it_did(made):
    folder, done = made
    assert done.returncode == 0, done.stderr
    assert "3 documents, 24 dimensions, 3 encoded, 1 skipped (duplicate)" in done.stdout
    opened = index.open_index(folder / "index", encoder=tiny_encoder.make())
    assert opened.ids == ["a", "b", "c"] and opened.header["model"] == "tiny_encoder:opened"


def test_search_prints_a_table_of_the_best(made):
    folder, _ = made
    flags = (f"--index={folder}/index", f"--corpus={folder}", "--top=2")
    done = command("search", *flags, input="grass green\n\nblue sky\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("blue sky")
    assert "grass is [green]" in first and first.index(" b ") < first.index("grass is")
    assert "Sky why is it blue" in second and "ms" in second
    assert "empty query" in done.stderr
    assert first.count("│ 2 ") == 1 and "│ 3 " not in done.stdout


def test_what_cannot_work_is_refused_in_a_line(made):
    folder, _ = made
    for flags, told in (
        ((f"--index={folder}/none",), "holds no index"),
        ((f"--index={folder}/index", "--model=gpt"), "names no encoder"),
    ):
        done = command("search", *flags, "--query=x")
        assert done.returncode and told in done.stderr and "Traceback" not in done.stderr


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
    done = command("encode", *flags)
    kept = int(done.stdout.split(" kept")[0].split()[-1].replace(",", ""))
    assert done.returncode == 0 and 200 < kept < 4000, done.stdout + done.stderr
    whole = documents.open_corpus(tmp_path)
    c = build.IndexConfig(shard=10, batch=4)
    build.build(tmp_path / "whole", whole, tiny_encoder.make(), c, model="tiny_encoder:opened")
    names = sorted(at.name for at in (tmp_path / "whole").iterdir())
    assert [n for n in names if not n.endswith(".part")] == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_an_index_in_another_dtype_is_made_and_rescored(made):
    folder, _ = made
    done = command("encode", f"--from={folder}/index", "--dtype=binary", f"--out={folder}/bits")
    assert done.returncode == 0 and "3 encoded" in done.stdout, done.stderr
    flags = (f"--index={folder}/bits", f"--exact={folder}/index", "--query=grass green")
    assert "│ b " in command("search", *flags).stdout
