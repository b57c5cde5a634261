"""How fast training and colorizing are, as ratios of two things that are measured in turns.

    python -m benchmarks.bench [ROW ...] [--model FILE] [--quick]

Ratios are medians of ROUNDS rounds after one that is not counted; above 1 the first is the faster.
Training is timed with untrained networks, for speed does not depend on weights. Prints a Markdown
table.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
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
from inference.view import Predictor, native_precision
from models import aciids2020
from models import file as model_file
from models.properties import sizes_of
from pictures import reader, writer
from training.model import build_model
from utils import POOL

ROOT = Path(__file__).parents[1]
ROUNDS = 5


def compare(first, second, rounds):
    """(ratio, rates of the two): each is (count, function); a function may return its seconds."""

    def rate(count, function):
        started = time.perf_counter()
        found = function()
        return count / (found if isinstance(found, float) else time.perf_counter() - started)

    pairs = [(rate(*first), rate(*second)) for _ in range(1 + rounds)][1:]
    return statistics.median(a / b for a, b in pairs), *map(statistics.median, zip(*pairs))


def python(*command):
    """Run Python on a command -> what it printed."""
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def colorize(files, model, *options):
    """(their number, test.py on the folder of these files)."""
    out = f"{files[0].parent}-out"
    command = "test.py", files[0].parent, out, "--overwrite", "--model", model, *options
    return len(files), lambda: python(*command)


def crops(count):
    """uint8 (256, 256, 3), cut out of scikit-image's photographs at random places."""
    rng, photographs = np.random.default_rng(0), [data.astronaut(), data.chelsea(), data.coffee()]
    for i in range(count):
        photograph = photographs[i % 3]
        top, left = (rng.integers(0, n - 255) for n in photograph.shape[:2])
        yield photograph[top : top + 256, left : left + 256]


def write(folder, pictures, mode="L"):
    """JPEG files at the quality of Places2. Returns their paths."""
    folder.mkdir(parents=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).convert(mode).save(folder / f"{i:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


class Recipe(keras.Model):
    """uint8 pictures -> the inputs of the paper's network and the target: Lab, boost, Canny."""

    def call(self, rgb):
        lightness = preprocess.lightness_of(rgb)[..., None]
        return preprocess.network_inputs(lightness) | {"target": preprocess.target(rgb, 1.8)}


def input_rows(folder, model, n):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    count = n(128)
    paths, draws = write(folder / "in", crops(count), "RGB"), np.random.default_rng(0)
    draws = draws.random((count, DRAWS))

    def ours(crop, mirror):
        order = Batches(paths, 256, 8, Order(0, 0, crop, mirror))
        return count, lambda: [order.picture(i, draws[i]) for i in range(count)]

    theirs = count / 8, lambda: [authors.training_pair(path) for path in paths[::8]]
    decode = count, lambda: [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    yield "input path : the authors' way", ours(1, False), theirs
    yield "input path : decoding, whole pictures", ours(1, False), decode
    yield "input path : decoding, crops and mirroring", ours(0.6, True), decode


def step_rows(folder, model, n):
    """The compiled step of the paper's network, untrained, at batch 16."""
    config = configs.make("paper", {"batch": 16, "precision": native_precision()})
    training = build_model(config, 1000, SimpleNamespace(classes=[]))[0]
    count, recipe, rgb = 16 * n(6), Recipe(), np.stack(list(crops(16)))
    batches = Batches(write(folder / "in", crops(count), "RGB"), 256, 16, Order(0, 0, 0.6, True))

    def steps(repeat):
        return 16 * repeat, lambda: [training.train_on_batch(rgb) for _ in range(repeat)]

    yield "recipe : training step", (16, lambda: recipe.predict_on_batch(rgb)), steps(1)
    fit = count, lambda: training.fit(batches, verbose=0)
    yield "`fit` on a folder : steps on one batch", fit, steps(count // 16)


def folder_rows(folder, model, n):
    """test.py without its start-up, by the seconds that it prints; at the end with start-up."""

    def ours(files, *options):
        count, run = colorize(files, model, "--saturation", 1, *options)
        return count, lambda: float(re.search(r"([\d.]+) s, [\d.]+ pictures/s", run())[1])

    files = write(folder / "small", crops(n(400)))
    network, metadata = model_file.load(model, native_precision())
    predictor = Predictor(network, sizes_of(metadata), 4)
    views = [predictor.views(reader.read_picture(path).pixels) for path in files]
    network_alone = len(files), lambda: predictor.ab(views)
    yield "test.py, 256 x 256 files : the network on views in memory", ours(files), network_alone
    plain, path = aciids2020.build(), folder / "network.keras"
    model_file.save(path, plain.name, plain.get_weights(), {"arguments": {}, "size": 256})
    command = "-m", "benchmarks.authors", files[0].parent, folder / "theirs", path
    theirs = len(files), lambda: python(*command)
    yield "test.py : the authors' way, start-up included", colorize(files, path), theirs
    files = write(folder / "large", (np.tile(x, (12, 16, 1)) for x in crops(n(24))))
    for suffix in ("png", "jpg"):
        run = ours(files, "--format", suffix)
        run[1]()

        def codec(path, suffix=suffix):
            target = Path(f"{path.parent}-out", f"{path.stem}.{suffix}")
            pixels, picture = reader.read_picture(target).pixels, reader.read_picture(path)
            writer.write_picture(target, pixels, picture, suffix, 95)

        codecs = len(files), lambda codec=codec: list(POOL.map(codec, files))
        yield f"test.py, 12 megapixels to {suffix} : decoding, encoding", run, codecs


def engine_rows(folder, model, n):
    """Whole processes by engine and number of pictures, against TensorFlow in float32."""
    exported = folder / "network.onnx"
    python("-m", "inference.export", model, exported, "--bare")
    for count in sorted({1, n(100), n(1000)}):
        files = write(folder / str(count), crops(count))
        float32 = colorize(files, model, "--precision", "float32")
        bfloat16 = colorize(files, model, "--precision", "mixed_bfloat16")
        yield f"test.py in bfloat16 : float32, {count} pictures", bfloat16, float32
        yield f"ONNX Runtime : float32, {count} pictures", colorize(files, exported), float32


ROWS = {"input": input_rows, "step": step_rows, "folder": folder_rows, "engine": engine_rows}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    text = f"{', '.join(ROWS)} (default: all)"
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[[], *ROWS], help=text)
    text = "network of test.py's rows (default: the bundled one)"
    parser.add_argument("--model", type=Path, default=KERAS_MODEL, help=text)
    text = "few pictures, one round: to see whether it runs"
    parser.add_argument("--quick", action="store_true", help=text)
    args = parser.parse_args(arguments)
    rounds, most = (1, 8) if args.quick else (ROUNDS, 1000)
    print(f"{os.cpu_count()} cores, Keras {keras.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| what | ratio | pictures/s |\n| --- | --- | --- |")
    for name in args.rows or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            rows = ROWS[name](Path(folder), args.model.resolve(), lambda count: min(count, most))
            for what, first, second in rows:
                ratio, *both = compare(first, second, rounds)
                print(f"| {what} | **{ratio:.3g}** | {both[0]:,.4g} : {both[1]:,.4g} |", flush=True)


if __name__ == "__main__":
    main()
