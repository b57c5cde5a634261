"""How fast training and colorizing are, as ratios of two things that are measured in turns.

    python -m benchmarks.bench [ROW ...] [--model FILE]

Ratios are medians of ROUNDS rounds after one that is not counted; above 1 the first is the faster.
Training is timed with untrained networks, for speed does not depend on weights. What is run is
printed as lines of a Markdown table and replaces its rows in benchmarks/results.json.
"""

import argparse
import importlib.util
import json
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
from inference.view import Predictor, native_precision
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


def in_turns(first, second, clock=time.perf_counter):
    """Median seconds of each, and the median of second / first; a function may return its own."""

    def seconds(function):
        started = clock()
        found = function()
        return found if isinstance(found, float) else clock() - started

    pairs = [(seconds(first), seconds(second)) for _ in range(1 + ROUNDS)][1:]
    return *map(statistics.median, zip(*pairs)), statistics.median(b / a for a, b in pairs)


def rates(what, count, first, second, share=1, clock=time.perf_counter):
    """A row: `first` does `count` pictures, `second` the same, or a `share` of them."""
    fast, slow, ratio = in_turns(first, second, clock)
    return what, ratio / share, f"{count / fast:,.4g} : {count * share / slow:,.4g} pictures/s"


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


def colorize(source, *options):
    """test.py on a folder, as `process`."""
    return process("test.py", source, f"{source}-out", "--overwrite", *options)


def crops(count):
    """uint8 (256, 256, 3), cut out of scikit-image's photographs at random places."""
    rng, photographs = np.random.default_rng(0), [data.astronaut(), data.chelsea(), data.coffee()]
    for i in range(count):
        photograph = photographs[i % 3]
        top, left = (rng.integers(0, n - 255) for n in photograph.shape[:2])
        yield photograph[top : top + 256, left : left + 256]


def write(folder, pictures, mode="RGB"):
    """JPEG files at the quality of Places2. Returns their paths."""
    folder.mkdir(parents=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).convert(mode).save(folder / f"{i:05d}.jpg", quality=90)
    return sorted(folder.iterdir())


def compiled(preset="tuned", batch=16, precision=None):
    """The model of a preset, as train.py builds it, and a batch of photographs."""
    given = {"batch": batch, "precision": precision or native_precision()}
    model = build_model(configs.make(preset, given), 1000, SimpleNamespace(classes=[]), None)[0]
    return model, np.stack(list(crops(batch)))


class Recipe(keras.Model):
    """uint8 pictures -> the inputs of the paper's network and the target: Lab, boost, Canny."""

    def call(self, rgb):
        lightness = preprocess.lightness_of(rgb)[..., None]
        return preprocess.network_inputs(lightness) | {"target": preprocess.target(rgb, 1.8)}


def input_rows(folder, model):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    paths, recipe = write(folder / "input", crops(128)), Recipe()
    count, batches = len(paths), Batches(paths, 256, 16)

    def ours(crop, mirror):
        order = Batches(paths, 256, 16, Order(0, 0, crop, mirror))
        draws = np.random.default_rng(0).random((count, DRAWS))
        return lambda: [order.picture(i, draws[i]) for i in range(count)]

    def on_cpu():
        [recipe.predict_on_batch(batches[i][0]) for i in range(len(batches))]

    def theirs():  # an eighth of the pictures: it is that slow
        [authors.training_pair(path) for path in paths[::8]]

    def decode():
        [np.asarray(Image.open(path).convert("RGB")) for path in paths]

    yield rates("input path : the authors' way", count, ours(1, False), theirs, 1 / 8)
    what = "input path and recipe on the CPU : the authors' way, processor time"
    yield rates(what, count, on_cpu, theirs, 1 / 8, time.process_time)
    yield rates("input path : decoding, whole pictures", count, ours(1, False), decode)
    yield rates("input path : decoding, crops and mirroring", count, ours(0.6, True), decode)


