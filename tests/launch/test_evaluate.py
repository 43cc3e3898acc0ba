"""launch.evaluate: a chat model and a judge over real HTTP; bad values refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_corpus
from tiny_endpoint import ok, said, serve

from jaxrl.models import fresh
from jaxrl.rewards.rubric import RUBRICS

ROOT = Path(__file__).parents[2]
RUBRIC = RUBRICS["research"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny_corpus.install(tmp_path_factory)


def python(*arguments, **env):
    """A fresh interpreter: the flags of several launchers would clash in this one."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | env | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )


def act(body, _):
    """The judge puts the agent's path below the expert's; the agent searches, then answers."""
    messages = body["messages"]
    if body["model"] == "judge":
        of = lambda half: [name.split("/")[1] for name in RUBRIC.criteria if name.startswith(half)]
        given = lambda half, a: {
            "Agent_A": dict.fromkeys(of(half), a),
            "Agent_B": dict.fromkeys(of(half), 5),
        }
        first = "Mine" in messages[-1]["content"].split("<ANSWER_B>")[0]
        verdict = {
            "path_scores": given("path", 3 if first else 7),
            "answer_scores": given("answer", 5),
            "combined_scores": {"Agent_A": 4 if first else 6, "Agent_B": 5},
        }
        return ok(said(json.dumps(verdict)))
    if messages[-1]["role"] == "tool":
        id = json.loads(messages[-1]["content"])[0]["id"]
        return ok(said(f"# Mine\n## Notes\nIt is said to be so [{id}]."))
    function = {"name": "search", "arguments": json.dumps({"query": "was"})}
    return ok(said("", tool_calls=[{"id": "c", "type": "function", "function": function}]))


def test_a_model_is_scored_and_judged(corpus, tmp_path):
    """The judge puts the expert above the model on the path, whichever is shown first."""
    out = tmp_path / "new/figures.json"
    with serve(act) as server:
        done = python(
            "-m",
            "launch.evaluate",
            "--benchmark=open_deepresearch",
            f"--corpus={corpus}",
            "--policy=nothing,agent",
            "--size=6",
            f"--endpoint={server.url}",
            "--key=",
            "--judge=judge",
            f"--out={out}",
            **tiny_corpus.cache(corpus),
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["endings"] == {"nothing": {"empty": 6}, "agent": {"answer": 6}}
    whole = {row["policy"]: row for row in found["rows"] if row["kind"] == "all"}
    assert (whole["nothing"]["valid"], whole["agent"]["valid"]) == (0, 1)
    rows = found["win_rates"]["agent"]["judge"]
    rates = {row["criterion"]: (row["wins"], row["losses"], row["ties"]) for row in rows}
    assert rates["combined"] == (0, 6, 0) == rates["path/framework"]
    assert rates["answer/depth"] == (0, 0, 6) and rows[-1]["win_rate"] is None
    calls = {policy: counts["judge"].get("calls", 0) for policy, counts in found["judge"].items()}
    assert calls == {"nothing": 0, "agent": 12}  # what is not valid is not judged
    assert "| agent | 0.0 | 0.0 | 0.0 | - | - | - | - | - | 0.0 | 100.0 |" in done.stdout
    shown = [r[2] for r in server.requests if r[2]["model"] == "agent"]
    assert {t["function"]["name"] for t in shown[0]["tools"]} == {"search", "open"}
    assert shown[0]["temperature"] == 0 and done.stdout.endswith(f"{out}\n")


DRIVER = """
import json, sys
from absl import flags
from launch import evaluate
for argv in json.loads(sys.argv[1]):
    for name in flags.FLAGS.flags_by_module_dict()["launch.evaluate"]:
        name.unparse()
    try:
        evaluate.main(flags.FLAGS(["evaluate", *argv]))
    except SystemExit as stop:
        print(stop)
"""
REFUSED = [
    (["--policy=gpt"], "--policy=gpt is none of ['expert', 'nothing', 'random_tool'], nor a"),
    (["--policy=expert", "--judge=x"], "--judge=x needs --judge_endpoint=URL"),
    (["--policy=expert", "--split=train"], "split = 'train' is not known"),
    (["--policy=expert", "--corpus=x"], "a key of env.params for open_travel = 'corpus' is not"),
    (["--policy=gpt", "--endpoint=there"], "url = 'there' is no address"),
    (
        ["--policy=expert", "--out=/dev/null/x"],
        "--out=/dev/null/x: File exists; name a file that can be",
    ),
    (["--policy=expert", "more"], "unexpected argument 'more'"),
]


def test_what_cannot_work_is_refused_in_one_line():
    commands = [["--benchmark=open_travel", *flags] for flags, _ in REFUSED]
    done = python("-c", DRIVER, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line, (_, words) in zip(lines, REFUSED, strict=True):
        assert line.startswith("launch.evaluate: ") and words in line


@pytest.mark.slow
def test_a_checkpoint_is_played_here(tmp_path):
    """By our own engine; one that knows nothing has no utility, and the expert beside it has."""
    model = tmp_path / "model"
    fresh.write(model, ["Find a cafe."], fresh.FreshConfig(vocab=300, width=16, layers=2, heads=2))
    flags = [f"--policy=expert,{model}", "--size=3", "--only=search", "--brief", "--turns=2"]
    out = tmp_path / "found.json"
    command = ("-m", "launch.evaluate", "--benchmark=open_travel", "--max_tokens=6")
    done = python(*command, f"--out={out}", *flags)
    assert done.returncode == 0, done.stderr
    rows = {r["policy"]: r for r in json.loads(out.read_text())["rows"] if r["kind"] == "all"}
    assert (rows["expert"]["n"], rows[str(model)]["n"]) == (3, 3)
    assert rows["expert"]["utility"] > 0.9 and rows[str(model)]["utility"] == 0
