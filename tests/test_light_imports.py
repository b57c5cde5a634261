"""Colorizing without TensorFlow: what an .onnx file needs imports neither Keras nor TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", ["colorizer", "inference.folder", "inference.settings"])
def test_neither_keras_nor_tensorflow_is_imported(module):
    unwanted = {"keras", "tensorflow", "h5py", "scipy", "skimage", "tifffile"}
    program = f"import sys, {module}; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
