"""The ONNX files against Keras, at sizes that the export itself did not see."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from skimage import data

from data.preprocess import colorize, lightness_of, network_inputs, resize
from inference.options import DEFAULT_MODEL
from inference.view import Predictor
from models import aciids2020, zhang2016
from models import file as model_file
from models.properties import mirror_of, sizes_of

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="tf2onnx converts graphs of TensorFlow"
    ),
]

ROOT = Path(__file__).parents[1]
SIZES = ((1, 1), (7, 300), (101, 203), (257, 255), (512, 512), (77, 900), (801, 1201), (2000, 3000))


def export(*arguments):
    command = [sys.executable, "-m", "inference.export", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def saved(tmp_path):
    """save(module, **arguments): a small network with random weights, in the file a.keras."""

    def save(module, **arguments):
        keras.utils.set_random_seed(0)
        network = module.build(**arguments)
        metadata = {
            "arguments": arguments,
            "size": 64,
            "saturation": 1.8,
            "colorize_saturation": 1.3,
        }
        model_file.save(tmp_path / "a.keras", network.name, network.get_weights(), metadata)
        return network

    return save


@pytest.mark.parametrize("form", [(), ("--gray", "--half")], ids=["colour", "gray"])
def test_pictures_come_out_as_from_test_py(tmp_path, form):
    """By the bundled model, whose weights half precision holds exactly."""
    network, metadata = model_file.load(DEFAULT_MODEL)
    printed = export(tmp_path / "a.onnx", *form)
    assert printed.returncode == 0 and "0.0e+00 of the pixels" in printed.stdout, printed.stderr
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert (
        told["T"] == "1.8"
        and told["colorize_saturation"] == str(metadata["colorize_saturation"])
        and told["source"].startswith("colorizer.keras")
    )
    assert (tmp_path / "a.onnx").stat().st_size < (21e6 if form else 41e6)
    predictor = Predictor(network, sizes_of(metadata), 1, mirror=mirror_of(metadata))
    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.retina()]
    far = []
    for i, (height, width) in enumerate(SIZES):
        picture = resize(photographs[i % len(photographs)], height, width)
        picture = picture[..., 1].copy() if form else picture
        given = {"picture": picture[None], "saturation": np.float32([1.14]).reshape(())}
        (found,) = session.run(["rgb"], given)
        expected = colorize(picture, predictor.ab([predictor.views(picture)])[0], 1.14)
        assert found.shape == (1, height, width, 3) and found.dtype == np.uint8
        far.append((np.abs(found[0].astype(int) - expected).max(axis=-1) > 2).ravel())
    assert np.concatenate(far).mean() < 1e-3


def test_networks_of_other_sizes_and_inputs_and_batches(tmp_path, saved):
    saved(aciids2020, width=1 / 8, global_size=32)
    assert export(tmp_path / "a.keras", tmp_path / "a.onnx").returncode == 0
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    pictures = np.stack([resize(picture, 70, 90) for picture in (data.astronaut(), data.coffee())])
    together = session.run(["rgb"], {"picture": pictures, "saturation": np.ones((), "f4")})[0]
    alone = session.run(["rgb"], {"picture": pictures[1:], "saturation": np.ones((), "f4")})[0]
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1


@pytest.mark.parametrize(
    "module, arguments",
    [
        (aciids2020, {"width": 1 / 8, "global_size": 64}),
        (aciids2020, {"width": 1 / 8, "global_size": 64, "edges": False}),
        (zhang2016, {"width": 1 / 8}),
    ],
)
def test_the_bare_network_takes_any_size(tmp_path, saved, module, arguments):
    network = saved(module, **arguments)
    printed = export(tmp_path / "a.keras", tmp_path / "a.onnx", "--bare")
    assert printed.returncode == 0 and "from Keras" in printed.stdout, printed.stderr
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    photographs = [data.camera(), data.astronaut()]
    for height, width in ((40, 128), (100, 100), (57, 255), (1, 3)):
        views = {
            "lightness": np.stack([lightness_of(resize(p, height, width)) for p in photographs])[
                ..., None
            ]
        }
        if "global_lightness" in network.input:
            views["global_lightness"] = np.stack(
                [lightness_of(resize(p, 64, 64)) for p in photographs]
            )[..., None]
        (found,) = session.run(None, views)
        pad = [(0, 0), (0, -height % 8), (0, -width % 8), (0, 0)]
        filled = views | {"lightness": np.pad(views["lightness"], pad, mode="edge")}
        expected = keras.ops.convert_to_numpy(
            network(network_inputs(**filled, names=network.input))
        )[:, :height, :width]
        assert found.shape == (2, height, width, 2) and np.abs(found - expected).max() / 128 < 1e-4


def test_eight_bits(tmp_path, saved, photographs):
    saved(aciids2020, width=1 / 2, global_size=64)
    assert export(tmp_path / "a.keras", tmp_path / "a.onnx").returncode == 0
    printed = export(tmp_path / "a.keras", tmp_path / "b.onnx", "--int8", photographs)
    assert printed.returncode == 0, printed.stderr
    assert (tmp_path / "b.onnx").stat().st_size < 0.4 * (tmp_path / "a.onnx").stat().st_size
    given = {
        "picture": resize(data.astronaut(), 64, 64)[None],
        "saturation": np.ones((), np.float32),
    }
    one, other = (
        onnxruntime.InferenceSession(tmp_path / name).run(["ab"], given)[0]
        for name in ("a.onnx", "b.onnx")
    )
    assert np.sqrt(np.mean((one - other) ** 2)) < 0.2 * one.std()  # 0.12, random weights
    (tmp_path / "empty").mkdir()
    refused = export(tmp_path / "a.keras", tmp_path / "c.onnx", "--int8", tmp_path / "empty")
    assert (
        refused.returncode
        and refused.stderr.count("\n") == 1
        and not (tmp_path / "c.onnx").exists()
    ), refused.stderr


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "a.keras").write_text("no network")
    result = export(tmp_path / "a.keras", tmp_path / "a.onnx")
    assert (
        result.returncode
        and "Traceback" not in result.stderr
        and not (tmp_path / "a.onnx").exists()
    )
