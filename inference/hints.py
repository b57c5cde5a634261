"""Spread the colours that a person gives at a few places over what has the same lightness there.

Levin, Lischinski and Weiss, *Colorization using Optimization* (SIGGRAPH 2004): neighbouring pixels of like lightness get like
colours. Here what spreads is the difference to the network's colours, and far from every hint it falls to 0.
"""

import cv2
import numpy as np
from scipy.linalg import solveh_banded

SIDE = 150  # of the longer side at which hints are spread, at most, in pixels
HELD = 10.0  # weight of a hint against that of a pair of like neighbours, 1
FAR = 1e-4  # weight of the difference 0
NOISE = 2.0  # variance of L that says nothing
SHARP = 0.2  # of the local variance of L
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # (rows, columns) to half of the eight neighbours


def spread(lightness, hints):
    """The difference of ab that minimizes sum w_ij (d_i - d_j)^2 + HELD sum (d_i - hint)^2 + FAR sum d_i^2.

    w_ij = exp(-(L_i - L_j)^2 / s), where s is SHARP times the variance of L in the 3 x 3 pixels around i, plus NOISE.

    Args:
        lightness: float32 (h, w), L in 0..100; a few hundred pixels a side.
        hints: (row, column, radius, (da, db)) each, in pixels of `lightness`: the difference of ab within the radius.

    Returns:
        float32 (h, w, 2).
    """
    if lightness.shape[0] < lightness.shape[1]:  # the band is as wide as a row
        turned = spread(lightness.T, [(x, y, radius, ab) for y, x, radius, ab in hints])
        return turned.transpose(1, 0, 2)
    height, width = lightness.shape
    lightness = lightness.astype(np.float64)
    mean, square = (
        cv2.blur(x, (3, 3), borderType=cv2.BORDER_REFLECT) for x in (lightness, lightness**2)
    )
    scale = SHARP * np.maximum(square - mean**2, 0) + NOISE
    diagonal, given = np.full((height, width), FAR), np.zeros((height, width, 2))
    bands = np.zeros((width + 2, height, width))  # row k: the entries k places below the diagonal
    for down, right in DIRECTIONS:
        left, start = max(0, -right), max(0, right)
        here = (slice(0, height - down), slice(left, width - start))
        there = (slice(down, height), slice(left + right, width - start + right))
        step = (lightness[here] - lightness[there]) ** 2
        weight = np.exp(-step / np.minimum(scale[here], scale[there]))
        bands[down * width + right][here] = -weight
        diagonal[here] += weight
        diagonal[there] += weight
    rows, columns = np.ogrid[:height, :width]
    for y, x, radius, difference in hints:
        held = (rows - y) ** 2 + (columns - x) ** 2 <= max(radius, 0.71) ** 2
        diagonal[held] += HELD
        given[held] += HELD * np.asarray(difference)
    bands[0] = diagonal
    solved = solveh_banded(bands.reshape(width + 2, -1), given.reshape(-1, 2), lower=True)
    return solved.reshape(height, width, 2).astype(np.float32)
