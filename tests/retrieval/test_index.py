"""An index: built, killed and resumed, opened; what is broken or another model's is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_encoder

from jaxrl.retrieval import build, documents, encoders, index

C = build.IndexConfig(shard=4, batch=3)
TEXTS = [f"word{i} shared word{i % 3}" for i in range(11)]
CORPUS = documents.held([f"d{i}" for i in range(11)], TEXTS)


class Killed(Exception):
    """Stands for a signal."""


def counting(after=10**9):
    """An encoder that notes what it encodes, and is killed at a call."""
    seen = []

    def encode(texts):
        if len(seen) == after:
            raise Killed
        seen.append(tuple(texts))
        return tiny_encoder.rows(texts)

    return tiny_encoder.make(documents=encode), seen


def files(folder):
    return {at.name: at.read_bytes() for at in folder.iterdir()}


def made(folder, c=C, corpus=CORPUS, encoder=None):
    build.build(folder, corpus, encoder or tiny_encoder.make(), c, model="tiny")
    return index.open_index(folder)


@pytest.mark.parametrize("dtype", ["float32", "int8", "binary"])
def test_a_killed_build_goes_on_and_ends_the_same_to_the_bit(tmp_path, dtype):
    """Killed at each call of the encoder in turn: two for a shard of 4, one for the last."""
    c = build.IndexConfig(dtype, shard=4, batch=3)
    made(tmp_path / "whole", c)
    for after in range(5):
        folder = tmp_path / f"killed{after}"
        first, _ = counting(after)
        with pytest.raises(Killed):
            build.build(folder, CORPUS, first, c, model="tiny")
        with pytest.raises((ValueError, FileNotFoundError), match="unfinished"):
            index.open_index(folder)
        second, again = counting()
        counts = build.build(folder, CORPUS, second, c, model="tiny")
        assert len(again) == 5 - after // 2 * 2  # finished shards are not encoded again
        assert counts == {
            "encoded": 11 - after // 2 * 4,
            "kept": after // 2 * 4,
            "remade": 0,
            "absent": 0,
        }
        assert files(folder) == files(tmp_path / "whole")


BUILDS_UNTIL_KILLED = """
import sys, time
import tiny_encoder
from jaxrl.retrieval import build, documents

def wait(texts):
    print("started", flush=True)
    time.sleep(600)

corpus = documents.held(["a"], ["text"])
build.build(sys.argv[1], corpus, tiny_encoder.make(documents=wait), build.IndexConfig())
"""


def test_one_process_builds_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    """Two at once would each rewrite the header without the other's shards."""
    corpus = documents.held(["a"], ["text"])
    command = [sys.executable, "-c", BUILDS_UNTIL_KILLED, str(tmp_path / "out")]
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    env = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as other:
        assert other.stdout.readline() == b"started\n"
        encoder, seen = counting()
        with pytest.raises(BlockingIOError, match=rf"another build is writing to {tmp_path}/out"):
            build.build(tmp_path / "out", corpus, encoder, build.IndexConfig())
        assert not seen
        other.kill()
    counts = build.build(tmp_path / "out", corpus, encoder, build.IndexConfig())
    assert seen == [("text",)] and counts["encoded"] == 1


def test_a_finished_build_run_again_encodes_nothing(tmp_path):
    made(tmp_path)
    encoder, seen = counting()
    counts = build.build(tmp_path, CORPUS, encoder, C, model="tiny")
    assert not seen and counts["kept"] == 11


def test_rows_are_those_of_the_encoder_in_the_order_of_the_corpus(tmp_path):
    got = made(tmp_path)
    want = tiny_encoder.rows(TEXTS)
    assert got.ids == CORPUS.ids and len(got) == 11
    np.testing.assert_array_equal(got.rows(np.arange(11)), want)
    np.testing.assert_array_equal(got.rows([[9, 0], [4, 9]]), want[[[9, 0], [4, 9]]])
    np.testing.assert_array_equal(got.block(3, 9)["row"], want[3:9])
    np.testing.assert_array_equal(got.block(4, 8)["row"], want[4:8])


