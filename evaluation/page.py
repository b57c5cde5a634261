"""Pictures in rows and columns on a printed page: what was measured above them, captions under the columns."""

import textwrap
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from data.preprocess import resize

DPI = 300
WIDTH, MARGIN, GAP = 2160, 40, 12  # of the page (7.2 inch), its rim, and between two panels: px
TALLEST = 1.25  # times its width: a higher panel is made smaller
TITLE, CAPTION = 8, 6.5  # of the letters, points
LINE = 1.35 * DPI / 72  # from one line to the next, px for each point of the letters' size


@dataclass(frozen=True)
class Block:
    """Rows of panels and what stands under their columns.

    rows: of each its panels, uint8 (h, w, 3) of any size.
    captions: for each column its lines, as many as every other has.
    """

    rows: list
    captions: list


def draw(title, blocks):
    """A page of blocks: a matplotlib Figure with one image for each panel, whose pixels are those of the print."""
    columns = max(len(block.captions) for block in blocks)
    cell = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns
    lefts = [MARGIN + column * (cell + GAP) for column in range(columns)]
    texts, panels = [], []  # (left, top, what), px from the upper left corner

    def put(text, left, top, width, size):
        """Set a text in lines; returns the height they take."""
        lines = wrapped(text, width, size)
        texts.extend(
            (left, top + (i + 0.8) * LINE * size, line, size) for i, line in enumerate(lines)
        )
        return round(len(lines) * LINE * size)

    top = MARGIN + put(title, MARGIN, MARGIN, WIDTH - 2 * MARGIN, TITLE) + 2 * GAP
    for block in blocks:
        for row in block.rows:
            tiles = [scaled(tile, cell) for tile in row]
            tall = max(len(tile) for tile in tiles)
            for left, tile in zip(lefts, tiles):
                panels.append(
                    (left + (cell - tile.shape[1]) // 2, top + (tall - len(tile)) // 2, tile)
                )
            top += tall + GAP
        for line in zip(*block.captions):  # lines of the same kind stand level
            top += max(put(text, left, top, cell, CAPTION) for left, text in zip(lefts, line))
        top += 3 * GAP

    height = top - 3 * GAP + MARGIN
    page = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    for left, top, tile in panels:
        page.figimage(tile, left, height - top - len(tile), origin="upper")
    for left, baseline, text, size in texts:
        page.text(
            left / WIDTH, 1 - baseline / height, text, size=size, va="baseline", parse_math=False
        )
    return page


def save(path, page):
    """Write a page as PNG, RGB, that knows its resolution."""
    canvas = FigureCanvasAgg(page)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(path, "png", dpi=(DPI, DPI))


def wrapped(text, width, size):
    """A text in lines that are `width` px wide at most."""
    ruler, font = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer(), FontProperties(size=size)
    for letters in range(len(text), 0, -1):
        lines = textwrap.wrap(text, letters)
        if all(
            ruler.get_text_width_height_descent(line, font, False)[0] <= width for line in lines
        ):
            return lines
    return []


def scaled(tile, width):
    """A panel `width` wide, or narrower if it were higher than TALLEST then; its aspect is kept."""
    height = min(round(width * tile.shape[0] / tile.shape[1]), round(TALLEST * width))
    return resize(tile, height, min(width, round(height * tile.shape[1] / tile.shape[0])))


def outlined(tile, window):
    """A picture with a frame around a window of it (top, left, height, width), white between black: seen on any ground."""
    top, left, height, width = window
    thick = max(1, tile.shape[1] // 150)
    result = tile.copy()
    for color, times in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.rectangle(
            result, (left, top), (left + width - 1, top + height - 1), color, times * thick
        )
    return result
