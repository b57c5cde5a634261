"""Plain borders around a photograph: of scans and prints, bars of films and screenshots."""

import numpy as np

WIDEST = 0.15  # of a side: a wider even margin may be a sky, unless it has one exact tone
TOLERANCE = 8  # codes of 255 by which a border's pixels may differ from its tone
EVEN, EXACT = 0.97, 0.995  # least share of a line's pixels within TOLERANCE, and within 1 code
FLAT = 0.75  # standard deviation, in codes, of a border that no scanner saw
RINGING = 8  # lines beside the photograph that JPEG may have made inexact
NESTED = 4  # frames within frames that are looked for, at most


def find_borders(gray):
    """Widths of the plain borders of a picture: (top, bottom, left, right), pixels; 0: none.

    A border is an even margin of any tone that ends all at once: the lines behind it differ from
    its tone over much of their length. An even sky does not end so, or is wider.

    Args:
        gray: uint8 or uint16 (H, W).
    """
    scale = 255 / np.iinfo(gray.dtype).max
    found = np.zeros(4, int)
    for _ in range(NESTED):
        top, bottom, left, right = found
        inner = gray[top : len(gray) - bottom, left : gray.shape[1] - right]
        rows = _both_ends(inner, scale)
        more = [*rows, *_both_ends(inner[rows[0] : len(inner) - rows[1]].T, scale)]
        found += more
        if not any(more):
            break
    return tuple(map(int, found))


def _both_ends(lines, scale):
    """The widths at the first and the last lines; two that leave next to nothing are none."""
    widths = _width(lines, scale), _width(lines[::-1], scale)
    return widths if sum(widths) < 0.9 * len(lines) else (0, 0)


def _width(lines, scale):
    """How many of the first lines, (N, length), are a border."""
    limit = int(WIDEST * len(lines))
    if limit < 1 or lines.shape[1] < 8:
        return 0
    first = lines[0] * np.float32(scale)  # alone, as it decides most pictures
    tone = np.median(first)
    if (np.abs(first - tone) <= TOLERANCE).mean() < EVEN:
        return 0
    nearest = lines[: limit + 4].astype(np.float32) * scale
    distance = np.abs(nearest - tone)
    width = _run((distance <= TOLERANCE).mean(axis=1) >= EVEN)
    if width > limit:
        return _width_of_bar(lines, tone, scale)
    flat = nearest[:width].std() < FLAT
    behind = distance[width + 1 : width + 3]  # the line between may be a mixture
    step, share = (4, 0.25) if flat else (2 * TOLERANCE, 0.5)
    return width + 1 if (behind > step).mean() >= share else 0


def _width_of_bar(lines, tone, scale):
    """`_width` of a bar of one exact tone, which may be of any width."""
    some = lines[:, :: max(1, lines.shape[1] // 1024)]
    distance = np.abs(some.astype(np.float32) * np.float32(scale) - tone)
    exact = _run((distance <= 1).mean(axis=1) >= EXACT)
    if exact < WIDEST * len(lines) - RINGING:
        return 0
    for width in range(exact, exact + RINGING + 1):
        behind = distance[width + 1 : width + 3]
        if len(behind) and (behind > 4).mean() >= 0.25:
            return width + 1
    return 0


def _run(holds):
    """How many of the first values are True."""
    return len(holds) if holds.all() else int(np.argmin(holds))
