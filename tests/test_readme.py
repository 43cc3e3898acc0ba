"""What the README says exists: files, functions, names in tables, settings, extras, metrics."""

import pathlib
import re

import pytest

from configs import base
from jaxrl.algos import estimators, objectives
from jaxrl.envs import table
from jaxrl.models import families
from jaxrl.recipes import rl_plan
from jaxrl.training.metrics import SCHEMA
from launch import bench

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\[([^\]]*)\]\(([^)]+)\)", TEXT)


def section(title):
    """The text under a heading."""
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text):
    """The cells of each table row, headings left out."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if "---" not in line[0]][1:]


def ticked(text):
    """What stands between backticks, fenced blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_links_lead_to_files():
    targets = {target.split("#")[0] for _, target in LINKS if "://" not in target}
    assert len(targets) > 20
    assert not {t for t in targets if not (ROOT / t).exists()}


def test_linked_names_are_defined_where_the_link_goes():
    """A function that moved leaves a reader at a file that does not have it."""
    named = [(name.strip("`"), target) for name, target in LINKS if name.startswith("`")]
    assert named
    for name, target in named:
        source = (ROOT / target).read_text(encoding="utf-8")
        assert re.search(rf"^(def {name}\(|{name} = )", source, re.MULTILINE), f"{name}: {target}"


NAMES = {
    "estimators": estimators.ESTIMATORS,
    "styles": estimators.STYLES,
    "objectives": objectives.OBJECTIVES,
    "envs": table.ENVS,
    "families": families.DEFAULTS,
}


@pytest.mark.parametrize("kind", NAMES)
def test_all_names_of_a_table_are_mentioned(kind):
    assert set(NAMES[kind]) <= set(ticked(TEXT))


def test_the_benches_are_those_there_are():
    assert set(re.findall(r"launch\.bench (\w+)", TEXT)) == set(bench.BENCHES)


@pytest.mark.parametrize("row", rows(section("Algorithm → code → config")), ids=lambda r: r[0])
def test_the_settings_of_an_algorithm_are_accepted(row):
    c = base.rl()
    for setting in ticked(row[3]):
        key, value = setting.split("=")
        group, name = key.split(".")
        kind = c[group].get_type(name)
        assert isinstance(kind(value), kind)
        c[group][name] = kind(value)
    estimators.EstimatorConfig(**c.advantage)
    objectives.ObjectiveConfig(**c.loss)
    assert c.rollout.zero_variance in rl_plan.ZERO_VARIANCE


def test_the_extras_are_those_of_setup():
    declared = (ROOT / "setup.py").read_text().split("extras_require={")[1].split("}")[0]
    named = [ticked(row[0])[0] for row in rows(section("Installing"))]
    assert named == re.findall(r'^\s+"(\w+)":', declared, re.MULTILINE)


def test_the_counters_are_metrics():
    counters = {
        name for row in rows(section("When something goes wrong")) for name in ticked(row[2])
    }
    assert len(counters) > 5 and counters <= set(SCHEMA)


RUN_DIRECTORY = ("training/metrics.py", "training/setup.py", "training/checkpoint.py")
RUN_DIRECTORY += ("report/page.py",)


def test_a_run_writes_what_is_listed():
    """The writer's own names, so that a renamed file shows here."""
    folder = "".join((ROOT / "jaxrl" / f).read_text() for f in RUN_DIRECTORY)
    for row in rows(section("What a run writes")):
        for name in ticked(row[0]):
            assert f'"{name.rstrip("/")}"' in folder


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 270
