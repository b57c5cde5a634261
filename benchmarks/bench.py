"""How fast training and colorizing are, as ratios of two things that are measured in turns.

    python -m benchmarks.bench [ROW ...] [--model FILE] [--quick]

Networks that are trained start untrained: speed does not depend on weights.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from PIL import Image
from skimage import data

import configs
from benchmarks import authors
from data import preprocess
from data.batches import DRAWS, Batches, Order
from inference.options import KERAS_MODEL
from inference.view import Predictor
from models import aciids2020
from models import file as model_file
from models.properties import sizes_of
from pictures import reader, writer
from training.model import build_model
from utils import POOL, native_precision

ROOT = Path(__file__).parents[1]


def compare(what, first, second, count, count_of_second=None, rounds=5):
    """Print a row: what two functions do of `count` pictures in a second, medians of the rounds.

    One round is not counted. A function may return the seconds that it took.
    """

    def rate(function, count):
        started = time.perf_counter()
        found = function()
        return count / (found if isinstance(found, float) else time.perf_counter() - started)

    counts = count, count_of_second or count
    pairs = [list(map(rate, (first, second), counts)) for _ in range(1 + rounds)][1:]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = map(statistics.median, zip(*pairs))
    print(f"| {what} | **{ratio:.3g}** | {a:,.4g} : {b:,.4g} |", flush=True)


def python(*command):
    """Run Python on a command -> what it printed."""
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def colorize(folder, model, *options):
    """Run test.py on a folder -> the seconds that it prints, its start-up not counted."""
    command = "test.py", folder, f"{folder}-out", "--overwrite", "--model", model, *options
    return float(re.search(r"([\d.]+) s, [\d.]+ pictures/s", python(*command))[1])


def write(folder, count, mode="L", tiles=(1, 1)):
    """JPEG files at the quality of Places2: crops of photographs, 256 x 256, tiled."""
    folder.mkdir()
    rng, photographs = np.random.default_rng(0), [data.astronaut(), data.chelsea(), data.coffee()]
    for i in range(count):
        photograph = photographs[i % 3]
        top, left = (rng.integers(0, n - 255) for n in photograph.shape[:2])
        pixels = np.tile(photograph[top : top + 256, left : left + 256], (*tiles, 1))
        Image.fromarray(pixels).convert(mode).save(folder / f"{i:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


def input_rows(folder, model, n, row):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    count = n(128)
    paths = write(folder / "in", count, "RGB")
    draws = np.random.default_rng(0).random((count, DRAWS))

    def ours(crop, mirror):
        order = Batches(paths, 256, 8, Order(0, 0, crop, mirror))
        return lambda: [order.picture(i, draws[i]) for i in range(count)]

    def theirs():
        return [authors.training_pair(path) for path in paths[::8]]

    def decode():
        return [np.asarray(Image.open(path).convert("RGB")) for path in paths]

    row("input path : the authors' way", ours(1, False), theirs, count, len(paths[::8]))
    row("input path : decoding, whole pictures", ours(1, False), decode, count)
    row("input path : decoding, crops and mirroring", ours(0.6, True), decode, count)


class Recipe(keras.Model):
    """uint8 pictures -> the inputs of the paper's network and the target: Lab, boost, Canny."""

    def call(self, rgb):
        lightness = preprocess.lightness_of(rgb)[..., None]
        return preprocess.network_inputs(lightness) | {"target": preprocess.target(rgb, 1.8)}


def step_rows(folder, model, n, row):
    """The compiled step of the paper's network at batch 16."""
    config = configs.make("paper", {"batch": 16, "precision": native_precision()})
    training = build_model(config, 1000, SimpleNamespace(classes=[]))[0]
    count, recipe = 16 * n(6), Recipe()
    batches = Batches(write(folder / "in", count, "RGB"), 256, 16, Order(0, 0, 0.6, True))
    (rgb,) = batches[0]

    def steps(count):
        return [training.train_on_batch(rgb) for _ in range(count // 16)]

    row("recipe : training step", lambda: recipe.predict_on_batch(rgb), lambda: steps(16), 16)
    fit = partial(training.fit, batches, verbose=0)
    row("`fit` on a folder : steps on one batch", fit, lambda: steps(count), count)


def folder_rows(folder, model, n, row):
    """test.py without its start-up, and beside the authors' way with it."""
    count = n(400)
    paths = write(folder / "small", count)
    network, metadata = model_file.load(model, native_precision())
    predictor = Predictor(network, sizes_of(metadata), 4)
    views = [predictor.views(reader.read_picture(path).pixels) for path in paths]
    ours = partial(colorize, folder / "small", model)
    row("test.py : the network on views in memory", ours, lambda: predictor.ab(views), count)

    plain, path = aciids2020.build(), folder / "network.keras"
    model_file.save(path, plain.name, plain.get_weights(), {"arguments": {}, "size": 256})
    ours = "test.py", folder / "small", folder / "ours", "--overwrite", "--model", path
    theirs = "-m", "benchmarks.authors", folder / "small", folder / "theirs", path
    what = "test.py : the authors' way, start-up included"
    row(what, lambda: python(*ours), lambda: python(*theirs), count)

    count = n(24)
    paths = write(folder / "large", count, tiles=(12, 16))
    for suffix in ("png", "jpg"):
        results = [folder / "large-out" / f"{path.stem}.{suffix}" for path in paths]
        ours = partial(colorize, folder / "large", model, "--format", suffix)
        theirs = partial(code_again, paths, results, suffix)
        row(f"test.py, 12 megapixels to {suffix} : decoding, encoding", ours, theirs, count)


def code_again(paths, results, suffix):
    """Decode pictures and encode their results, which exist, on all cores."""

    def code(path, result):
        pixels = reader.read_picture(result).pixels
        writer.write_picture(result, pixels, reader.read_picture(path), suffix, 95)

    list(POOL.map(code, paths, results))


ROWS = {"input": input_rows, "step": step_rows, "folder": folder_rows}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    text = f"{', '.join(ROWS)} (default: all)"
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[[], *ROWS], help=text)
    text = "Keras network of test.py's rows (default: the bundled one)"
    parser.add_argument("--model", type=Path, default=KERAS_MODEL, help=text)
    text = "few pictures, one round: to see whether it runs"
    parser.add_argument("--quick", action="store_true", help=text)
    args = parser.parse_args(arguments)
    rounds, most = (1, 3) if args.quick else (5, 1000)
    print(f"{os.cpu_count()} cores, Keras {keras.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| what | ratio | pictures/s |\n| --- | --- | --- |")
    for name in args.rows or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            model, row = args.model.resolve(), partial(compare, rounds=rounds)
            ROWS[name](Path(folder), model, lambda count: min(count, most), row)


if __name__ == "__main__":
    main()
