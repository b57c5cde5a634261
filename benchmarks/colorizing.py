"""Rows about test.py."""

import importlib.util
import os
import statistics
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

import models
from benchmarks import authors, pictures
from benchmarks.measure import ROOT, ROUNDS, Row, in_turns, process
from data.preprocess import colorize
from inference.report import Report
from inference.view import Predictor, native_precision
from models import file as model_file
from models.properties import sizes_of
from pictures import reader, writer

# "test" is also the name of a package of Python's own, so the script is loaded by its path.
spec = importlib.util.spec_from_file_location("colorize_script", ROOT / "test.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def untrained(folder):
    """A network file of the paper's size, untrained but for a last layer that gives strong colours."""
    keras.utils.set_random_seed(0)
    arguments = {"input_scale": 0.01, "input_offset": -0.5}
    *rest, kernel, bias = models.NETWORKS["aciids2020"].build(**arguments).get_weights()
    weights = [*rest, 8 * kernel, bias + (0.1, -0.1)]
    model_file.save(
        folder / "network.keras", "aciids2020", weights, {"arguments": arguments, "size": 256}
    )
    return folder / "network.keras"


class Folder:
    """test.py's work on a folder, start-up left out, as a function that can be timed."""

    def __init__(self, source, model, *options):
        self.args, self.jobs = script.parse(
            [
                str(source),
                str(source) + "-out",
                "--model",
                str(model),
                "--saturation",
                "1",
                *options,
            ]
        )
        network, card = model_file.load(model, native_precision())
        self.colorizer = Predictor(
            network, sizes_of(card), min(self.args.batch, len(self.jobs.pairs))
        )

    def __call__(self):
        with Report(self.jobs) as report:
            script.colorize_all(self.jobs.pairs, self.colorizer, self.args, report)
        assert report.counts["done"] == len(self.jobs.pairs)

    def predict(self):
        """The network alone, on batches that are in memory."""
        views = [
            self.colorizer.views(reader.read_picture(source).pixels)
            for source, _ in self.jobs.pairs
        ]
        batches = [
            views[i : i + self.colorizer.batch] for i in range(0, len(views), self.colorizer.batch)
        ]
        arrays = [
            {name: np.stack([v[name] for v in batch]) for name in batch[0]} for batch in batches
        ]
        return lambda: [self.colorizer.predict_on_batch(array) for array in arrays]

    def decode_and_encode(self):
        """Reading, and writing a colour picture in the same format: on all cores, and one file after the other."""
        results = {source: reader.read_picture(target).pixels for source, target in self.jobs.pairs}

        def one(source, target):
            writer.write_picture(
                target,
                results[source],
                reader.read_picture(source),
                self.args.format,
                self.args.quality,
            )

        def all_of_them():
            with ThreadPoolExecutor() as pool:
                list(pool.map(one, *zip(*self.jobs.pairs)))

        return all_of_them, lambda: [one(*pair) for pair in self.jobs.pairs]


def folder_rows(folder):
    """In one process, start-up left out."""
    model = untrained(folder)
    count = 160
    pictures.write_small(folder / "small", count, gray=True)
    small = Folder(folder / "small", model)
    fast, slow, ratio = in_turns(small, small.predict())
    yield Row(
        "test.py, 256 x 256 files, against bare `predict_on_batch`", ratio, ">= 0.85",
        f"{count / fast:.1f} against {count / slow:.1f} pictures/s, batch {small.colorizer.batch}",
    )  # fmt: skip

    count = len(pictures.write_large(folder / "large", 12))
    for format in ("png", "jpg"):
        large = Folder(folder / "large", model, "--format", format)
        large()
        threads, alone = large.decode_and_encode()
        for function, how in ((threads, "on all cores"), (alone, "one file after the other")):
            fast, slow, ratio = in_turns(large, function)
            yield Row(
                f"test.py, 12-megapixel JPEG to {format.upper()}, against decode + encode {how}", ratio, ">= 0.7",
                f"{count / fast:.2f} against {count / slow:.2f} pictures/s",
            )  # fmt: skip


def authors_row(folder):
    """Whole processes, start-up and all, with the same weights: a Keras 2 file, which both read."""
    if not authors.installed():
        print("skipped: needs tf_keras, pip install tf_keras")
        return
    model, count = folder / "network.h5", 500
    authors.network().save(model)
    pictures.write_small(folder / "many", count, gray=True)
    ours = lambda: process(  # noqa: E731
        "test.py", folder / "many", folder / "ours", "--model", model, "--overwrite"
    )
    theirs = lambda: process("-m", "benchmarks.authors", folder / "many", folder / "theirs", model)  # noqa: E731
    fast, slow, ratio = in_turns(ours, theirs)
    yield Row(
        "test.py against the authors' way in tf_keras (load all, one `predict`, save), 500 pictures", ratio, ">= 2.5",
        f"{count / fast:.1f} against {count / slow:.1f} pictures/s, start-up included",
    )  # fmt: skip


def process_rows(folder):
    """Whole processes: how soon the first picture is there, and memory."""
    model = untrained(folder)
    one = folder / "one"
    (first_picture,) = pictures.write_small(one, 1, gray=True)
    first, imports, ratio = in_turns(
        lambda: process("test.py", one, folder / "first", "--model", model, "--overwrite"),
        lambda: process(
            "-c",
            "import keras, tensorflow"
            if keras.backend.backend() == "tensorflow"
            else "import keras",
        ),
    )
    yield Row(
        "from the command to the first picture: share that is importing Keras and its backend", ratio, "",
        f"{imports:.1f} of {first:.1f} s",
    )  # fmt: skip

    memory = {}
    for count in (200, 10_000):
        source = folder / f"links-{count}"
        source.mkdir()
        for i in range(count):
            os.link(first_picture, source / f"{i:05d}.jpg")
        runs = ROUNDS if count == 200 else 1
        command = (
            "test.py",
            source,
            folder / f"memory-{count}",
            "--model",
            model,
            "--size",
            64,
            "--overwrite",
        )
        memory[count] = statistics.median(process(*command)[1] for _ in range(runs))
    yield Row(
        "peak memory of test.py over 10,000 pictures against 200", memory[10_000] / memory[200], "<= 1.1",
        f"{memory[10_000]:,.0f} against {memory[200]:,.0f} MB (--size 64, to save time)",
    )  # fmt: skip


def precision_row(model):
    """What bfloat16 costs in quality. Says something of a trained network alone."""
    photographs = list(pictures.crops(64, 256))
    psnr = {}
    for precision in ("float32", "mixed_bfloat16"):
        network, card = model_file.load(model, precision)
        colorizer = Predictor(network, sizes_of(card), len(photographs))
        chroma = colorizer.ab([colorizer.views(pixels) for pixels in photographs])
        results = [colorize(pixels, ab).astype(float) for pixels, ab in zip(photographs, chroma)]
        errors = [np.square(result - pixels).mean() for result, pixels in zip(results, photographs)]
        psnr[precision] = np.mean([20 * np.log10(255 / np.sqrt(error)) for error in errors])
    loss = psnr["float32"] - psnr["mixed_bfloat16"]
    return Row(
        "PSNR that bfloat16 costs, dB",
        loss,
        "<= 0.05",
        f"{psnr['float32']:.3f} dB in float32, 64 crops of 256 x 256",
    )
