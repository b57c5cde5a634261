"""The examples of docs/onnx.md run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from inference.options import DEFAULT_MODEL

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="tf2onnx converts graphs of TensorFlow"
    ),
]
PAGE = (Path(__file__).parents[1] / "docs" / "onnx.md").read_text()


def example(language):
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from inference.export import write_onnx

    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(DEFAULT_MODEL, folder / "colorizer.onnx")
    return folder


def test_python(folder):
    """-I: nothing of this project can be imported."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", example("python")], cwd=folder, capture_output=True, text=True
    )
    assert done.stdout.startswith("(1, 120, 161, 3)"), done.stdout + done.stderr


def test_javascript(folder):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing")
    (folder / "colorize.js").write_text(example("javascript"))
    if subprocess.run(
        [node, "-e", "require('onnxruntime-node')"], cwd=folder, capture_output=True
    ).returncode:
        pytest.skip(
            "onnxruntime-node is missing: npm install it, and name its node_modules in NODE_PATH"
        )
    done = subprocess.run([node, "colorize.js"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() in PAGE, done.stdout + done.stderr
    ramp = (3 * np.arange(161) + np.arange(120)[:, None]).astype(np.uint8)
    given = {
        "picture": np.stack([ramp] * 3, axis=-1)[None],
        "saturation": np.array(0.85, np.float32),
    }
    (expected,) = onnxruntime.InferenceSession(folder / "colorizer.onnx").run(["rgb"], given)
    found = np.fromfile(folder / "color.rgb", np.uint8).reshape(expected.shape)
    assert (np.abs(found.astype(int) - expected).max(axis=-1) > 2).mean() < 1e-3
