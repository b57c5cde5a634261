"""The ONNX files against Keras, at sizes that the export itself did not see."""

import json

import keras
import numpy as np
import pytest
from skimage import data

from data.preprocess import colorize, lightness_of, network_inputs, resize
from inference.options import DEFAULT_MODEL
from inference.view import Predictor
from models import NETWORKS
from models import file as model_file
from models.properties import mirror_of, sizes_of

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="tf2onnx converts graphs of TensorFlow"
    ),
]
SIZES = ((1, 1), (7, 300), (101, 203), (257, 255), (512, 512), (77, 900), (801, 1201))


def export(*arguments):
    from inference.export import main

    main([str(argument) for argument in arguments])
    return onnxruntime.InferenceSession(next(a for a in arguments if "onnx" in str(a)[-5:]))


@pytest.fixture
def saved(tmp_path):
    """save(network, **arguments): a small network with random weights, in the file a.keras."""

    def save(name, **arguments):
        keras.utils.set_random_seed(0)
        network = NETWORKS[name].build(**arguments)
        metadata = {"arguments": arguments, "size": 64, "mirror": True, "colorize_saturation": 1.3}
        model_file.save(tmp_path / "a.keras", name, network.get_weights(), metadata)
        return network

    return save


def test_pictures_are_coloured_as_by_test_py(tmp_path):
    network, metadata = model_file.load(DEFAULT_MODEL)
    session = export(tmp_path / "a.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    factor = json.loads(properties["colorize_saturation"])
    assert factor == metadata["colorize_saturation"]
    assert properties["source"].startswith("colorizer.keras, SHA-256 ")
    predictor = Predictor(network, sizes_of(metadata), 1, mirror=mirror_of(metadata))
    photographs, far = [data.astronaut(), data.chelsea(), data.coffee(), data.retina()], []
    for i, (height, width) in enumerate(SIZES):
        picture = resize(photographs[i % len(photographs)], height, width)
        given = {"picture": picture[None], "saturation": np.array(factor, np.float32)}
        (found,) = session.run(["rgb"], given)
        expected = colorize(picture, predictor.ab([predictor.views(picture)])[0], factor)
        assert found.shape == (1, height, width, 3) and found.dtype == np.uint8
        far.append((np.abs(found[0].astype(int) - expected).max(axis=-1) > 2).ravel())
    assert np.concatenate(far).mean() < 1e-3


@pytest.mark.parametrize("name", ["aciids2020", "efficientnet_unet"])
def test_pictures_of_a_batch_do_not_depend_on_each_other(tmp_path, saved, name):
    saved(
        name, **({"width": 1 / 8, "global_size": 32} if name == "aciids2020" else {"width": 0.25})
    )
    session = export(tmp_path / "a.keras", tmp_path / "a.onnx")
    pictures = np.stack([resize(picture, 70, 90) for picture in (data.astronaut(), data.coffee())])
    one = np.ones((), np.float32)
    both, second = (
        session.run(["rgb"], {"picture": given, "saturation": one})[0]
        for given in (pictures, pictures[1:])
    )
    assert np.abs(both[1].astype(int) - second[0]).max() <= 1


@pytest.mark.parametrize(
    "name, arguments, step",
    [
        ("aciids2020", {"width": 1 / 8, "global_size": 64}, 8),
        ("aciids2020", {"width": 1 / 8, "global_size": 64, "edges": False}, 8),
        ("zhang2016", {"width": 1 / 8}, 8),
        ("efficientnet_unet", {"width": 0.25}, 32),
    ],
)
def test_the_bare_network_takes_any_size(tmp_path, saved, name, arguments, step):
    network = saved(name, **arguments)
    session = export(tmp_path / "a.keras", tmp_path / "a.onnx", "--bare")
    photographs = [data.camera(), data.astronaut()]

    def views(height, width):
        return np.stack([lightness_of(resize(p, height, width)) for p in photographs])[..., None]

    for height, width in ((40, 128), (100, 100), (57, 255), (1, 3)):
        given = {"lightness": views(height, width)}
        if "global_lightness" in network.input:
            given["global_lightness"] = views(64, 64)
        (found,) = session.run(None, given)
        pad = [(0, 0), (0, -height % step), (0, -width % step), (0, 0)]
        filled = given | {"lightness": np.pad(given["lightness"], pad, mode="edge")}
        expected = np.asarray(network(network_inputs(**filled, names=network.input)))
        difference = found - expected[:, :height, :width]
        assert found.shape == (2, height, width, 2) and np.abs(difference).max() / 128 < 1e-4


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "a.keras").write_text("no network")
    with pytest.raises(SystemExit, match=r"^[^\n]*a\.keras: [^\n]*$"):
        export(tmp_path / "a.keras", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
