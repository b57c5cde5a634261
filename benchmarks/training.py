"""Rows about training: the input path, the recipe, `fit`, and the step against what the machine can multiply.

python -m benchmarks.training PRECISION XLA BATCH    pictures/s and memory of training steps, as JSON

PRECISION is a Keras dtype policy or tf32: float32 whose products a GPU rounds to 10 bits. XLA is True or False.
"""

import importlib
import itertools
import json
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
from keras import ops
from PIL import Image

import configs
from benchmarks import authors, pictures
from benchmarks.measure import Row, in_turns, process_json, seconds
from data.batches import DRAWS, Batches, Order
from data.preprocess import target, training_inputs
from inference.view import native_precision
from training import devices
from training.model import build_model

# Multiplications of the paper's network (aciids2020, width 1) for one 256 x 256 picture, forwards: the sum over its
# convolutions of H * W * outputs * inputs * kernel area, and over its dense layers of outputs * inputs, is
# 10,483,555,168. Training takes three times that: forwards, gradients of the activations, gradients of the weights.
MACS = 10.48e9


def input_rows(folder):
    """One thread, JPEG of 256 x 256 pixels: file -> uint8 picture."""
    paths = pictures.write_small(folder / "input", 128)

    def ours(crop, mirror):
        batches = Batches(paths, 256, 16, Order(0, 0, crop, mirror))
        draws = np.random.default_rng(0).random((len(paths), DRAWS))
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
        "input path, one core, against the authors' way (ours leaves Lab, boost and Canny to the device)", ratio * 8,
        ">= 40", f"{n / fast:,.0f} against {n / 8 / slow:,.0f} pictures/s",
    )  # fmt: skip
    recipe = Recipe(compiled(1)[0].network.input)
    batches = Batches(paths, 256, 16)
    on_cpu = lambda: [recipe.predict_on_batch(batches[i][0]) for i in range(len(batches))]  # noqa: E731
    fast, slow, ratio = in_turns(on_cpu, theirs, clock=time.process_time)
    yield Row(
        "input path with Lab, boost and Canny on the CPU, against the authors' way, processor time", ratio * 8, "",
        f"{n / fast:,.0f} against {n / 8 / slow:,.0f} pictures for each second of a core",
    )  # fmt: skip
    for function, kind in ((whole, "whole pictures"), (cropped, "random crops and mirroring")):
        fast, slow, ratio = in_turns(function, decode)
        yield Row(
            f"input path against decoding alone, {kind}", ratio, ">= 0.7",
            f"{n / fast:,.0f} against {n / slow:,.0f} pictures/s",
        )  # fmt: skip


def compiled(batch=16, precision=None):
    """The model of the tuned preset, as train.py builds it, and a batch of photographs."""
    config = configs.make("tuned", {"batch": batch, "precision": precision or native_precision()})
    model, _ = build_model(config, 1000, SimpleNamespace(classes=[]), None)
    return model, np.stack(list(pictures.crops(batch, 256)))


