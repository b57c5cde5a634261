"""Which categories of Places2 (as released: Places365, 365 scene categories) show natural scenes.

The paper trains on 228,942 "natural images" of Places2 and does not publish its list; this one is our choice. It takes
the outdoor categories in which nature fills the picture. What people built, laid out or crowd into is left out: roads,
canals, gardens, parks, orchards, ski slopes, swimming holes; so is `underwater/ocean_deep`, where all light is
blue. The standard training set holds 3,068 to 5,000 pictures per category: these are at most 230,000.

    9  mountains and rock
    4  forests
    9  fresh water and wetland
    6  coast and sea
    8  ice and snow
    2  deserts
    7  fields and pasture
    1  sky
   46  in total

Names are those of the dataset's `categories_places365.txt` without the letter folder in front (/d/desert/sand is
`desert/sand`). B. Zhou et al., Places: A 10 Million Image Database for Scene Recognition, IEEE TPAMI 2017.
"""

from itertools import pairwise
from pathlib import PurePath

NATURAL = {
    "mountains and rock": (
        "badlands",
        "butte",
        "canyon",
        "cliff",
        "mountain",
        "mountain_path",
        "rock_arch",
        "valley",
        "volcano",
    ),
    "forests": ("bamboo_forest", "forest/broadleaf", "forest_path", "rainforest"),
    "fresh water and wetland": (
        "creek",
        "hot_spring",
        "lake/natural",
        "marsh",
        "pond",
        "river",
        "swamp",
        "waterfall",
        "watering_hole",
    ),
    "coast and sea": ("beach", "coast", "islet", "lagoon", "ocean", "wave"),
    "ice and snow": (
        "crevasse",
        "glacier",
        "ice_floe",
        "ice_shelf",
        "iceberg",
        "mountain_snowy",
        "snowfield",
        "tundra",
    ),
    "deserts": ("desert/sand", "desert/vegetation"),
    "fields and pasture": (
        "corn_field",
        "field/cultivated",
        "field/wild",
        "hayfield",
        "pasture",
        "rice_paddy",
        "wheat_field",
    ),
    "sky": ("sky",),
}

_FOLDERS = frozenset(name.replace("/", "-") for group in NATURAL.values() for name in group)


def is_natural(relative_path: str | PurePath) -> bool:
    """Whether a picture lies in the folder of a natural category, at any depth below the data folder.

    Both layouts of the training archives are known: data_256/d/desert/sand/00000001.jpg (data_large alike, the letter
    folder optional) and the easy format's places365_standard/train/desert-sand/00000001.jpg. Only whole folder names
    count, never the file's own name. Pictures in no category folder, as in the test archives, are not natural.
    """
    folders = PurePath(relative_path).parts[:-1]
    return not _FOLDERS.isdisjoint((*folders, *map("-".join, pairwise(folders))))
