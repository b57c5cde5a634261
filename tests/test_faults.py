"""What goes wrong during a run: numbers, disks, other processes, kills. Most is `make soak`."""

import os
import random
import re
import resource
import shutil
import signal
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
import utils
from data import manifest
from data.batches import Batches, Order, crop_and_mirror
from models import aciids2020
from models import file as model_file
from pictures import reader
from training import callbacks, checkpoint
from training.dataset import Dataset
from training.logging import Log
from training.model import TrainingModel, build_model
from training.run import RunError

pytestmark = pytest.mark.slow

NO_DATA = SimpleNamespace(classes=[])  # what building a network without statistics needs of data


@pytest.fixture(scope="module")
def begun(photographs, tmp_path_factory):
    """A run of one epoch of 5 steps."""
    run = tmp_path_factory.mktemp("begun") / "run"
    done = train("--data", photographs, *SMALL, "--epochs", 1, "--run", run)
    assert done.status == 0, done.err
    return run


@pytest.fixture
def copy(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system of so many bytes, where the system lets the tests do so."""
    made = []

    def mount(size):
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", folder], check=True)


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
    """NaN at step 7: it and its pictures are named, and what is kept was written before it."""
    plain, run = TrainingModel.compute_loss, tmp_path / "run"

    def poisoned(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = plain(self, x, y, y_pred, sample_weight, training)
        is_step = self.optimizer.iterations == 6
        return ops.where(is_step, float("nan"), loss) if training else loss

    monkeypatch.setattr(TrainingModel, "compute_loss", poisoned)
    line = one_line(train("--data", photographs, *SMALL, "--epochs", 3, "--run", run))
    assert "the loss is nan at step 7, of the pictures " in line
    assert "the last checkpoint is of step 5;" in line
    rows = manifest.read_manifest(run / "manifest.csv")
    batches = Batches(manifest.paths(rows, "train"), 16, 4, order=Order(0, 1))
    assert line.partition("pictures ")[2].partition("; ")[0].split(", ") == batches.paths(1)
    arrays, progress, damaged = checkpoint.read(run)
    assert progress["step"] == 5 and not damaged and not leftovers(run)
    assert all(np.isfinite(array).all() for group in arrays.values() for array in group)
    assert len(rows_of(run)) == 1


def test_the_pictures_named_are_those_of_the_batch(photographs):
    files = sorted(photographs.rglob("*.png"))
    batches = Batches(files, 32, 4, order=Order(0, 1), steps=range(2, 5))
    for i in range(len(batches)):
        pictures = [reader.read_rgb(path, 32) for path in batches.paths(i)]
        expected = [crop_and_mirror(picture, 32, [0] * 5) for picture in pictures]
        np.testing.assert_array_equal(batches[i][0], np.stack(expected))


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    """The loss may hide them: a ReLU can make 0 of NaN."""
    config = configs.make("tuned", {"width": 0.05, "size": 16, "checkpoint_steps": 1})
    model, _ = build_model(config, 10, NO_DATA, None)
    batches = Batches([f"{i}.png" for i in range(40)], 16, 4, order=Order(0, 0))
    interrupt = SimpleNamespace(asked=False, check=lambda step: None)
    arguments = ({"step": 0}, batches, (), 10, config, interrupt)
    for variables in (model.trained.variables, model.optimizer.variables):
        callback = callbacks.CheckpointCallback(tmp_path, *arguments)
        callback.first = 0
        callback.set_model(model)
        callback.on_train_batch_end(0, {"loss": 0.5})
        variable = next(v for v in variables if len(v.shape) and "float" in v.dtype)
        kept = ops.convert_to_numpy(variable).copy()
        variable.assign(np.full(kept.shape, np.inf))
        with pytest.raises(callbacks.Diverged, match="weights that are not finite"):
            callback.on_train_batch_end(1, {"loss": 0.5})
        with pytest.raises(callbacks.Diverged, match="weights that are not finite"):
            callback.on_epoch_end(0)
        assert checkpoint.read(tmp_path)[1]["step"] == 1
        variable.assign(kept)


# ---- what a run folder holds


def test_a_second_run_in_the_folder_is_refused(begun):
    with utils.lock(begun / "lock"):
        line = refused("--run", begun, "--resume")
    assert line == f"train.py: {begun}: another train.py is at work in it"
    assert utils.lock(begun / "lock").close() is None  # it is free again


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("manifest.csv", lambda text: ""),
        ("manifest.csv", lambda text: text.replace("train", "trane", 1)),
        ("manifest.csv", lambda text: text[: len(text) // 2]),
        ("manifest.csv", lambda text: "".join(text.splitlines(True)[:-3])),
        ("manifest.csv", lambda text: text.replace("00.png", "01.png", 1)),
        ("manifest.csv", lambda text: "".join(map(chr, range(256))) * 9),
        ("manifest.csv", None),
        ("config.json", lambda text: text[: len(text) // 2]),
        ("config.json", lambda text: "[1, 2]"),
        ("config.json", lambda text: text.replace('"batch": 4', '"batch": "many"')),
        ("config.json", lambda text: text.replace('"batch": 4', '"batch": 0')),
        ("config.json", lambda text: text.replace('"batch"', '"bach"')),
        ("config.json", lambda text: text.replace('"data"', '"date"')),
    ],
)
def test_a_damaged_run_folder_is_refused(copy, name, change):
    path = copy / name
    path.unlink() if change is None else path.write_text(change(path.read_text()))
    line = refused("--run", copy, "--resume")
    assert name in line and len(line) < 400
    assert "put back the one of this run, or start anew with another --run" in line


def test_damaged_statistics_say_what_to_do(tmp_path):
    (tmp_path / "statistics.json").write_text("[1, 2")
    with pytest.raises(RunError, match=r"statistics.json: damaged; .* when it is removed"):
        Dataset(configs.make("zhang", {}), []).statistics(None, tmp_path)


def test_the_checkpoint_of_another_network_is_refused(copy):
    model, _ = build_model(configs.make("paper", {"width": 0.1, "size": 16}), 5, NO_DATA, None)
    with pytest.raises(RunError, match=r"is of another network than its config.json"):
        checkpoint.restore(copy, model)


@pytest.mark.parametrize("count", [50, pytest.param(5000, marks=pytest.mark.soak)])
def test_a_byte_changed_anywhere_in_a_checkpoint_is_found_out(tmp_path, count):
    for step in (1, 2):
        checkpoint.write(tmp_path, {"weights": [np.full(300, step)]}, {"step": step})
    path, rng = tmp_path / "last.checkpoint", random.Random(0)
    content = path.read_bytes()
    assert checkpoint.read(tmp_path)[1] == {"step": 2}
    for place in [*range(40), *(rng.randrange(len(content)) for _ in range(count))]:
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


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path):
    arrays = {"weights": [np.arange(10_000.0)]}
    checkpoint.write(tmp_path, arrays, {"step": 1})
    with largest_file(40_000), pytest.raises(OSError):
        checkpoint.write(tmp_path, arrays, {"step": 2})
    assert os.listdir(tmp_path) == ["last.checkpoint"]
    assert checkpoint.read(tmp_path)[1] == {"step": 1}
    shutil.rmtree(tmp_path)
    with pytest.raises(OSError):
        checkpoint.write(tmp_path, arrays, {"step": 2})
    assert not tmp_path.exists()  # a checkpoint without its config.json would be of no use


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    names = ("loss", "relative_mse", "val_loss", "val_relative_mse", "pictures_per_second")
    row, log = dict.fromkeys(names, 0.5) | {"epoch": 1}, Log(tmp_path)
    log.write([row], data.astronaut()[:64, :64])
    for size in (12_000, 10):  # the events; log.csv
        with largest_file(size), pytest.raises(OSError):
            for _ in range(3):
                log.write([row], data.astronaut()[:64, :64])
        assert not leftovers(tmp_path)


def test_training_on_a_full_disk(photographs, tmp_path, small_disk):
    """One line, status 1, nothing half written; with room made, the run goes on to its end."""
    disk = small_disk(150_000)
    options = ("--data", photographs, *SMALL, "--epochs", 2, "--run", disk / "run")
    line = one_line(train(*options))
    assert line.startswith(f"train.py: {disk / 'run'}: No space left on device; ")
    assert not leftovers(disk)
    subprocess.run(["mount", "-o", "remount,size=5m", disk], check=True)
    done = train(*options, "--resume")
    assert done.status == 0, done.err
    assert [int(row["step"]) for row in rows_of(disk / "run")] == [5, 10]


# ---- the long run


def kill_at_random(process, watched, rng, began):
    """Wait until a process `began`, and kill it: at once when it writes in a folder, or later."""
    while process.poll() is None and not began():
        time.sleep(0.005)
    until, writing = time.monotonic() + rng.random(), rng.random() < 0.5
    while process.poll() is None and time.monotonic() < until:
        if writing and leftovers(watched):
            break
        time.sleep(0.0002 if writing else 0.01)
    assert process.poll() is None, "it ended before it was killed"
    process.kill()
    process.communicate()


@pytest.mark.soak
def test_thirty_kills_of_training_change_no_bit(photographs, tmp_path):
    long = ("--batch", 2, "--epochs", 60, "--checkpoint-steps", 1)
    options = ("--data", photographs, *TUNED, *long)
    whole, run = tmp_path / "whole", tmp_path / "killed"
    assert train(*options, "--run", whole).status == 0
    rng, in_writing = random.Random(0), 0
    for _ in range(30):
        before, process = step_of(run), start(*options, "--run", run, "--resume")
        kill_at_random(process, run, rng, lambda before=before: step_of(run) > before)
        in_writing += bool(leftovers(run))
    done = train(*options, "--run", run, "--resume")
    assert done.status == 0 and not leftovers(run) and in_writing, done.err
    assert weights_of(run)[0] == weights_of(whole)[0] and rows_of(run) == rows_of(whole)


@pytest.mark.soak
def test_asked_twice_training_stops_at_once(photographs, tmp_path):
    run = tmp_path / "run"
    for number in (signal.SIGTERM, signal.SIGINT):
        before = step_of(run)
        often = ("--epochs", 3000, "--checkpoint-steps", 1)
        process = start("--data", photographs, *SMALL, *often, "--run", run, "--resume")
        while process.poll() is None and step_of(run) <= before:
            time.sleep(0.02)
        process.send_signal(number)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in err and not leftovers(run)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 16, "global_size": 64}
    path, weights = tmp_path_factory.mktemp("n") / "n.keras", aciids2020.build(**arguments)
    metadata = {"arguments": arguments, "size": 64}
    model_file.save(path, "aciids2020", weights.get_weights(), metadata)
    return path


def colorize(source, out, network):
    command = [sys.executable, ROOT / "test.py", source, out, "--model", network]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def copies(folder, count):
    """A folder of so many different gray pictures."""
    folder.mkdir()
    for i in range(count):
        picture = Image.fromarray(np.roll(data.camera()[::2, ::2], i, axis=1))
        picture.save(folder / f"{i:05}.png", compress_level=1)
    return folder


@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_kills_of_colorizing_leave_complete_pictures(kills, network, tmp_path):
    source, out, rng = copies(tmp_path / "in", 120 * kills), tmp_path / "out", random.Random(0)
    seen = set()

    def more():
        return len(list(out.glob("[!.]*.png"))) > len(seen)

    for _ in range(kills):
        kill_at_random(colorize(source, out, network), out, rng, more)
        for path in set(out.glob("[!.]*.png")) - seen:
            assert reader.read_picture(path).pixels.shape == (256, 256, 3)
            seen.add(path)
    process = colorize(source, out, network)
    text, err = process.communicate()
    assert process.returncode == 0, err
    assert f"{120 * kills - len(seen)} done, {len(seen)} skipped, 0 failed" in text
    assert len(list(out.glob("[!.]*.png"))) == 120 * kills and not leftovers(out)


@pytest.mark.soak
def test_ten_thousand_pictures_take_no_more_memory_nor_files(network, tmp_path):
    source, out = copies(tmp_path / "in", 50), tmp_path / "out"
    for i in range(50, 10_000):
        os.link(source / f"{i % 50:05}.png", source / f"{i:05}.png")
    process, samples = colorize(source, out, network), []  # (pictures, pages, open files)
    while process.poll() is None:
        time.sleep(0.5)
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            samples.append(
                (len(os.listdir(out)), pages, len(os.listdir(f"/proc/{process.pid}/fd")))
            )
        except (OSError, IndexError):
            continue
    assert process.returncode == 0 and len(os.listdir(out)) == 10_001  # with .colorized.json
    early = [s for s in samples if 500 <= s[0] < 2500]
    late = [s for s in samples if 8000 <= s[0] < 10_000]
    (pages, files), (later, last) = (
        [max(s[i] for s in part) for i in (1, 2)] for part in (early, late)
    )
    assert later < 1.05 * pages and last <= files
