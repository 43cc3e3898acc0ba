"""launch.sample: the model's own greedy text, by prompt, file and chat; bad values in one line."""

import dataclasses
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
import tiny_tokenizers

from configs import base
from jaxrl.chat import templates
from jaxrl.messages import Message
from jaxrl.models import checkpoints, decoder
from jaxrl.training import setup
from jaxrl.training.checkpoint import Checkpointer

ROOT = Path(__file__).parents[2]
TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|im_start|>", "<|im_end|>")
LETTERS = "".join(map(chr, range(33, 127))) + "ĠĊĉ"  # no token is half a character
TOKENIZER = tiny_tokenizers.build(SPECIALS, TEMPLATE, LETTERS, eos="<|im_end|>")
MODEL = dataclasses.replace(tiny.MODEL, V=TOKENIZER.vocab_size, context=96)
PARAMS = tiny.params(MODEL, seed=5)
DRIVER = """
import contextlib, io, json, sys
from absl import flags
from launch import sample
for argv in json.loads(sys.argv[1]):
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS.flags_by_module_dict()["launch.sample"]:
        name.unparse()
    out, error = io.StringIO(), ""
    with contextlib.redirect_stdout(out):
        try:
            sample.main(flags.FLAGS(["sample", *argv]))
        except SystemExit as stop:
            error = str(stop)
    print(json.dumps([out.getvalue(), error]))
"""


def python(*arguments, stdin=""):
    """A fresh interpreter: the flags of several launchers would clash in this one."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "tests")},
        input=stdin,
        capture_output=True,
        text=True,
    )


def sample(*commands):
    """[(stdout, error)] of several command lines in one interpreter."""
    done = python("-c", DRIVER, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model directory, and room for what a test puts beside it."""
    path = tmp_path_factory.mktemp("sample")
    checkpoints.save(PARAMS, MODEL, TOKENIZER, path / "model")
    return path


@partial(jax.jit, static_argnames="c")
def forward(params, tokens, c):
    """Logits of one row, causal."""
    row = np.arange(tokens.shape[0])[None]
    hidden = decoder.forward(params, tokens[None], row, 0 * row, 0 * row + 1, c)
    return hidden[0] @ decoder.head(params).T


def greedy(ids, count):
    """The likeliest continuation, one full forward pass a token; stops at the end token."""
    new = []
    while len(new) < count and (not new or new[-1] not in TOKENIZER.eos_ids):
        row = np.zeros(MODEL.context, np.int32)
        row[: len(ids) + len(new)] = [*ids, *new]
        new.append(int(forward(PARAMS, row, MODEL)[len(ids) + len(new) - 1].argmax()))
    return new


def text(prompt, count):
    """The greedy text after a verbatim prompt."""
    return TOKENIZER.decode(greedy(TOKENIZER.encode(prompt), count))


