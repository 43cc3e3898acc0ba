"""Evaluates policies on a benchmark with tools: by the program's utility and, if asked, a judge.

    python -m launch.evaluate --benchmark=open_travel --policy=expert,random_tool,nothing
    python -m launch.evaluate --benchmark=open_deepresearch --policy=MODEL --endpoint=URL
    python -m launch.evaluate --benchmark=open_travel --policy=MODEL --endpoint=URL --judge=JUDGE
    python -m launch.evaluate --benchmark=open_travel --policy=runs/arena/rl --only=search --brief

A policy is a script (expert, random_tool, nothing), a checkpoint or a run's directory, which this
process loads, or else a model behind --endpoint, anything that speaks OpenAI's chat completions;
URL ends with the version, such as http://127.0.0.1:8000/v1.
Each judge compares every trajectory with the expert's, in both orders, by the benchmark's rubric;
several judges, as in --judge=ONE,TWO, are averaged. The tables are printed, and all figures written
to --out.
"""

import asyncio
import contextlib
import functools
import json
import math
import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from rich.console import Console
from rich.progress import Progress

from jaxrl import tools
from jaxrl.envs import table
from jaxrl.envs.base import choose
from jaxrl.evals import agent, open_deepresearch, open_travel, tables, win_rates
from jaxrl.ops.distributions import Law
from jaxrl.rewards import pairwise, transcript
from jaxrl.rewards.judge import Judge
from jaxrl.rewards.rubric import RUBRICS
from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Engine, EngineConfig
from jaxrl.sampling.local import Local, LocalConfig
from jaxrl.training import runs

BENCHMARKS = {b.ENV: b for b in (open_travel, open_deepresearch)}

BENCHMARK = flags.DEFINE_string("benchmark", None, f"One of {sorted(BENCHMARKS)}.", required=True)
POLICY = flags.DEFINE_list("policy", None, "Who is evaluated, by commas.", required=True)
SPLIT = flags.DEFINE_string("split", "test", "Of the tasks: sft, rl, test.")
SIZE = flags.DEFINE_integer("size", 0, "Tasks; 0 = the paper's number.")
SEED = flags.DEFINE_integer("seed", 0, "Of the tasks.")
CORPUS = flags.DEFINE_string(
    "corpus", None, "Of open_deepresearch: hotpotqa, python, …, FILE.jsonl."
)
ONLY = flags.DEFINE_list("only", [], "Types of tasks, by commas; all if not given.")
BRIEF = flags.DEFINE_bool("brief", False, "Prompts without rules and schemas: for small policies.")
SLOTS = flags.DEFINE_integer("slots", 16, "Replies drawn at once by a checkpoint.", lower_bound=1)
PAGES = flags.DEFINE_integer("pages", 4096, "Its pages of keys and values, of 16 tokens each.")
ENDPOINT = flags.DEFINE_string("endpoint", None, "Where the models of --policy are asked.")
KEY = flags.DEFINE_string("key", "OPENAI_API_KEY", "Variable that holds its key; empty = none.")
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "Of the models of --policy.")
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 2000, "Of one of their turns.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 10, "Of a task, the answer's included.", lower_bound=1)
JUDGE = flags.DEFINE_list("judge", [], "The models that judge, by commas; none if not given.")
JUDGE_ENDPOINT = flags.DEFINE_string("judge_endpoint", None, "Where, if not at --endpoint.")
JUDGE_KEY = flags.DEFINE_string("judge_key", None, "Variable that holds its key, if not --key.")
OUT = flags.DEFINE_string("out", "runs/evaluation.json", "Where the figures go.")


def main(argv):
    """Refuses in one line what cannot work; then plays, scores, judges and writes."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant: it may only read
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        benchmark = BENCHMARKS[choose("--benchmark", BENCHMARK.value, BENCHMARKS)]
        env = _env(benchmark)
        endpoints = _endpoints(benchmark, env)
        judges = _judges(benchmark)
        out = _out()
        checkpoints = {name: runs.open_model(name) for name in POLICY.value if _is_here(name)}
    except (ValueError, KeyError, OSError) as error:
        sys.exit(f"launch.evaluate: {error.args[0] if isinstance(error, KeyError) else error}")
    with contextlib.ExitStack() as stack:
        local = {n: _local(stack, n, *opened, env) for n, opened in checkpoints.items()}
        _evaluate(benchmark, env, endpoints | local, judges, out)


def _evaluate(benchmark, env, models, judges, out):
    played = {name: _played(benchmark, env, models, name) for name in POLICY.value}
    found = _scored(benchmark, env, played)
    _write(out, found)  # already here: a judge takes long, and may be interrupted
    if judges:
        _write(out, found | _judged(benchmark, env, judges, played))
    print(out)


def _env(benchmark):
    params = {"split": SPLIT.value, "size": SIZE.value, "seed": SEED.value}
    params |= {"only": tuple(ONLY.value), "brief": BRIEF.value}
    return table.build(benchmark.ENV, params | ({"corpus": CORPUS.value} if CORPUS.value else {}))


def _is_here(name):
    """True for a checkpoint that this process can load."""
    return name.startswith("package:") or Path(name).exists()


def _endpoints(benchmark, env):
    """The policies behind --endpoint, as chat models that know env's tools."""
    scripts = benchmark.POLICIES
    names = [name for name in POLICY.value if name not in scripts and not _is_here(name)]
    if names and not ENDPOINT.value:
        raise ValueError(
            f"--policy={names[0]} is none of {sorted(scripts)}, nor a checkpoint here: if it is a "
            "model, give its --endpoint=URL"
        )
    law = {"temperature": TEMPERATURE.value, "max_tokens": MAX_TOKENS.value}
    how = {"law": law, "tools": _shown(env), "key": KEY.value}
    return {name: _endpoint(ENDPOINT.value, name, **how) for name in names}


