"""Which pictures of Places2 (as released: Places365) show the natural scenes of data/places2.txt.

The paper trains on 228,942 "natural images" and does not publish its list. Ours: the 46 outdoor
categories in which nature fills the picture, without roads, canals, gardens, and
`underwater/ocean_deep`, where all light is blue. B. Zhou et al., Places: A 10 Million Image
Database for Scene Recognition, IEEE TPAMI 2017.
"""

from itertools import pairwise
from pathlib import Path, PurePath

_LINES = Path(__file__).with_suffix(".txt").read_text().splitlines()
NATURAL = tuple(line for line in _LINES if not line.startswith("#"))
_FOLDERS = frozenset(name.replace("/", "-") for name in NATURAL)


def is_natural(relative_path):
    """Whether a picture lies in the folder of a natural category, at any depth below the data.

    As data_256/d/desert/sand/1.jpg or places365_standard/train/desert-sand/1.jpg.
    """
    folders = PurePath(relative_path).parts[:-1]
    return not _FOLDERS.isdisjoint((*folders, *map("-".join, pairwise(folders))))
