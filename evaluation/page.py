"""Pictures in rows and columns on a printed page: what was measured above them, captions under the columns."""

import textwrap
from dataclasses import dataclass

import cv2
from matplotlib.figure import Figure

from data.preprocess import fit

DPI = 300
WIDTH, MARGIN, GAP = 2160, 40, 12  # of the page (7.2 inch), its rim, and between two panels: px
TALLEST = 1.25  # times its width: a higher panel is made smaller
TITLE, CAPTION = 8, 6.5  # of the letters, points
LETTER, LINE = 0.56, 1.35  # mean width of a letter and distance of two lines, times its size


@dataclass(frozen=True)
class Block:
    """Rows of panels, uint8 (h, w, 3) of any size, as many to a row as there are captions under them."""

    rows: list
    captions: list


def draw(title, blocks):
    """A page of blocks: a matplotlib Figure with one image for each panel, their pixels those of the printer."""
    columns = max(len(block.captions) for block in blocks)
    cell = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns
    title = wrapped(title, WIDTH - 2 * MARGIN, TITLE)
    places, texts = [], [(MARGIN, MARGIN, title, TITLE)]  # both from the upper left corner
    top = MARGIN + height_of(title, TITLE) + 2 * GAP
    for block in blocks:
        for row in block.rows:
            tiles = [scaled(tile, cell) for tile in row]
            tall = max(len(tile) for tile in tiles)
            for column, tile in enumerate(tiles):
                left = MARGIN + column * (cell + GAP) + (cell - tile.shape[1]) // 2
                places.append((left, top + (tall - len(tile)) // 2, tile))
            top += tall + GAP
        captions = [wrapped(caption, cell, CAPTION) for caption in block.captions]
        texts += [(MARGIN + column * (cell + GAP), top, text, CAPTION) for column, text in enumerate(captions)]
        top += max(height_of(text, CAPTION) for text in captions) + 3 * GAP
    height = top + MARGIN - 3 * GAP

    page = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    for left, top, tile in places:
        page.figimage(tile, left, height - top - len(tile), origin="upper")
    for left, top, text, size in texts:
        page.text(left / WIDTH, 1 - top / height, text, size=size, va="top", linespacing=1.2, parse_math=False)
    return page


def scaled(tile, width):
    """A panel `width` wide, or narrower if it were higher than TALLEST then; its aspect is kept."""
    height = min(round(width * tile.shape[0] / tile.shape[1]), round(TALLEST * width))
    return fit(tile, height, min(width, round(height * tile.shape[1] / tile.shape[0])))


def wrapped(text, width, size):
    """A text in lines that are about `width` px wide at most, its own line breaks kept."""
    letters = int(width / (LETTER * size * DPI / 72))
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, letters) or [""])


def height_of(text, size):
    return round((text.count("\n") + 1) * LINE * size * DPI / 72)


def outlined(tile, window):
    """A picture with a frame around a window of it (top, left, height, width), white between black: seen on any ground."""
    top, left, height, width = window
    thick = max(1, tile.shape[1] // 150)
    result = tile.copy()
    for color, times in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.rectangle(result, (left, top), (left + width - 1, top + height - 1), color, times * thick)
    return result
