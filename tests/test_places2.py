"""data/places2.txt and is_natural: names of the dataset's own, in both layouts of its archives."""

import pytest

from data.places2 import NATURAL, is_natural


def test_46_names_that_stand_once():
    assert len(NATURAL) == len(set(NATURAL)) == 46


@pytest.mark.parametrize(
    "layout",
    [
        lambda name: f"data_256/{name[0]}/{name}/00000001.jpg",
        lambda name: f"{name}/00000001.jpg",
        lambda name: f"places365_standard/train/{name.replace('/', '-')}/00000001.jpg",
    ],
)
def test_layouts(layout):
    assert all(is_natural(layout(name)) for name in NATURAL)
    others = ("forest_road", "field_road", "desert_road", "beach_house", "canal/natural", "park")
    assert not any(is_natural(layout(name)) for name in others)


@pytest.mark.parametrize(
    "path",
    [
        "data_256/f/forest/00000001.jpg",
        "train/desert-sandbox/00000001.jpg",
        "sand/desert/00000001.jpg",
        "mountain.jpg",
    ],
)
def test_near_misses_are_refused(path):
    assert not is_natural(path)
