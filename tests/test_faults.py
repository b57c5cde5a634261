"""What goes wrong while a run goes on: numbers, disks, other processes, kills. The long ones are `make soak`."""

import json
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
from PIL import Image
from skimage import data
from test_train import SMALL, rows_of, train, weights_of

import configs
import train as script
import utils
from data import manifest
from data.batches import Batches, Order, crop_and_mirror
from models import aciids2020
from models import file as model_file
from pictures import reader
from training import checkpoint
from training.callbacks import Diverged
from training.dataset import Dataset
from training.logging import Log
from training.model import build_model
from training.run import RunError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NO_DATA = SimpleNamespace(
    classes=[]
)  # all that building a network without statistics reads of a Dataset


@pytest.fixture(scope="module")
def begun(photographs, tmp_path_factory):
    """A run of one epoch of 5 steps."""
    run = tmp_path_factory.mktemp("begun") / "run"
    done = train("--data", photographs, *SMALL, "--epochs", 1, "--run", run)
    assert done.returncode == 0, done.stderr
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
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
        ).returncode:
            pytest.skip("no file system can be mounted here")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", folder], check=True)


def refused(*arguments, monkeypatch, capsys):
    """The one line with which train.py refuses a command, before it has begun anything."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        script.main(configs.parse_training())
    *_, line = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    return line


def leftovers(folder):
    return list(Path(folder).rglob(".partial-*"))


def ended_well(done):
    """The one line with which train.py met a fault: status 1, no traceback, nothing else but progress bars."""
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = (
        line
        for line in re.split(r"[\r\n]", done.stderr)
        if line.strip() and not re.match(r"epoch|scanning", line)
    )
    return line


# ---- numbers that are none


RUN = "import sys, train; sys.argv = sys.argv[1:]; {}; train.main(train.configs.parse_training())"


def run_patched(patch, *arguments):
    """train.py with a line of Python run before it."""
    command = [sys.executable, "-c", RUN.format(patch), "train.py"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


POISON = """
import keras
from keras import ops
from training.model import TrainingModel
plain = TrainingModel.compute_loss
def poisoned(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
    loss = plain(self, x, y, y_pred, sample_weight, training)
    return ops.where(self.optimizer.iterations == STEP - 1, float("nan"), loss) if training else loss
TrainingModel.compute_loss = poisoned
"""


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="a traced step of JAX does not see at which step it is"
)
@pytest.mark.parametrize(
    ("step", "every", "kept"), [(7, 500, 5), pytest.param(8, 1, 7, marks=pytest.mark.soak)]
)
def test_a_loss_that_is_no_number_ends_the_run(step, every, kept, photographs, tmp_path):
    """NaN at one step: it and its pictures are named, and what is kept was written before it."""
    run = tmp_path / "run"
    options = [
        "--data",
        photographs,
        *SMALL,
        "--epochs",
        3,
        "--checkpoint-steps",
        every,
        "--run",
        run,
    ]
    line = ended_well(run_patched(f"exec({POISON.replace('STEP', str(step))!r})", *options))
    assert (
        f"the loss is nan at step {step}, of the pictures " in line
        and f"the last checkpoint is of step {kept};" in line
    )
    rows = manifest.read_manifest(run / "manifest.csv")
    batches = Batches(manifest.paths(rows, "train"), 64, 4, order=Order(0, 1))
    named = line.partition("pictures ")[2].partition("; ")[0].split(", ")
    assert named == batches.paths(step - 6) and all(os.path.isfile(path) for path in named)
    arrays, progress, bad = checkpoint.read(run)
    assert progress["step"] == kept and not bad and not leftovers(run)
    assert all(np.isfinite(array).all() for group in arrays.values() for array in group)
    assert len(rows_of(run)) == 1


def test_the_pictures_named_are_those_of_the_batch(photographs):
    rows = manifest.scan_dataset([photographs], progress=False)
    batches = Batches(manifest.paths(rows, "train"), 32, 4, order=Order(0, 1), steps=range(2, 5))
    for i in range(len(batches)):
        expected = [
            crop_and_mirror(reader.read_rgb(path, 32), 32, [0] * 5) for path in batches.paths(i)
        ]
        np.testing.assert_array_equal(batches[i][0], np.stack(expected))


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    """The loss may hide them: a ReLU can make 0 of NaN."""
    model, _ = build_model(configs.make("tuned", {"width": 1 / 16, "size": 64}), 10, NO_DATA, None)
    batches = Batches([f"{i}.png" for i in range(40)], 64, 4, order=Order(0, 0))
    interrupt = type("Interrupt", (), {"asked": False, "check": lambda self, step: None})()
    for kind in ("weights", "optimizer"):
        keeper = script.CheckpointCallback(tmp_path, {"step": 0}, batches, (), 10, 1, interrupt)
        keeper.set_model(model)
        keeper.on_train_batch_end(0, {"loss": 0.5})
        assert checkpoint.read(tmp_path)[1]["step"] == 1
        variables = {"weights": model.trained.variables, "optimizer": model.optimizer.variables}[
            kind
        ]
        variable = next(v for v in variables if len(v.shape) and "float" in v.dtype)
        sound = keras.ops.convert_to_numpy(variable).copy()
        variable.assign(np.full(sound.shape, np.inf))
        for late in (
            lambda keeper=keeper: keeper.on_train_batch_end(1, {"loss": 0.5}),
            lambda keeper=keeper: keeper.on_epoch_end(0),
        ):
            with pytest.raises(Diverged, match="weights that are not finite"):
                late()
        assert checkpoint.read(tmp_path)[1]["step"] == 1
        variable.assign(sound)


# ---- two processes


def test_a_second_run_in_the_folder_is_refused(begun, photographs, monkeypatch, capsys):
    with utils.lock(begun / "lock"):
        line = refused("--run", begun, "--resume", monkeypatch=monkeypatch, capsys=capsys)
    assert line == f"train.py: {begun}: another train.py is at work in it"
    assert utils.lock(begun / "lock").close() is None  # it is free again


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = "import sys, time, utils; held = utils.lock(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"], cwd=ROOT, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert utils.lock(tmp_path / "lock") is None
    process.kill()
    process.wait()
    process.stdout.close()
    with utils.lock(tmp_path / "lock") as held:
        assert held


def test_leftovers_are_removed_but_not_those_of_a_living_process(tmp_path):
    (tmp_path / ".partial-0123abcd-a.png").write_bytes(b"half")
    (tmp_path / ".partial-of-mine.png").write_bytes(b"another name")
    (tmp_path / "a.png").write_bytes(b"whole")
    with utils.atomic(tmp_path / "b.png") as living:
        living.write_bytes(b"half")
        utils.remove_leftovers(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted(
            [living.name, ".partial-of-mine.png", "a.png"]
        )
    assert sorted(os.listdir(tmp_path)) == [".partial-of-mine.png", "a.png", "b.png"]
    utils.remove_leftovers(tmp_path / "nowhere")


# ---- what a run folder holds


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
        ("config.json", lambda text: ""),
        ("config.json", lambda text: text[: len(text) // 2]),
        ("config.json", lambda text: "[1, 2]"),
        ("config.json", lambda text: text.replace('"batch": 4', '"batch": "many"')),
        ("config.json", lambda text: text.replace('"batch": 4', '"batch": 0')),
        ("config.json", lambda text: text.replace('"batch"', '"bach"')),
        ("config.json", lambda text: text.replace('"data"', '"date"')),
    ],
)
def test_a_damaged_run_folder_is_refused(copy, name, change, monkeypatch, capsys):
    path = copy / name
    path.unlink() if change is None else path.write_text(change(path.read_text()))
    line = refused("--run", copy, "--resume", monkeypatch=monkeypatch, capsys=capsys)
    assert (
        name in line
        and "put back the one of this run, or start anew with another --run" in line
        and len(line) < 400
    )


def test_the_checkpoint_of_another_network_is_refused(copy):
    for width, known in ((1 / 16, True), (1 / 8, False)):
        model, _ = build_model(
            configs.make("paper", {"width": width, "size": 64}), 5, NO_DATA, None
        )
        if known:
            assert checkpoint.restore(copy, model)["step"] == 5
            continue
        with pytest.raises(RunError, match="is of another network than its config.json"):
            checkpoint.restore(copy, model)


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_a_byte_changed_anywhere_in_a_checkpoint_is_found_out(copy, count):
    (copy / "previous.checkpoint").unlink(missing_ok=True)
    path, rng = copy / "last.checkpoint", random.Random(0)
    sound = path.read_bytes()
    assert checkpoint.read(copy)[1]["step"] == 5 and len(sound) > 100_000
    for place in [*range(40), *(rng.randrange(len(sound)) for _ in range(count)), len(sound) - 1]:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        assert checkpoint.read(copy) == (None, None, [str(path)])


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
    assert os.listdir(tmp_path) == ["last.checkpoint"] and checkpoint.read(tmp_path)[1] == {
        "step": 1
    }
    shutil.rmtree(tmp_path)
    with pytest.raises(OSError):
        checkpoint.write(tmp_path, arrays, {"step": 2})
    assert not tmp_path.exists()  # a checkpoint alone, without its config.json, would be of no use


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    row = dict.fromkeys(
        ("loss", "relative_mse", "val_loss", "val_relative_mse", "pictures_per_second"), 0.5
    ) | {"epoch": 1}
    log = Log(tmp_path)
    log.write([row], data.astronaut()[:64, :64])
    for name, size in (("tensorboard", 12_000), ("log.csv", 10)):
        with largest_file(size), pytest.raises(OSError):
            for _ in range(3):
                log.write([row], data.astronaut()[:64, :64])
        assert not leftovers(tmp_path), name


@pytest.mark.parametrize("command", [["evaluate.py", "--size", "64"], ["figures.py", "saturation"]])
def test_measuring_on_a_full_disk_is_one_line(command, photographs, tmp_path):
    script, *options = command
    options += ["--data", photographs, "--limit", "1", "--out", tmp_path / "out"]
    with largest_file(100):
        done = subprocess.run(
            [sys.executable, ROOT / script, *map(str, options)], capture_output=True, text=True
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert (
        line.startswith(f"{script}: ")
        and line.endswith("File too large")
        and not leftovers(tmp_path / "out")
    )


@pytest.mark.parametrize(
    "size",
    [
        250_000,
        *(pytest.param(s, marks=pytest.mark.soak) for s in (4_000, 320_000, 700_000, 950_000)),
    ],
)
def test_training_on_a_full_disk(size, photographs, tmp_path, small_disk):
    """One line, status 1, nothing half written; with room made, the run goes on and ends as it would have."""
    disk = small_disk(size)
    options = ["--data", photographs, *SMALL, "--epochs", 2, "--run", disk / "run"]
    line = ended_well(train(*options))
    assert line.startswith(
        f"train.py: {disk / 'run'}: No space left on device; "
    ) and not leftovers(disk)
    subprocess.run(["mount", "-o", "remount,size=5m", disk], check=True)
    done = train(*options, "--resume")
    assert done.returncode == 0, done.stderr
    assert [int(row["step"]) for row in rows_of(disk / "run")] == [5, 10]


@pytest.mark.soak
def test_training_into_a_folder_that_vanishes_or_cannot_be_written(
    photographs, tmp_path, small_disk
):
    disk = small_disk("5m")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "Read-only file system" in ended_well(
        train("--data", photographs, *SMALL, "--run", disk / "run")
    )
    run = tmp_path / "run"
    gone = f"lambda self, *_: (self.finite_state(5), shutil.rmtree({str(run)!r}))"
    patch = f"import shutil; train.CheckpointCallback.on_epoch_end = {gone}"
    line = ended_well(
        run_patched(
            patch + "; train.update_batch_norm = None", "--data", photographs, *SMALL, "--run", run
        )
    )
    assert f"{run}: No such file or directory" in line and not run.exists()


# ---- the long run


def kill_at_random(command, watched, rng, began):
    """Start a command, wait until it `began`, and kill it: at once when it writes in a folder, or at any moment."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not began():
        time.sleep(0.005)
    until, writing = time.monotonic() + rng.random(), rng.random() < 0.5
    while (
        process.poll() is None and time.monotonic() < until and not (writing and leftovers(watched))
    ):
        time.sleep(0.0002 if writing else 0.01)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    return not ended


@pytest.mark.soak
def test_thirty_kills_of_training_change_no_bit(photographs, tmp_path):
    options = [
        "--data",
        photographs,
        *SMALL,
        "--batch",
        2,
        "--preset",
        "tuned",
        "--warmup",
        2,
        "--epochs",
        60,
    ]
    options += ["--checkpoint-steps", 1]
    whole, run = tmp_path / "whole", tmp_path / "killed"
    assert train(*options, "--run", whole).returncode == 0
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *map(str, options),
        "--run",
        str(run),
        "--resume",
    ]
    rng, kills, in_writing = random.Random(0), 0, 0
    while kills < 30:
        stamp = time.time_ns()

        def began(stamp=stamp):
            try:
                return (run / "last.checkpoint").stat().st_mtime_ns > stamp
            except OSError:
                return False

        assert kill_at_random(command, run, rng, began), f"the run ended after {kills} kills"
        kills += 1
        in_writing += bool(leftovers(run))
    print(
        f"{kills} kills, {in_writing} while a file was written, the last after step {checkpoint.read(run)[1]['step']}"
    )
    done = train(*options, "--run", run, "--resume")
    assert done.returncode == 0, done.stderr
    assert weights_of(run)[0] == weights_of(whole)[0]
    assert rows_of(run) == rows_of(whole) and not leftovers(run) and in_writing


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    keras.utils.set_random_seed(0)
    arguments, path = (
        {"width": 1 / 16, "global_size": 64},
        tmp_path_factory.mktemp("network") / "tiny.keras",
    )
    weights = aciids2020.build(**arguments).get_weights()
    model_file.save(path, "aciids2020", weights, {"arguments": arguments, "size": 64})
    return path


