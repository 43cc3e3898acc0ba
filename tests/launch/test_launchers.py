"""Shell, SLURM and GKE launchers: checked, run dry, and run against stand-ins of what they call."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch"]
TEXT = (LAUNCH / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
CHECKER = shutil.which("shellcheck", path=PATH)

GCLOUD = """#!/usr/bin/env bash
# A pod of one worker whose home is $HOME.
echo "gcloud $*" >>"$HOME/calls"
for word; do
  case "$word" in --command=*) cd "$HOME" && exec bash -c "${word#--command=}" ;; esac
done
if [ "$4" = scp ]; then cp -r "$6" "$HOME/${7#*:}"; fi
"""
PYTHON = """#!/usr/bin/env bash
# Stands in for python -m launch.train: notes its arguments and runs until SIGTERM.
printf '%s|' "$@" >>"$HOME/started"
echo "$JAX_LOCAL_DEVICE_IDS" >>"$HOME/started"
trap 'echo saved >>"$HOME/started"; exit 75' TERM
for _ in $(seq 600); do sleep 0.1; done
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shell(command, **env):
    """The finished command, run in the repository's root."""
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=120
    )


def pod(*words, **env):
    return shell(["bash", "launch/tpu_pod.sh", *words], **env)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_a_script_parses(path):
    done = shell(["bash", "-n", str(path)])
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(CHECKER is None, reason="the test extra brings shellcheck")
def test_shellcheck_finds_nothing():
    done = shell([CHECKER, "--severity=warning", *map(str, SCRIPTS)])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [(), ("create", "p", "z"), ("run", "p", "z"), ("fly", "p", "z")])
def test_a_wrong_call_prints_the_usage(words):
    done = pod(*words, DRY_RUN="1")
    assert done.returncode == 2 and "tpu_pod.sh create  NAME ZONE TYPE" in done.stderr
    assert "set -euo" not in done.stderr and not done.stdout


@pytest.mark.parametrize("queued", ["", "1"])
def test_a_pod_is_created_and_deleted_by_the_same_kind_of_request(queued):
    made = pod("create", "p", "z", "v6e-64", DRY_RUN="1", QUEUED=queued).stdout
    gone = pod("delete", "p", "z", DRY_RUN="1", QUEUED=queued).stdout
    kind = "queued-resources" if queued else "tpu-vm"
    assert f"gcloud compute tpus {kind} create p" in made and "--accelerator-type=v6e-64" in made
    assert f"gcloud compute tpus {kind} delete p --zone=z" in gone


@pytest.fixture
def home(tmp_path):
    """A worker's home, and the commands that reach it."""
    write(tmp_path / "bin" / "gcloud", GCLOUD)
    write(tmp_path / "jaxrl" / ".venv" / "bin" / "python", PYTHON)
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{PATH}"}
    yield tmp_path, env
    pod("stop", "p", "z", **env)


def test_run_stop_and_resume_on_a_worker(home):
    """Flags arrive as they were given, spaces and quotes too; a second run starts nothing."""
    folder, env = home
    started = lambda: (folder / "started").read_text() if (folder / "started").exists() else ""
    flags = "--config=configs/tiny.py", "--config.env.params.suffix=it's $HOME; \\boxed{}"
    assert pod("run", "p", "z", *flags, **env).returncode == 0
    until(lambda: started().endswith("\n"))
    line = "|".join(["-m", "launch.train", "--distributed", *flags]) + "|\n"
    assert started() == line
    said = lambda *words: pod(*words, **env).stdout.splitlines()[-1]
    assert said("run", "p", "z", "--config=other.py") == "it is running"
    assert pod("stop", "p", "z", **env).returncode == 0
    until(lambda: started().endswith("saved\n"))
    until(lambda: said("resume", "p", "z") != "it is running")
    until(lambda: started().count("\n") == 3)
    assert started() == f"{line}saved\n{line}"
    calls = re.findall("^gcloud .*", (folder / "calls").read_text(), re.MULTILINE)
    assert len(calls) >= 4 and all("--worker=all" in call for call in calls)


def test_nothing_to_resume_is_an_error(home):
    assert pod("resume", "p", "z", **home[1]).returncode == 1


def test_a_copy_keeps_its_name(home):
    folder, env = home
    assert pod("copy", "p", "z", "configs/tiny.py", **env).returncode == 0
    assert (folder / "tiny.py").read_text() == (ROOT / "configs" / "tiny.py").read_text()


