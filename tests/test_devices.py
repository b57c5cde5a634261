"""Several devices and, on JAX, several processes train as one device; deploy/ starts them.

The devices are two logical ones of a CPU.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from test_train import ROOT, SMALL, step_of, train

import configs
from training import checkpoint, devices

pytestmark = pytest.mark.slow

BACKEND = keras.backend.backend()
# All that has state: moving average, decay, schedule, crops; an epoch of 11 steps and one of 9.
OPTIONS = (*SMALL, "--size", 32, "--batch", 2, "--preset", "tuned", "--precision", "float32")
OPTIONS += ("--warmup", 2, "--epochs", 2, "--steps", 20, "--resume")
# TensorFlow wants to be asked for two devices before anything else happens.
SPLIT = """
import sys, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
"""
TRAIN = "import train; train.main(sys.argv[1:])"
LIMIT = 240  # seconds after which a process counts as hanging
several = pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device")
only_jax = pytest.mark.skipif(BACKEND != "jax", reason="several processes train on JAX alone")


def start(code, *arguments, count=2, log=None):
    """A process of Python on `count` devices."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    if BACKEND == "jax":
        env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
    head = SPLIT if BACKEND == "tensorflow" and count == 2 else "import sys\n"
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    streams = {"stdout": log or subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=env, cwd=ROOT, **streams)


def finish(process):
    """(status, what it printed)."""
    out, _ = process.communicate(timeout=LIMIT)
    return process.returncode, out


def wait_for(step, run, processes):
    while step_of(run) < step and all(p.poll() is None for p in processes):
        time.sleep(0.02)


@pytest.fixture(scope="module")
def one(photographs, tmp_path_factory):
    """The run of 20 steps on one device, that of this process."""
    run = tmp_path_factory.mktemp("runs") / "one"
    done = train("--data", photographs, *OPTIONS, "--run", run)
    assert done.status == 0, done.err
    return run


def compare(run, other):
    (found, progress, _), (expected, before, _) = checkpoint.read(run), checkpoint.read(other)
    assert progress["step"] == before["step"] == 20
    for kind in ("weights", "optimizer"):
        for a, b in zip(found[kind], expected[kind], strict=True):
            assert np.abs(a - b).max() < 1e-5, kind
    for row, truth in zip(progress["history"], before["history"], strict=True):
        for name in ("loss", "val_loss", "val_relative_mse", "learning_rate", "variation_LFN"):
            assert row[name] == pytest.approx(truth[name], rel=1e-4), name


@several
def test_two_devices_train_as_one(one, photographs, tmp_path):
    """Weights, moving average, losses and validation; killed in an epoch and resumed."""
    run = tmp_path / "two"
    arguments = ("--data", photographs, *OPTIONS, "--checkpoint-steps", 3, "--run", run)
    process = start(TRAIN, *arguments)
    wait_for(3, run, [process])
    process.kill()
    finish(process)
    assert 3 <= step_of(run) < 20
    status, out = finish(start(TRAIN, *arguments))
    assert status == 0 and "on 2 CPU" in out and "resumed after step" in out, out
    compare(run, one)


@pytest.mark.skipif(BACKEND == "jax", reason="it is the one that has it")
def test_several_processes_need_jax():
    with pytest.raises(ValueError, match="only JAX has it"):
        devices.use("localhost:1", (0, 2))


