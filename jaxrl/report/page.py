"""The run report: one HTML file with no script, no request and no file beside it.

All text a model or a task wrote is hostile: the template escapes everything but our own drawings,
and the page's policy forbids scripts: what can be chosen is folded, or behind a radio button.
Read-only: it shows what the run wrote, and trains nothing.
"""

import dataclasses
import itertools
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from jaxrl.report import episodes, groups, panels, plots, rankings, samples
from jaxrl.training.metrics import SCHEMA, config_lines, read_rows

COUNTERS = {
    "reward/unscorable": "Unscorable rollouts",
    "groups/zero_std": "Groups without signal",
    "groups/dropped": "Dropped groups",
    "length/truncated": "Truncated rollouts",
    "optim/skipped": "Skipped updates",
    "agent/malformed": "Unreadable tool calls",
    "agent/refused": "Refused tool calls",
    "agent/broken": "Tools that failed",
    "judge/ties": "Ties",
    "judge/retries": "Judge calls made again",
    "judge/neutral": "Unread judgements",
    "judge/miscounted": "Miscounted judgements",
    "run/resumed": "Resumes",
    "run/redone": "Updates done again",
    "run/broken_checkpoints": "Broken checkpoints",
    "compile/count": "Compiled programs",
}
STAGES = ("sample", "score", "update", "eval", "checkpoint")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run directory holds, as read from its files."""

    name: str
    date: str  # of the last update; "" before the first
    config: dict
    metrics: list[dict]
    rollouts: list[dict]
    tournaments: list[dict]
    evals: list[dict]
    retrievals: list[dict]  # held-out evaluations of an embedder
    losses: list[float]  # held out, oldest first; fine-tuning has these in place of evals
    broken: int  # lines of the .jsonl files that are no JSON


def write(run_dir):
    """Writes run_dir/report.html from what the run has left so far.  returns: its path."""
    path = Path(run_dir) / "report.html"
    partial = path.with_name("report.html.partial")
    partial.write_text(render(load(run_dir)), encoding="utf-8", errors="replace")
    os.replace(partial, path)  # a reader who reloads never meets half a page
    return path


def load(run_dir):
    """Run directory -> Run. Any file may be missing; the directory itself may not."""
    folder = Path(run_dir)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"run {str(run_dir)!r} is no directory: name one that training made"
        )
    names = ("metrics", "rollouts", "tournaments", "eval")
    read = [read_rows(folder / f"{name}.jsonl") for name in names]
    metrics, rollouts, tournaments, evals = (rows for rows, _ in read)
    config = folder / "config.json"
    return Run(
        name=folder.resolve().name,
        date=_date(folder / "metrics.jsonl") if metrics else "",
        config=json.loads(config.read_text(encoding="utf-8")) if config.exists() else {},
        metrics=metrics,
        rollouts=rollouts,
        tournaments=tournaments,
        evals=[row for row in evals if samples.measured(row)],
        retrievals=[row for row in evals if rankings.measured(row)],
        losses=[row["loss"] for row in evals if row.get("loss") is not None],
        broken=sum(broken for _, broken in read),
    )


def render(run):
    """Run -> the page's HTML text."""
    extremes = samples.extremes(run.rollouts)
    agents = episodes.of_agents(run.rollouts)
    together = groups.chosen(run.tournaments, agents)
    drawn = [*extremes, *(rows for _, rows in together)]
    scale = samples.largest_advantage(list(itertools.chain(*drawn)))
    one = episodes.shown if agents else samples.coloured
    return template("page.html.jinja").render(
        run=run,
        model=_model(run.config),
        facts=facts(run.metrics, run.losses),
        sets=[samples.held_out(rows) for rows in _by_name(run.evals).values()],
        rankings=[rankings.shown(rows) for rows in _by_name(run.retrievals).values()],
        panels=curves(run),
        agents=bool(agents),
        groups=[groups.shown(group, scale) for group in together],
        rollouts=[
            (title, [one(row, scale) for row in rows])
            for title, rows in zip(("Best", "Worst"), extremes, strict=True)
        ],
        members=episodes.MEMBERS,
        scale=scale,
        levels=samples.LEVELS,
        likely=samples.LIKELY,
        counters=counters(run.metrics),
        stages=stages(run.metrics),
        config=config_lines(run.config),
        updates=len(run.metrics),
    )