def test_prompt_and_file_give_the_greedy_text(folder):
    """Escapes read, ten prompts in two calls and two buckets in order, chat rows by template."""
    prompts = [f"{'ab ' * (n % 3 * 8)}{n}" for n in range(10)]
    (folder / "plain.txt").write_text("\n".join(prompts) + "\n\n")
    rows = [
        {"prompt": "a\nb", "answer": "unread"},
        {"messages": [{"role": "user", "content": "Hi"}]},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = [f"--checkpoint={folder}/model", "--max_new=6"]
    escaped, plain, mixed, user = sample(
        [*model, r"--prompt=Q: 7\nA:\t\\n"],
        [*model, f"--file={folder}/plain.txt"],
        [*model, f"--file={folder}/rows.jsonl"],
        [*model, "--prompt=Hi", "--as_user"],
    )
    assert escaped == [text("Q: 7\nA:\t\\n", 6) + "\n", ""]
    answers = [json.loads(line) for line in plain[0].splitlines()]
    assert [row["prompt"] for row in answers] == prompts
    assert [row["responses"] for row in answers] == [[text(p, 6)] for p in prompts]
    asked = templates.render_text(TOKENIZER, [Message("user", "Hi")])
    verbatim, chat = (json.loads(line) for line in mixed[0].splitlines())
    assert verbatim == {"prompt": "a\nb", "responses": [text("a\nb", 6)]}
    assert chat == {"prompt": asked, "responses": [text(asked, 6)]}
    assert user[0] == chat["responses"][0] + "\n"


def test_samples_seed_and_stop(folder):
    """Several draws a prompt, the same again from the same seed; a stop string is cut off."""
    model = [f"--checkpoint={folder}/model", "--max_new=6", "--prompt=ab"]
    draws = [*model, "--samples=3", "--temperature=2", "--top_k=50"]
    whole = text("ab", 6)
    first, again, other, stopped = sample(
        draws, draws, [*draws, "--seed=1"], [*model, "--stop=~~~~", f"--stop={whole[-1]}"]
    )
    assert first == again != other
    assert all(f"[{n}] " in first[0] for n in (1, 2, 3))
    assert stopped[0] == whole[: whole.index(whole[-1])] + "\n"


def test_a_run_directory_brings_its_newest_weights_and_its_stop_strings(folder):
    """Else a model trained to answer up to a newline would ramble on after it."""
    whole = text("ab", 6)
    (folder / "stopping.py").write_text(
        f"import tiny_env\n\nclass Env(tiny_env.Parity):\n    stop = ({whole[-1]!r},)\n"
    )
    c = base.rl()
    c.model.checkpoint = str(folder / "start")
    checkpoints.save(tiny.params(MODEL), MODEL, TOKENIZER, folder / "start")
    c.env.name = "stopping:Env"
    setup.write_config(c, folder / "run")
    with Checkpointer(folder / "run") as saver:
        saver.save(tiny.state(tiny.base(model=MODEL), seed=5), {})
    command = [f"--checkpoint={folder}/run", "--max_new=6", "--prompt=ab"]
    sys_path = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = python("-c", sys_path + DRIVER, json.dumps([command, [*command, "--stop=~~~~"]]))
    assert done.returncode == 0, done.stderr
    by_env, by_flag = (json.loads(line)[0] for line in done.stdout.splitlines())
    assert by_env == whole[: whole.index(whole[-1])] + "\n"
    assert by_flag == whole + "\n"


def test_a_chat_keeps_the_tokens_of_its_history(folder):
    """The second answer continues the ids of the first, not its text encoded anew."""
    chat = [f"--checkpoint={folder}/model", "--chat", "--system=S", "--max_new=5"]
    done = python("-m", "launch.sample", *chat, stdin="Hi\n\nSo?\n")
    assert done.returncode == 0, done.stderr
    ids = templates.render(TOKENIZER, [Message("system", "S"), Message("user", "Hi")])
    first = greedy(ids, 5)
    ids += first
    ids += templates.delta(TOKENIZER, [Message("user", "So?")], first[-1])
    second = greedy(ids, 5)
    assert done.stdout == "".join(TOKENIZER.decode(new) + "\n" for new in (first, second))
    long = python("-m", "launch.sample", *chat, stdin="x" * 90)
    assert long.returncode != 0 and "there is room for 91" in long.stderr


def test_bad_values_are_refused_in_one_line(folder):
    """Each names what was given and what to give."""
    (folder / "broken.jsonl").write_text('{"prompt": "a"}\n{"question": "b"}\n')
    (folder / "empty.txt").write_text("\n")
    tiny.write(folder / "plain")
    model, ask, few = f"--checkpoint={folder}/model", "--prompt=a", "--max_new=4"
    cases = {
        ("--checkpoint=/no/model", ask): "no model at /no/model",
        (model,): "give one of --prompt",
        (model, ask, "--chat"): "give one of --prompt",
        (model, ask, "more"): "unexpected argument 'more'",
        (model, ask, few, "--top_p=2"): "top_p=2.0: give a number in (0, 1]",
        (model, ask, few, "--temperature=-1"): "temperature=-1.0: give",
        (model, ask, "--max_new=96"): "--max_new=96 leaves no room",
        (model, ask, few, "--stop="): "an empty string stops everything",
        (model, ask, "--samples=2"): "--samples=2 would all be equal",
        (model, "--chat", "--samples=2", "--temperature=1"): "a chat goes on from one answer",
        (model, ask, "--system=S"): "--system needs a chat template",
        (model, f"--prompt={'x' * 95}", few): "prompt 1 has 95 tokens",
        (model, "--prompt=", few): "prompt 1 has 0 tokens",
        (model, f"--file={folder}/none.txt"): "none.txt",
        (model, f"--file={folder}/empty.txt", few): "holds no prompt",
        (model, f"--file={folder}/broken.jsonl"): "broken.jsonl, line 2: give",
        (f"--checkpoint={folder}/plain", "--chat", few): "chat template is of no known",
    }
    for (output, error), (command, message) in zip(
        sample(*map(list, cases)), cases.items(), strict=True
    ):
        assert message in error, (command, error)
        assert (output, error.count("\n")) == ("", 0)