def step_rows(folder, model):
    """The compiled step at batch 16."""
    (training, rgb), recipe = compiled(), Recipe()
    paths = write(folder / "fit", crops(96))
    batches = Batches(paths, 256, 16, Order(0, 0, 0.6, True))
    dtype = keras.DTypePolicy(native_precision()).compute_dtype
    square = keras.ops.cast(np.random.default_rng(0).normal(size=(4096, 4096)), dtype)

    def steps(count):
        return lambda: [training.train_on_batch(rgb) for _ in range(count)]

    fast, slow, ratio = in_turns(lambda: recipe.predict_on_batch(rgb), steps(1))
    text = f"{1000 * fast:.0f} of {1000 * slow:.0f} ms"
    yield "share of a training step that is recipe (Lab, boost, Canny)", 1 / ratio, text
    what, fit = "`fit` on a folder : steps on one batch", lambda: training.fit(batches, verbose=0)
    yield rates(what, len(paths), fit, steps(len(batches)))
    fast, slow, _ = in_turns(lambda: keras.ops.convert_to_numpy(square @ square), steps(1))
    best, reached = 2 * 4096**3 / fast / 1e9, 6 * MACS * len(rgb) / slow / 1e9
    text = f"{reached:,.0f} : {best:,.0f} GFLOP/s in {dtype}"
    yield "FLOP/s of a training step : the best matrix product", reached / best, text
    if authors.installed():
        ours, theirs = compiled("paper")[0], authors.network()
        theirs.compile(optimizer="sgd", loss="mse")
        given = recipe.predict_on_batch(rgb)
        inputs = [given[name] for name in ("lightness", "lightness", "edges")]
        runs = (
            lambda: ours.train_on_batch(rgb),
            lambda: theirs.train_on_batch(inputs, given["target"] / 128),
        )
        what = "training step from pictures : the authors', float32, from arrays"
        yield rates(what, len(rgb), *runs)


def batch_rows(folder, model):
    """Training by precision and batch, each in a process of its own."""
    for precision in dict.fromkeys(("float32", native_precision())):
        for batch in (1, 16, 64):
            code = f"from benchmarks import bench; bench.time_steps({precision!r}, {batch})"
            _, memory, printed = process("-c", code)
            what = f"pictures/s of training, {precision}, batch {batch}"
            yield what, float(printed.split()[-1]), f"{memory / 1000:.1f} GB"


def time_steps(precision, batch):
    model, rgb = compiled(batch=batch, precision=precision)
    print(batch / in_turns(lambda: model.train_on_batch(rgb), lambda: None)[0])


def folder_rows(folder, model):
    """test.py without its start-up, by the seconds that it prints."""

    def ours(source, *options):
        def run():
            printed = colorize(source, "--model", model, "--saturation", 1, *options)[2]
            return float(re.search(r"([\d.]+) s, [\d.]+ pictures/s", printed)[1])

        return run

    files = write(folder / "small", crops(400), "L")
    network, metadata = model_file.load(model, native_precision())
    predictor = Predictor(network, sizes_of(metadata), 4)
    views = [predictor.views(reader.read_picture(path).pixels) for path in files]
    what = "test.py, 256 x 256 files : the network on views in memory"
    yield rates(what, len(files), ours(folder / "small"), lambda: predictor.ab(views))
    files = write(folder / "large", (np.tile(x, (12, 16, 1)) for x in crops(24)), "L")  # 12.6 MP
    for suffix in ("png", "jpg"):
        run = ours(folder / "large", "--format", suffix)
        run()

        def one(path, suffix=suffix):
            target = Path(f"{path.parent}-out", f"{path.stem}.{suffix}")
            pixels, picture = reader.read_picture(target).pixels, reader.read_picture(path)
            writer.write_picture(target, pixels, picture, suffix, 95)

        for apply, how in ((POOL.map, "all cores"), (map, "one core")):
            what = f"test.py, 12-megapixel JPEG to {suffix} : decoding, encoding on {how}"
            yield rates(what, len(files), run, lambda: list(apply(one, files)))  # noqa: B023


