"""Steps of the authors' scripts that differ from this project's (docs/networks.md)."""

import cv2
import numpy as np

from data.preprocess import colorize, lightness_of, to_float


def resize_nearest(pixels, height, width):
    """Resize a picture by nearest neighbour, as Keras' `load_img` in the authors' scripts."""
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def luma_as_published(pixels, side):
    """What the authors' test script feeds the network: resized to nearest, Rec. 709 luma.

    float32 (side, side), 0..1, of the gamma-encoded values, as scikit-image's `rgb2gray`.
    """
    small = to_float(resize_nearest(pixels, side, side))
    return small if small.ndim == 2 else small @ np.float32([0.2125, 0.7154, 0.0721])


def colorize_as_published(pixels, ab):
    """Join `luma_as_published` and ab, R, G and B clipped: the end of the authors' test script.

    (H, W) gray or (H, W, 3) sRGB, uint8 or uint16, and float32 (S, S, 2), the network's ab
    `repeated`, in Lab units -> sRGB (S, S, 3), uint8.
    """
    gray = luma_as_published(pixels, len(ab))
    # b at which Z is 0, where scikit-image's `lab2xyz` holds it
    highest = 200 / 116 * (lightness_of(gray) + 16)
    result = colorize(gray, np.dstack([ab[..., 0], np.minimum(ab[..., 1], highest)]), gamut="clip")
    return np.rint(255 * result).astype(np.uint8)


def repeated(ab, side):
    """ab (h, h, 2) repeated to (side, side, 2), as the network's last layer does."""
    times = side // len(ab)
    return ab.repeat(times, 0).repeat(times, 1)
