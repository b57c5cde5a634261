"""A contact sheet of inputs and results."""

import math

import numpy as np
from PIL import Image, ImageOps

from pictures.reader import BadPicture, Picture, eight_bits, read_picture
from pictures.writer import FORMATS, write_picture
from utils import printable

PICTURES, SIDE = 120, 240  # pictures on a sheet, and the side of each in pixels: both at most


def write_sheet(pairs, path):
    """Write a contact sheet of inputs and results, read from the disk: of earlier runs too.

    Of more than PICTURES some are taken, evenly spaced in their order.

    Returns:
        Lines that say what is on the sheet and what is not.
    """
    places = np.linspace(0, len(pairs) - 1, min(len(pairs), PICTURES)).astype(int)
    tiles, notes = [], []
    for pair in (pairs[i] for i in places):
        try:
            tiles.append(np.hstack([thumbnail(read_picture(file).pixels) for file in pair]))
        except BadPicture as error:
            notes.append(f"{printable(pair[0])}: not on the sheet: {error}")
    if not tiles:
        return [*notes, "no contact sheet: there is no result to show"]
    shown = f"{len(tiles)} of {len(pairs)} results, input | result"
    pixels = grid(tiles, math.ceil(math.sqrt(len(tiles) / 2)))  # each is twice as wide as high
    write_picture(path, pixels, Picture(pixels), FORMATS[path.suffix.lower()])
    return [*notes, f"{printable(path)}: {shown}"]


def grid(tiles, columns):
    """Equal tiles (h, w, 3) in rows of so many, one picture; the last row is filled with white."""
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def thumbnail(pixels):
    """A picture fitted into a white tile, uint8 (SIDE, SIDE, 3), its aspect kept."""
    image = Image.fromarray(eight_bits(pixels)).convert("RGB")
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), color="white"))