def _local(stack, name, model, params, tokenizer, env):
    """A checkpoint as a chat model, over an engine that runs until the stack is closed."""
    c = EngineConfig(SLOTS.value, PAGES.value, pieces=SLOTS.value)
    engine = Engine(model, tokenizer, c, jax.random.key(0))
    engine.load(params)
    law = Law(TEMPERATURE.value)
    how = LocalConfig(MAX_TOKENS.value, law, tools=_shown(env), seed=SEED.value, name=name)
    return Local(stack.enter_context(Driver(engine)), tokenizer, how)


def _shown(env):
    return () if BRIEF.value else tuple(tools.tool(f) for f in env.tools)


def _judges(benchmark):
    """The Judges of --judge at temperature 0, by name."""
    url = JUDGE_ENDPOINT.value or ENDPOINT.value
    if JUDGE.value and not url:
        raise ValueError(f"--judge={','.join(JUDGE.value)} needs --judge_endpoint=URL")
    key = KEY.value if JUDGE_KEY.value is None else JUDGE_KEY.value
    model = lambda name: _endpoint(url, name, law={"temperature": 0}, key=key)
    return {name: Judge(model(name), RUBRICS[benchmark.RUBRIC]) for name in JUDGE.value}


def _endpoint(url, name, **how):
    from jaxrl.chat import http  # here: scripts need none of the packages of the chat extra

    return http.Endpoint(http.HttpConfig(url, name, **how))


def _out():
    """The path of --out, which can be written."""
    path = Path(OUT.value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as e:
        raise ValueError(f"--out={path}: {e.strerror}; name a file that can be written") from None
    return path


def _played(benchmark, env, models, name):
    """The policy's Episode of each task, with a progress bar."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tell = functools.partial(bar.update, bar.add_task(name, total=len(env)))
        if name in models:
            done = lambda finished: tell(completed=finished)
            play = agent.play(env, models[name], range(len(env)), turns=TURNS.value, tell=done)
            return asyncio.run(play)
        episodes = []
        for i in range(len(env)):
            episodes.append(agent.scripted(env, benchmark.POLICIES[name], i))
            tell(advance=1)
        return episodes


def _scored(benchmark, env, played):
    """Prints the tables of utility, valid answers and endings; returns them."""
    rows = [r for p, e in played.items() for r in tables.rows(p, env, e, benchmark.score)]
    endings = {policy: agent.endings(episodes) for policy, episodes in played.items()}
    about = f"{BENCHMARK.value}, {SPLIT.value}, {len(env)} tasks"
    print(f"{about}: mean utility in percent\n{tables.text(rows)}\n")
    print(f"valid answers in percent\n{tables.text(rows, 'valid')}\n")
    for policy, episodes in played.items():
        details = [f" (first failure: {e.detail})" for e in episodes if e.detail]
        counted = ", ".join(f"{n} {name}" for name, n in endings[policy].items())
        print(f"{policy}: {counted}{''.join(details[:1])}")
    return {"benchmark": BENCHMARK.value, "split": SPLIT.value, "rows": rows, "endings": endings}


def _judged(benchmark, env, judges, played):
    """Prints the win rates against the expert's trajectories; returns them."""
    shown = lambda episodes: [transcript.of(e.prompt, e.messages) for e in episodes]
    expert = benchmark.POLICIES["expert"]
    baselines = shown([agent.scripted(env, expert, i) for i in range(len(env))])
    criteria = RUBRICS[benchmark.RUBRIC].criteria
    found, rates, counts = {}, {}, {}
    for policy, episodes in played.items():
        valid, rates[policy], counts[policy] = [benchmark.score(e).valid for e in episodes], {}, {}
        for name, judge in judges.items():
            compare = functools.partial(pairwise.compare, judge)
            against = win_rates.against(baselines, shown(episodes), compare, criteria, valid)
            with Console(stderr=True).status(f"{name} judges {policy}"):
                rates[policy][name], share, counts[policy][name] = asyncio.run(against)
            told = ", ".join(f"{n} {what}" for what, n in sorted(counts[policy][name].items()))
            print(f"{name} on {policy}: {told}")
        found[policy] = (list(rates[policy].values()), share)
    print("\nwin rate against the expert in percent, without ties\n")
    print(win_rates.text(found, benchmark.CRITERIA) + "\n")
    return {"win_rates": rates, "judge": counts}


def _write(path, found):
    path.write_text(json.dumps(_finite(found), indent=2) + "\n", encoding="utf-8")


def _finite(value):
    """The same with null for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    app.run(main)
