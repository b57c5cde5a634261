"""The files under deploy/: they are read by a shell and by a YAML parser, and what they start is a command of ours."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"

# "test" is also the name of a package of Python's own, so the script is loaded by its path.
spec = importlib.util.spec_from_file_location("colorize_script", ROOT / "test.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture
def started(tmp_path):
    """Runs a shell with a `python` that prints its arguments -> those arguments, one list for each call."""
    for path in (tmp_path / "venv/bin/activate", tmp_path / "venv/bin/python"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    (tmp_path / "venv/bin/python").write_text('#!/bin/sh\nfor a in "$@"; do printf "%s\\0" "$a"; done; echo\n')

    def started(*command, **variables):
        path = f"{tmp_path}/venv/bin:{os.environ['PATH']}"
        environment = {"PATH": path, "VENV": f"{tmp_path}/venv"} | {name: str(v) for name, v in variables.items()}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        return [line.rstrip("\0").split("\0") for line in done.stdout.splitlines()]

    return started


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.s*")), ids=lambda path: path.name)
def test_bash_reads_the_scripts(path):
    subprocess.run(["bash", "-n", path], check=True)


def test_there_are_files_of_each_kind():
    assert {path.suffix for path in DEPLOY.iterdir()} >= {".slurm", ".yaml"}


def shard_of(arguments):
    """What `test.py` makes of the arguments of such a command."""
    assert arguments[0] == "test.py"
    return script.parse(arguments[1:])[0].shard


@pytest.fixture
def disk(tmp_path, photographs):
    (tmp_path / "best.keras").touch()
    return {"IN": photographs, "OUT": tmp_path / "out of it", "MODEL": tmp_path / "best.keras"}


def test_slurm_gives_each_job_its_share(started, disk):
    found = []
    for i in range(5, 9):
        array = {"SLURM_ARRAY_TASK_ID": i, "SLURM_ARRAY_TASK_MIN": 5, "SLURM_ARRAY_TASK_COUNT": 4}
        (arguments,) = started("bash", DEPLOY / "colorize.slurm", **disk, **array)
        found.append(shard_of(arguments))
    assert found == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_kubernetes_gives_each_pod_its_share(started, disk):
    job = yaml.safe_load((DEPLOY / "colorize.yaml").read_text())
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    here = {"/disk/gray": disk["IN"], "/disk/color": disk["MODEL"].parent, "/disk/best.keras": disk["MODEL"]}
    shares = job["spec"]["completions"]
    for i in range(shares):
        (arguments,) = started(*container["command"], *container["args"], JOB_COMPLETION_INDEX=i)
        assert shard_of([str(here.get(a, a)) for a in arguments]) == (i, shares)
