"""Plain borders around a photograph, as scans and prints have them."""

import numpy as np

WIDEST = 0.15  # of a side: a wider even margin is part of the picture, such as a sky
TOLERANCE = 8  # codes of 255 by which a border's pixels may differ from its tone
EVEN = 0.97  # share of a line's pixels that must lie within it
FLAT = 0.75  # standard deviation, in codes, of a border that no scanner saw


def find_borders(gray):
    """Widths of the plain borders of a picture: (top, bottom, left, right), pixels; 0 where there is none.

    A border is an even margin of any tone that ends all at once: the lines behind it differ from its tone over much of
    their length. An even sky does not end so, or is wider.

    Args:
        gray: uint8 or uint16 (H, W).
    """
    scale = 255 / np.iinfo(gray.dtype).max
    top, bottom = (_width(lines, scale) for lines in (gray, gray[::-1]))
    inner = gray[top : len(gray) - bottom]
    left, right = (_width(lines, scale) for lines in (inner.T, inner.T[::-1]))
    return top, bottom, left, right


def _width(lines, scale):
    """How many of the first lines, (N, length), are a border."""
    limit = int(WIDEST * len(lines))
    if limit < 1 or lines.shape[1] < 8:
        return 0
    first = lines[0] * np.float32(scale)  # alone, as it decides most pictures
    if (np.abs(first - np.median(first)) <= TOLERANCE).mean() < EVEN:
        return 0
    lines = lines[: limit + 4].astype(np.float32) * scale
    distance = np.abs(lines - np.median(lines[0]))
    even = (distance <= TOLERANCE).mean(axis=1) >= EVEN
    width = int(np.argmin(even[: limit + 1])) if not even[: limit + 1].all() else limit + 1
    if not 1 <= width <= limit:
        return 0
    flat = lines[:width].std() < FLAT
    behind = distance[width + 1 : width + 3]  # the line between may be a mixture
    step, share = (4, 0.25) if flat else (2 * TOLERANCE, 0.5)
    return width + 1 if (behind > step).mean() >= share else 0
