"""Open what computes ab: a network in Keras, or an exported file in ONNX Runtime.

Both engines are used alike:

engine.views(pixels)        what the engine takes of a picture
engine.ab(views, mirror)    a list of them -> float32 (n, h, w, 2), Lab units, before the network's
                            last enlarging; with `mirror` the mean with that of the mirror images
engine.batch, engine.side   pictures at a time; side of the largest square, in pixels
"""

import functools
import json
from pathlib import Path

import numpy as np

from data.preprocess import resize, to_float
from models.properties import TOLD, BadModel, check_metadata, mirror_of


def open_network(path, precision="auto"):
    """Read the file of a network. Keras is imported only if the file needs it.

    Args:
        path: a file that `model_file.load` reads, or an .onnx file that `inference.export` wrote.
        precision: a Keras dtype policy; "auto": the faster one of this machine. An .onnx file has
            its own.

    Returns:
        (make, metadata): make(sizes, batch) is an engine whose network sees squares of these sizes;
        the metadata as `model_file.load` gives it.

    Raises:
        BadModel: see `model_file.load`.
    """
    if Path(path).suffix.lower() == ".onnx":
        return _open_onnx(path)
    try:
        from utils import import_keras_quietly

        import_keras_quietly()
        from inference.view import Predictor, native_precision
        from models import file as model_file
    except ModuleNotFoundError as error:
        raise BadModel(
            f"{path}: needs {error.name}, of requirements.txt; an .onnx file does without"
        ) from error
    network, metadata = model_file.load(
        path, native_precision() if precision == "auto" else precision
    )
    return functools.partial(Predictor, network), metadata


def _open_onnx(path):
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            path, providers=onnxruntime.get_available_providers()
        )
        inputs = {value.name: value.shape for value in session.get_inputs()}
        told = session.get_modelmeta().custom_metadata_map
        metadata = {name: json.loads(told[name]) for name in (*TOLD, "size") if name in told}
        check_metadata(metadata)
        metadata["exported"] = True  # sizes and mirror images are as they were exported
        if len(inputs["picture"]) != 4 or inputs["saturation"] or type(metadata["size"]) is not int:
            raise BadModel("it does not take pictures (N, H, W, 3)")
    except Exception as error:  # onnxruntime has its own for each kind of damage
        reason = " ".join(str(error).split())[:300]
        raise BadModel(
            f"{path}: not a file that inference.export wrote for pictures, or damaged ({reason})"
        ) from error
    mirrored = mirror_of(metadata)
    return functools.partial(OnnxPredictor, session, metadata["size"], mirrored=mirrored), metadata


class OnnxPredictor:
    """An exported network in ONNX Runtime. It sees pictures of 8 bits."""

    def __init__(self, session, side, sizes, batch, mirrored=False):
        """
        Args:
            session: onnxruntime.InferenceSession of an exported file.
            side: of the largest square that its network sees; the file makes the smaller ones.
            sizes: those that are asked for.
            batch: pictures at a time.
            mirrored: whether the file averages mirror images itself.

        Raises:
            BadModel: the sizes differ.
        """
        if list(sizes) != [side]:
            asked = " and ".join(map(str, sizes))
            raise BadModel(f"the network was exported for the size {side}, not {asked}")
        self.session, self.side, self.batch, self.mirrored = session, side, batch, mirrored

    def views(self, pixels):
        """A picture as the network sees it, uint8 (side, side, 3)."""
        small = resize(pixels, self.side, self.side)
        if small.dtype != np.uint8:
            small = np.rint(255 * to_float(small)).astype(np.uint8)
        return small if small.ndim == 3 else np.dstack([small] * 3)

    def ab(self, views, mirror=False):
        """Views of pictures -> ab, float32 (n, h, w, 2), before the network's last enlarging."""
        if mirror and not self.mirrored:
            return (self.ab(views) + self.ab([view[:, ::-1] for view in views])[:, :, ::-1]) / 2
        parts = [
            np.stack(views[start : start + self.batch])
            for start in range(0, len(views), self.batch)
        ]
        one = np.ones((), np.float32)
        return np.concatenate(
            [self.session.run(["ab"], {"picture": part, "saturation": one})[0] for part in parts]
        )