def copies(folder, count):
    """A folder of so many different gray pictures."""
    folder.mkdir()
    for i in range(count):
        Image.fromarray(np.roll(data.camera()[::2, ::2], i, axis=1)).save(
            folder / f"{i:05}.png", compress_level=1
        )
    return folder


@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_kills_of_colorizing_leave_whole_pictures(kills, network, tmp_path):
    source = copies(tmp_path / "in", 120 * kills)
    out, whole, rng, in_writing, seen = tmp_path / "out", "[!.]*.png", random.Random(0), 0, set()
    command = [
        sys.executable,
        str(ROOT / "test.py"),
        str(source),
        str(out),
        "--model",
        str(network),
    ]
    for kill in range(kills):
        stamp = len(seen)
        assert kill_at_random(
            command, out, rng, lambda stamp=stamp: len(list(out.glob(whole))) > stamp
        ), f"done at {kill}"
        in_writing += bool(leftovers(out))
        for path in set(out.glob(whole)) - seen:
            assert reader.read_picture(path).pixels.shape == (256, 256, 3)
            seen.add(path)
    print(
        f"{kills} kills, {in_writing} while a file was written, the last after {len(seen)} pictures"
    )
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 0
        and f"{120 * kills - len(seen)} done, {len(seen)} skipped, 0 failed" in done.stdout
    )
    assert (
        len(list(out.glob(whole))) == 120 * kills
        and not leftovers(out)
        and (in_writing or kills == 1)
    )


