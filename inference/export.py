"""Write a network as ONNX: pictures in, colour pictures out; resizing, edges, gamut and sRGB are inside.

    python -m inference.export [MODEL] FILE.onnx

Needs the TensorFlow backend, tf2onnx, onnx and onnxruntime (all in requirements.txt).
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from inference.options import DEFAULT_MODEL
from utils import atomic, import_keras_quietly

import_keras_quietly()

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from data.preprocess import colorize, network_inputs
from inference import picture_graph
from inference.quantize import quantize
from inference.view import Predictor
from models import file as model_file
from models.properties import TOLD, BadModel, mirror_of, sizes_of
from pictures.reader import BadPicture

OPSET = 18
TOLERANCE = 1e-4  # of ab / 128, between ONNX Runtime and Keras
WEIGHTS = 1024  # constants of as many numbers are stored in half precision with --half


def write_onnx(source, path, form="rgb", half=False, calibration=None):
    """Write a network as ONNX, and compare what ONNX Runtime makes of it with Keras.

    Args:
        source: of the network, see `model_file.load`.
        path: of the file to write.
        form: "rgb" or "gray" pictures, or "bare": L in, ab out.
        half: store the weights in half precision; they are computed with in float32.
        calibration: a folder of photographs, for form "rgb": see `inference.quantize`.

    Returns:
        The largest difference from Keras: of ab / 128 for "bare", else the share of pixels more than 2 of 255 apart.
        With `calibration` it is that share on the photographs of the folder, without a limit.

    Raises:
        BadModel: the source cannot be used.
        ArithmeticError: the difference is more than TOLERANCE, or 0.001 of the pixels; nothing is written then.
        BadPicture: the folder holds none, or a broken one.
    """
    network, metadata = model_file.load(source)
    metadata = {"colorize_saturation": 1.0} | metadata
    predictor = Predictor(network, sizes_of(metadata), 1)
    mirror = mirror_of(metadata)
    model = _bare_model(network) if form == "bare" else _picture_model(predictor, form, mirror)
    if half:
        _halve(model.graph)
    told = {name: json.dumps(metadata[name]) for name in TOLD if name in metadata}
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    told |= {
        "size": json.dumps(predictor.side),
        "network": network.name,
        "T": str(metadata.get("saturation")),
    }
    told |= {"source": f"{source.name}, SHA-256 {digest}"}
    helper.set_model_props(model, told | FORMS[form])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        difference, limit = (
            _compare_ab(network, session)
            if form == "bare"
            else _compare(predictor, session, form, mirror)
        )
        if not difference <= limit:
            raise ArithmeticError(
                f"ONNX Runtime differs from Keras by {difference:.1e}, the limit is {limit:.1e}"
            )
        if calibration:
            difference = quantize(temporary, predictor.side, calibration)
    return difference


_PICTURE = {
    "saturation": "factor on ab, float32 (); colorize_saturation is the default",
    "ab": "float32 (N, h, w, 2), Lab units, of the network, before saturation and enlarging",
    "rgb": "uint8 (N, H, W, 3), sRGB, 0..255",
}
FORMS = {
    "rgb": {"picture": "uint8 (N, H, W, 3), sRGB, 0..255"} | _PICTURE,
    "gray": {"picture": "uint8 (N, H, W), gray, 0..255"} | _PICTURE,
    "bare": {
        "lightness": "float32 (N, H, W, 1), L in 0..100",
        "global_lightness": "the same pictures at the size of the branch that sees them whole, (N, S, S, 1)",
        "ab": "float32 (N, H, W, 2), Lab units",
    },
}  # fmt: skip


def _picture_model(predictor, form, mirror):
    inputs = {
        "picture": ("uint8", ["N", "H", "W", 3][: 3 + (form == "rgb")]),
        "saturation": ("float32", []),
    }

    def function(picture, saturation):
        return picture_graph.colorize(predictor, picture, saturation, mirror)

    return _convert(function, inputs, {"rgb": ["N", "H", "W", 3], "ab": ["N", "h", "w", 2]})


def _bare_model(network):
    views = {name: x.shape[1] for name, x in network.input.items() if name != "edges"}
    inputs = {name: ("float32", ["N", side or "H", side or "W", 1]) for name, side in views.items()}

    def function(*given):
        return picture_graph.ab_of_any_size(network, dict(zip(views, given)))

    return _convert(function, inputs, {"ab": ["N", "H", "W", 2]})


def _convert(function, inputs, outputs):
    """The onnx.ModelProto of a function of tensors; inputs {name: (dtype, shape)}, outputs {name: shape}."""
    import tensorflow as tf
    import tf2onnx

    def free(shape):
        return [size if isinstance(size, int) else None for size in shape]

    signature = [tf.TensorSpec(free(shape), dtype, name) for name, (dtype, shape) in inputs.items()]
    function = tf.function(function, input_signature=signature, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    for value, name in zip(model.graph.output, outputs):
        model.graph.node.append(helper.make_node("Identity", [value.name], [name]))
        value.name = name
    for value in (*model.graph.input, *model.graph.output):
        shape = outputs.get(value.name) or inputs[value.name][1]
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape):
            if isinstance(size, str):
                dimension.dim_param = size
    return model


def _halve(graph):
    """Store the weights in half precision, each followed by a cast to float32."""
    for tensor in [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT]:
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1 and array.size >= WEIGHTS:  # the table of the gamut has one dimension
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}/half"))
            graph.node.insert(
                0, helper.make_node("Cast", [f"{name}/half"], [name], to=onnx.TensorProto.FLOAT)
            )


def _compare(predictor, session, form, mirror):
    """(share of the pixels more than 2 of 255 apart from `data.preprocess.colorize`, its limit), over pictures of noise."""
    rng = np.random.default_rng(0)
    far = []
    for height, width in ((1, 1), (37, 300), (301, 263)):
        coarse = rng.integers(
            0, 256, (height // 9 + 1, width // 9 + 1, 3)[: 2 + (form == "rgb")], np.uint8
        )
        picture = np.repeat(np.repeat(coarse, 9, 0), 9, 1)[:height, :width]
        given = {"picture": picture[None], "saturation": np.ones((), np.float32)}
        expected = colorize(picture, predictor.ab([predictor.views(picture)], mirror)[0])
        far.append(
            (np.abs(session.run(["rgb"], given)[0][0].astype(int) - expected) > 2).any(-1).ravel()
        )
    return float(np.concatenate(far).mean()), 1e-3


def _compare_ab(network, session):
    """(the largest difference of ab / 128 from the network's own, its limit), over two batches of different sizes."""
    rng = np.random.default_rng(0)
    found = 0.0
    for count, height, width in ((1, 256, 256), (3, 64, 96)):
        free = {"N": count, "H": height, "W": width}
        views = {
            value.name: rng.uniform(0, 100, [free.get(n, n) for n in value.shape]).astype("float32")
            for value in session.get_inputs()
        }
        ab = keras.ops.convert_to_numpy(network(network_inputs(**views, names=network.input)))
        found = max(found, float(np.abs(session.run(["ab"], views)[0] - ab).max() / 128))
    return found, TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "model", type=Path, nargs="?", default=DEFAULT_MODEL, help="default: the bundled model"
    )
    parser.add_argument("file", type=Path, help="the ONNX file to write")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--gray",
        action="store_const",
        dest="form",
        const="gray",
        default="rgb",
        help="pictures (N, H, W)",
    )
    forms.add_argument(
        "--bare",
        action="store_const",
        dest="form",
        const="bare",
        help="the network alone: L in, ab out",
    )
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--half", action="store_true", help="store the weights in half precision")
    smaller.add_argument(
        "--int8", type=Path, metavar="PHOTOGRAPHS", help="compute in 8 bits, calibrated on a folder"
    )
    args = parser.parse_args()
    if keras.backend.backend() != "tensorflow":
        parser.error("KERAS_BACKEND=tensorflow is needed: tf2onnx converts its graphs")
    if args.int8 and args.form != "rgb":
        parser.error("--int8: for pictures (N, H, W, 3) alone")
    try:
        difference = write_onnx(args.model, args.file, args.form, args.half, args.int8)
    except (BadModel, BadPicture, OSError, ArithmeticError) as error:
        sys.exit(f"{error}")
    unit = (
        "of ab / 128 from Keras"
        if args.form == "bare"
        else "of the pixels differ from Keras by more than 2 of 255"
    )
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, {difference:.1e} {unit}")


if __name__ == "__main__":
    main()