def test_slurm_saves_and_queues_itself_again(home):
    """At the time limit the batch shell alone gets the signal; srun hands it to the processes."""
    folder, env = home
    write(folder / "bin" / "srun", '#!/usr/bin/env bash\nshift\nexec "$@"\n')
    write(folder / "bin" / "scontrol", '#!/usr/bin/env bash\necho "$*" >>"$HOME/calls"\n')
    env |= {"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "3"}
    job = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm.sbatch"), "--config=a b"],
        cwd=folder / "jaxrl",
        env=os.environ | env,
    )
    until(lambda: (folder / "started").exists() and (folder / "started").read_text()[-1:] == "\n")
    time.sleep(0.3)  # until the shell waits
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 75
    said = "-m|launch.train|--distributed|--config=a b|0,1,2\nsaved\n"
    assert (folder / "started").read_text() == said
    assert (folder / "calls").read_text() == "requeue 7\n"


def test_a_job_that_ends_by_itself_is_not_queued_again(home):
    folder, env = home
    write(folder / "bin" / "srun", "#!/usr/bin/env bash\nexit 3\n")
    write(folder / "bin" / "scontrol", '#!/usr/bin/env bash\necho "$*" >>"$HOME/calls"\n')
    done = shell(["bash", str(LAUNCH / "slurm.sbatch"), "--config=a"], **env)
    assert done.returncode == 3 and not (folder / "calls").exists()


def test_the_jobset_fits_its_slice():
    """Hosts × chips a host = the topology, and everything that is mounted exists."""
    spec = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert spec["apiVersion"] == "jobset.x-k8s.io/v1alpha2" and spec["kind"] == "JobSet"
    (workers,) = spec["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    assert job["parallelism"] == job["completions"] and job["backoffLimit"] == 0
    inside = job["template"]["spec"]
    (container,) = inside["containers"]
    x, y = inside["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert chips * job["parallelism"] == int(x) * int(y)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert [v["name"] for v in inside["volumes"]] == [v["name"] for v in container["volumeMounts"]]
    workdir = next(w for w in container["command"] if w.startswith("--workdir="))
    assert workdir.startswith(f"--workdir={container['volumeMounts'][0]['mountPath']}/")
    assert f"kubectl logs --follow job/{spec['metadata']['name']}-{workers['name']}-0" in COMMANDS


def trained():
    """The flags of every call of launch.train: in the README, by the launchers, in the JobSet."""
    for words in map(shlex.split, COMMANDS):
        if "launch.train" in words:
            yield words[words.index("launch.train") + 1 :]
        elif "launch/slurm.sbatch" in words:
            yield words[words.index("launch/slurm.sbatch") + 1 :]
        elif words[1:3] == ["launch/tpu_pod.sh", "run"]:
            yield words[5:]
    spec = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    inside = spec["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    yield inside["containers"][0]["command"][3:]


PARSE = """
import json, sys
from absl import flags
from launch import train
for words in json.load(sys.stdin):
    sys.argv = ["train", *words]  # config_flags looks for the settings there
    flags.FLAGS.unparse_flags()
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)  # the last call's
    rest = flags.FLAGS(sys.argv)
    assert rest == ["train"] and train.CONFIG.value and train.WORKDIR.value, words
"""


def test_every_flag_of_a_training_command_exists():
    calls = list(trained())
    assert len(calls) >= 8
    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        input=json.dumps(calls),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-1000:]


DRY = [c for c in COMMANDS if c.startswith(("bash launch/", "DRY_RUN=1 bash launch/"))]


@pytest.mark.parametrize("command", DRY, ids=lambda c: " ".join(c.split()[:3]))
def test_a_command_of_the_readme_runs_dry(command):
    done = shell(["bash", "-c", command], DRY_RUN="1")
    assert done.returncode == 0 and ("+ gcloud " in done.stdout or "srun " in done.stdout)


def test_the_readme_names_what_exists():
    extras = set(re.findall(r'^\s+"(\w+)": ', (ROOT / "setup.py").read_text(), re.MULTILINE))
    named = {e for group in re.findall(r"\.\[([\w,]+)\]", TEXT) for e in group.split(",")}
    assert named and named <= extras
    paths = re.findall(r"(?:launch|configs|tests)/[\w/]+\.\w+", TEXT)
    assert len(paths) > 10 and all((ROOT / path).exists() for path in paths)
    actions = {c.split()[2] for c in DRY if "tpu_pod.sh" in c}
    assert actions == set(re.findall(r"^(\w+)/\S+\) ", (LAUNCH / "tpu_pod.sh").read_text(), re.M))
    known = (
        "bash ",
        "DRY_RUN=1 bash ",
        "python",
        "pip ",
        "sbatch ",
        "kubectl ",
        "git ",
        "cd ",
        "curl ",
    )
    assert all(c.startswith(known) for c in COMMANDS), COMMANDS
