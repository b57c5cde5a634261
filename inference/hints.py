"""Colours that a person gives at a few places, spread over what has the same lightness there.

Levin, Lischinski and Weiss, *Colorization using Optimization* (SIGGRAPH 2004): neighbouring pixels
of like lightness get like colours. Here what spreads is the difference to the network's colours,
and far from every hint it falls to 0.
"""

import contextlib
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageColor

from data.color import lab_from_srgb
from data.preprocess import lightness_of, shrink
from pictures.reader import BadPicture, read_picture
from utils import one_line, printable

SIDE = 150  # of the longer side at which hints are spread, at most, in pixels
RADIUS = 0.01  # of a hint that gives none: its share of the longer side
HELD = 10.0  # weight of a hint against that of a pair of like neighbours, 1
FAR, REACH = 2e-6, 40.0  # weight of the difference 0, and changes of L on the way that double it
NOISE = 2.0  # variance of L that says nothing
SHARP = 0.2  # of the local variance of L
STEP = 0.05  # of L, what a pixel on the way counts
FORM = 'expected [x, y, colour] or [x, y, colour, radius], colour "#rrggbb", a name or "keep"'
FILE = 'expected {"a.jpg": [[x, y, "#7a5230"], ...]}'


def parse_hints(hints, height, width, area=(slice(None), slice(None))):
    """Hints for a picture of this size as `add_hints` takes them.

    Args:
        hints: (x, y, colour) or (x, y, colour, radius) each. Floats below 1 are shares of the
            width, the height and the longer side, other numbers pixels. A colour is "#rrggbb" or
            a name of CSS, as "gray", or "keep", which holds the network's own.
        area: slices of the picture that are coloured.

    Returns:
        Tuple of (row, column, radius, ab or None for "keep"), in pixels of `area`.

    Raises:
        ValueError: a hint is not of this form or lies outside of the picture or of `area`.
    """
    (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip(area, (height, width)))
    found, sides = [], (width, height, max(height, width))
    for hint in hints:
        try:
            *numbers, colour, radius = hint if len(hint) == 4 else (*hint, RADIUS)
            x, y, radius = (
                n * side if isinstance(n, (float, np.floating)) and n < 1 else n
                for n, side in zip((*numbers, radius), sides)
            )
            rgb = np.float32([[ImageColor.getrgb(colour)[:3]]]) if colour != "keep" else None
            inside = left <= x < right and top <= y < bottom and 0 < radius <= sides[2]
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"hint {hint!r:.80}: {FORM}") from None
        if not inside:
            shown = f"columns {left} to {right - 1} and rows {top} to {bottom - 1} are coloured"
            raise ValueError(f"hint {hint!r:.80}: outside of the picture: {shown}")
        ab = None if rgb is None else lab_from_srgb(rgb / 255)[0, 0, 1:]
        found.append((y - top, x - left, radius, ab))
    return tuple(found)


def read_hints(path, pictures, folders, some=False):
    """Read a JSON file of hints, {picture's name, or path relative to a folder: hints}.

    some: pass over names that are not among the pictures.

    Returns:
        {path of a picture: hints for `parse_hints`}.

    Raises:
        ValueError: one line on a wrong file, name, place or colour.
    """
    found, name = {}, ""
    try:
        for name, hints in json.loads(Path(path).read_text(encoding="utf-8")).items():
            exact = {Path(folder, name) for folder in folders}.intersection(pictures)
            named = exact or [picture for picture in pictures if picture.name == name]
            if len(named) != 1 and not (some and not named):
                count = f"{len(named)} pictures" if named else "no picture"
                raise ValueError(f"{count} of this name or path relative to IN")
            for picture in named:
                with contextlib.suppress(BadPicture):  # which fails by itself
                    parse_hints(hints, *read_picture(picture).pixels.shape[:2])
                found[picture] = hints
    except (OSError, ValueError, TypeError, AttributeError) as error:
        place = f"{printable(path)}: {printable(name)}".removesuffix(": ")
        raise ValueError(
            f"{place}: {one_line(error) if isinstance(error, (OSError, ValueError)) else FILE}"
        ) from error
    return found


def add_hints(pixels, ab, hints):
    """The ab of a picture with what hints change of it.

    ab: float32 (h, w, 2), saturated, of any size; the result is at most SIDE x SIDE, of the aspect
    of the picture.
    """
    lightness = lightness_of(shrink(pixels, SIDE))
    scale = np.divide(lightness.shape, pixels.shape[:2])
    ab, places = cv2.resize(ab, lightness.shape[::-1]), []
    for row, column, radius, wanted in hints:
        y, x = (np.array([row, column]) + 0.5) * scale - 0.5
        place = y, x, radius * scale.max()
        there = ab[_disc(lightness.shape, *place)].mean(axis=0)
        places.append((*place, np.subtract(there if wanted is None else wanted, there)))
    return ab + spread(lightness, places)


def _disc(shape, y, x, radius):
    """Whether pixels lie within a radius, at least the one at the place itself: bool (h, w)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= max(radius, 0.71) ** 2


def spread(lightness, hints):
    """The difference of ab that minimizes

    sum w_ij (d_i - d_j)^2 + HELD sum (d_i - hint)^2 + sum f_i d_i^2

    over the pixels and the pairs of neighbours in rows and columns. w_ij = exp(-(L_i - L_j)^2 / s),
    where s is SHARP times the variance of L in the 3 x 3 pixels around either, plus NOISE. f_i =
    FAR (1 + (g_i / REACH)^8) grows with the geodesic distance g to the nearest hint: the changes of
    L, blurred, on the way there, plus STEP for each pixel.

    Args:
        lightness: float32 (h, w), L in 0..100; a few hundred pixels a side.
        hints: (row, column, radius, (da, db)) each, in pixels of `lightness`: the difference of ab
            within the radius.

    Returns:
        float32 (h, w, 2).
    """
    from scipy.sparse import coo_array, diags_array  # slow to import
    from scipy.sparse.csgraph import dijkstra
    from scipy.sparse.linalg import splu

    lightness, n = lightness.astype(np.float64), lightness.size
    mean, square = (cv2.blur(x, (3, 3)) for x in (lightness, lightness**2))
    scale = SHARP * np.maximum(square - mean**2, 0) + NOISE
    held, given = np.zeros(lightness.shape), np.zeros((*lightness.shape, 2))
    for y, x, radius, difference in hints:
        disc = _disc(lightness.shape, y, x, radius)
        held[disc] += HELD
        given[disc] += HELD * np.asarray(difference)
    number = np.arange(n).reshape(lightness.shape)
    one = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    two = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])

    def ends(plane):
        return plane.ravel()[one], plane.ravel()[two]

    def graph(values):
        return coo_array((values, (one, two)), shape=(n, n)).tocsr()

    cost = np.abs(np.subtract(*ends(cv2.GaussianBlur(lightness, (0, 0), 1)))) + STEP
    near = dijkstra(graph(cost), directed=False, indices=np.flatnonzero(held), min_only=True)
    alike = graph(np.exp(-(np.subtract(*ends(lightness)) ** 2) / np.minimum(*ends(scale))))
    alike += alike.T
    own = held.ravel() + alike.sum(axis=0) + FAR * (1 + (near / REACH) ** 8)
    solved = splu((diags_array(own) - alike).tocsc(), "MMD_AT_PLUS_A", 0)
    return solved.solve(given.reshape(-1, 2)).reshape(given.shape).astype(np.float32)
