"""The bundled network: alive, and better than gray on photographs that it never saw."""

import keras
import numpy as np
import pytest

from data import demo, preprocess
from evaluation.methods import load
from inference.options import DEFAULT_MODEL
from inference.view import Predictor
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundled():
    network, metadata = model_file.load(DEFAULT_MODEL)
    side = metadata["size"]
    pictures = [preprocess.resize(p, side, side) for p in demo.photographs().values()]
    return network, metadata, np.stack(pictures)


def outputs(network, pictures, layer="ab"):
    predictor = Predictor(network, pictures.shape[1:2], len(pictures), layer)
    return predictor.ab([predictor.views(picture) for picture in pictures])


def test_it_is_the_papers_network_and_small(bundled):
    network, metadata, _ = bundled
    at_256 = aciids2020.enlarge(network, metadata["arguments"] | {"global_size": 256})
    assert sum(array.size for array in at_256) == 9_844_743 and metadata["saturation"] == 1.8
    assert DEFAULT_MODEL.stat().st_size < 25e6 and model_file.checksum_of(DEFAULT_MODEL).is_file()


def test_each_branch_distinguishes_pictures(bundled):
    network, _, pictures = bundled
    for branch, layer in aciids2020.BRANCHES.items():
        found = outputs(network, pictures, layer)
        assert np.std(found, axis=0).mean() > 0.05 * np.abs(found).mean() > 0, branch


def test_it_colours_better_than_gray(bundled):
    network, _, pictures = bundled
    ab = outputs(network, pictures).repeat(2, axis=1).repeat(2, axis=2)
    target = keras.ops.convert_to_numpy(preprocess.target(pictures, 1.8))
    assert np.square(ab - target).mean() < 0.95 * np.square(target).mean()


def test_the_page_of_the_model_names_the_file_that_is_there(bundled):
    page = (DEFAULT_MODEL.parent / "README.md").read_text()
    assert model_file.checksum_of(DEFAULT_MODEL).read_text().split()[0] in page
    assert f"--saturation {bundled[1]['colorize_saturation']:g}" in page
    assert str(load(DEFAULT_MODEL).pictures) in page.replace(",", "")
