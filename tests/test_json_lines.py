"""Files of JSON lines are written whole, or not at all."""

import pytest

from jaxrl import json_lines


def test_what_is_written_is_read_back(tmp_path):
    rows = [{"a": "é \u2028 \n"}, {"b": [1, 2.5, None]}]
    json_lines.write(tmp_path / "f.jsonl", iter(rows))
    lines = (tmp_path / "f.jsonl").read_bytes().splitlines()
    assert [json_lines.record(line) for line in lines] == rows


def test_a_failure_leaves_the_old_file(tmp_path):
    """NaN is no JSON: other readers would stop at the line."""
    path = tmp_path / "f.jsonl"
    json_lines.write(path, [{"a": 1}])
    with pytest.raises(ValueError):
        json_lines.write(path, [{"a": 2}, {"a": float("nan")}])
    assert path.read_text() == '{"a": 1}\n'
