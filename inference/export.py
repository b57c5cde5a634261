"""Write a network as ONNX: colorizing as a whole, or the bare network.

    python -m inference.export [MODEL] FILE.onnx [--bare]

Needs the TensorFlow backend, tf2onnx, onnx and onnxruntime (all in requirements.txt).
"""

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np

from inference.options import KERAS_MODEL
from models.properties import EXPORTED_KEYS, BadModel, mirror_of, size_step, sizes_of
from utils import atomic, import_keras_quietly

OPSET = 18
FAR = {"rgb": 2, "ab": 0.01}  # of 255, and in Lab units
LIMIT = 1e-3  # share of the values that may differ from Keras by more than FAR


def write_onnx(source, path, bare=False):
    """Write a network as ONNX, and compare what ONNX Runtime makes of it with Keras.

    Args:
        source, path: of the network, see `models.file.load`, and of the file to write.
        bare: the network alone, L in, ab out; else uint8 pictures in and out, with the sizes and
            the mirror images of the network's file. Both take any size.

    Returns the share of the values of rgb, or of ab, that differ from Keras by more than FAR.
    Raises ArithmeticError if it is above LIMIT, BadModel if the source cannot be used.
    """
    import onnx
    import onnxruntime
    import tensorflow as tf
    import tf2onnx

    from inference import picture_graph
    from inference.view import Predictor
    from models import file as model_file

    source = Path(source)
    network, metadata = model_file.load(source)
    metadata |= {"network": network.name, "sizes": sizes_of(metadata)}
    metadata = {"colorize_saturation": 1.0} | metadata
    predictor, mirror = Predictor(network, metadata["sizes"], 1), mirror_of(metadata)
    if bare:
        views = {name: x.shape[1:] for name, x in network.input.items() if name != "edges"}
        inputs = [tf.TensorSpec((None, *shape), "float32", n) for n, shape in views.items()]
        graph = picture_graph.with_open_sizes(network)
        function = functools.partial(picture_graph.ab_of_any_size, graph, size_step(metadata))
    else:
        inputs = [tf.TensorSpec((None, None, None, 3), "uint8", "picture")]
        inputs += [tf.TensorSpec((), "float32", "saturation")]
        function = functools.partial(picture_graph.colorize, predictor, mirror)
    function = tf.function(function, input_signature=inputs, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=inputs, opset=OPSET)
    if bare:
        _store_halves(model)
    stored = {key: json.dumps(metadata[key]) for key in EXPORTED_KEYS if key in metadata}
    stored |= {"size": str(predictor.side), "T": str(metadata.get("saturation"))}
    stored |= {"source": f"{source.name}, SHA-256 {model_file.sha256(source)}"}
    onnx.helper.set_model_props(model, stored)

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, flush=True) as temporary:
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        share = _compare(function, session, "ab" if bare else "rgb")
        if not share <= LIMIT:
            raise ArithmeticError(f"ONNX Runtime differs from Keras in {share:.1e} of the values")
    return share


def _store_halves(model):
    """Store the weights that half precision holds exactly, as a published file's, in 16 bits."""
    from onnx import helper, numpy_helper

    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 64:
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            if (half == array).all():
                name, stored = tensor.name, f"{tensor.name}_half"
                tensor.CopyFrom(numpy_helper.from_array(half, stored))
                model.graph.node.insert(0, helper.make_node("Cast", [stored], [name], to=1))


def _compare(function, session, output):
    """The share of the values of an output that are further than FAR from Keras', for noise."""
    rng, far = np.random.default_rng(0), []
    for sides in ((1, 256, 256), (3, 64, 96), (2, 301, 37)):
        given = {}
        for value in session.get_inputs():
            shape = [n if isinstance(n, int) else side for n, side in zip(value.shape, sides)]
            noise = rng.uniform(0, 100, (*shape, *value.shape[3:]))
            given[value.name] = noise.astype("uint8" if "uint8" in value.type else "float32")
        given |= {"saturation": np.ones((), "float32")} if "saturation" in given else {}
        expected = np.asarray(function(*given.values())[output]).astype("float32")
        (found,) = session.run([output], given)
        far.extend((np.abs(found - expected) > FAR[output]).ravel())
    return float(np.mean(far))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    text = "the network (default: the bundled one)"
    parser.add_argument("model", type=Path, nargs="?", default=KERAS_MODEL, help=text)
    parser.add_argument("file", type=Path, help="the ONNX file to write")
    parser.add_argument("--bare", action="store_true", help="the network alone: L in, ab out")
    args = parser.parse_args(arguments)
    import_keras_quietly()
    import keras

    if keras.backend.backend() != "tensorflow":
        parser.error("KERAS_BACKEND=tensorflow is needed: tf2onnx converts its graphs")
    try:
        share = write_onnx(args.model, args.file, args.bare)
    except (BadModel, OSError, ArithmeticError) as error:
        sys.exit(f"{error}")
    size = args.file.stat().st_size / 1e6
    print(f"{args.file}: {size:.1f} MB, {share:.1e} of the values differ from Keras")


if __name__ == "__main__":
    main()
