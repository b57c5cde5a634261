"""Which pictures of Places2 (as released: Places365) show the natural scenes of data/places2.txt.

The paper trains on 228,942 "natural images" and does not publish its list; this one is our choice:
the 46 outdoor categories in which nature fills the picture. What people built, laid out or crowd
into is left out: roads, canals, gardens, parks, orchards, ski slopes, swimming holes; so is
`underwater/ocean_deep`, where all light is blue. At 3,068 to 5,000 pictures for each category of
the standard training set these are at most 230,000. Names are those of `categories_places365.txt`
without the letter in front (/d/desert/sand is `desert/sand`). B. Zhou et al., Places: A 10 Million
Image Database for Scene Recognition, IEEE TPAMI 2017.
"""

from itertools import pairwise
from pathlib import Path, PurePath

_LINES = Path(__file__).with_suffix(".txt").read_text().splitlines()
NATURAL = tuple(line for line in _LINES if not line.startswith("#"))
_FOLDERS = frozenset(name.replace("/", "-") for name in NATURAL)


def is_natural(relative_path: str | PurePath) -> bool:
    """Whether a picture lies in the folder of a natural category, at any depth below the data.

    Both layouts of the training archives are known: data_256/d/desert/sand/00000001.jpg (data_large
    alike, the letter optional) and the easy format's
    places365_standard/train/desert-sand/00000001.jpg. Only full folder names count, never the
    file's own name. Pictures in no category folder, as in the test archives, are not natural.
    """
    folders = PurePath(relative_path).parts[:-1]
    return not _FOLDERS.isdisjoint((*folders, *map("-".join, pairwise(folders))))