NORMALISED = """
import contextlib, numpy as np, keras
from skimage import data
from configs import Config
from models import iizuka2016
from training import devices
from training.model import TrainingModel
rgb = np.stack([data.coffee()[40 * i : 40 * i + 64, 50 * i : 50 * i + 64] for i in range(8)])
weights = []
for scope in (contextlib.nullcontext(), devices.use().scope()):
    with scope:
        keras.utils.set_random_seed(0)
        network = iizuka2016.build(width=1 / 16)
        model = TrainingModel(network, Config(network="iizuka2016", saturation=1.0))
        model.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=False)
        model.build((None, 64, 64, 3))
    before = model.trained.get_weights()
    model.fit(tf.data.Dataset.from_tensors(rgb), verbose=0)
    weights.append(model.trained.get_weights())
for pair in (weights, (before, weights[0])):
    print(max(np.abs(a - b).max() for a, b in zip(*pair)))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX's step sees the batch as it is")
def test_batch_normalisation_is_over_the_batch_of_all_devices():
    status, out = finish(start(NORMALISED))
    assert status == 0, out
    apart, moved = map(float, out.split()[-2:])
    assert apart < 1e-3 < 1e-2 < moved  # with statistics of its own share on each device: 0.2


# --- several processes


def start_all(*arguments, run, count=2):
    """So many processes that train together; their output goes to files beside the run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        place = f"localhost:{free.getsockname()[1]}"
    processes = []
    for i in range(count):
        together = ("--run", run, "--coordinator", place, "--process", f"{i}/{count}")
        with open(f"{run}.{i}.log", "w") as log:
            processes.append(start(TRAIN, *arguments, *together, count=1, log=log))
    return processes


@only_jax
def test_two_processes_train_as_one(one, photographs, tmp_path):
    """Both stop after the same step when one gets a SIGTERM, and go on; one logs."""
    run = tmp_path / "run"
    arguments = ("--data", photographs, *OPTIONS, "--checkpoint-steps", 2)
    processes = start_all(*arguments, run=run)
    wait_for(4, run, processes)
    processes[1].send_signal(signal.SIGTERM)
    assert [p.wait(LIMIT) for p in processes] == [130, 130]
    logs = [Path(f"{run}.{i}.log") for i in range(2)]
    step = step_of(run)
    for log in logs:
        assert f"at step {step}" in log.read_text() or f"epoch {step // 11}:" in log.read_text()
    assert [p.wait(LIMIT) for p in start_all(*arguments, run=run)] == [0, 0]
    compare(run, one)
    assert logs[0].read_text().count("epoch 2: loss") == 1 and "epoch" not in logs[1].read_text()


# --- deploy/


def test_slurm_starts_each_process_with_its_share(photographs, tmp_path):
    """The scripts of deploy/ with a `python` that prints: its arguments, a list a call."""
    tools = {
        "activate": "",
        "python": 'printf -v line "%s\\001" "$@"; echo "$line"',
        "scontrol": "printf 'first\\nsecond\\n'",
        "srun": 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
    }
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    for name, content in tools.items():
        (folder / name).write_text(f"#!/bin/bash\n{content}\n")
        (folder / name).chmod(0o755)

    def started(script, *arguments, **variables):
        environment = {"PATH": f"{folder}:{os.environ['PATH']}", "VENV": str(folder.parent)}
        environment |= {name: str(value) for name, value in variables.items()}
        command = ["bash", ROOT / "deploy" / script, *arguments]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
        return [line.rstrip("\1").split("\1") for line in done.stdout.decode().splitlines()]

    paths = {"IN": photographs, "OUT": "out of it", "MODEL": "best.keras"}
    for i in (5, 8):
        task = {"SLURM_ARRAY_TASK_ID": i, "SLURM_ARRAY_TASK_MIN": 5, "SLURM_ARRAY_TASK_COUNT": 4}
        (arguments,) = started("colorize.slurm", **paths, **task)
        expected = f"test.py|{photographs}|out of it|--model|best.keras|--shard|{i - 5}/4"
        assert arguments == expected.split("|")
    given = ("--data", str(photographs), "--run", "a b", "--preset", "tuned")
    made = started("train.slurm", *given, SLURM_NTASKS=2, SLURM_JOB_NODELIST="x")
    for i, (command, *arguments) in enumerate(made):
        options = configs.parse_training(arguments)
        assert command == "train.py" and options.resume and options.run == Path("a b")
        assert (options.coordinator, options.process) == ("first:12321", (i, 2))
    assert len(made) == 2
