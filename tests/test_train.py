"""The trainer: the log, the command line, runs that are stopped, killed and resumed."""

import contextlib
import csv
import gc
import hashlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage import data

import configs
import train as script
from evaluation import methods
from models import aciids2020
from models import file as model_file
from training import callbacks, checkpoint
from training.logging import Log, variation
from training.model import TrainingModel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SMALL = ("--width", 0.05, "--size", 16, "--batch", 4)
# all that has state: moving average, faults, crops, cosine
TUNED = (*SMALL, "--preset", "tuned", "--degrade", 0.5, "--warmup", 2, "--epochs", 3)


def train(*arguments):
    """main() of train.py in this process: its status, and what it prints."""
    kept = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            script.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
    for number, handler in kept:
        signal.signal(number, handler)
    gc.collect()
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def refused(*arguments):
    """The one line with which train.py refuses a command."""
    done = train(*arguments)
    assert done.status == 2, (done.out, done.err)
    return done.err.splitlines()[-1]


def start(*arguments):
    """train.py in a process of its own, as a user starts it."""
    command = [sys.executable, ROOT / "train.py", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def weights_of(run):
    arrays, progress, damaged = checkpoint.read(run)
    assert not damaged
    groups = [a.tobytes() for group in sorted(arrays) for a in arrays[group]]
    return hashlib.sha256(b"".join(groups)).hexdigest(), progress


def rows_of(run):
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {"pictures_per_second": None} for row in rows]


def step_of(run):
    try:
        return checkpoint.read(run)[1]["step"]
    except (TypeError, OSError):  # none yet, or just being exchanged
        return 0


def test_a_dead_classification_network_is_reported(tmp_path, capsys):
    draws = np.random.default_rng(0).standard_normal((2000, 50))
    for features, expected in ((np.ones((10, 5)), 0), (draws, 1), (1e6 + draws, 1e-6)):
        assert variation(features) == pytest.approx(expected, rel=0.01)
    arguments = {"width": 1 / 16, "global_size": 64, "input_scale": 0.01}
    network = aciids2020.build(**arguments, initializer="he_gentle")
    pictures = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3)).astype(np.uint8)
    log = Log(tmp_path, network, aciids2020.BRANCHES, pictures)
    row = dict.fromkeys(("loss", "relative_mse", "val_loss", "val_relative_mse"), 0.5)
    row |= {"epoch": 1, "pictures_per_second": 1.0}
    for dead in (False, True):
        if dead:
            layer = network.get_layer("cn_conv10")
            layer.set_weights([layer.get_weights()[0], np.array([-1e6])])
        found = log.variation(network.get_weights())
        assert (found["variation_CN"] == 0) == dead
        assert found["variation_LFN"] > 0.01 and found["variation_EDN"] > 0.01
        log.write([row | found], network.get_weights())
        assert ("branch CN is dead" in capsys.readouterr().out) == dead


# --- options


def test_the_defaults_are_the_papers():
    assert all(configs.check(config) for config in configs.PRESETS.values())
    c = configs.Config()
    assert (c.size, c.batch, c.epochs, c.saturation, c.validation) == (256, 16, 40, 1.8, 0.1)
    assert (c.optimizer, c.learning_rate, c.schedule) == ("sgd", 0.01, "plateau")
    assert (c.input_scale, c.input_offset, c.clip_saturation, c.crop) == (1, 0, False, 1)


REFUSALS = """
--run r | --data DIR is needed
--data . | the following arguments are required: --run
--data nowhere --run r | nowhere: no such folder
--data . --run 0.png | --run 0.png: not a folder
--data . --run r --epoch 3 | unrecognized arguments: --epoch
--data . --run r --batch many | invalid int value: 'many'
--data . --run r --batch 0 | --batch 0: 1 or more
--data . --run r --saturation nan | --saturation nan: 0 or more
--data . --run r --size 100 | --size 100: a multiple of 8
--data . --run r --size 72 --network efficientnet_unet | a multiple of 32 for
--data . --run r --width 3 | --width 3.0: 0.001 to 2
--data . --run r --network zhang2016 --no-edges | --no-edges: zhang2016 has no edge
--data . --run r --labels-from-folders | aciids2020 has no classifier
--data . --run r --as-published --mirror | --as-published: goes without
--data . --run r --warmup 3 | --warmup: goes with --schedule cosine
--data . --run r --load-size 128 | --load-size 128: below --size
--data . --run r --load-size 300 --crop 0.5 | --load-size: goes without --crop
--data . --run r --init-from nothing.keras | nothing.keras: no such file
--data . --run r --coordinator localhost:1 | --coordinator and --process go together
--data . --run r | too few pictures: 0 to train on at batch 16
--data . --run r --init-from 0.png | 0.png:
"""


