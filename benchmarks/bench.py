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
from evaluation import metrics
from inference.options import DEFAULT_MODEL
from inference.view import Predictor, native_precision
from models import aciids2020
from models import file as model_file
from models.properties import sizes_of
from pictures import reader, writer
from training.model import build_model
from utils import POOL

ROOT = Path(__file__).parents[1]
ROUNDS = 5
# Multiplications of the paper's network for one 256 x 256 picture, forwards: over its convolutions
# H * W * outputs * inputs * kernel area, over its dense layers outputs * inputs. Training takes
# three times that: forwards, gradients of the activations, gradients of the weights.
MACS = 10.48e9


def compare(first, second, rounds, clock=time.perf_counter):
    """(ratio, rates of the two): each is (amount, function); a function may return its seconds."""

    def rate(amount, function):
        started = clock()
        found = function()
        return amount / (found if isinstance(found, float) else clock() - started)

    pairs = [(rate(*first), rate(*second)) for _ in range(1 + rounds)][1:]
    return statistics.median(a / b for a, b in pairs), *map(statistics.median, zip(*pairs))


def process(*command):
    """Run Python on a command -> (seconds, peak memory in MB, what it printed)."""
    started, command = time.perf_counter(), [sys.executable, *map(str, command)]
    options = {"cwd": ROOT, "text": True, "stderr": subprocess.STDOUT}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}: {printed[-500:]}")
    return time.perf_counter() - started, usage.ru_maxrss / 1000, printed


def colorize(source, model, *options):
    """test.py on a folder, as `process`."""
    return process("test.py", source, f"{source}-out", "--overwrite", "--model", model, *options)


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


def compiled(batch=16, precision=None):
    """The paper's model as train.py builds it, and a batch of photographs."""
    config = configs.make("paper", {"batch": batch, "precision": precision or native_precision()})
    model = build_model(config, 1000, SimpleNamespace(classes=[]), None)[0]
    return model, np.stack(list(crops(batch)))