def process_rows(folder, model):
    """test.py with its start-up: the first picture, memory, the authors' way."""
    (picture,) = write(folder / "one", crops(1), "L")
    first, imports, ratio = in_turns(
        lambda: colorize(folder / "one", "--model", model)[0],
        lambda: process("-c", f"import keras, {keras.backend.backend()}")[0],
    )
    text = f"{imports:.1f} of {first:.1f} s"
    yield "share of the time to the first picture that is importing Keras", ratio, text
    memory = []
    for count in (200, 10_000):
        (folder / str(count)).mkdir()
        for i in range(count):
            os.link(picture, folder / str(count) / f"{i:05d}.jpg")
        memory.append(colorize(folder / str(count), "--model", model)[1])
    text = f"{memory[1]:,.0f} : {memory[0]:,.0f} MB"
    yield "peak memory of test.py, 10,000 pictures : 200", memory[1] / memory[0], text
    if authors.installed():
        source = folder / "many"
        write(source, crops(500), "L")
        authors.network().save(folder / "network.h5")
        command = "benchmarks.authors", source, folder / "theirs", folder / "network.h5"
        runs = lambda: colorize(source, "--model", model)[0], lambda: process("-m", *command)[0]
        what = "test.py : the authors' way (load all, one `predict`, save), 500 pictures"
        yield rates(what, 500, *runs)


def engine_rows(folder, model):
    """Whole processes by engine and number of pictures, against TensorFlow in float32."""
    exported = folder / "network.onnx"
    process("-m", "inference.export", model, exported)
    code = f"from benchmarks import bench; bench.openvino({str(exported)!r}, "
    for count in (1, 100, 1000):
        source = folder / str(count)
        write(source, crops(count), "L")

        def run(path, precision="auto", source=source):
            return lambda: colorize(source, "--model", path, "--precision", precision)[0]

        engines = {
            "TensorFlow bfloat16": run(model, "mixed_bfloat16"),
            "ONNX Runtime": run(exported),
        }
        if importlib.util.find_spec("openvino"):
            whole = f"{code}{str(source)!r})"
            engines["OpenVINO"] = lambda whole=whole: process("-c", whole)[0]
        for name, engine in engines.items():
            what = f"{name} : TensorFlow float32, {count} pictures, start-up included"
            yield rates(what, count, engine, run(model, "float32"))


def openvino(exported, source):
    """Colorize a folder by an exported file in OpenVINO: the whole of colorizing is inside."""
    from openvino import Core

    network = Core().compile_model(exported, "CPU")
    for path in sorted(Path(source).iterdir()):
        picture = reader.read_picture(path)
        rgb = np.dstack([picture.pixels] * 3)[None]
        result = network({"picture": rgb, "saturation": np.float32(1)})["rgb"][0]
        writer.write_picture(path.with_suffix(".png"), result, picture, "png", 95)


def precision_rows(folder, model):
    """What bfloat16 costs in quality."""
    photographs, psnr = list(crops(64)), []
    for precision in ("float32", "mixed_bfloat16"):
        network, metadata = model_file.load(model, precision)
        predictor = Predictor(network, sizes_of(metadata), len(photographs))
        found = predictor.ab([predictor.views(pixels) for pixels in photographs])
        results = [preprocess.colorize(*pair) for pair in zip(photographs, found)]
        psnr.append(np.mean([metrics.psnr(*pair) for pair in zip(results, photographs)]))
    yield "dB of PSNR that bfloat16 costs", float(psnr[0] - psnr[1]), f"{psnr[0]:.3f} in float32"


ROWS = {
    name.removesuffix("_rows"): make
    for name, make in dict(globals()).items()
    if name.endswith("_rows")
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    model = ROOT / "models" / "pretrained" / "colorizer.keras"
    parser.add_argument("--model", type=Path, default=model, help="network of test.py's rows")
    args = parser.parse_args(arguments)
    if wrong := set(args.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(wrong))}")
    file = ROOT / "benchmarks" / "results.json"
    for name in args.rows or ROWS:
        results = json.loads(file.read_text())
        results[name] = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "rows": []}
        with tempfile.TemporaryDirectory() as folder:
            for what, value, detail in ROWS[name](Path(folder), args.model.resolve()):
                print(f"| {what} | **{value:.3g}** | {detail} |", flush=True)
                results[name]["rows"].append({"what": what, "value": value, "detail": detail})
        file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
