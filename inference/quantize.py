"""An exported file with its convolutions and dense layers computed in 8 bits, calibrated on photographs."""

import itertools
import logging

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from data.formats import looks_like_picture
from data.reader import BadPicture, read_picture
from inference.engine import OnnxPredictor
from utils import find_files

PICTURES = 32  # of the folder that are looked at


def quantize(path, size, folder):
    """Quantize the file `path` of `inference.export`, colour form, in place.

    Args:
        size: of the square that the network sees.
        folder: of photographs; the first set the ranges of the 8 bits.

    Returns:
        The share of the pixels of these photographs, at that size, that change by more than 2 of 255.

    Raises:
        BadPicture: one of the files cannot be read, or there is none.
    """
    session = onnxruntime.InferenceSession(path)
    paths = itertools.islice(filter(looks_like_picture, find_files(folder)), PICTURES)
    pictures = [OnnxPredictor(session, size, [size], 1).views(read_picture(source).pixels) for source in paths]
    if not pictures:
        raise BadPicture(f"{folder}: no pictures to calibrate with")
    inputs = [{"picture": picture[None], "saturation": np.ones((), np.float32)} for picture in pictures]
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    nodes = [node.name for node in graph.node if node.op_type in ("Conv", "MatMul") and node.input[1] in weights]
    before = [session.run(["rgb"], given)[0] for given in inputs]
    logging.getLogger().setLevel(logging.ERROR)  # it advises a preparation that the loop of the edge detector cannot take
    quantize_static(path, path, _Reader(inputs), nodes_to_quantize=nodes, per_channel=True)
    session = onnxruntime.InferenceSession(path)
    after = [session.run(["rgb"], given)[0] for given in inputs]
    return float((np.abs(np.stack(after).astype(int) - before).max(axis=-1) > 2).mean())


class _Reader(CalibrationDataReader):
    def __init__(self, inputs):
        self.inputs = iter(inputs)

    def get_next(self):
        return next(self.inputs, None)
