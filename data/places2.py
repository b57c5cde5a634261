"""Which pictures of Places2 (as released: Places365) show the natural scenes of data/places2.txt.

The paper trains on 228,942 "natural images" and does not publish its list. Ours: the 46 outdoor
categories in which nature fills the picture, at most 230,000 pictures; without what people built or
laid out (roads, canals, gardens), and `underwater/ocean_deep`, where all light is blue. Names are
those of `categories_places365.txt` without the letter in front (/d/desert/sand is `desert/sand`).
B. Zhou et al., Places: A 10 Million Image Database for Scene Recognition, IEEE TPAMI 2017.
"""

from itertools import pairwise
from pathlib import Path, PurePath

_LINES = Path(__file__).with_suffix(".txt").read_text().splitlines()
NATURAL = tuple(line for line in _LINES if not line.startswith("#"))
_FOLDERS = frozenset(name.replace("/", "-") for name in NATURAL)


def is_natural(relative_path):
    """Whether a picture lies in the folder of a natural category, at any depth below the data.

    In the layout of data_256/d/desert/sand/00000001.jpg (data_large alike, the letter optional) or
    places365_standard/train/desert-sand/00000001.jpg. Only full names of folders count.
    """
    folders = PurePath(relative_path).parts[:-1]
    return not _FOLDERS.isdisjoint((*folders, *map("-".join, pairwise(folders))))
