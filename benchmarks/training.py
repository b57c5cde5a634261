"""Rows about training: the input path, the recipe, `fit`, and the step against what the machine can multiply.

python -m benchmarks.training PRECISION BATCH    pictures/s of training steps, as JSON
"""

import json
import sys
import time

import keras
import numpy as np
from keras import ops
from PIL import Image

import configs
import train
from benchmarks import authors, pictures
from benchmarks.cost import MACS
from benchmarks.measure import Row, in_turns, process_json, seconds
from data import pipeline, prepare
from data.preprocess import target, training_inputs
from models.colorizer import native_precision


def input_rows(folder):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    paths = pictures.write_small(folder / "input", 128)

    def ours(crop, mirror):
        batches = pipeline.Batches(paths, 256, 16, pipeline.Order(0, 0, crop, mirror))
        draws = np.random.default_rng(0).random((len(paths), pipeline.DRAWS))
        return lambda: [batches.picture(i, draws[i])[0] for i in range(len(paths))]

    def theirs():  # an eighth of the pictures: it is that slow
        for path in paths[::8]:
            authors.training_pair(path)

    def decode():
        for path in paths:
            with Image.open(path) as image:
                np.asarray(image.convert("RGB"))

    whole, cropped = ours(1.0, False), ours(0.6, True)
    fast, slow, ratio = in_turns(whole, theirs)
    n = len(paths)
    yield Row(
        "input path, one core, against the authors' way", ratio * 8, ">= 40",
        f"{n / fast:,.0f} against {n / 8 / slow:,.0f} pictures/s",
    )  # fmt: skip
    for function, kind in ((whole, "whole pictures"), (cropped, "random crops and mirroring")):
        fast, slow, ratio = in_turns(function, decode)
        yield Row(
            f"input path against decoding alone, {kind}", ratio, ">= 0.7",
            f"{n / fast:,.0f} against {n / slow:,.0f} pictures/s",
        )  # fmt: skip


def shard_rows(folder):
    """One thread: pictures out of prepared shards against the same out of JPEG files of 256 x 256."""
    paths = pictures.write_small(folder / "small", 512)
    prepare.main([str(folder / "small"), str(folder / "prepared")])
    stored = pipeline.paths(pipeline.survey([folder / "prepared"], share=0, progress=False, size=256), "train")

    def all_of(files, crop, mirror):
        batches = pipeline.Batches(files, 256, 16, pipeline.Order(0, 0, crop, mirror))
        draws = np.random.default_rng(0).random((len(stored), pipeline.DRAWS))
        return lambda: [np.stack([batches.picture(i, d)[0] for i, d in enumerate(some, 16 * j)])
                        for j, some in enumerate(np.split(draws, range(16, len(stored), 16)))]  # fmt: skip

    for crop, mirror, kind in ((1.0, False, "whole pictures"), (0.6, True, "random crops and mirroring")):
        fast, slow, ratio = in_turns(
            all_of(stored, crop, mirror), all_of(paths, crop, mirror), clock=time.process_time
        )  # fmt: skip
        n = len(stored)
        yield Row(
            f"prepared shards against the folder, {kind}, in processor time, files in the cache", ratio, "",
            f"{n / fast:,.0f} against {n / slow:,.0f} pictures/s, as batches",
        )  # fmt: skip


def compiled(batch=16, precision=None):
    """The model of the tuned preset, as train.py builds it, and a batch of photographs."""
    config = configs.make("tuned", {"batch": batch, "precision": precision or native_precision()})
    model, _ = train.build(config, 1000)
    return model, np.stack(list(pictures.crops(batch, 256)))


def step_rows(folder):
    """The compiled step, at batch 16."""
    model, rgb = compiled()

    class Recipe(keras.Model):
        def call(self, rgb):
            return training_inputs(rgb, model.network.input) | {"target": target(rgb, 1.8)}

    recipe = Recipe()
    step = lambda: model.train_on_batch(rgb)  # noqa: E731
    fast, slow, ratio = in_turns(lambda: recipe.predict_on_batch(rgb), step)
    yield Row(
        "recipe (Lab, boost, Canny) as a share of a training step", 1 / ratio, "<= 0.08",
        f"{1000 * fast:.0f} of {1000 * slow:.0f} ms, batch 16",
    )  # fmt: skip

    paths = pictures.write_small(folder / "fit", 16 * 6)
    batches = pipeline.Batches(paths, 256, 16, pipeline.Order(0, 0, 0.6, True))
    fast, slow, ratio = in_turns(
        lambda: model.fit(batches, shuffle=False, verbose=0), lambda: [step() for _ in range(len(batches))]
    )
    yield Row(
        "`fit` on a folder against `train_on_batch` on one batch in memory", ratio, ">= 0.93",
        f"{len(paths) / fast:.2f} against {len(paths) / slow:.2f} pictures/s",
    )  # fmt: skip

    side = 4096
    dtype = keras.DTypePolicy(native_precision()).compute_dtype
    square = ops.cast(np.random.default_rng(0).normal(size=(side, side)), dtype)
    product = lambda: float(ops.cast(ops.matmul(square, square)[0, 0], "float32"))  # noqa: E731
    fast, slow, ratio = in_turns(product, step)
    best, reached = 2 * side**3 / fast, 6 * MACS * len(rgb) / slow
    yield Row(
        "training step: FLOP/s against the best matrix product's", reached / best, "",
        f"{reached / 1e9:,.0f} against {best / 1e9:,.0f} GFLOP/s in {dtype}",
    )  # fmt: skip


def batch_table():
    """Pictures/s and peak memory of training by precision and batch, each in a process of its own."""
    return [
        process_json("-m", "benchmarks.training", precision, batch)
        for precision in dict.fromkeys(("float32", native_precision()))
        for batch in (1, 16, 64)
    ]


if __name__ == "__main__":
    precision, batch = sys.argv[1], int(sys.argv[2])
    model, rgb = compiled(batch, precision)
    model.train_on_batch(rgb)  # traces
    times = []
    deadline = time.monotonic() + 30
    while len(times) < 3 or (len(times) < 30 and time.monotonic() < deadline):
        times.append(seconds(lambda: model.train_on_batch(rgb)))
    print(json.dumps({"precision": precision, "batch": batch, "rate": batch / float(np.median(times))}))
