"""What computes ab: a network in Keras, or its exported file in ONNX Runtime. Both have

engine.views(pixels)        L of a picture at the sizes that the network sees
engine.ab(views, mirror)    a list of them -> float32 (n, h, w, 2), Lab units, before the network's
                            last enlarging; with `mirror` the mean with that of the mirror images
engine.batch                pictures at a time
"""

import functools
import json
from pathlib import Path

import cv2
import numpy as np

from data.preprocess import lightness_of, resize
from models.properties import EXPORTED_KEYS, BadModel, check_metadata
from utils import cpu_count


def open_network(path, precision="auto"):
    """Read the file of a network. Keras is imported only if the file needs it.

    Args:
        path: a file that `models.file.load` reads, or a bare .onnx file of `inference.export`.
        precision: a Keras dtype policy; "auto": the faster one of this machine. An .onnx file
            computes in float32.

    Returns:
        (make, metadata): make(sizes, batch) is an engine whose network sees squares of these
        sizes; the metadata as `models.file.load` gives it.

    Raises:
        BadModel: see `models.file.load`.
    """
    if Path(path).suffix.lower() == ".onnx":
        return _open_onnx(path)
    try:
        from utils import import_keras_quietly

        import_keras_quietly()
        from inference.view import Predictor, native_precision
        from models import file as model_file
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}, of requirements.txt; an .onnx file does without"
        raise BadModel(f"{path}: {reason}") from error
    precision = native_precision() if precision == "auto" else precision
    network, metadata = model_file.load(path, precision)
    return functools.partial(Predictor, network), metadata


def _open_onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    options.log_severity_level = 3
    providers = onnxruntime.get_available_providers()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        stored = session.get_modelmeta().custom_metadata_map
        metadata = {key: json.loads(stored[key]) for key in EXPORTED_KEYS if key in stored}
        check_metadata(metadata)
        inputs = {value.name: value.shape[1] for value in session.get_inputs()}
        if "lightness" not in inputs or not metadata["sizes"]:
            raise BadModel("it does not take L: export it with --bare")
    except Exception as error:  # onnxruntime has its own for each kind of damage
        reason = " ".join(str(error).split())[:300]
        text = f"{path}: not a file of inference.export --bare, or damaged ({reason})"
        raise BadModel(text) from error
    return functools.partial(OnnxPredictor, session, inputs.get("global_lightness")), metadata


def views_of(pixels, sides):
    """L of a picture at some sizes; the smaller ones are made of the largest.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.
        sides: of the squares, in pixels.

    Returns:
        {str(side): L, 0..100, float32 (side, side, 1)}.
    """
    largest = resize(pixels, max(sides), max(sides))
    return {str(side): lightness_of(resize(largest, side, side))[..., None] for side in sides}


class OnnxPredictor:
    """An exported network in ONNX Runtime."""

    def __init__(self, session, global_size, sizes, batch):
        """
        Args:
            session: onnxruntime.InferenceSession of a bare file.
            global_size: side of the input "global_lightness"; None: there is none.
            sizes: sides of the squares that the network sees, whose ab are averaged.
            batch: pictures at a time.
        """
        self.session, self.global_size, self.sizes, self.batch = session, global_size, sizes, batch
        self.sides = sorted({*sizes, global_size} - {None})
        self.side = max(self.sides)

    def views(self, pixels):
        return views_of(pixels, self.sides)

    def ab(self, views, mirror=False):
        starts = range(0, len(views), self.batch)
        return np.concatenate([self._batch_ab(views[i : i + self.batch], mirror) for i in starts])

    def _batch_ab(self, views, mirror):
        found = []
        for size in self.sizes:
            sides = {"lightness": size, "global_lightness": self.global_size}
            inputs = {
                name: np.stack([view[str(side)] for view in views])
                for name, side in sides.items()
                if side
            }
            ab = self._run(inputs)
            if mirror:
                turned = {name: x[:, :, ::-1] for name, x in inputs.items()}
                ab = (ab + self._run(turned)[:, :, ::-1]) / 2
            found.append(ab)
        side = max(ab.shape[1] for ab in found)
        return np.mean([[cv2.resize(x, (side, side)) for x in ab] for ab in found], axis=0)

    def _run(self, inputs):
        return self.session.run(["small_ab"], inputs)[0]