def test_files_that_no_header_lists_yet_are_written_again(tmp_path):
    """Killed between a shard's files and the header, or within a file, or as it began."""
    made(tmp_path / "whole")
    made(tmp_path / "killed")
    at = tmp_path / "killed" / "header.json"
    header = json.loads(at.read_text())
    at.write_text(json.dumps(header | {"shards": header["shards"][:1]}))
    (tmp_path / "killed" / "00001.rows").write_bytes(b"half")
    (tmp_path / "killed" / "00002.rows.part").write_bytes(b"half")
    made(tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "header.json.part").write_text("{")
    made(tmp_path / "begun")
    assert files(tmp_path / "begun") == files(tmp_path / "whole")


def test_recode_equals_a_build_of_the_other_dtype(tmp_path):
    source = made(tmp_path / "float32")
    for dtype in ("int8", "binary"):
        made(tmp_path / dtype, build.IndexConfig(dtype, shard=4, batch=3))
        build.recode(source, tmp_path / f"re{dtype}", dtype)
        assert files(tmp_path / f"re{dtype}") == files(tmp_path / dtype)
    with pytest.raises(ValueError, match="float32"):
        build.recode(index.open_index(tmp_path / "int8"), tmp_path / "x", "binary")


@pytest.mark.parametrize(
    "harm, told",
    [
        (lambda at: at.write_bytes(at.read_bytes()[:-1]), "bytes, its header says"),
        (lambda at: at.write_bytes(at.read_bytes()[:-1] + b"?"), "checksum"),
        (lambda at: at.unlink(), "missing"),
    ],
)
def test_a_damaged_shard_is_named_and_made_anew(tmp_path, harm, told):
    made(tmp_path)
    whole = files(tmp_path)
    harm(tmp_path / "00001.rows")
    with pytest.raises(ValueError, match=rf"00001\.rows.*{told}"):
        index.open_index(tmp_path)
    encoder, seen = counting()
    counts = build.build(tmp_path, CORPUS, encoder, C, model="tiny")
    assert [t for texts in seen for t in texts] == TEXTS[4:8] and counts["remade"] == 4
    assert files(tmp_path) == whole


def test_a_shard_of_another_index_is_found_by_its_checksum(tmp_path):
    made(tmp_path / "a")
    made(tmp_path / "b", corpus=documents.held(CORPUS.ids, TEXTS[::-1]))
    (tmp_path / "a" / "00000.rows").write_bytes((tmp_path / "b" / "00000.rows").read_bytes())
    with pytest.raises(ValueError, match=r"00000.rows is not the file"):
        index.open_index(tmp_path / "a")
    assert len(index.open_index(tmp_path / "a", checksums=False)) == 11


def test_another_models_index_is_refused(tmp_path):
    made(tmp_path)
    assert index.open_index(tmp_path, encoder=tiny_encoder.make()).header["model"] == "tiny"
    with pytest.raises(ValueError, match=r"fingerprint = 'tiny/24', the encoder 'other'"):
        index.open_index(tmp_path, encoder=tiny_encoder.make(fingerprint="other"))
    with pytest.raises(ValueError, match="dim = 24, the encoder 8"):
        index.open_index(tmp_path, encoder=tiny_encoder.make(dim=8))


@pytest.mark.parametrize(
    "key, change",
    [
        ("fingerprint", {"encoder": tiny_encoder.make(fingerprint="other")}),
        ("dim", {"encoder": tiny_encoder.make(dim=8)}),
        ("dtype", {"c": build.IndexConfig("int8", shard=4, batch=3)}),
        ("shard", {"c": build.IndexConfig(shard=5, batch=3)}),
        ("count", {"corpus": documents.held(CORPUS.ids[:8], TEXTS[:8])}),
    ],
)
def test_a_build_does_not_go_on_with_what_another_began(tmp_path, key, change):
    made(tmp_path)
    with pytest.raises(ValueError, match=f"begun with {key} = "):
        made(tmp_path, **change)


