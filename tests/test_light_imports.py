"""Colouring without TensorFlow: what handles pictures of any size imports neither Keras nor TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", ["inference.engine", "data.reader", "data.writer"])
def test_neither_keras_nor_tensorflow_is_imported(module):
    program = f"import sys, {module}; print({{'keras', 'tensorflow', 'h5py', 'tifffile'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