class Recipe(keras.Model):
    """uint8 pictures -> the inputs of a network and the target, compiled: Lab, boost, Canny."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs_of_network = inputs

    def call(self, rgb):
        return training_inputs(rgb, self.inputs_of_network) | {"target": target(rgb, 1.8)}


def step_rows(folder):
    """The compiled step, at batch 16."""
    model, rgb = compiled()
    recipe = Recipe(model.network.input)
    step = lambda: model.train_on_batch(rgb)  # noqa: E731
    fast, slow, ratio = in_turns(lambda: recipe.predict_on_batch(rgb), step)
    yield Row(
        "recipe (Lab, boost, Canny) as a share of a training step", 1 / ratio, "<= 0.08",
        f"{1000 * fast:.0f} of {1000 * slow:.0f} ms, batch 16",
    )  # fmt: skip

    paths = pictures.write_small(folder / "fit", 16 * 6)
    batches = Batches(paths, 256, 16, Order(0, 0, 0.6, True))
    fast, slow, ratio = in_turns(
        lambda: model.fit(batches, shuffle=False, verbose=0),
        lambda: [step() for _ in range(len(batches))],
    )
    yield Row(
        "`fit` on a folder against `train_on_batch` on one batch in memory", ratio, ">= 0.93",
        f"{len(paths) / fast:.2f} against {len(paths) / slow:.2f} pictures/s",
    )  # fmt: skip

    if authors.installed():
        yield authors_step_row(rgb)

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


def authors_step_row(rgb):
    """Their step on arrays in memory, and ours from uint8 pictures on, at the paper's settings."""
    config = configs.make("paper", {"batch": len(rgb), "precision": native_precision()})
    model, _ = build_model(config, 1000, SimpleNamespace(classes=[]), None)
    theirs = authors.network()
    theirs.compile(optimizer="sgd", loss="mse")
    given = Recipe(model.network.input).predict_on_batch(rgb)
    lightness, edges, ab = given["lightness"], given["edges"], given["target"] / 128
    fast, slow, ratio = in_turns(
        lambda: model.train_on_batch(rgb),
        lambda: theirs.train_on_batch([lightness, lightness, edges], ab),
    )
    return Row(
        "training step, Lab, boost and Canny included, against the authors' step on arrays in tf_keras", ratio, "",
        f"{len(rgb) / fast:.2f} in {config.precision} against {len(rgb) / slow:.2f} pictures/s in float32",
    )  # fmt: skip


def batch_table():
    """Pictures/s and peak memory of training by precision, XLA and batch, each in a process of its own."""
    if on_gpu():
        precisions, batches = ("float32", "tf32", "mixed_bfloat16"), (16, 64, 256)
        xla = (
            (False, True)
            if keras.backend.backend() == "tensorflow"
            else (keras.backend.backend() == "jax",)
        )
    else:
        precisions, batches, xla = (
            dict.fromkeys(("float32", native_precision())),
            (1, 16, 64),
            (False,),
        )
    modes = itertools.product(precisions, xla, batches)
    return [
        process_json("-m", "benchmarks.training", precision, x, batch)
        for precision, x, batch in modes
    ]


def on_gpu():
    return str(devices.use(1)).endswith("GPU")


def set_tf32(wanted):
    """Whether a GPU's float32 products may be rounded to 10 bits."""
    backend = importlib.import_module(keras.backend.backend())
    if keras.backend.backend() == "tensorflow":
        backend.config.experimental.enable_tensor_float_32_execution(wanted)
    elif keras.backend.backend() == "jax":
        backend.config.update(
            "jax_default_matmul_precision", "tensorfloat32" if wanted else "highest"
        )
    else:
        backend.backends.cuda.matmul.allow_tf32 = backend.backends.cudnn.allow_tf32 = wanted


def gpu_memory():
    """Peak memory of the first GPU in MB, as the backend counts it."""
    backend = importlib.import_module(keras.backend.backend())
    if keras.backend.backend() == "tensorflow":
        return backend.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    if keras.backend.backend() == "jax":
        return backend.local_devices()[0].memory_stats()["peak_bytes_in_use"] / 1e6
    return backend.cuda.max_memory_allocated() / 1e6


def main(precision, xla, batch):
    xla, batch = xla == "True", int(batch)
    set_tf32(precision == "tf32")
    model, rgb = compiled(batch, "float32" if precision == "tf32" else precision)
    model.compile(optimizer=model.optimizer, jit_compile=xla)
    model.train_on_batch(rgb)  # traces
    times = []
    deadline = time.monotonic() + 30
    while len(times) < 3 or (len(times) < 30 and time.monotonic() < deadline):
        times.append(seconds(lambda: model.train_on_batch(rgb)))
    row = {
        "precision": precision,
        "xla": xla,
        "batch": batch,
        "rate": batch / float(np.median(times)),
    }
    print(json.dumps(row | ({"memory": gpu_memory()} if on_gpu() else {})))


if __name__ == "__main__":
    main(*sys.argv[1:])
