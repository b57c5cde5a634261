"""Open the file of a network, in Keras or in ONNX Runtime."""

import functools
import json
from pathlib import Path

from inference.engine import OnnxPredictor
from models.properties import EXPORTED_KEYS, BadModel, check_metadata
from utils import cpu_count, import_keras_quietly, native_precision


def open_network(path, precision="auto"):
    """Read the file of a network. Keras is imported only if the file needs it.

    Args:
        path: a file that `models.file.load` reads, or a bare .onnx file of `inference.export`.
        precision: a Keras dtype policy; "auto": the faster one of this machine.

    Returns:
        (make, metadata): make(sizes, batch) is an Engine; the metadata as of `models.file.load`.

    Raises:
        BadModel: the file cannot be used, or not with this precision.
    """
    if Path(path).suffix.lower() == ".onnx":
        if precision not in ("auto", "float32"):
            raise BadModel(f"{path}: computes in float32; {precision} needs a .keras or .h5 file")
        return _open_onnx(path)
    try:
        import_keras_quietly()
        from inference.view import Predictor
        from models import file as model_file
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}, of requirements.txt; an .onnx file does without"
        raise BadModel(f"{path}: {reason}") from error
    precision = native_precision() if precision == "auto" else precision
    network, metadata = model_file.load(path, precision)
    return functools.partial(Predictor, network), metadata


def _open_onnx(path):
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise BadModel(f"{path}: needs onnxruntime, of requirements.txt") from error
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
