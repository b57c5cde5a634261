"""The network that comes with the repository: whole, alive, better than gray on photographs that it never saw."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import test as colorizing
from data import demo, preprocess
from evaluation.methods import load
from inference.options import DEFAULT_MODEL, parse
from inference.view import Predictor
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

FOLDER = Path(DEFAULT_MODEL).parent


@pytest.fixture(scope="module")
def network():
    return model_file.load(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def pictures(network):
    side = network[1]["size"]
    return np.stack(
        [preprocess.resize(picture, side, side) for picture in demo.photographs().values()]
    )


def outputs(network, pictures, layer="ab"):
    colorizer = Predictor(network, pictures.shape[1:2], len(pictures), layer)
    return colorizer.ab([colorizer.views(picture) for picture in pictures])


def test_it_is_the_papers_network_and_small(network):
    model, card = network
    at_256 = aciids2020.enlarge(model, card["arguments"] | {"global_size": 256})
    assert sum(array.size for array in at_256) == 9_844_743 and card["saturation"] == 1.8
    assert DEFAULT_MODEL.stat().st_size < 25e6 and model_file.checksum_of(DEFAULT_MODEL).is_file()


def test_its_branches_tell_pictures_apart(network, pictures):
    for branch, layer in aciids2020.BRANCHES.items():
        found = outputs(network[0], pictures, layer)
        assert np.std(found, axis=0).mean() > 0.05 * np.abs(found).mean() > 0, branch


def test_it_colours_better_than_gray(network, pictures):
    ab, goal = (
        outputs(network[0], pictures),
        keras.ops.convert_to_numpy(preprocess.target(pictures, 1.8)),
    )
    error = np.square(ab.repeat(2, axis=1).repeat(2, axis=2) - goal).mean()
    assert error < 0.95 * np.square(goal).mean()


def test_without_a_model_named_it_is_taken(tmp_path, network):
    Image.fromarray(demo.photographs()["rocket"]).convert("L").save(tmp_path / "gray.png")
    assert colorizing.main(*parse([str(tmp_path / "gray.png"), str(tmp_path / "color.png")])) == 0
    result = np.asarray(Image.open(tmp_path / "color.png"))
    factor = network[1]["colorize_saturation"]
    command = [
        str(tmp_path / "gray.png"),
        str(tmp_path / "same.png"),
        "--model",
        str(DEFAULT_MODEL),
    ]
    assert colorizing.main(*parse([*command, "--saturation", str(factor)])) == 0
    assert np.ptp(result, axis=-1).mean() > 5 and np.array_equal(
        result, np.asarray(Image.open(tmp_path / "same.png"))
    )


def test_the_card_names_the_file_that_is_there(network):
    card = (FOLDER / "README.md").read_text()
    checksum = model_file.checksum_of(DEFAULT_MODEL).read_text().split()[0]
    assert checksum in card and f"--saturation {network[1]['colorize_saturation']:g}" in card
    assert str(load(DEFAULT_MODEL).pictures) in card.replace(",", "")