def input_rows(folder, model, n):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    count = n(128)
    paths, recipe = write(folder / "input", crops(count), "RGB"), Recipe()
    batches, draws = Batches(paths, 256, 8), np.random.default_rng(0).random((count, DRAWS))

    def ours(crop, mirror):
        order = Batches(paths, 256, 8, Order(0, 0, crop, mirror))
        return count, lambda: [order.picture(i, draws[i]) for i in range(count)]

    on_cpu = count, lambda: [recipe.predict_on_batch(x) for (x,) in batches]
    theirs = count / 8, lambda: [authors.training_pair(path) for path in paths[::8]]
    decode = count, lambda: [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    yield "input path : the authors' way", ours(1, False), theirs
    what = "input path and recipe on the CPU : the authors' way, processor time"
    yield what, on_cpu, theirs, "pictures/s", time.process_time
    yield "input path : decoding, whole pictures", ours(1, False), decode
    yield "input path : decoding, crops and mirroring", ours(0.6, True), decode


def step_rows(folder, model, n):
    """The compiled step at batch 16."""
    (training, rgb), recipe, count = compiled(), Recipe(), 16 * n(6)
    batches = Batches(write(folder / "fit", crops(count), "RGB"), 256, 16, Order(0, 0, 0.6, True))
    dtype = keras.DTypePolicy(native_precision()).compute_dtype
    square = keras.ops.cast(np.random.default_rng(0).normal(size=(4096, 4096)), dtype)
    theirs = aciids2020.build()
    theirs.compile(optimizer="sgd", loss="mse")
    given = recipe.predict_on_batch(rgb)
    inputs = {name: given.get(name, given["lightness"]) for name in theirs.input}

    def step():
        training.train_on_batch(rgb)

    yield "recipe : training step", (16, lambda: recipe.predict_on_batch(rgb)), (16, step)
    fit = count, lambda: training.fit(batches, verbose=0)
    steps = count, lambda: [step() for _ in range(count // 16)]
    yield "`fit` on a folder : steps on one batch", fit, steps
    product = 2 * 4096**3 / 1e9, lambda: keras.ops.convert_to_numpy(square @ square)
    flops = 6 * MACS * 16 / 1e9, step
    yield f"training step : the best matrix product, {dtype}", flops, product, "GFLOP/s"
    plain = 16, lambda: theirs.train_on_batch(inputs, given["target"])
    yield "training step from pictures : Keras' own from arrays, float32", (16, step), plain


def batch_rows(folder, model, n):
    """Training by precision and batch, each in a process of its own."""
    for precision in dict.fromkeys(("float32", native_precision())):
        for batch in (1, 16, 64):
            code = f"from benchmarks import bench; bench.time_steps({precision!r}, {n(batch)})"
            _, memory, printed = process("-c", code)
            rate = float(printed.split()[-1])
            yield f"training, {precision}, batch {batch}, pictures/s", rate, f"{memory:,.0f} MB"


def time_steps(precision, batch):
    model, rgb = compiled(batch, precision)
    step = batch, lambda: model.train_on_batch(rgb)
    print(compare(step, (1, lambda: 1.0), ROUNDS)[1])


def folder_rows(folder, model, n):
    """test.py without its start-up, by the seconds that it prints."""

    def ours(files, *options):
        def seconds():
            printed = colorize(files[0].parent, model, "--saturation", 1, *options)[2]
            return float(re.search(r"([\d.]+) s, [\d.]+ pictures/s", printed)[1])

        return len(files), seconds

    files = write(folder / "small", crops(n(400)))
    network, metadata = model_file.load(model, native_precision())
    predictor = Predictor(network, sizes_of(metadata), 4)
    views = [predictor.views(reader.read_picture(path).pixels) for path in files]
    network_alone = len(files), lambda: predictor.ab(views)
    yield "test.py, 256 x 256 files : the network on views in memory", ours(files), network_alone
    files = write(folder / "large", (np.tile(x, (12, 16, 1)) for x in crops(n(24))))  # 12.6 MP
    for suffix in ("png", "jpg"):
        run = ours(files, "--format", suffix)
        run[1]()

        def one(path, suffix=suffix):
            target = Path(f"{path.parent}-out", f"{path.stem}.{suffix}")
            pixels, picture = reader.read_picture(target).pixels, reader.read_picture(path)
            writer.write_picture(target, pixels, picture, suffix, 95)

        for apply, how in ((POOL.map, "all cores"), (map, "one core")):
            codec = len(files), lambda apply=apply, one=one: list(apply(one, files))
            yield f"test.py, 12 megapixels to {suffix} : decoding, encoding on {how}", run, codec


def process_rows(folder, model, n):
    """test.py with its start-up: the first picture, memory, the authors' way."""
    (picture,) = write(folder / "one", crops(1))
    first = 1, lambda: colorize(folder / "one", model)[0]
    imports = 1, lambda: process("-c", f"import keras, {keras.backend.backend()}")[0]
    yield "importing Keras : test.py on one picture", imports, first, "runs/s"
    memory = []
    for count in (200, n(10_000)):
        source = folder / f"of {count}"
        source.mkdir()
        for i in range(count):
            os.link(picture, source / f"{i:05d}.jpg")
        memory.append(colorize(source, model)[1])
    text = f"{memory[1]:,.0f} : {memory[0]:,.0f} MB"
    yield "peak memory of test.py, 10,000 pictures : 200", memory[1] / memory[0], text
    count, source, network = n(500), folder / "many", folder / "network.keras"
    write(source, crops(count))
    plain = aciids2020.build()
    model_file.save(network, plain.name, plain.get_weights(), {"arguments": {}, "size": 256})
    command = "-m", "benchmarks.authors", source, folder / "theirs", network
    theirs = count, lambda: process(*command)[0]
    yield "test.py : the authors' way", (count, lambda: colorize(source, network)[0]), theirs


def engine_rows(folder, model, n):
    """Whole processes by engine and number of pictures, against TensorFlow in float32."""
    exported = folder / "network.onnx"
    process("-m", "inference.export", model, exported, "--bare")
    for count in (1, n(100), n(1000)):
        source = folder / str(count)
        write(source, crops(count))

        def run(file, precision, count=count, source=source):
            return count, lambda: colorize(source, file, "--precision", precision)[0]

        for name, file, precision in (
            ("TensorFlow bfloat16", model, "mixed_bfloat16"),
            ("ONNX Runtime", exported, "auto"),
        ):
            what = f"{name} : TensorFlow float32, {count} pictures, start-up included"
            yield what, run(file, precision), run(model, "float32")


def precision_rows(folder, model, n):
    """What bfloat16 costs in quality."""
    photographs, psnr = list(crops(n(64))), []
    for precision in ("float32", "mixed_bfloat16"):
        network, metadata = model_file.load(model, precision)
        predictor = Predictor(network, sizes_of(metadata), len(photographs))
        found = predictor.ab([predictor.views(pixels) for pixels in photographs])
        results = [preprocess.colorize(*pair) for pair in zip(photographs, found)]
        psnr.append(np.mean([metrics.psnr(*pair) for pair in zip(results, photographs)]))
    yield "PSNR that bfloat16 costs, dB", psnr[0] - psnr[1], f"{psnr[0]:.3f} dB in float32"


ROWS = {
    "input": input_rows,
    "step": step_rows,
    "batch": batch_rows,
    "folder": folder_rows,
    "process": process_rows,
    "engine": engine_rows,
    "precision": precision_rows,
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    text = f"{', '.join(ROWS)} (default: all)"
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[[], *ROWS], help=text)
    text = "network of test.py's rows (default: the bundled one)"
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help=text)
    text = "few pictures, one round: to see whether it runs"
    parser.add_argument("--quick", action="store_true", help=text)
    args = parser.parse_args(arguments)
    rounds, n = (1, lambda count: min(count, 8)) if args.quick else (ROUNDS, lambda count: count)
    print(f"{os.cpu_count()} cores, Keras {keras.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| what | measured | figures |\n| --- | --- | --- |")
    for name in args.rows or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            for what, first, second, *others in ROWS[name](Path(folder), args.model.resolve(), n):
                value, text = first, second
                if isinstance(first, tuple):
                    unit, *clock = others or ["pictures/s"]
                    value, *both = compare(first, second, rounds, *clock)
                    text = f"{both[0]:,.4g} : {both[1]:,.4g} {unit}"
                print(f"| {what} | **{value:.3g}** | {text} |", flush=True)


if __name__ == "__main__":
    main()
