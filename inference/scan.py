"""Which pixels of a picture the network is shown, and where its colours go: borders, documents, old photographs."""

from typing import NamedTuple

import numpy as np

from data.color import lab_from_srgb
from data.preprocess import colorize, enlarged, resize, to_float
from inference.borders import find_borders
from inference.line_art import is_line_art
from inference.restoration import restored
from pictures.reader import fill_transparent


class Shown(NamedTuple):
    """What the network is shown of a picture.

    pictures: list of (h, w) or (h, w, 3), whose ab are to be averaged.
    area: (rows, columns), slices of the picture that they show.
    line_art: whether it is ink on paper, which has no colours to find.
    """

    pictures: list
    area: tuple
    line_art: bool


def shown(pixels, alpha=None, old=False):
    """`Shown` of a picture. Plain borders are left out, and what is transparent is continued from around.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.
        alpha: (H, W), or None.
        old: also show a copy whose tones are stretched where they have faded.
    """
    pixels = fill_transparent(pixels, alpha)
    gray = pixels if pixels.ndim == 2 else pixels[..., 1]
    if gray.dtype.kind == "f":
        gray = np.rint(gray * 65535).astype(np.uint16)
    top, bottom, left, right = find_borders(gray)
    area = slice(top, len(gray) - bottom), slice(left, gray.shape[1] - right)
    pictures = [pixels[area]] + [restored(gray[area])] * old
    return Shown(pictures, area, is_line_art(gray[area]))


def whole(pixels):
    """`Shown` of a picture that the network sees as it is."""
    return Shown([pixels], (slice(None), slice(None)), False)


def enlarge(ab, area, height, width):
    """ab (h, w, 2) at the size of its picture, float32 (height, width, 2); 0 outside `area`."""
    result = np.zeros((height, width, 2), np.float32)
    inner = result[area].shape[:2]
    result[area] = np.stack(enlarged(ab, slice(0, inner[0]), *inner), axis=-1)
    return result


def join(pixels, area, ab, *args, keep_tone=False, **kwargs):
    """`data.preprocess.colorize` within `area`; the rest of the picture stays neutral.

    keep_tone: add the picture's mean ab, such as that of a sepia print, everywhere.
    """
    tone = tone_of(pixels) if keep_tone else np.zeros(2, np.float32)
    if pixels[area].shape == pixels.shape:
        return colorize(pixels, ab, *args, tone=tone, **kwargs)
    result = colorize(pixels, np.zeros((1, 1, 2), np.float32), tone=tone)
    result[area] = colorize(pixels[area], ab, *args, tone=tone, **kwargs)
    return result


def tone_of(pixels):
    """The mean ab of a picture, Lab units, float32 (2,); 0 of a gray one."""
    if pixels.ndim == 2:
        return np.zeros(2, np.float32)
    return lab_from_srgb(to_float(resize(pixels, 64, 64)))[..., 1:].mean(axis=(0, 1))
