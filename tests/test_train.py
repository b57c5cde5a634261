"""The trainer: the step that is really compiled, the command line, and a run that is killed and taken up again."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import configs
from data.preprocess import target, training_inputs
from evaluation import methods
from models import aciids2020
from models import file as model_file
from training import checkpoint
from training.logging import Log, Samples, variation
from training.model import TrainingModel
from training.optimizer import make_optimizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SMALL = ["--width", "0.0625", "--size", "64", "--batch", "4"]


def train(*arguments, **options):
    """Run train.py as a user would."""
    command = [sys.executable, str(ROOT / "train.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def pictures(count=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def small_model(optimizer=None, **arguments):
    keras.utils.set_random_seed(0)
    network = aciids2020.build(width=1 / 16, global_size=64, **arguments)
    model = TrainingModel(network, aciids2020.make_loss(), 1.8)
    model.compile(
        optimizer=optimizer or make_optimizer("sgd", 0.01, total_steps=10), jit_compile=False
    )
    return model


# --- the step


@pytest.mark.parametrize("preset", ["paper", "tuned"])
def test_one_step_changes_every_weight(preset):
    config = configs.PRESETS[preset]
    optimizer = make_optimizer(config.optimizer, config.learning_rate, total_steps=10)
    scaling = {"input_scale": config.input_scale, "input_offset": config.input_offset}
    model = small_model(
        optimizer, **scaling
    )  # with "he_gentle" the classification network starts at the second step
    for name in (
        "cn_conv10",
        "color_conv5",
    ):  # one filter of one unit may be dead by chance at this width
        layer = model.network.get_layer(name)
        layer.set_weights([np.abs(layer.get_weights()[0]), layer.get_weights()[1] + 0.1])
    before = model.network.get_weights()
    model.train_on_batch(pictures())
    for variable, old in zip(model.network.variables, before):
        assert not np.array_equal(ops.convert_to_numpy(variable), old), variable.path


def test_the_gentle_start_leaves_no_weight_behind():
    model = small_model(
        make_optimizer("adamw", 1e-3, total_steps=10), initializer="he_gentle", input_scale=0.01
    )
    assert not model.network.get_layer("fusion_cn").get_weights()[0].any()
    assert model.network.get_layer("cn_conv10").get_weights()[0].min() >= 0
    before = model.network.get_layer("cn_dense1").get_weights()[0]
    model.train_on_batch(pictures())
    assert model.network.get_layer("fusion_cn").get_weights()[0].any()
    model.train_on_batch(pictures())
    assert not np.array_equal(model.network.get_layer("cn_dense1").get_weights()[0], before)


def test_the_compiled_loss_and_ratio_are_the_papers():
    model, rgb = small_model(), pictures()
    output = ops.convert_to_numpy(model.network(training_inputs(rgb, model.network.input))) / 128
    truth = ops.convert_to_numpy(target(ops.convert_to_tensor(rgb), 1.8)) / 128
    found = model.evaluate(rgb, batch_size=3, return_dict=True, verbose=0)  # an uneven last batch
    assert found["loss"] == pytest.approx(((output - truth) ** 2).mean(), rel=1e-4)
    assert found["relative_mse"] == pytest.approx(
        ((output - truth) ** 2).mean() / (truth**2).mean(), rel=1e-4
    )
    assert model.train_on_batch(rgb, return_dict=True)["loss"] == pytest.approx(
        found["loss"], rel=1e-4
    )


def test_the_rate_of_the_classification_network():
    before, moved = small_model().network.get_weights(), []
    for factor in (1, 0.5):
        own = {"own_rate": aciids2020.SLOW_PREFIXES, "own_rate_factor": factor}
        model = small_model(make_optimizer("sgd", 10.0, total_steps=10, **own))
        model.train_on_batch(pictures())
        moved.append([new - old for new, old in zip(model.network.get_weights(), before)])
    for variable, whole, slow in zip(model.network.variables, *moved):
        factor = 0.5 if variable.path.startswith(("cn_", "fusion_cn")) else 1
        assert np.allclose(slow, factor * whole, rtol=1e-2, atol=2e-7), variable.path
        if variable.path in ("fusion_cn/kernel", "lfn_conv1/kernel"):
            assert np.abs(whole).max() > 1e-4


def test_cosine_schedule():
    rate = make_optimizer(
        "adamw", 1e-3, total_steps=100, schedule="cosine", warmup=10
    )._learning_rate
    assert [float(rate(step)) for step in (0, 5, 10, 55, 100)] == pytest.approx(
        [0, 5e-4, 1e-3, 5e-4, 0], abs=1e-6
    )


def test_spread():
    rng = np.random.default_rng(0)
    assert variation(np.ones((10, 5))) == 0 and variation(np.zeros((10, 5))) == 0
    assert variation(rng.standard_normal((2000, 50))) == pytest.approx(1, rel=0.01)
    assert variation(1e6 + rng.standard_normal((2000, 50))) == pytest.approx(1e-6, rel=0.01)


def test_a_dead_classification_network_is_seen_and_said(tmp_path, capsys):
    network = aciids2020.build(
        width=1 / 16, global_size=64, input_scale=0.01, initializer="he_gentle"
    )
    samples = Samples(network, aciids2020.BRANCHES, pictures(20))
    row = dict.fromkeys(("loss", "relative_mse", "val_loss", "val_relative_mse"), 0.5)
    row |= {"epoch": 1, "pictures_per_second": 1.0}
    for dead in (False, True):
        if dead:
            network.get_layer("cn_conv10").set_weights(
                [network.get_layer("cn_conv10").get_weights()[0], np.array([-1e6])]
            )
        found = samples.variation(network.get_weights())
        assert (
            (found["variation_CN"] == 0) == dead
            and found["variation_LFN"] > 0.01
            and found["variation_EDN"] > 0.01
        )
        Log(tmp_path).write([row | found], pictures(1)[0])
        assert ("branch CN is dead" in capsys.readouterr().out) == dead


# --- options


def test_the_defaults_are_the_papers():
    config = configs.Config()
    assert (config.size, config.batch, config.epochs, config.saturation) == (256, 16, 40, 1.8)
    assert (config.optimizer, config.learning_rate, config.schedule, config.validation) == (
        "sgd",
        0.01,
        "plateau",
        0.1,
    )
    assert (config.input_scale, config.input_offset, config.clip_saturation, config.crop) == (
        1,
        0,
        False,
        1,
    )


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--data", ".", "--run", "r", "--epoch", "3"], "unrecognized arguments: --epoch"),
        (["--data", ".", "--run", "r", "--batch", "many"], "invalid int value: 'many'"),
        (["--data", ".", "--run", "r", "--batch", "0"], "--batch 0: 1 or more"),
        (["--data", ".", "--run", "r", "--size", "100"], "--size 100: a multiple of 8"),
        (["--data", "nowhere", "--run", "r"], "nowhere: no such folder"),
        (["--data", "."], "--run DIR is needed"),
        (["--run", "r"], "--data DIR is needed"),
        (["--data", ".", "--run", "r"], "too few pictures"),
        (
            ["--data", ".", "--run", "r", "--as-published", "--mirror"],
            "--as-published: goes without",
        ),
        (
            ["--data", ".", "--run", "r", "--milestones", "5"],
            "--milestones: goes with --schedule steps",
        ),
        (
            ["--data", ".", "--run", "r", "--schedule", "steps", "--milestones", "9,5"],
            "whole numbers that rise",
        ),
        (["--data", ".", "--run", "r", "--load-size", "128"], "--load-size 128: below --size"),
    ],
)
def test_refusals_are_one_clear_line(arguments, reason, tmp_path):
    done = train(*arguments, cwd=tmp_path)
    assert (
        done.returncode == 2
        and reason in done.stderr.splitlines()[-1]
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize(
    "flags", [["--batch", 64], ["--init-from", "{photographs}/0/00.png"], ["--devices", 99]]
)
def test_a_refused_start_leaves_nothing_behind(flags, photographs, tmp_path):
    flags = [str(flag).replace("{photographs}", str(photographs)) for flag in flags]
    done = train("--data", photographs, *SMALL, *flags, "--run", tmp_path / "run")
    assert (
        done.returncode == 2 and "Traceback" not in done.stderr and not (tmp_path / "run").exists()
    ), done.stderr


@pytest.mark.parametrize(
    "text", ["RESOURCE_EXHAUSTED: Out of memory", "CUDA out of memory", "OOM when allocating", None]
)
def test_out_of_memory_names_the_batch(text, photographs, tmp_path):
    """The backends' own words, raised by the training step; None: another error, which is not explained away."""
    code = (
        "import sys, train; sys.argv = sys.argv[1:];"
        "from training.model import TrainingModel;"
        f"TrainingModel.fit = lambda *a, **k: (_ for _ in ()).throw(RuntimeError({text or 'other'!r}));"
        "train.main(train.configs.parse_training())"
    )
    arguments = ["train.py", "--data", str(photographs), *SMALL, "--run", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert ("out of memory at --batch 4" in last) == bool(text) and (
        "Traceback" in done.stderr
    ) != bool(text)


# --- runs


@pytest.fixture(scope="module")
def finished(photographs, tmp_path_factory):
    """A run of 3 epochs of 5 steps with all that has state: moving average, crops, cosine."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    options = [
        "--data",
        photographs,
        *SMALL,
        "--preset",
        "tuned",
        "--warmup",
        2,
        "--epochs",
        3,
        "--checkpoint-steps",
        1,
    ]
    done = train(*options, "--run", run)
    assert done.returncode == 0, done.stderr
    return options, run, done


def weights_of(run):
    arrays, progress, refused = checkpoint.read(run)
    assert not refused
    digest = hashlib.sha256(
        b"".join(a.tobytes() for group in sorted(arrays) for a in arrays[group])
    )
    return digest.hexdigest(), progress


def rows_of(run):
    with open(run / "log.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "pictures_per_second"}
            for row in csv.DictReader(file)
        ]


def test_a_run_leaves_all_that_is_promised(finished):
    _, run, done = finished
    rows = rows_of(run)
    assert [int(row["step"]) for row in rows] == [5, 10, 15] and int(rows[-1]["pictures"]) == 60
    for row in rows:
        assert (
            0 < float(row["val_loss"]) < 1
            and 0 < float(row["val_relative_mse"]) < 3
            and float(row["variation_CN"]) >= 0
        )
        assert f"(relative MSE {float(row['val_relative_mse']):.4f})" in done.stdout
    names = {path.name for path in run.rglob("*")}
    assert {
        "config.json",
        "manifest.csv",
        "last.keras",
        "best.keras",
        "last.checkpoint",
        "previous.checkpoint",
    } <= names
    assert {"epoch-001.png", "epoch-002.png", "epoch-003.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.startswith(".partial") for name in names)
    assert "no GPU found" in done.stdout
    network, card = model_file.load(run / "best.keras")
    assert (
        card["saturation"] == 1.8
        and card["size"] == 64
        and card["training"]["optimizer"] == "adamw"
    )
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert card["training"]["log"]["val_loss"] == pytest.approx(float(best["val_loss"]))


def test_the_saved_network_is_the_moving_average(finished):
    _, run, _ = finished
    arrays, _, _ = checkpoint.read(run)
    network, _ = model_file.load(run / "last.keras")
    saved, raw = network.get_weights(), arrays["weights"]
    assert not np.allclose(saved[0], raw[0], atol=1e-5)
    averages = [a for a in arrays["optimizer"] if a.shape == saved[0].shape]
    assert any(np.array_equal(saved[0], average) for average in averages)


def test_a_run_starts_with_the_weights_of_another(finished, photographs, tmp_path):
    _, run, _ = finished
    options = [
        "--data",
        photographs,
        *SMALL,
        "--preset",
        "tuned",
        "--warmup",
        0,
        "--epochs",
        1,
        "--learning-rate",
        1e-12,
    ]
    started = tmp_path / "started"
    done = train(
        *options, "--size", 128, "--steps", 1, "--init-from", run / "best.keras", "--run", started
    )
    assert done.returncode == 0, done.stderr
    network, card = model_file.load(started / "best.keras")
    source, before = model_file.load(run / "best.keras")
    enlarged = aciids2020.enlarge(source, {"global_size": 128})
    assert card["training"]["before"] == before["training"] == checkpoint.read(started)[1]["before"]
    assert methods.load(started / "best.keras").pictures == before["training"]["pictures"] + 4
    assert card["size"] == 128 and enlarged[0].any()
    assert all(
        np.allclose(a, b, atol=1e-8) for a, b in zip(network.get_weights(), enlarged, strict=True)
    )


def test_a_checkpoint_that_tells_of_no_run_before_is_taken_up(finished, tmp_path):
    """As those written before networks told where they started."""
    run = shutil.copytree(finished[1], tmp_path / "run")
    arrays, progress, _ = checkpoint.read(run)
    del progress["before"]
    checkpoint.write(run, arrays, progress)
    done = train("--run", run, "--resume")
    assert done.returncode == 0 and "resumed after step 15" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--init-from", "nothing.keras"], "--init-from nothing.keras: no such file"),
        (["--no-edges"], "has edges True, the new network False"),
        (["--input-offset", "0"], "has input_offset -0.5, the new network 0.0"),
        (["--network", "zhang2016"], "has network aciids2020, the new network zhang2016"),
        (["--size", "48"], "was trained at size 64, larger than 48"),
    ],
)
def test_only_the_same_network_is_a_start(flags, reason, finished, photographs, tmp_path):
    _, run, _ = finished
    start = [] if "--init-from" in flags else ["--init-from", run / "best.keras"]
    done = train(
        "--data",
        photographs,
        *SMALL,
        "--preset",
        "tuned",
        *flags,
        *start,
        "--run",
        tmp_path / "run",
    )
    assert (
        done.returncode == 2
        and reason in done.stderr.splitlines()[-1]
        and "Traceback" not in done.stderr
    )


def test_the_events_hold_scalars_and_the_sheet(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run, _ = finished
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("val_relative_mse")] == [1, 2, 3]
    assert [e.value for e in events.Scalars("val_loss")] == pytest.approx(
        [float(r["val_loss"]) for r in rows_of(run)]
    )
    assert events.Images("samples")[0].width == 6 * 64


def test_killed_at_any_step_a_run_goes_on_bit_for_bit(finished, tmp_path):
    options, whole, _ = finished
    run = tmp_path / "killed"
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *map(str, options),
        "--run",
        str(run),
        "--resume",
    ]
    for stop_after in (2, 8):  # inside the first epoch and inside the second
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and step_of(run) < stop_after:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert stop_after <= step_of(run) < 15
    done = train(*options, "--run", run, "--resume")
    assert done.returncode == 0 and "resumed after step" in done.stdout
    assert weights_of(run)[0] == weights_of(whole)[0]
    assert rows_of(run) == rows_of(whole)
    again = train(*options, "--run", run, "--resume")  # nothing is left to do
    assert again.returncode == 0 and rows_of(run) == rows_of(whole)


def step_of(run):
    try:
        return checkpoint.read(run)[1]["step"]
    except (TypeError, OSError):  # none yet, or just being exchanged
        return 0


def test_an_interrupted_run_says_how_to_go_on(finished, tmp_path):
    options, _, _ = finished
    run = tmp_path / "interrupted"
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *map(str, options),
        "--run",
        str(run),
        "--epochs",
        "300",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and step_of(run) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume goes on" in errors and "Traceback" not in errors
    assert f"step {step_of(run)}:" in errors or "after epoch" in errors


def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(tmp_path):
    for step in (1, 2):
        checkpoint.write(tmp_path, {"weights": [np.full(3, step)]}, {"step": step})
    path = tmp_path / "last.checkpoint"
    sound = path.read_bytes()
    assert checkpoint.read(tmp_path)[1] == {"step": 2}
    for place in np.random.default_rng(0).integers(0, len(sound), 50):
        damaged = bytearray(sound)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        arrays, progress, refused = checkpoint.read(tmp_path)
        assert (
            progress == {"step": 1}
            and refused == [str(path)]
            and arrays["weights"][0].tolist() == [1, 1, 1]
        )
    path.write_bytes(sound[: len(sound) // 2])
    assert checkpoint.read(tmp_path)[1] == {"step": 1}
    path.unlink()  # killed between the two moves
    assert checkpoint.read(tmp_path)[1] == {"step": 1}


def test_a_run_folder_is_not_trained_over_and_not_contradicted(finished):
    options, run, _ = finished
    before = weights_of(run)
    taken = train(*options, "--run", run)
    assert taken.returncode == 2 and "holds a run: --resume goes on with it" in taken.stderr
    other = train(*options, "--run", run, "--resume", "--saturation", "1.4")
    assert (
        other.returncode == 2
        and "--saturation 1.4: the run in" in other.stderr
        and "has 1.8" in other.stderr
    )
    assert weights_of(run) == before


def test_as_published_trains_on_the_short_batch_and_keeps_every_network(photographs, tmp_path):
    run = tmp_path / "run"
    done = train("--data", photographs, *SMALL, "--as-published", "--epochs", 2, "--run", run)
    assert done.returncode == 0, done.stderr
    rows = rows_of(run)  # 22 pictures: 5 batches of 4 and one of 2
    assert [int(row["step"]) for row in rows] == [6, 12] and [
        int(row["pictures"]) for row in rows
    ] == [22, 44]
    kept = sorted(path.name for path in run.glob("epoch-*.keras"))
    assert kept == [
        f"epoch-00{i}-{float(r['loss']):.5f}-{float(r['val_loss']):.5f}.keras"
        for i, r in enumerate(rows, 1)
    ]
    assert model_file.load(run / kept[1])[1]["training"]["pictures"] == 44


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch has no float16 convolutions on the CPU"
)
def test_half_precision(photographs, tmp_path):
    done = train(
        "--data",
        photographs,
        *SMALL,
        "--run",
        tmp_path / "run",
        "--steps",
        3,
        "--precision",
        "mixed_float16",
    )
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(tmp_path / "run")
    assert 0 < float(row["loss"]) < 1 and 0 < float(row["val_loss"]) < 1
    network, _ = model_file.load(tmp_path / "run" / "last.keras")
    assert (
        network.get_layer("lfn_conv1").compute_dtype == "float32"
    )  # what is saved does not depend on it


def test_a_dry_run_writes_nothing(photographs, tmp_path):
    done = train("--data", photographs, *SMALL, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    for text in ("22 train, 2 val", "200 steps of 4 pictures", "lfn_conv1", "expected time:"):
        assert text in done.stdout


def test_broken_and_gray_files_do_not_end_a_run(photographs, tmp_path):
    from PIL import Image
    from skimage import data

    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "good").symlink_to(photographs, target_is_directory=True)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.fromarray(data.camera()).save(folder / "gray.png")
    done = train("--data", folder, *SMALL, "--run", tmp_path / "run", "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert "22 train, 2 val, 1 gray, 1 broken" in done.stdout
    assert "broken.jpg,broken" in (tmp_path / "run" / "manifest.csv").read_text()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["steps"] == 2
    assert [row["step"] for row in rows_of(tmp_path / "run")] == ["2"]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_command_runs_on_other_backends(backend, photographs, tmp_path):
    pytest.importorskip(backend)
    environment = os.environ | {"KERAS_BACKEND": backend}
    options = [
        "--data",
        photographs,
        *SMALL,
        "--preset",
        "tuned",
        "--epochs",
        1,
        "--run",
        tmp_path / "run",
    ]
    done = train(*options, env=environment)
    assert done.returncode == 0, done.stderr
    network, _ = model_file.load(tmp_path / "run" / "last.keras")
    assert np.isfinite(network.get_weights()[0]).all() and len(rows_of(tmp_path / "run")) == 1
