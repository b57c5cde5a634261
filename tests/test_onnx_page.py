"""The example of an ONNX file in docs/api.md runs without this project."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from inference.options import KERAS_MODEL

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf2onnx converts TensorFlow")
def test_the_example_runs_without_this_project(tmp_path):
    """-I: nothing of this project can be imported."""
    from inference.export import write_onnx

    write_onnx(KERAS_MODEL, tmp_path / "colorizer.onnx")
    example = re.search(r"^```py\n(.*?)^```", PAGE, re.M | re.S)[1]
    command = [sys.executable, "-I", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "(1, 120, 161, 3)\n", done.stdout + done.stderr
