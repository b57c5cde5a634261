"""The bundled networks: what they are, alive, and better than gray on photographs they never saw."""

import keras
import numpy as np
import pytest

from colorizer import Colorizer
from data import demo, preprocess
from inference.options import DEFAULT_MODEL, KERAS_MODEL, PAPER_MODEL
from inference.view import Predictor
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow
PAGE = (KERAS_MODEL.parent / "README.md").read_text()


@pytest.fixture(scope="module", params=[KERAS_MODEL, PAPER_MODEL], ids=lambda path: path.stem)
def bundled(request):
    network, metadata = model_file.load(request.param)
    side = metadata["size"]
    pictures = [preprocess.resize(p, side, side) for p in demo.photographs().values()]
    return request.param, network, metadata, np.stack(pictures)


def outputs(network, pictures, layer="ab"):
    predictor = Predictor(network, pictures.shape[1:2], len(pictures), layer)
    return predictor.ab([predictor.views(picture) for picture in pictures])


def test_it_is_the_file_of_its_page_and_colours_better_than_gray(bundled):
    path, network, metadata, pictures = bundled
    ab = outputs(network, pictures).repeat(2, axis=1).repeat(2, axis=2)
    target = keras.ops.convert_to_numpy(preprocess.target(pictures, metadata["saturation"]))
    assert np.square(ab - target).mean() < 0.95 * np.square(target).mean()
    assert path.stat().st_size < 25e6
    assert model_file.checksum_of(path).read_text().split()[0] in PAGE
    assert f"{metadata['colorize_saturation']:g}, natural" in PAGE


def test_the_papers_network(bundled):
    path, network, metadata, pictures = bundled
    if path != PAPER_MODEL:
        return
    at_256 = aciids2020.enlarge(network, metadata["arguments"] | {"global_size": 256})
    assert sum(array.size for array in at_256) == 9_844_743 and metadata["saturation"] == 1.8
    for branch, layer in aciids2020.BRANCHES.items():  # each tells pictures apart
        found = outputs(network, pictures, layer)
        assert np.std(found, axis=0).mean() > 0.05 * np.abs(found).mean() > 0, branch


def test_the_default_is_the_export_of_the_keras_file():
    """In ONNX Runtime the default model gives what its Keras file gives."""
    onnx, keras_file = Colorizer(DEFAULT_MODEL), Colorizer(KERAS_MODEL, precision="float32")
    for name in ("sizes", "saturation", "saturations"):
        assert getattr(onnx, name) == getattr(keras_file, name)
    for picture in list(demo.photographs().values())[:3]:
        difference = np.abs(onnx(picture).astype(int) - keras_file(picture))
        assert (difference > 2).mean() < 1e-4
