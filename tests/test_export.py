"""The ONNX files against Keras, at sizes that the export itself did not see."""

import keras
import numpy as np
import pytest
from skimage import data

from configs import SIZE_STEPS
from data.preprocess import colorize, lightness_of, network_inputs, resize
from inference.export import main
from inference.networks import open_network
from inference.view import Predictor
from models import NETWORKS
from models import file as model_file

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="tf2onnx converts graphs of TensorFlow"
    ),
]
PHOTOGRAPHS = (data.camera(), data.astronaut(), data.coffee())
SMALL = {"width": 0.05, "global_size": 64}


def export(folder, name, arguments, *options):
    """(the network, its ONNX file): random weights."""
    keras.utils.set_random_seed(0)
    network = NETWORKS[name].build(**arguments)
    weights = [w.astype("float16").astype("float32") for w in network.get_weights()]
    metadata = {"arguments": arguments, "size": 64, "mirror": True, "colorize_saturation": 1.3}
    model_file.save(folder / "a.keras", name, weights, metadata)
    main([str(folder / "a.keras"), str(folder / "a.onnx"), *options])
    return model_file.load(folder / "a.keras")[0], folder / "a.onnx"


@pytest.mark.parametrize(
    "name, arguments", [("aciids2020", SMALL), ("efficientnet_unet", {"width": 0.25})]
)
def test_pictures_are_coloured_as_by_test_py(tmp_path, name, arguments):
    network, path = export(tmp_path, name, arguments)
    session = onnxruntime.InferenceSession(path)
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["colorize_saturation"] == "1.3" and properties["mirror"] == "true"
    assert properties["source"].startswith("a.keras, SHA-256 ")
    predictor, far = Predictor(network, [64], 1), []
    for photograph, (height, width) in zip(PHOTOGRAPHS, ((7, 300), (101, 203), (512, 512))):
        picture = np.dstack([resize(photograph, height, width)] * 3)[..., :3]
        pair = np.stack([picture, picture[::-1]])
        given = {"picture": pair, "saturation": np.array(1.3, np.float32)}
        (found,) = session.run(["rgb"], given)
        assert found.shape == pair.shape and found.dtype == np.uint8
        for one, result in zip(pair, found):
            expected = colorize(one, predictor.ab([predictor.views(one)], mirror=True)[0], 1.3)
            far.append((np.abs(result.astype(int) - expected).max(axis=-1) > 2).ravel())
    assert np.concatenate(far).mean() < 1e-3


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("aciids2020", SMALL),
        ("zhang2016", {"width": 1 / 8}),
        ("efficientnet_unet", {"width": 0.25}),
    ],
)
def test_the_bare_network(tmp_path, name, arguments):
    step = SIZE_STEPS.get(name, 8)
    network, path = export(tmp_path, name, arguments, "--bare")
    exact, half = (tmp_path / "a.keras").stat().st_size, path.stat().st_size
    assert half < 0.8 * exact
    make, metadata = open_network(path)
    assert metadata["network"] == name and metadata["sizes"] == [64]
    for sizes in ([64], [64, 96]):
        found, expected = make(sizes, 2), Predictor(network, sizes, 2)
        for mirror in (False, True):
            ab, right = (
                engine.ab([engine.views(picture) for picture in PHOTOGRAPHS], mirror)
                for engine in (found, expected)
            )
            assert ab.shape == right.shape and np.abs(ab - right).max() / 128 < 1e-3

    session = onnxruntime.InferenceSession(path)
    for height, width in ((40, 128), (57, 255), (1, 3)):  # filled up to the step

        def views(height, width):
            views = [lightness_of(resize(picture, height, width)) for picture in PHOTOGRAPHS]
            return np.stack(views)[..., None]

        given = {"lightness": views(height, width)}
        if "global_lightness" in network.input:
            given["global_lightness"] = views(64, 64)
        (ab,) = session.run(["ab"], given)
        pad = [(0, 0), (0, -height % step), (0, -width % step), (0, 0)]
        filled = given | {"lightness": np.pad(given["lightness"], pad, mode="edge")}
        right = np.asarray(network(network_inputs(**filled, names=network.input)))
        assert ab.shape == (3, height, width, 2)
        assert np.abs(ab - right[:, :height, :width]).max() / 128 < 1e-4


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "a.keras").write_text("no network")
    with pytest.raises(SystemExit, match=r"^[^\n]*a\.keras: [^\n]*$"):
        main([str(tmp_path / "a.keras"), str(tmp_path / "a.onnx")])
    assert not (tmp_path / "a.onnx").exists()
