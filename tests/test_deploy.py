"""The files under deploy/: they are read by a shell and by a YAML parser, and what they start is a command of ours."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

import configs
from inference.options import parse

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


@pytest.fixture
def started(tmp_path):
    """Runs a shell with a `python` that prints its arguments -> those arguments, one list for each call.

    `tools` are other commands that the shell finds, name -> a script of bash.
    """
    for path in (tmp_path / "venv/bin/activate", tmp_path / "venv/bin/python"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    # in one write, since several of them may share the pipe
    (tmp_path / "venv/bin/python").write_text(
        '#!/bin/bash\nprintf -v line "%s\\001" "$@"; echo "$line"\n'
    )

    def started(*command, tools=None, **variables):
        for name, content in (tools or {}).items():
            (tmp_path / "venv/bin" / name).write_text(f"#!/bin/bash\n{content}\n")
            (tmp_path / "venv/bin" / name).chmod(0o755)
        path = f"{tmp_path}/venv/bin:{os.environ['PATH']}"
        environment = {"PATH": path, "VENV": f"{tmp_path}/venv"} | {
            name: str(v) for name, v in variables.items()
        }
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return [line.rstrip("\1").split("\1") for line in done.stdout.splitlines()]

    return started


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.s*")), ids=lambda path: path.name)
def test_bash_reads_the_scripts(path):
    subprocess.run(["bash", "-n", path], check=True)


def test_there_are_files_of_each_kind():
    kinds = {"slurm", "yaml"}
    assert {path.name for path in DEPLOY.iterdir()} == {
        f"{n}.{k}" for n in ("colorize", "train") for k in kinds
    } | {"train-ssh.sh"}


def shard_of(arguments):
    """What `test.py` makes of the arguments of such a command."""
    assert arguments[0] == "test.py"
    return parse(arguments[1:])[0].shard


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
    assert (
        job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"]
        == container["name"]
    )
    here = {
        "/disk/gray": disk["IN"],
        "/disk/color": disk["MODEL"].parent,
        "/disk/best.keras": disk["MODEL"],
    }
    shares = job["spec"]["completions"]
    for i in range(shares):
        (arguments,) = started(*container["command"], *container["args"], JOB_COMPLETION_INDEX=i)
        assert shard_of([str(here.get(a, a)) for a in arguments]) == (i, shares)


# --- training by several processes


@pytest.fixture
def options_of(photographs):
    """What `train.py` makes of the arguments of such a command: (coordinator, process)."""

    def options_of(arguments):
        assert arguments[0] == "train.py" and "--resume" in arguments
        arguments = [str(photographs) if a == "/disk/data_256" else a for a in arguments]
        options = configs.parse_training(arguments[1:])
        assert (
            options.preset == "tuned"
            and options.run.name == "a b"
            or options.run == Path("/disk/runs/tuned")
        )
        return options.coordinator, options.process

    return options_of


OPTIONS = ["--data", "/disk/data_256", "--run", "/disk/a b", "--preset", "tuned"]


def test_ssh_starts_a_process_on_each_host(started, options_of):
    ssh = 'shift; echo "$1" >&2; shift; exec sh -c "$*"'
    made = started(
        "bash", DEPLOY / "train-ssh.sh", "one", "two", "three", "--", *OPTIONS, tools={"ssh": ssh}
    )
    assert sorted(map(options_of, made)) == [("one:12321", (i, 3)) for i in range(3)]


def test_ssh_hands_on_a_failure(started):
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        started(
            "bash",
            DEPLOY / "train-ssh.sh",
            "one",
            "two",
            "--",
            *OPTIONS,
            tools={"ssh": '[ "$2" = one ] || exit 3'},
        )


def test_slurm_starts_a_process_on_each_host(started, options_of):
    tools = {
        "scontrol": "printf 'first\nsecond\n'",
        "srun": 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
    }
    made = started(
        "bash",
        DEPLOY / "train.slurm",
        *OPTIONS,
        tools=tools,
        SLURM_NTASKS=2,
        SLURM_JOB_NODELIST="x",
    )
    assert [options_of(arguments) for arguments in made] == [
        ("first:12321", (0, 2)),
        ("first:12321", (1, 2)),
    ]


def test_kubernetes_starts_a_process_in_each_pod(started, options_of):
    service, job = yaml.safe_load_all((DEPLOY / "train.yaml").read_text())
    assert service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "KERAS_BACKEND", "value": "jax"} in container["env"]
    first, count = (
        f"{job['metadata']['name']}-0.{service['metadata']['name']}:12321",
        job["spec"]["completions"],
    )
    for i in range(count):
        (arguments,) = started(*container["command"], *container["args"], JOB_COMPLETION_INDEX=i)
        assert options_of(arguments) == (first, (i, count))
