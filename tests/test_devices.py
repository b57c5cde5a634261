"""TrainingModel on several devices and by several processes gives what training on one device gives.

On a CPU that is split into two logical devices; with JAX also two processes on this machine.
"""

import csv
import json
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

import configs
from data.batches import Batches, Order, Validation
from models import aciids2020
from training import checkpoint, devices
from training.model import TrainingModel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BACKEND = keras.backend.backend()
SMALL = ["--width", "0.0625", "--size", "64", "--batch", "2"]
# all that has state: moving average, decay, schedule, crops; an epoch of 11 steps and one of 9
OPTIONS = [
    *SMALL,
    "--preset",
    "tuned",
    "--precision",
    "float32",
    "--warmup",
    "2",
    "--epochs",
    "2",
    "--steps",
    "20",
]
# train.py on two logical devices: TensorFlow wants to be asked before anything else happens
SPLIT = """
import sys, runpy, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.argv = sys.argv[1:]
runpy.run_path("train.py", run_name="__main__")
"""
LIMIT = 240  # seconds after which a process counts as hanging
several = pytest.mark.skipif(BACKEND == "torch", reason="torch trains on one device")
jax_alone = pytest.mark.skipif(BACKEND != "jax", reason="several processes train on JAX alone")


def command(*arguments, two=False):
    """A command of train.py and its environment, on one device or on two."""
    environment = os.environ.copy()
    if two and BACKEND == "jax":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    start = ["-c", SPLIT, "train.py"] if two and BACKEND == "tensorflow" else ["train.py"]
    return {"args": [sys.executable, *start, *map(str, arguments)], "env": environment, "cwd": ROOT}


def train(*arguments, two=False):
    return subprocess.run(
        **command(*arguments, two=two), capture_output=True, text=True, timeout=LIMIT
    )


def start(*arguments, count, run):
    """So many processes that train together; their output goes to files beside the run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = []
    for i in range(count):
        log = open(f"{run}.{i}.log", "w")  # noqa: SIM115
        together = ["--run", run, "--coordinator", f"localhost:{port}", "--process", f"{i}/{count}"]
        processes.append(
            subprocess.Popen(**command(*arguments, *together), stdout=log, stderr=subprocess.STDOUT)
        )
    return processes


def step_of(run):
    try:
        return checkpoint.read(run)[1]["step"]
    except (TypeError, OSError):  # none yet, or just being exchanged
        return 0


def wait_for(step, run, processes):
    deadline = time.monotonic() + LIMIT
    while (
        step_of(run) < step
        and all(p.poll() is None for p in processes)
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)


@pytest.fixture(scope="module")
def one(photographs, tmp_path_factory):
    """The run of 20 steps on one device."""
    run = tmp_path_factory.mktemp("runs") / "one"
    done = train("--data", photographs, *OPTIONS, "--run", run)
    assert done.returncode == 0, done.stderr
    return run


def compare(run, other):
    (found, progress, _), (expected, before, _) = checkpoint.read(run), checkpoint.read(other)
    assert progress["step"] == before["step"] == 20
    for kind in ("weights", "optimizer"):
        for a, b in zip(found[kind], expected[kind], strict=True):
            assert np.abs(a - b).max() < 1e-5, kind
    moved = [np.ptp(a).item() > 0 for a in found["weights"]]
    assert sum(moved) > len(moved) / 2
    for row, truth in zip(progress["history"], before["history"], strict=True):
        for name in (
            "loss",
            "relative_mse",
            "val_loss",
            "val_relative_mse",
            "learning_rate",
            "variation_LFN",
        ):
            assert row[name] == pytest.approx(truth[name], rel=1e-4), name


@several
def test_two_devices_train_as_one(one, photographs, tmp_path):
    """Weights, moving average, losses and validation; killed in the middle of an epoch and taken up again."""
    run = tmp_path / "two"
    arguments = ["--data", photographs, *OPTIONS, "--checkpoint-steps", 3, "--run", run, "--resume"]
    process = subprocess.Popen(
        **command(*arguments, two=True), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(3, run, [process])
    process.kill()
    process.wait()
    assert 3 <= step_of(run) < 20
    done = train(*arguments, two=True)
    assert done.returncode == 0, done.stderr
    assert "on 2 CPU" in done.stdout and "resumed after step" in done.stdout
    compare(run, one)


@several
@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--devices", "9"], "--devices 9: there are 2"),
        (["--batch", "3"], "--batch 3: not divisible by 2 devices"),
    ],
)
def test_what_devices_cannot_do_is_one_line(flags, reason, photographs, tmp_path):
    done = train("--data", photographs, *SMALL, "--run", tmp_path / "run", *flags, two=True)
    assert (
        done.returncode == 2
        and reason in done.stderr.splitlines()[-1]
        and not (tmp_path / "run").exists()
    ), done.stderr


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--coordinator", "localhost:1"], "--coordinator and --process go together"),
        (["--coordinator", "localhost:1", "--process", "2/2"], "'2/2' is no I/N"),
        (
            ["--coordinator", "localhost:1", "--process", "0/2", "--dry-run"],
            "--dry-run: goes with one process",
        ),
    ],
)
def test_processes_are_named_in_full(flags, reason, tmp_path, monkeypatch, capsys):

    monkeypatch.setattr(sys, "argv", ["train.py", "--data", str(tmp_path), "--run", "r", *flags])
    with pytest.raises(SystemExit):
        configs.parse_training()
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_one_device_is_one_device():
    assert len(devices.use(1).names) == 1
    with pytest.raises(ValueError, match=r"--devices 0: there are \d|torch"):
        devices.use(0)
    if BACKEND != "jax":
        with pytest.raises(ValueError, match="JAX"):
            devices.use(None, "localhost:1", (0, 2))


NORMALISED = """
import sys, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from skimage import data
from models import iizuka2016
from training import devices
from training.model import TrainingModel

