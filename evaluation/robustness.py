"""How a network's colours hold: with faults in the L that it sees, with borders around pictures.

The network is measured at saturation 1, and compared with what belongs to the clean pictures.
"""

import itertools

import cv2
import keras
import numpy as np

from data.degrade import DRAWS, degrade
from data.preprocess import lightness_of, resize
from evaluation.measure import compare_ab, enlarge

BORDERS = {  # name: its sRGB code, its width as a share of the picture's longer side
    "white, 1%": (255, 0.01),
    "white, 4%": (255, 0.04),
    "black, 1%": (0, 0.01),
    "black, 4%": (0, 0.04),
}


def degraded_rows(photographs, networks, seed):
    """Of every Photograph and network {name: Network}: a row of errors of ab with faults in L.

    The faults depend on the seed and the picture's index alone.
    """
    squashed = np.stack([photograph.squashed for photograph in photographs])
    clean = lightness_of(squashed)[..., None]
    generators = [np.random.default_rng([seed, photograph.index]) for photograph in photographs]
    draws = np.stack([rng.random(DRAWS, np.float32) for rng in generators])
    noise = np.stack([rng.standard_normal(clean.shape[1:], np.float32) for rng in generators])
    tensors = map(keras.ops.convert_to_tensor, (clean, draws, noise))
    lightness, rows = keras.ops.convert_to_numpy(degrade(*tensors))[..., 0], []
    for name, network in networks.items():
        sides = network.predictor.sides
        views = [
            {view: resize(x, side, side)[..., None] for view, side in sides.items()}
            for x in lightness
        ]
        found = network.predictor.ab(views), network.target.ab(squashed)
        for photograph, ab, target in zip(photographs, *found):
            row = {"picture": photograph.path, "protocol": "degraded", "method": name}
            rows.append(row | compare_ab(ab, target))
    return rows


def bordered_rows(photographs, networks):
    """Rows of how far borders around a picture move ab within it: the mean distance, Lab units."""
    rows = []
    for photograph, (name, network) in itertools.product(photographs, networks.items()):
        rgb = photograph.own
        height, width = rgb.shape[:2]
        widths = [max(1, round(share * max(height, width))) for _, share in BORDERS.values()]
        framed = [
            cv2.copyMakeBorder(rgb, n, n, n, n, cv2.BORDER_CONSTANT, value=[code] * 3)
            for n, (code, _) in zip(widths, BORDERS.values())
        ]
        clean, *found = network.ab([rgb, *framed])
        clean = enlarge(clean, height, width)
        for border, n, ab in zip(BORDERS, widths, found):
            shift = enlarge(ab, height + 2 * n, width + 2 * n)[n:-n, n:-n] - clean
            row = {"picture": photograph.path, "protocol": "borders"}
            row |= {"method": f"{name}, {border}"}
            row["ab_shift"] = float(np.hypot(*cv2.split(shift)).mean(dtype=np.float64))
            rows.append(row)
    return rows
