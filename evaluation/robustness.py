"""How a network's colours hold: the same pictures with faults in the L that it sees, and with plain borders around them.

The network alone is measured, saturation 1. What its ab is compared with comes from the clean pictures.
"""

import cv2
import keras
import numpy as np

from data.degrade import DRAWS, degrade
from data.preprocess import enlarged, lightness_of, resize
from evaluation.measure import compare_ab, read_batches
from evaluation.methods import predictor

# border -> its sRGB code, its width as a share of the picture's longer side
BORDERS = {
    f"{tone}, {share:.0%}": (code, share)
    for tone, code in (("white", 255), ("black", 0))
    for share in (0.01, 0.04)
}


def measure(files, networks, size, seed=0, degraded=False, borders=False, own_sizes=False):
    """Rows of metrics for every picture that can be read, and network.

    Args:
        files: paths of photographs.
        networks: {name: Network}, which see squares of side `size`, or of their `own_sizes`, see `methods.trained`.
        seed: of the faults. They depend on it and on the picture's place among the files alone.
        degraded, borders: what is measured.

    Returns:
        (rows {"picture", "method"} with `degraded_metrics`, rows {"picture", "method" (with its border), "ab_shift"}).
    """
    colorizers = {name: predictor(network, size, own_sizes) for name, network in networks.items()}
    faulty, bordered = [], []
    for pictures in read_batches(files, size, "degraded, bordered"):
        lightness = degraded_lightness(pictures, seed) if degraded else None
        for name, colorizer in colorizers.items():
            if degraded:
                target = networks[name].target.ab(
                    np.stack([picture.squashed for picture in pictures])
                )
                found = degraded_metrics(colorizer, pictures, lightness, target)
                faulty += (
                    {"picture": picture.path, "method": name} | own
                    for picture, own in zip(pictures, found)
                )
            for picture in pictures if borders else ():
                for border, shift in border_shifts(colorizer, picture.own).items():
                    bordered.append(
                        {"picture": picture.path, "method": f"{name}, {border}", "ab_shift": shift}
                    )
    return faulty, bordered


def degraded_lightness(pictures, seed):
    """L of squashed pictures with faults by `data.degrade.degrade`: float32 (N, S, S), 0..100."""
    clean = lightness_of(np.stack([picture.squashed for picture in pictures]))[..., None]
    generators = [np.random.default_rng([seed, picture.index]) for picture in pictures]
    draws = np.stack([rng.random(DRAWS, np.float32) for rng in generators])
    noise = np.stack([rng.standard_normal(clean.shape[1:], np.float32) for rng in generators])
    return keras.ops.convert_to_numpy(
        degrade(*map(keras.ops.convert_to_tensor, (clean, draws, noise)))
    )[..., 0]


def degraded_metrics(colorizer, pictures, lightness, targets):
    """`compare_ab` for each picture whose L the network sees with faults, and "clean_ab_mse" without them."""
    faulty = [
        {name: resize(x, side, side)[..., None] for name, side in colorizer.sides.items()}
        for x in lightness
    ]
    clean = [colorizer.views(picture.squashed) for picture in pictures]
    for ab, clean_ab, target in zip(colorizer.ab(faulty), colorizer.ab(clean), targets):
        yield compare_ab(ab, target) | {"clean_ab_mse": compare_ab(clean_ab, target)["ab_mse"]}


def border_shifts(colorizer, rgb):
    """{border: the mean distance, Lab units, by which it moves ab within the picture}, uint8 (H, W, 3)."""
    height, width = rgb.shape[:2]
    wide = {
        border: max(1, round(share * max(height, width))) for border, (_, share) in BORDERS.items()
    }
    framed = [
        cv2.copyMakeBorder(rgb, *[wide[border]] * 4, cv2.BORDER_CONSTANT, value=[code] * 3)
        for border, (code, _) in BORDERS.items()
    ]
    clean, *found = colorizer.ab([colorizer.views(picture) for picture in (rgb, *framed)])
    clean = enlarged(clean, slice(0, height), height, width)
    shifts = {}
    for (border, n), ab in zip(wide.items(), found):
        planes = enlarged(ab, slice(n, n + height), height + 2 * n, width + 2 * n)
        shift = np.hypot(*(plane[:, n : n + width] - own for plane, own in zip(planes, clean)))
        shifts[border] = float(shift.mean(dtype=np.float64))
    return shifts