rgb = np.stack([data.coffee()[40 * i : 40 * i + 64, 50 * i : 50 * i + 64] for i in range(8)])
weights = []
for count in (1, 2):
    with devices.use(count).scope():
        keras.utils.set_random_seed(0)
        model = TrainingModel(iizuka2016.build(width=1 / 16), iizuka2016.make_loss(), 1.0, loss_layer=iizuka2016.LOSS_LAYER)
        model.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=False)
        model.build((None, 64, 64, 3))
    before = model.trained.get_weights()
    model.fit(tf.data.Dataset.from_tensors(rgb), verbose=0)
    weights.append(model.trained.get_weights())
print(max(np.abs(a - b).max() for a, b in zip(*weights)), max(np.abs(a - b).max() for a, b in zip(before, weights[0])))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX's step sees the whole batch as it is")
def test_batch_normalisation_is_over_the_whole_batch():
    done = subprocess.run(
        [sys.executable, "-c", NORMALISED], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    apart, moved = map(float, done.stdout.split())
    assert apart < 1e-3 < 1e-2 < moved  # with statistics of its own share on each device: 0.2


# --- several processes


@jax_alone
def test_two_processes_train_as_one(one, photographs, tmp_path):
    """Stopped by a SIGTERM to one of them, both save after the same step and end; taken up again; written once."""
    run = tmp_path / "run"
    arguments = ["--data", photographs, *OPTIONS, "--checkpoint-steps", "2", "--resume"]
    processes = start(
        *arguments, "--epochs", "300", "--steps", "0", count=2, run=tmp_path / "stopped"
    )
    wait_for(4, tmp_path / "stopped", processes)
    processes[1].send_signal(signal.SIGTERM)
    assert [p.wait(LIMIT) for p in processes] == [130, 130]
    step = step_of(tmp_path / "stopped")
    for i in range(2):
        said = Path(f"{tmp_path / 'stopped'}.{i}.log").read_text()
        assert (
            f"stopped and saved at step {step}" in said
            or f"epoch {step // 11}: the same command" in said
        )

    processes = start(*arguments, count=2, run=run)
    wait_for(6, run, processes)
    for process in processes:
        process.kill()
        process.wait()
    assert 6 <= step_of(run) < 20
    assert [p.wait(LIMIT) for p in start(*arguments, count=2, run=run)] == [0, 0]
    compare(run, one)
    said = [Path(f"{run}.{i}.log").read_text() for i in range(2)]
    assert (
        said[0].count("epoch 2: loss") == 1
        and "resumed after step" in said[0]
        and "epoch" not in said[1]
    )
    rows = list(csv.DictReader((run / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert len(list((run / "samples").iterdir())) == 2
    assert json.loads((run / "config.json").read_text())["config"]["steps"] == 20


@jax_alone
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_dies_ends_the_other(killed, photographs, tmp_path):
    run = tmp_path / "run"
    arguments = [
        "--data",
        photographs,
        *OPTIONS,
        "--epochs",
        "3000",
        "--steps",
        "0",
        "--checkpoint-steps",
        "1",
    ]
    processes = start(*arguments, count=2, run=run)
    wait_for(2, run, processes)
    assert [p.poll() for p in processes] == [None, None]
    processes[killed].kill()
    assert processes[1 - killed].wait(120) != 0


@jax_alone
def test_an_error_of_one_process_ends_both(photographs, tmp_path):
    processes = start(*SMALL, count=2, run=tmp_path / "run")  # no --data
    assert processes[0].wait(120) == 2 and processes[1].wait(120) != 0
    assert "--data DIR is needed" in Path(f"{tmp_path / 'run'}.0.log").read_text()


# --- batches


def test_validation_is_over_all_pictures(photographs):
    """Whatever the batch: the same means as those of batches with an uneven end."""
    files = sorted(photographs.rglob("*.png"))[:11]
    keras.utils.set_random_seed(0)
    model = TrainingModel(
        aciids2020.build(width=1 / 16, global_size=64, input_scale=0.01),
        aciids2020.make_loss(),
        1.8,
    )
    model.compile(jit_compile=False)
    plain = model.evaluate(Batches(files, 64, 11), verbose=0, return_dict=True)
    for batch in (4, 8, 11, 16):
        found = model.evaluate(Validation(files, 64, batch), verbose=0, return_dict=True)
        assert found == pytest.approx(plain, rel=1e-5)
    whole = Batches(files, 64, 11, labels=np.arange(11))[0]
    parts = [Validation(files, 64, 4, labels=np.arange(11))[i] for i in range(3)]
    assert {part[0].shape for part in parts} == {(4, 64, 64, 3)}
    for i in range(2):
        assert np.array_equal(np.concatenate([part[i] for part in parts])[:11], whole[i])
    weights = np.concatenate([part[2] for part in parts])
    assert weights.mean() == pytest.approx(1) and (weights[:11] > 0).all() and weights[11] == 0


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_make_the_batch(photographs, processes):
    files = sorted(photographs.rglob("*.png"))
    for kind, order in ((Batches, Order(1, 2, crop=0.5, mirror=True)), (Validation, None)):
        whole = kind(files, 64, 6, order=order, labels=np.arange(24))
        shares = [
            kind(files, 64, 6, order=order, labels=np.arange(24), share=(i, processes))
            for i in range(processes)
        ]
        assert {len(share) for share in shares} == {len(whole)}
        for i in range(len(whole)):
            for j, array in enumerate(whole[i]):
                assert np.array_equal(np.concatenate([share[i][j] for share in shares]), array)
                assert len(shares[0][i][j]) == 6 // processes
