"""The import rules of the layout, read from the source: nothing here runs the library."""

import ast
import importlib.metadata
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / "jaxrl").rglob("*.py"))

RANK = {  # a folder imports smaller ranks and itself
    "json_lines": -2,
    "messages": -2,
    "records": -1,  # these four are what crosses folders: every folder may name them
    "tools": -1,
    "ops": 0,
    "parallel": 0,
    "chat": 0,
    "envs": 0,
    "data": 0,
    "models": 1,
    "sampling": 2,
    "training": 2,
    "rollouts": 3,
    "rewards": 3,
    "retrieval": 3,
    "forge": 3,
    "algos": 3,
    "evals": 4,
    "report": 4,
    "recipes": 5,
}
PEERS = {
    "torch",
    "trl",
    "peft",
    "tunix",
    "verl",
    "accelerate",
    "datasets",
    "sentence_transformers",
    "playwright",
}


def imports(source):
    """Every module a source file names in an import, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}"
            assert node.names[0].name != "*", f"wildcard import at line {node.lineno}"
            yield from (f"{node.module}.{a.name}" for a in node.names)


def folder(module):
    """ "jaxrl.ops.advantages" -> "ops"."""
    return module.removesuffix(".py").replace("/", ".").split(".")[1]


def breaks(name, source):
    """The imports of jaxrl/NAME that the layout forbids, each with its reason."""
    here = folder(name)
    for module in imports(source):
        top = module.split(".")[0]
        if top in ("launch", "configs", "tests"):
            yield f"{module}: the library knows neither launchers nor configs nor tests"
        elif top in PEERS:
            yield f"{module}: a peer, which the core never imports"
        elif top == "jaxrl" and folder(module) != here and RANK[folder(module)] >= RANK[here]:
            yield f"{module}: {here} ({RANK[here]}) imports smaller ranks and itself only"
        elif here == "ops" and top not in sys.stdlib_module_names | {"jax", "jaxrl"}:
            yield f"{module}: ops imports jax alone"
        elif here in ("envs", "chat") and top in ("jax", "flax", "optax"):
            yield f"{module}: {here} is plain Python on the host, without jax"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_smaller_layers_and_its_own_folder(path):
    """One upward import and the folders can no longer be read, or forked, from the bottom up."""
    if path.name == "__init__.py":
        assert list(imports(path.read_text())) == [], "an __init__.py re-exports nothing"
    else:
        assert list(breaks(str(path.relative_to(ROOT)), path.read_text())) == []


@pytest.mark.parametrize(
    "name, line, broken",
    [
        ("jaxrl/ops/a.py", "import jax.numpy as jnp", False),
        ("jaxrl/ops/a.py", "from jaxrl.ops import recurrence", False),
        ("jaxrl/ops/a.py", "import numpy as np", True),
        ("jaxrl/ops/a.py", "from jaxrl.models import spec", True),
        ("jaxrl/models/a.py", "from jaxrl.ops import attention", False),
        ("jaxrl/models/a.py", "from jaxrl import records", False),
        ("jaxrl/sampling/a.py", "from jaxrl.training import step", True),
        ("jaxrl/sampling/a.py", "def f():\n    from jaxrl.training import step", True),
        ("jaxrl/recipes/a.py", "from launch import train", True),
        ("jaxrl/models/a.py", "import torch", True),
        ("jaxrl/envs/a.py", "import jax", True),
    ],
)
def test_the_rule_itself(name, line, broken):
    """The check above passed on everything once: `import a.b` and `from a import b` name modules
    differently."""
    assert bool(list(breaks(name, line))) == broken


def test_every_import_is_a_declared_dependency():
    """A package that some other one happens to bring in disappears with that one's next release."""
    setup = ast.parse((ROOT / "setup.py").read_text())
    assigned = [n.value for n in setup.body if isinstance(n, ast.Assign)]
    lists = [ast.literal_eval(v) for v in assigned if isinstance(v, ast.List)]
    declared = {
        canonical(re.split(r"[\[<>=]", r)[0]) for requirements in lists for r in requirements
    }
    sources = (
        FILES + sorted((ROOT / "launch").rglob("*.py")) + sorted((ROOT / "configs").glob("*.py"))
    )
    used = {m.split(".")[0] for f in sources for m in imports(f.read_text())}
    own = {"jaxrl", "launch", "configs", "tunix", "verl"}  # a bench installs the last two apart
    used -= sys.stdlib_module_names | own
    owners = importlib.metadata.packages_distributions()
    missing = {m for m in used if not declared & {canonical(d) for d in owners.get(m, [m])}}
    assert missing == set()


def canonical(name):
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
