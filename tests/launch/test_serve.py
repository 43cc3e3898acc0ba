"""launch.serve: a checkpoint behind its endpoint in its own process; bad values in one line."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import pytest
import tiny
import tiny_engine

from jaxrl.models import checkpoints

ROOT = Path(__file__).parents[2]
MODEL = tiny_engine.CHAT_MODEL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model directory."""
    path = tmp_path_factory.mktemp("serve")
    checkpoints.save(tiny.params(MODEL), MODEL, tiny_engine.CHAT, path / "model")
    return path


@contextlib.contextmanager
def launch(*flags):
    """The process of a command line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.serve", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_prints_its_address_answers_and_ends_on_ctrl_c(folder):
    flags = (f"--model={folder}/model/", "--slots=1", "--pages=32", "--max_new=4")
    with launch(*flags) as process:
        line = process.stdout.readline()
        name, url = re.fullmatch(r"(\w+) at (http://127\.0\.0\.1:\d+/v1)\n", line).groups()
        with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
            assert [m.id for m in client.models.list()] == [name] == ["model"]
            ask = [{"role": "user", "content": "Hi"}]
            got = client.chat.completions.create(model=name, messages=ask, temperature=0)
        assert 1 <= got.usage.completion_tokens <= 4
        other = httpx2.get(f"{url}/models", headers={"host": "example.com"})
        assert other.status_code == 400 and "model" not in other.text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, -signal.SIGINT)
        assert "Traceback" not in process.stderr.read()


def test_bad_values_are_refused_in_one_line(folder):
    with launch("--model=/no/model") as process:
        _, told = process.communicate()
    assert process.returncode == 1 and told.startswith("launch.serve: no model at /no/model")
    assert told.count("\n") == 1
