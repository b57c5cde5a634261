"""data/places2.txt and is_natural: names of the dataset's own, in the layouts of its archives."""

from data.places2 import NATURAL, is_natural

OTHERS = ["forest_road", "field_road", "desert_road", "beach_house", "canal/natural", "park"]
NEAR = ["f/forest", "train/desert-sandbox", "sand/desert"]


def test_names_that_stand_once_in_each_layout():
    assert len(NATURAL) == len(set(NATURAL)) == 46
    for layout in (
        lambda name: f"data_256/{name[0]}/{name}/00000001.jpg",
        lambda name: f"{name}/00000001.jpg",
        lambda name: f"places365_standard/train/{name.replace('/', '-')}/00000001.jpg",
    ):
        assert all(is_natural(layout(name)) for name in NATURAL)
        assert not any(is_natural(layout(name)) for name in OTHERS)
    assert not any(map(is_natural, (*(f"{name}/1.jpg" for name in NEAR), "mountain.jpg")))
