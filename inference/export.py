"""Write a network as ONNX: colorizing as a whole, or the bare network.

    python -m inference.export [MODEL] FILE.onnx [--bare]

Needs the TensorFlow backend, tf2onnx, onnx and onnxruntime (all in requirements.txt).
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from data.preprocess import colorize, network_inputs
from inference.options import DEFAULT_MODEL
from models.properties import EXPORTED_KEYS, BadModel, mirror_of, size_step, sizes_of
from utils import atomic, import_keras_quietly

OPSET = 18
PIXELS = 1e-3  # share of the pixels that may differ from Keras by more than 2 of 255
TOLERANCE = 1e-4  # of ab / 128, for the bare network
PICTURE = {
    "picture": "uint8 (N, H, W, 3), sRGB, 0..255",
    "saturation": "factor on ab, float32 (); colorize_saturation is the default",
    "ab": "float32 (N, h, w, 2), Lab units, of the network, before saturation and enlarging",
    "rgb": "uint8 (N, H, W, 3), sRGB, 0..255",
}
BARE = {
    "lightness": "float32 (N, H, W, 1), L in 0..100",
    "global_lightness": "the same pictures at the size of the global branch, (N, S, S, 1)",
    "ab": "float32 (N, H, W, 2), Lab units",
    "small_ab": "float32 (N, h, w, 2), ab before its last enlarging",
}


def write_onnx(source, path, bare=False):
    """Write a network as ONNX, and compare what ONNX Runtime makes of it with Keras.

    Args:
        source: of the network, see `models.file.load`.
        path: of the file to write.
        bare: the network alone, L in, ab out; else colorizing as a whole, uint8 pictures of any
            size in and out, with the sizes and the mirror images of the network's file.

    Returns:
        The largest difference from Keras: of ab / 128 for the bare network, else the share of the
        pixels that differ by more than 2 of 255.

    Raises:
        BadModel: the source cannot be used.
        ArithmeticError: the difference is above TOLERANCE or PIXELS; nothing is written then.
    """
    import onnx
    import onnxruntime

    from inference import picture_graph
    from inference.view import Predictor
    from models import file as model_file

    network, metadata = model_file.load(source)
    metadata |= {"network": network.name, "sizes": sizes_of(metadata)}
    metadata = {"colorize_saturation": 1.0} | metadata
    predictor, mirror = Predictor(network, sizes_of(metadata), 1), mirror_of(metadata)
    if bare:
        sides = {name: x.shape[1] for name, x in network.input.items() if name != "edges"}
        inputs = {name: ("float32", ["N", s or "H", s or "W", 1]) for name, s in sides.items()}
        outputs = {"ab": ["N", "H", "W", 2], "small_ab": ["N", "h", "w", 2]}
        step = size_step(metadata)
        graph = picture_graph.with_open_sizes(network)

        def function(*views):
            return picture_graph.ab_of_any_size(graph, step, dict(zip(sides, views)))
    else:
        inputs = {"picture": ("uint8", ["N", "H", "W", 3]), "saturation": ("float32", [])}
        outputs = {"rgb": ["N", "H", "W", 3], "ab": ["N", "h", "w", 2]}

        def function(picture, saturation):
            return picture_graph.colorize(predictor, picture, saturation, mirror)

    model = _convert(function, inputs, outputs)
    properties = {key: metadata[key] for key in EXPORTED_KEYS if key in metadata}
    properties = {key: json.dumps(value) for key, value in properties.items()}
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    properties |= {"size": str(predictor.side), "T": str(metadata.get("saturation"))}
    properties |= {"source": f"{Path(source).name}, SHA-256 {digest}"}
    onnx.helper.set_model_props(model, properties | (BARE if bare else PICTURE))

    path.parent.mkdir(parents=True, exist_ok=True)
    if bare:
        _store_halves(model)
    with atomic(path, flush=True) as temporary:
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        found = _compare_bare(network, session) if bare else _compare(predictor, session, mirror)
        limit = TOLERANCE if bare else PIXELS
        if not found <= limit:
            raise ArithmeticError(f"ONNX Runtime differs from Keras by {found:.1e}, above {limit}")
    return found


def _convert(function, inputs, outputs):
    """The onnx.ModelProto of a function; inputs {name: (dtype, shape)}, outputs {name: shape}."""
    import tensorflow as tf
    import tf2onnx
    from onnx import helper

    signature = [
        tf.TensorSpec([n if isinstance(n, int) else None for n in shape], dtype, name)
        for name, (dtype, shape) in inputs.items()
    ]
    function = tf.function(function, input_signature=signature, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    for value, name in zip(model.graph.output, outputs):
        model.graph.node.append(helper.make_node("Identity", [value.name], [name]))
        value.name = name
    shapes = outputs | {name: shape for name, (_, shape) in inputs.items()}
    for value in (*model.graph.input, *model.graph.output):
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name]):
            if isinstance(size, str):
                dimension.dim_param = size
    return model


def _store_halves(model):
    """Store the weights that half precision holds exactly, as a published file's, in 16 bits."""
    from onnx import helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 64:
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            if (half == array).all():
                stored = f"{tensor.name}_half"
                casts.append(helper.make_node("Cast", [stored], [tensor.name], to=1))  # float32
                tensor.CopyFrom(numpy_helper.from_array(half, stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _compare(predictor, session, mirror):
    """The share of the pixels more than 2 of 255 from `colorize`, over pictures of noise."""
    rng, far = np.random.default_rng(0), []
    for height, width in ((1, 1), (37, 300), (301, 263)):
        coarse = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), np.uint8)
        picture = coarse.repeat(9, 0).repeat(9, 1)[:height, :width]
        given = {"picture": picture[None], "saturation": np.ones((), np.float32)}
        expected = colorize(picture, predictor.ab([predictor.views(picture)], mirror)[0])
        difference = np.abs(session.run(["rgb"], given)[0][0].astype(int) - expected)
        far.append((difference > 2).any(-1).ravel())
    return float(np.concatenate(far).mean())


def _compare_bare(network, session):
    """The largest difference of ab / 128 from the network, over batches of two sizes."""
    rng, found = np.random.default_rng(0), []
    for sizes in ({"N": 1, "H": 256, "W": 256}, {"N": 3, "H": 64, "W": 96}):
        views = {
            value.name: rng.uniform(0, 100, [sizes.get(n, n) for n in value.shape]).astype("f4")
            for value in session.get_inputs()
        }
        expected = np.asarray(network(network_inputs(**views, names=network.input)))
        found.append(np.abs(session.run(["ab"], views)[0] - expected).max() / 128)
    return float(max(found))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    text = "the network (default: the bundled one)"
    parser.add_argument("model", type=Path, nargs="?", default=DEFAULT_MODEL, help=text)
    parser.add_argument("file", type=Path, help="the ONNX file to write")
    parser.add_argument("--bare", action="store_true", help="the network alone: L in, ab out")
    args = parser.parse_args(arguments)
    import_keras_quietly()
    import keras

    if keras.backend.backend() != "tensorflow":
        parser.error("KERAS_BACKEND=tensorflow is needed: tf2onnx converts its graphs")
    try:
        found = write_onnx(args.model, args.file, args.bare)
    except (BadModel, OSError, ArithmeticError) as error:
        sys.exit(f"{error}")
    share = "of the pixels differ from Keras by more than 2 of 255"
    unit = "of ab / 128 from Keras" if args.bare else share
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, {found:.1e} {unit}")


if __name__ == "__main__":
    main()