def test_a_build_does_not_go_on_with_other_documents(tmp_path):
    made(tmp_path)
    changed = documents.held(CORPUS.ids, TEXTS[:5] + ["new"] + TEXTS[6:])
    with pytest.raises(ValueError, match=r"shard 1 .* other documents"):
        made(tmp_path, corpus=changed)


def test_rows_that_are_not_finite_are_refused_or_counted(tmp_path):
    def encode(texts):
        rows = tiny_encoder.rows(texts)
        rows[[text == TEXTS[5] for text in texts]] = np.nan
        return rows

    encoder = tiny_encoder.make(documents=encode)
    with pytest.raises(ValueError, match="1 documents are not finite, 'd5'"):
        made(tmp_path / "a", encoder=encoder)
    c = build.IndexConfig(shard=4, batch=3, not_finite="count")
    counts = build.build(tmp_path / "b", CORPUS, encoder, c)
    got = index.open_index(tmp_path / "b")
    assert counts["absent"] == 1 and got.absent.tolist() == [5]
    assert np.isfinite(got.rows(np.arange(11))).all()


@pytest.mark.parametrize(
    "rows, told",
    [
        (lambda t: tiny_encoder.rows(t)[:, :8], r"gave \[3, 8\]"),
        (lambda t: tiny_encoder.rows(t)[:1], r"gave \[1, 24\]"),
        (lambda t: tiny_encoder.rows(t) * 2, "'d0' has length 2.000"),
    ],
)
def test_an_encoder_that_breaks_its_word_is_refused(tmp_path, rows, told):
    with pytest.raises(ValueError, match=told):
        made(tmp_path, encoder=tiny_encoder.make(documents=rows))


def test_duplicates_and_other_peoples_directories_are_refused(tmp_path):
    with pytest.raises(ValueError, match="id 'a' stands twice"):
        documents.held(["a", "b", "a"], ["x", "y", "z"])
    twice = documents.Documents(["a", "a"], lambda i, j: ["x", "y"][i:j], {})
    with pytest.raises(ValueError, match="id 'a' stands twice"):
        made(tmp_path / "new", corpus=twice)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        made(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_is_no_index_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape("launch.encode")):
        index.open_index(tmp_path)
    (tmp_path / "header.json").write_text("{")
    with pytest.raises(ValueError, match="no header of an index"):
        index.open_index(tmp_path)
    (tmp_path / "header.json").write_text("{}")
    with pytest.raises(ValueError, match="has no 'format'"):
        index.open_index(tmp_path)
    made(tmp_path / "new")
    header = json.loads((tmp_path / "new" / "header.json").read_text())
    (tmp_path / "new" / "header.json").write_text(json.dumps(header | {"format": 9}))
    with pytest.raises(ValueError, match="format 9"):
        index.open_index(tmp_path / "new")


@pytest.mark.parametrize(
    "change, told",
    [({"dtype": "int4"}, "int4"), ({"batch": 0}, "batch = 0"), ({"not_finite": "x"}, "'x'")],
)
def test_bad_settings_are_named(change, told):
    with pytest.raises(ValueError, match=told):
        build.IndexConfig(**change)


def test_a_fingerprint_tells_parameters_and_settings_apart():
    one = {"a": np.ones((3, 2), np.float32), "b": np.zeros(4, np.float32)}
    seen = encoders.fingerprint(one, dim=2, instruction="x")
    assert seen == encoders.fingerprint(one | {}, instruction="x", dim=2)
    moved = {"a": one["a"], "b": np.array([0, 0, 1e-7, 0], np.float32)}
    named = {"a": one["a"], "c": one["b"]}
    others = [encoders.fingerprint(t, dim=2, instruction="x") for t in (moved, named)]
    others += [encoders.fingerprint(one, dim=3, instruction="x")]
    assert seen not in others and len(set(others)) == 3
