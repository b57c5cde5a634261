"""Write a network as ONNX, for use without Keras: L in, ab out, the edge detector included.

    python -m inference.export MODEL FILE.onnx

Needs the TensorFlow backend, tf2onnx and onnxruntime (all in requirements.txt).
"""

import argparse
import sys
from pathlib import Path

from utils import atomic, import_keras_quietly

import_keras_quietly()

import keras
import numpy as np
import onnx
import onnxruntime

from data.preprocess import network_inputs
from inference import model_file

TOLERANCE = 1e-4  # of ab / 128, between ONNX Runtime and Keras


class Exported(keras.Model):
    """L of pictures of any size -> ab at their size: Canny and the network in one graph."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.signature = {
            name: keras.InputSpec(shape=(None, *x.shape[1:]), dtype="float32", name=name)
            for name, x in network.input.items()
            if name != "edges"
        }

    def call(self, views):
        return self.network(network_inputs(**views, names=self.network.input))


def write_onnx(network, path):
    """Write a network of `model_file.load` and compare what ONNX Runtime makes of it with Keras.

    The file takes "lightness", L in 0..100, float32 (N, H, W, 1) with H and W divisible by 8, and "whole", the same
    pictures at 256 x 256 (N, 256, 256, 1), and gives "ab" in Lab units (N, H, W, 2). N, H and W are free.

    Returns:
        The largest difference of ab / 128, over two batches of different sizes.

    Raises:
        ArithmeticError: it is more than TOLERANCE; nothing is written then.
    """
    model = Exported(network)
    shapes = {name: [n or 64 for n in spec.shape] for name, spec in model.signature.items()}
    model({name: np.zeros(shape, "float32") for name, shape in shapes.items()})  # Keras exports what has been called
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        model.export(temporary, format="onnx", verbose=False, input_signature=[model.signature])
        graph = onnx.load(temporary)
        _name(graph.graph)
        onnx.save(graph, temporary)
        difference = _difference(model, temporary)
        if not difference <= TOLERANCE:
            raise ArithmeticError(f"ONNX Runtime differs from Keras by {difference:.1e} of ab / 128")
    return difference


def _name(graph):
    """Give the output and the free dimensions names that mean something."""
    old = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["ab" if name == old else name for name in node.output]
    graph.output[0].name = "ab"
    for value in (*graph.input, *graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("N", "H", "W")):
            if not dimension.dim_value:
                dimension.dim_param = name


def _difference(model, path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    found = 0.0
    for count, height, width in ((1, 256, 256), (3, 64, 96)):
        free = dict(enumerate((count, height, width)))
        views = {
            name: rng.uniform(0, 100, [n or free[i] for i, n in enumerate(spec.shape)]).astype("float32")
            for name, spec in model.signature.items()
        }
        ab = keras.ops.convert_to_numpy(model(views))
        found = max(found, float(np.abs(session.run(["ab"], views)[0] - ab).max() / 128))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="network: best.keras of a run of train.py")
    parser.add_argument("file", type=Path, help="the ONNX file to write")
    args = parser.parse_args()
    if keras.backend.backend() != "tensorflow":
        parser.error("KERAS_BACKEND=tensorflow is needed: Keras exports ONNX by way of it")
    try:
        network, _ = model_file.load(args.model)
        difference = write_onnx(network, args.file)
    except (model_file.BadModel, OSError, ArithmeticError) as error:
        sys.exit(f"{error}")
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, {difference:.1e} of ab / 128 from Keras")


if __name__ == "__main__":
    main()
