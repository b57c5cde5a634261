"""What goes wrong during a run: numbers, disks, other processes, kills."""

import random
import re
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from skimage import data
from test_train import ROOT, SMALL, TUNED, refused, rows_of, start, step_of, train, weights_of

import configs
import test as colorizing
import utils
from models import aciids2020
from models import file as model_file
from pictures import reader
from training import callbacks, checkpoint
from training.model import TrainingModel, build_model
from training.run import RunError

pytestmark = pytest.mark.slow

NO_DATA = SimpleNamespace(classes=[])  # what building a network without statistics needs of data


def leftovers(folder):
    return list(Path(folder).rglob(".partial-*"))


def one_line(done):
    """The one line with which train.py met a fault: status 1, nothing else but progress bars."""
    lines = [line for line in re.split(r"[\r\n]", done.err) if line.strip()]
    (line,) = (line for line in lines if not re.match(r"epoch|scanning", line))
    assert done.status == 1
    return line


# ---- numbers that are none


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="its traced step sees no iterations")
def test_a_loss_that_is_no_number_ends_the_run(photographs, tmp_path, monkeypatch):
    """NaN at step 7: what is kept was written before it."""
    plain, run = TrainingModel.compute_loss, tmp_path / "run"

    def poisoned(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = plain(self, x, y, y_pred, sample_weight, training)
        is_step = self.optimizer.iterations == 6
        return ops.where(is_step, float("nan"), loss) if training else loss

    monkeypatch.setattr(TrainingModel, "compute_loss", poisoned)
    line = one_line(train("--data", photographs, *SMALL, "--epochs", 3, "--run", run))
    assert "not finite after step 10; the last checkpoint is of step 5;" in line
    arrays, progress, damaged = checkpoint.read(run)
    assert progress["step"] == 5 and not damaged and not leftovers(run)
    assert all(np.isfinite(array).all() for group in arrays.values() for array in group)
    assert len(rows_of(run)) == 1


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    """The loss may hide them: a ReLU can make 0 of NaN."""
    config = configs.make("tuned", {"width": 0.05, "size": 16, "checkpoint_steps": 1})
    model, _ = build_model(config, 10, NO_DATA)
    interrupt = SimpleNamespace(asked=False, check=lambda step: None)
    bar = SimpleNamespace(update=lambda count: False)
    for variables in (model.trained.variables, model.optimizer.variables):
        callback = callbacks.EpochCallback(tmp_path, config, {"step": 0}, (), 10, interrupt, bar)
        callback.set_model(model)
        callback.on_train_batch_end(0)
        variable = next(v for v in variables if len(v.shape) and "float" in v.dtype)
        kept = ops.convert_to_numpy(variable).copy()
        variable.assign(np.full(kept.shape, np.inf))
        with pytest.raises(RunError, match="a weight is not finite after step 2"):
            callback.on_train_batch_end(1)
        with pytest.raises(RunError, match="a weight is not finite after step 10"):
            callback.on_epoch_end(0)
        assert checkpoint.read(tmp_path)[1]["step"] == 1
        variable.assign(kept)


# ---- what a run folder holds


DAMAGE = {
    "manifest.csv": [
        lambda text: "",
        lambda text: text.replace("train", "trane", 1),
        lambda text: text[: len(text) // 2],
        lambda text: "".join(text.splitlines(True)[:-3]),
        lambda text: text.replace(",val", ",train", 1),
        lambda text: "".join(map(chr, range(256))) * 9,
    ],
    "config.json": [
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: text.replace('"batch": 4', '"batch": "many"'),
        lambda text: text.replace('"batch": 4', '"batch": 0'),
        lambda text: text.replace('"batch"', '"bach"'),
        lambda text: text.replace('"data"', '"date"'),
    ],
}


def test_a_damaged_or_used_run_folder_is_refused(photographs, tmp_path):
    copy = tmp_path / "run"
    done = train("--data", photographs, *SMALL, "--steps", 1, "--run", copy)
    assert done.status == 0, done.err
    model, _ = build_model(configs.make("paper", {"width": 0.1, "size": 16}), 5, NO_DATA)
    with pytest.raises(RunError, match="is of another network"):
        checkpoint.restore(copy, model)
    with utils.lock(copy / "lock"):
        line = refused("--run", copy, "--resume")
    assert line == f"train.py: {copy}: another train.py is at work in it"
    utils.lock(copy / "lock").close()  # it is free again
    for name, changes in DAMAGE.items():
        path = copy / name
        whole = path.read_text()
        for change in (*changes, None) if name == "manifest.csv" else changes:
            path.write_text(change(whole)) if change else path.unlink()
            line = refused("--run", copy, "--resume")
            assert name in line and len(line) < 400
            assert "put back those of this run, or start anew with another --run" in line
        path.write_text(whole)


def test_a_byte_changed_anywhere_in_a_checkpoint_is_found_out(tmp_path):
    for step in (1, 2):
        checkpoint.write(tmp_path, {"weights": [np.full(300, step)]}, {"step": step})
    path, rng = tmp_path / "last.checkpoint", random.Random(0)
    content = path.read_bytes()
    assert checkpoint.read(tmp_path)[1] == {"step": 2}
    for place in [*range(40), *(rng.randrange(len(content)) for _ in range(50))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        arrays, progress, found = checkpoint.read(tmp_path)
        assert progress == {"step": 1} and found == [str(path)] and arrays["weights"][0][0] == 1
    path.write_bytes(content[: len(content) // 2])
    assert checkpoint.read(tmp_path)[1] == {"step": 1}
    path.unlink()  # killed between the two moves
    assert checkpoint.read(tmp_path)[1] == {"step": 1}
    (tmp_path / "previous.checkpoint").write_bytes(b"nothing")
    with pytest.raises(RunError, match="all checkpoints in .* are damaged"):
        checkpoint.restore(tmp_path, None)


# ---- disks


@contextmanager
def largest_file(size):
    """No file may grow larger in this process: writing fails where it does, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [10, 10_000, 100_000])
def test_training_on_a_full_disk(size, photographs, tmp_path):
    """One line, status 1, nothing half written; with room made, the run goes on to its end."""
    run = tmp_path / "run"
    options = ("--data", photographs, *SMALL, "--epochs", 2, "--run", run)
    with largest_file(size):
        done = train(*options)
    line = one_line(done)
    assert line.startswith(f"train.py: {run}: ") and not leftovers(tmp_path)
    assert line.endswith("--resume then begins anew: none is saved yet")
    done = train(*options, "--resume")
    assert done.status == 0, done.err
    assert [int(row["step"]) for row in rows_of(run)] == [5, 10]


@pytest.mark.soak
def test_thirty_kills_of_training_change_no_bit(photographs, tmp_path):
    """At once when it writes, or later."""
    long = ("--batch", 2, "--epochs", 60, "--checkpoint-steps", 1)
    options = ("--data", photographs, *TUNED, *long)
    whole, run = tmp_path / "whole", tmp_path / "killed"
    assert train(*options, "--run", whole).status == 0
    rng, in_writing = random.Random(0), 0
    for _ in range(30):
        before, process = step_of(run), start(*options, "--run", run, "--resume")
        while process.poll() is None and step_of(run) <= before:
            time.sleep(0.005)
        until, writing = time.monotonic() + rng.random(), rng.random() < 0.5
        while time.monotonic() < until and not (writing and leftovers(run)):
            time.sleep(0.0002 if writing else 0.01)
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        process.communicate()
        in_writing += bool(leftovers(run))
    done = train(*options, "--run", run, "--resume")
    assert done.status == 0 and not leftovers(run) and in_writing, done.err
    assert weights_of(run)[0] == weights_of(whole)[0] and rows_of(run) == rows_of(whole)


def test_kills_of_colorizing_leave_complete_pictures(tmp_path, capsys):
    network, source, out = (tmp_path / name for name in ("n.keras", "in", "out"))
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 16, "global_size": 64}
    weights = aciids2020.build(**arguments).get_weights()
    model_file.save(network, "aciids2020", weights, {"arguments": arguments, "size": 64})
    source.mkdir()
    for i in range(120):
        picture = Image.fromarray(np.roll(data.camera()[::2, ::2], i, axis=1))
        picture.save(source / f"{i:05}.png", compress_level=1)
    arguments = [str(word) for word in (source, out, "--model", network)]
    process = subprocess.Popen([sys.executable, ROOT / "test.py", *arguments])
    while process.poll() is None and len([*out.glob("[!.]*.png")]) < 5:
        time.sleep(0.005)
    assert process.poll() is None
    process.kill()
    process.wait()
    seen = [*out.glob("[!.]*.png")]
    assert all(reader.read_picture(path).pixels.shape == (256, 256, 3) for path in seen)
    assert colorizing.main(arguments) == 0
    done = f"{120 - len(seen)} done, {len(seen)} skipped, 0 failed"
    assert done in capsys.readouterr().out
    assert len([*out.glob("[!.]*.png")]) == 120 and not leftovers(out)