@pytest.mark.soak
def test_ten_thousand_pictures_take_no_more_memory_nor_files(network, tmp_path):
    source = copies(tmp_path / "in", 50)
    for i in range(50, 10_000):
        os.link(source / f"{i % 50:05}.png", source / f"{i:05}.png")
    command = [
        sys.executable,
        str(ROOT / "test.py"),
        str(source),
        str(tmp_path / "out"),
        "--model",
        str(network),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples = []  # (pictures, bytes, open files)
    while process.poll() is None:
        time.sleep(0.5)
        try:
            status = Path(f"/proc/{process.pid}/statm").read_text().split()
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
            samples.append((len(os.listdir(tmp_path / "out")), int(status[1]) * 4096, files))
        except (OSError, IndexError):
            continue
    assert (
        process.returncode == 0 and len(os.listdir(tmp_path / "out")) == 10_001
    )  # with .colorized.json
    early, late = (
        [s for s in samples if low <= s[0] < high] for low, high in ((500, 2500), (8000, 10_000))
    )
    memory, files = ([max(s[i] for s in part) for part in (early, late)] for i in (1, 2))
    print(
        f"memory {memory[0] / 1e6:.0f} and {memory[1] / 1e6:.0f} MB, open files {files[0]} and {files[1]}"
    )
    assert memory[1] < 1.05 * memory[0] and files[1] <= files[0]


@pytest.mark.parametrize("count", [pytest.param(3000, marks=pytest.mark.soak)])
def test_a_tree_with_one_broken_file_in_a_hundred_trains_to_the_end(count, tmp_path):
    """As Places2 is laid out, /letter/scene/number.jpg; files of every kind of damage, a pipe and a loop of links."""
    rng, tree = random.Random(0), tmp_path / "tree"
    picture = data.astronaut()
    for i in range(count):
        path = tree / "abf"[i % 3] / ("bamboo_forest", "beach", "field")[i % 3] / f"{i:08}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        top, left = rng.randrange(400), rng.randrange(400)
        Image.fromarray(picture[top : top + 96, left : left + 96]).save(path, quality=90)
        if i % 100 == 50:
            whole = path.read_bytes()
            path.unlink()
            broken = (b"", b"text", whole[:300], whole[: len(whole) // 2], os.urandom(1000), None)[
                i // 100 % 6
            ]
            os.mkfifo(path) if broken is None else path.write_bytes(broken)
    (tree / "a" / "loop").symlink_to(tree)
    done = train(
        "--data", tree, *SMALL, "--batch", 16, "--epochs", 2, "--run", tmp_path / "run", timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert f", 0 gray, {count // 100} broken" in done.stdout and len(rows_of(tmp_path / "run")) == 2


@pytest.mark.soak
def test_asked_twice_training_stops_at_once(photographs, tmp_path):
    run = tmp_path / "run"
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "--data",
        str(photographs),
        *SMALL,
        "--epochs",
        "500",
        "--resume",
    ]
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [*command, "--run", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        stamp = time.time_ns()
        while (
            not (run / "last.checkpoint").exists()
            or (run / "last.checkpoint").stat().st_mtime_ns < stamp
        ):
            time.sleep(0.02)
        process.send_signal(number)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in errors and not leftovers(run)
        assert json.loads((run / "config.json").read_text()) and checkpoint.read(run)[2] == []


def test_damaged_statistics_say_what_to_do(tmp_path):
    (tmp_path / "statistics.json").write_text("[1, 2")
    with pytest.raises(
        RunError, match="statistics.json: damaged; it is made anew when it is removed"
    ):
        Dataset(configs.make("zhang", {}), []).statistics(None, tmp_path)
