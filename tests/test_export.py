"""The ONNX file against Keras, at sizes that the export itself did not see."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from skimage import data

from data.preprocess import lightness_of, network_inputs, resize
from inference import model_file
from models import aciids2020

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras exports ONNX by way of TensorFlow")
@pytest.mark.parametrize("edges", [True, False])
def test_onnx_gives_what_keras_gives(tmp_path, edges):
    import onnxruntime

    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 8, "global_size": 64, "edges": edges}
    network = aciids2020.build(**arguments)
    model_file.save(tmp_path / "a.keras", "aciids2020", network.get_weights(), {"arguments": arguments, "size": 64})
    command = [sys.executable, "-m", "inference.export", str(tmp_path / "a.keras"), str(tmp_path / "a.onnx")]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert printed.returncode == 0 and "from Keras" in printed.stdout, printed.stderr
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    shapes = {"lightness": ["N", "H", "W", 1], "global_lightness": ["N", 64, 64, 1]}
    assert {i.name: i.shape for i in session.get_inputs()} == shapes
    for height, width in ((40, 128), (96, 72)):
        photographs = [data.camera(), data.astronaut()]
        views = {
            "lightness": np.stack([lightness_of(resize(p, height, width)) for p in photographs])[..., None],
            "global_lightness": np.stack([lightness_of(resize(p, 64, 64)) for p in photographs])[..., None],
        }
        expected = keras.ops.convert_to_numpy(network(network_inputs(**views, names=network.input)))
        (found,) = session.run(None, views)
        assert found.shape == (2, height, width, 2) and np.abs(found - expected).max() / 128 < 1e-4


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "a.keras").write_text("no network")
    command = [sys.executable, "-m", "inference.export", str(tmp_path / "a.keras"), str(tmp_path / "a.onnx")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode and "Traceback" not in result.stderr and not (tmp_path / "a.onnx").exists()
