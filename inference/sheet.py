"""A contact sheet of inputs and results."""

import math

import numpy as np
from PIL import Image, ImageOps

from inference.folder import rgb
from pictures.reader import BadPicture, Picture, eight_bits, read_picture
from pictures.writer import FORMATS, write_picture
from utils import printable

SHEET_PICTURES, THUMBNAIL = (
    120,
    240,
)  # pictures on a contact sheet, their side in pixels: both at most


def write_sheet(pairs, path, side_by_side):
    """Write a contact sheet of inputs and results, read back from the disk, so that it holds those of an earlier run too.

    Of many, SHEET_PICTURES are shown, evenly spaced in their order.

    Returns:
        Lines that say what is on the sheet and what is not.
    """
    places = np.linspace(0, len(pairs) - 1, min(len(pairs), SHEET_PICTURES)).astype(int)
    shown = [pairs[i] for i in places]
    tiles, notes = [], []
    for source, target in shown:
        try:
            files = [target] if side_by_side else [source, target]
            tiles.append(
                np.hstack([thumbnail(read_picture(file).pixels, len(files)) for file in files])
            )
        except BadPicture as error:
            notes.append(f"{printable(source)}: not on the sheet: {error}")
    if not tiles:
        return [*notes, "no contact sheet: there is no result to show"]
    columns = math.ceil(math.sqrt(len(tiles) / 2))  # each is twice as wide as high
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    write_picture(path, np.vstack(rows), Picture(rows[0]), FORMATS[path.suffix.lower()])
    return [*notes, f"{printable(path)}: {len(shown)} of {len(pairs)} results, input | result"]


def thumbnail(pixels, files):
    """A picture fitted into a white tile (THUMBNAIL, 2 * THUMBNAIL / files, 3), uint8, its aspect kept."""
    image = Image.fromarray(rgb(eight_bits(pixels)))
    return np.asarray(ImageOps.pad(image, (2 * THUMBNAIL // files, THUMBNAIL), color="white"))
