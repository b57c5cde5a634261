"""The steps of the authors' scripts that this project takes in another way by default (docs/deviations.md)."""

import cv2
import numpy as np

from data.preprocess import colorize, lightness_of, to_float


def resize_nearest(pixels, height, width):
    """Resize a picture to height x width by nearest neighbour, as Keras' `load_img` does: the authors' scripts use it."""
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def luma_as_published(pixels, side):
    """A picture as the authors' test script shows it to the network: squashed by nearest neighbour, Rec. 709 luma.

    Returns:
        float32 (side, side), 0..1, of the gamma-encoded values, as scikit-image's `rgb2gray`.
    """
    small = to_float(resize_nearest(pixels, side, side))
    return small if small.ndim == 2 else small @ np.float32([0.2125, 0.7154, 0.0721])


def colorize_as_published(pixels, ab):
    """The last steps of the authors' test script: `luma_as_published` and ab joined, R, G and B clipped.

    Args:
        pixels: (H, W) gray or (H, W, 3) sRGB, uint8 or uint16.
        ab: float32 (S, S, 2), Lab units: the network's `repeated`.

    Returns:
        sRGB (S, S, 3), uint8.
    """
    gray = luma_as_published(pixels, len(ab))
    highest = (
        200 / 116 * (lightness_of(gray) + 16)
    )  # b at which Z is 0, where scikit-image's `lab2xyz` holds it
    result = colorize(gray, np.dstack([ab[..., 0], np.minimum(ab[..., 1], highest)]), gamut="clip")
    return np.rint(255 * result).astype(np.uint8)


def repeated(ab, side):
    """ab (h, h, 2) enlarged to (side, side, 2) by nearest neighbour, as the network's last layer does."""
    times = side // len(ab)
    return ab.repeat(times, 0).repeat(times, 1)
