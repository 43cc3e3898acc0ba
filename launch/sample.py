r"""Answers prompts, one or a file of them, or chats.

    python -m launch.sample --checkpoint=runs/quickstart --prompt="Q: 7 + 5 =\nA:"
    python -m launch.sample --checkpoint=DIR --file=prompts.jsonl --samples=4 --temperature=1
    python -m launch.sample --checkpoint=DIR --chat --system="Be brief."

The checkpoint is a Hugging Face directory, a .gguf file, "package:NAME/FILE.gguf", or a run
directory, whose newest saved parameters are taken. A prompt is continued as it stands, \n and \t in
it read as newline and tab; --as_user puts it into the chat template instead. A file holds one such
prompt a line, or, named *.jsonl, {"prompt": ...} or {"messages": [...]} a line; its answers come as
JSON lines. A chat reads one message a line, from a terminal or a pipe.
"""

import contextlib
import json
import re
import sys
from pathlib import Path

import jax
from absl import app, flags, logging

from jaxrl.chat import templates
from jaxrl.envs import prompts as replies
from jaxrl.envs import table
from jaxrl.messages import Message
from jaxrl.models import rotary
from jaxrl.ops.distributions import Law
from jaxrl.sampling.decode import SampleConfig
from jaxrl.sampling.sampler import Sampler
from jaxrl.training import runs

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The model.", required=True)
PROMPT = flags.DEFINE_string("prompt", None, "Text to continue.")
FILE = flags.DEFINE_string("file", None, "A file of prompts.")
CHAT = flags.DEFINE_bool("chat", False, "Talk to the model, a message a line.")
AS_USER = flags.DEFINE_bool("as_user", False, "A prompt is what the user says in a chat.")
SYSTEM = flags.DEFINE_string("system", None, "System message, with --chat or --as_user.")
SAMPLES = flags.DEFINE_integer("samples", 1, "Answers a prompt.", lower_bound=1)
MAX_NEW = flags.DEFINE_integer("max_new", 128, "Longest answer in tokens.", lower_bound=1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 takes the likeliest token each time.")
TOP_K = flags.DEFINE_integer("top_k", 0, "Only the k likeliest tokens; 0 = all.")
TOP_P = flags.DEFINE_float("top_p", 1.0, "Only the likeliest tokens of this total; 1 = all.")
STOP = flags.DEFINE_multi_string(
    "stop", None, "Text that ends an answer; repeatable. Default: of a run, what its tasks stop at."
)
SEED = flags.DEFINE_integer("seed", 0, "Of the draws.")

SHORTEST = 32  # tokens of the first bucket; each further one is twice as long
TOGETHER = 8  # prompts of a file that are answered at once


def main(argv):
    """Refuses in one line what cannot work; then answers."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant: it may only read
    try:
        _check_flags(argv)
        model = runs.open_model(CHECKPOINT.value)
        if CHAT.value:  # a template that cannot serve it is refused here
            templates.end_of_turn(model[2])
            templates.render(model[2], _opening("."))
        asked = [] if CHAT.value else _questions(model[2])
        sampler, stop, room = _sampler(*model, prompts=min(len(asked), TOGETHER) or 1)
        ids = [templates.render(model[2], messages) for messages in asked]
        _check_lengths(ids, room)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"launch.sample: {error.args[0] if isinstance(error, KeyError) else error}")
    _, params, tokenizer = model
    if CHAT.value:
        with contextlib.suppress(KeyboardInterrupt):
            _talk(sampler, params, tokenizer, stop, room)
        return
    texts = _answers(sampler, params, tokenizer, ids, stop)
    for messages, answers in zip(asked, texts, strict=True):
        _show(templates.render_text(tokenizer, messages), answers)


def _check_flags(argv):
    if argv[1:]:
        raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
    if (PROMPT.value is not None) + (FILE.value is not None) + CHAT.value != 1:
        raise ValueError("give one of --prompt=TEXT, --file=PATH and --chat")
    if SYSTEM.value is not None and not (CHAT.value or AS_USER.value):
        raise ValueError("--system needs a chat template: add --chat or --as_user")
    if SAMPLES.value > 1 and CHAT.value:
        raise ValueError(f"--samples={SAMPLES.value}: a chat goes on from one answer; drop it")
    if SAMPLES.value > 1 and TEMPERATURE.value == 0:
        raise ValueError(f"--samples={SAMPLES.value} would all be equal: add --temperature=1")


def _questions(tokenizer):
    """The conversations to answer, each a tuple of messages."""
    if PROMPT.value is not None:
        return [_question(_unescape(PROMPT.value))]
    path, found = Path(FILE.value), []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                found.append(
                    _parse(line) if path.suffix == ".jsonl" else _question(_unescape(line))
                )
            except (ValueError, KeyError, TypeError) as error:
                form = 'give {"prompt": ...} or {"messages": [{"role": ..., "content": ...}]}'
                raise ValueError(f"--file={path}, line {number}: {form} ({error!r})") from None
    if not found:
        raise ValueError(f"--file={path} holds no prompt: give one a line")
    return found


def _parse(line):
    row = json.loads(line)
    if "messages" in row:
        return tuple(Message(m["role"], m["content"]) for m in row["messages"])
    return _question(row["prompt"])


def _question(text):
    return _opening(text) if AS_USER.value else (Message("prompt", text),)


def _opening(text):
    system = () if SYSTEM.value is None else (Message("system", SYSTEM.value),)
    return (*system, Message("user", text))


def _unescape(text):
    r"""\n, \t and \\ as in most languages; any other backslash is itself."""
    meant = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda found: meant[found[1]], text)


def _sampler(c, params, tokenizer, *, prompts):
    """(Sampler, its stop strings, the longest prompt in tokens)."""
    room = rotary.longest(c) - MAX_NEW.value
    if room < 1:
        raise ValueError(
            f"--max_new={MAX_NEW.value} leaves no room for a prompt in the model's context of "
            f"{rotary.longest(c)} tokens: lower it"
        )
    law = Law(TEMPERATURE.value, TOP_K.value, TOP_P.value)
    doubled = [SHORTEST << n for n in range(room.bit_length()) if SHORTEST << n < room]
    stop = _stop_strings()
    how = SampleConfig(SAMPLES.value, MAX_NEW.value, law)
    return (
        Sampler(c, tokenizer, how, prompts=prompts, buckets=(*doubled, room), stop=stop),
        stop,
        room,
    )


def _stop_strings():
    if STOP.value is not None:
        return tuple(map(_unescape, STOP.value))
    if CHAT.value or not runs.is_run(CHECKPOINT.value):
        return ()
    settings = runs.settings(CHECKPOINT.value)
    return table.build(**settings["env"]).stop if "env" in settings else ()


def _check_lengths(ids, room):
    for number, tokens in enumerate(ids, start=1):
        if not 1 <= len(tokens) <= room:
            raise ValueError(
                f"prompt {number} has {len(tokens)} tokens: with --max_new={MAX_NEW.value}, give "
                f"1 to {room}"
            )


def _answers(sampler, params, tokenizer, ids, stop):
    """Yields each prompt's answers, a list of texts, in the order of the prompts."""
    for start in range(0, len(ids), TOGETHER):
        key = jax.random.fold_in(jax.random.key(SEED.value), start)
        _, _, out = sampler(params, ids[start : start + TOGETHER], key)
        texts = [
            replies.cut(tokenizer.decode(row[mask]), stop)
            for row, mask in zip(out.tokens, out.mask, strict=True)
        ]
        for first in range(0, len(texts), SAMPLES.value):
            yield texts[first : first + SAMPLES.value]


def _show(prompt, answers):
    if FILE.value is not None:
        print(json.dumps({"prompt": prompt, "responses": answers}, ensure_ascii=False), flush=True)
        return
    for number, text in enumerate(answers, start=1):
        print(f"[{number}] {text}" if len(answers) > 1 else text, flush=True)


def _talk(sampler, params, tokenizer, stop, room):
    """Answers line after line. The history is token ids: what was said is never encoded again."""
    history = []
    for turn, text in enumerate(_lines()):
        if history:
            history += templates.delta(tokenizer, (Message("user", text),), history[-1])
        else:
            history += templates.render(tokenizer, _opening(text))
        if len(history) > room:
            sys.exit(f"the conversation has {len(history)} tokens, there is room for {room}: over")
        key = jax.random.fold_in(jax.random.key(SEED.value), turn)
        _, _, out = sampler(params, [history], key)
        history += out.tokens[0][out.mask[0]].tolist()
        print(replies.cut(tokenizer.decode(out.tokens[0][out.mask[0]]), stop), flush=True)


def _lines():
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if text.strip():
            yield text


if __name__ == "__main__":
    app.run(main)