def template(name):
    """The report's template `name`, a file beside this one. It escapes all it is given."""
    env = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return env.get_template(name)


def facts(metrics, losses=()):
    """[(what, value)]: the run in a line of figures."""
    if not metrics:
        return []
    total = lambda name: np.nansum(plots.values(metrics, name))
    kind = "sampled" if "tokens/sampled" in metrics[0] else "trained"
    speed = plots.values(metrics, "tokens/per_second")
    found = [
        ("updates", f"{len(metrics):,}"),
        (f"tokens {kind}", f"{total(f'tokens/{kind}'):,.0f}"),
        ("wall time", _clock(total("time/total"))),
    ]
    if np.isfinite(speed).any():
        found.append(("tokens/s, median", f"{np.nanmedian(speed):,.0f}"))
    if np.isfinite(plots.values(metrics, "judge/calls")).any():
        found.append(("judge calls", f"{total('judge/calls'):,.0f}"))
    if len(losses) > 1:
        found.append(("held-out loss", f"{losses[0]:.3f} → {losses[-1]:.3f}"))
    return found


def curves(run):
    """[{title, unit, change, svg}]: the curves for which the run recorded anything."""
    found = []
    for panel in panels.PANELS:
        if svg := plots.curve_svg(run.metrics, panel):
            change = plots.change(run.metrics, panel.series)
            found.append(
                {"title": panel.title, "unit": panel.unit, "change": change, "svg": Markup(svg)}
            )
    if svg := plots.endings_svg(run.metrics):
        svg, unit = Markup(svg), "share of the episodes of an update"
        found.insert(1, {"title": "Endings", "unit": unit, "change": "", "svg": svg})
    for name, evals in _by_name(run.evals).items():
        if len(evals) > 1:
            measure = samples.measured(evals[0])
            svg = Markup(plots.held_out_svg(evals, measure, len(found)))
            title = f"Held-out {samples.SAID[measure]}"
            found.insert(1, {"title": title, "unit": name, "change": "", "svg": svg})
    return _retrieval(run.retrievals, len(found)) + found


def _retrieval(rows, number):
    """A panel for each ranking metric that was measured more than once; a line a held-out set."""
    found = []
    for key, title in rankings.METRICS.items():
        rows_of = _by_name([row for row in rows if row.get(key) is not None])
        lines = {name: evals for name, evals in rows_of.items() if len(evals) > 1}
        if lines:
            svg = Markup(plots.rankings_svg(lines, key, number + len(found)))
            title = f"Held-out {title}"
            found.append({"title": title, "unit": "mean over queries", "change": "", "svg": svg})
    return found


def counters(metrics):
    """[{title, total, updates, meaning}] for each counter the run recorded."""
    found = []
    for name, title in COUNTERS.items():
        column = plots.values(metrics, name)
        if np.isfinite(column).any():
            total, updates = np.nansum(column), int((np.nan_to_num(column) > 0).sum())
            meaning = SCHEMA[name][1]
            found.append({"title": title, "total": total, "updates": updates, "meaning": meaning})
    return found


def stages(metrics):
    """[{name, seconds, share, clock, mean}] of the wall time; what no stage claims is "other"."""
    seconds = {name: np.nansum(plots.values(metrics, f"time/{name}")) for name in STAGES}
    whole = max(np.nansum(plots.values(metrics, "time/total")), sum(seconds.values()))
    if whole <= 0:
        return []
    seconds["other"] = whole - sum(seconds.values())
    return [
        {
            "name": name,
            "share": spent / whole,
            "clock": _clock(spent),
            "mean": spent / len(metrics),
        }
        for name, spent in seconds.items()
    ]


def _by_name(evals):
    sets = {}
    for row in evals:
        sets.setdefault(row["name"], []).append(row)
    return sets


def _model(config):
    model = config.get("model", "")
    if not isinstance(model, dict):
        return str(model)
    names = [model.get(key) for key in ("name", "size", "checkpoint")]
    return ", ".join(str(name) for name in names if name)


def _date(path):
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%d %B %Y, %H:%M UTC")


def _clock(seconds):
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