def test_refusals_are_one_clear_line_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.camera()).save("0.png")
    for line in REFUSALS.strip().splitlines():
        arguments, reason = line.split(" | ")
        assert reason in refused(*arguments.split()), line
        assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


@pytest.mark.parametrize(
    ("error", "words"),  # the backends' own words
    [
        (RuntimeError("RESOURCE_EXHAUSTED: ..."), "out of memory: a smaller --batch"),
        (RuntimeError("CUDA out of memory"), "out of memory: a smaller --batch"),
        (OSError(28, "No space left"), "No space left; --resume then goes on from the last"),
        (RuntimeError("other"), None),
    ],
)
def test_what_a_step_may_meet_is_one_line(error, words, photographs, tmp_path, monkeypatch):
    def fit(*arguments, **options):
        (tmp_path / "run/last.checkpoint").touch()
        raise error

    monkeypatch.setattr(TrainingModel, "fit", fit)
    arguments = ("--data", photographs, *SMALL, "--run", tmp_path / "run")
    with pytest.raises(RuntimeError) if not words else contextlib.nullcontext():
        done = train(*arguments)
        assert done.status == 1 and words in done.err.splitlines()[-1]


# --- runs


@pytest.fixture(scope="module")
def finished(photographs, tmp_path_factory):
    """A run of 3 epochs of 5 steps."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = train("--data", photographs, *TUNED, "--run", run)
    assert done.status == 0, done.err
    return run, done.out


def test_a_run_leaves_all_that_is_promised(finished):
    run, out = finished
    rows = rows_of(run)
    assert [int(row["step"]) for row in rows] == [5, 10, 15] and int(rows[-1]["pictures"]) == 60
    for row in rows:
        assert 0 < float(row["val_loss"]) < 1 and float(row["variation_CN"]) >= 0
        assert f"(relative MSE {float(row['val_relative_mse']):.4f})" in out
    names = {"config.json", "manifest.csv", "last.checkpoint", "previous.checkpoint", "log.csv"}
    names |= {"last.keras", "best.keras", "samples", "lock"}
    assert {path.name for path in run.iterdir()} == names
    sheets = [Image.open(path).width for path in sorted(run.glob("samples/epoch-00[123].png"))]
    assert sheets == [6 * 16] * 3
    metadata = model_file.load(run / "best.keras")[1]
    assert metadata["saturation"] == 1.8 and metadata["size"] == 16
    losses = [float(row["val_loss"]) for row in rows]
    assert metadata["training"]["log"]["val_loss"] == pytest.approx(min(losses))
    # what is saved is the moving average
    arrays, saved = checkpoint.read(run)[0], model_file.load(run / "last.keras")[0].get_weights()[0]
    averages = [a for a in arrays["optimizer"] if a.shape == saved.shape]
    assert not np.array_equal(saved, arrays["weights"][0])
    assert any(np.array_equal(saved, average) for average in averages)


def test_killed_a_run_goes_on_bit_for_bit(finished, photographs, tmp_path):
    run, whole = tmp_path / "run", finished[0]
    options = ("--data", photographs, *TUNED, "--checkpoint-steps", 1, "--run", run, "--resume")
    process = start(*options)
    while process.poll() is None and step_of(run) < 7:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert 7 <= step_of(run) < 15
    for _ in range(2):  # at the second time nothing is left to do
        done = train(*options)
        assert done.status == 0 and "resumed after step" in done.out, done.err
        assert weights_of(run)[0] == weights_of(whole)[0] and rows_of(run) == rows_of(whole)


def stop_at(step):
    """In place of Interrupt.check: ask for a stop at this step."""
    return lambda self, now: setattr(self, "asked", now == step)


def test_the_papers_preset_goes_on_bit_for_bit(photographs, tmp_path, monkeypatch):
    options = ("--data", photographs, *SMALL, "--epochs", 2)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(*options, "--run", whole).status == 0
    for step, where in ((5, "after epoch 1"), (8, "at step 8")):
        with monkeypatch.context() as patch:
            patch.setattr(callbacks.Interrupt, "check", stop_at(step))
            done = train(*options, "--run", run, "--resume")
        assert done.status == 130 and f"stopped and saved {where}: " in done.err
        assert step_of(run) == step
    assert train("--run", run, "--resume").status == 0
    assert weights_of(run) != weights_of(whole)  # of the speed
    assert weights_of(run)[0] == weights_of(whole)[0] and rows_of(run) == rows_of(whole)


def test_ctrl_c_stops_and_says_how_to_go_on(photographs, tmp_path):
    run = tmp_path / "run"
    often = ("--epochs", 300, "--checkpoint-steps", 1)
    process = start("--data", photographs, *SMALL, *often, "--run", run)
    while process.poll() is None and step_of(run) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "--resume goes on" in err and "Traceback" not in err
    assert f"step {step_of(run)}:" in err or "after epoch" in err


def test_a_run_begins_with_the_weights_of_another(finished, photographs, tmp_path, monkeypatch):
    source_file, run = tmp_path / "first.keras", tmp_path / "run"
    source_file.write_bytes((finished[0] / "best.keras").read_bytes())
    monkeypatch.chdir(tmp_path)  # the path is kept as an absolute one
    options = ("--data", photographs, *SMALL, "--preset", "tuned", "--warmup", 0, "--size", 32)
    options += ("--init-from", "first.keras", "--run", run)
    for flags, reason in (
        (("--no-edges",), "has edges True, the new network False"),
        (("--input-offset", 0), "has input_offset -0.5, the new network 0.0"),
        (("--network", "zhang2016"), "has network aciids2020, the new network zhang2016"),
    ):
        assert reason in refused(*options, *flags)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Interrupt, "check", stop_at(1))
        done = train(*options, "--epochs", 2, "--learning-rate", 1e-12)
    assert done.status == 130, done.err
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["init_from"] == str(source_file)
    source, before = model_file.load(source_file)
    source_file.unlink()  # nothing of it is needed any more
    monkeypatch.chdir(ROOT)
    done = train("--run", run, "--resume")
    assert done.status == 0 and "resumed after step 1" in done.out, done.err
    network, metadata = model_file.load(run / "best.keras")
    enlarged = aciids2020.enlarge(source, {"global_size": 32})
    for a, b in zip(network.get_weights(), enlarged, strict=True):
        assert np.allclose(a, b, atol=1e-8)
    assert metadata["training"]["before"] == before["training"] == weights_of(run)[1]["before"]
    seen = metadata["training"]["pictures"] + before["training"]["pictures"]
    assert methods.Network(run / "best.keras").pictures == seen
    for name in checkpoint.NAMES:  # as after a stop before the first checkpoint
        (run / name).unlink(missing_ok=True)
    assert f"{source_file}: no such file" in refused("--run", run, "--resume")


def test_a_run_folder_is_not_trained_over_and_not_contradicted(finished, photographs, tmp_path):
    run, before = finished[0], weights_of(finished[0])
    options = ("--data", photographs, *TUNED, "--run", run)
    assert "holds a run: --resume goes on with it" in refused(*options)
    line = refused(*options, "--resume", "--saturation", 1.4)
    assert "--saturation 1.4: the run in" in line and "has 1.8" in line
    line = refused("--data", tmp_path, "--run", run, "--resume")
    assert f"{tmp_path}" in line and f"has ['{photographs}']; leave it out" in line
    assert weights_of(run) == before


def test_as_published_trains_on_the_short_batch_and_keeps_every_network(photographs, tmp_path):
    """On pictures beside damaged, gray and hidden files, which are left out."""
    run, folder = tmp_path / "run", tmp_path / "data"
    (folder / "@eaDir").mkdir(parents=True)
    (folder / "good").symlink_to(photographs, target_is_directory=True)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    for name in ("gray.png", "@eaDir/thumb.png"):
        Image.fromarray(data.camera()).save(folder / name)
    options = ("--as-published", "--epochs", 2, "--precision", "mixed_bfloat16", "--run", run)
    done = train("--data", folder, *SMALL, *options)
    assert done.status == 0, done.err
    assert "22 train, 2 val, 1 gray, 1 broken" in done.out and "plan: 12 steps of 4" in done.out
    assert "left out: " in done.err and "@eaDir, hidden or of the system" in done.err
    rows = rows_of(run)  # 22 pictures: 5 batches of 4 and one of 2
    assert [(row["step"], row["pictures"]) for row in rows] == [("6", "22"), ("12", "44")]
    losses = [[f"{float(row[name]):.5f}" for name in ("loss", "val_loss")] for row in rows]
    names = [f"epoch-00{i}-{'-'.join(pair)}.keras" for i, pair in enumerate(losses, 1)]
    assert sorted(path.name for path in run.glob("epoch-*.keras")) == names
    network, metadata = model_file.load(run / names[1])
    assert metadata["training"]["pictures"] == 44
    assert network.get_layer("lfn_conv1").compute_dtype == "float32"  # however it was trained
