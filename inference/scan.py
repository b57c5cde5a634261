"""Which pixels of a picture the network sees, and where its colours go.

Borders are left out, documents are recognized, and faded tones of old photographs are stretched.
"""

from typing import NamedTuple

import numpy as np

from data.preprocess import colorize, enlarged, shrink
from inference.borders import find_borders
from inference.hints import parse_hints
from inference.line_art import is_line_art
from pictures.reader import eight_bits, fill_transparent

SIDE = 256  # of the longer side of a restored picture, at most: no network sees more
NARROW = 140  # codes from the 1st to the 99th percentile; a picture with fewer has faded


class NetworkView(NamedTuple):
    """What the network sees of a picture, and what is known of its colours."""

    pictures: list  # of (h, w) or (h, w, 3), whose ab are averaged
    area: tuple = (slice(None), slice(None))  # rows and columns of the picture that they show
    line_art: bool = False  # ink on paper, which has no colours to find
    hints: tuple = ()  # of `parse_hints`, in pixels of `area`


def network_view(pixels, alpha=None, old=False, hints=()):
    """The NetworkView of a picture, without its borders; what is transparent is filled in.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.
        alpha: (H, W), or None.
        old: also show a copy whose tones are stretched where they have faded.
        hints: see `parse_hints`, whose ValueError is raised.
    """
    pixels = fill_transparent(pixels, alpha)
    gray = pixels if pixels.ndim == 2 else pixels[..., 1]
    if gray.dtype.kind == "f":
        gray = np.rint(gray * 65535).astype(np.uint16)
    top, bottom, left, right = find_borders(gray)
    area = slice(top, len(gray) - bottom), slice(left, gray.shape[1] - right)
    pictures = [pixels[area], restored(gray[area])] if old else [pixels[area]]
    hints = parse_hints(hints, *gray.shape, area)
    return NetworkView(pictures, area, is_line_art(gray[area]), hints)


def enlarge(ab, area, height, width):
    """ab (h, w, 2) at the size of its picture, float32 (height, width, 2); 0 outside `area`."""
    result = np.zeros((height, width, 2), np.float32)
    inner = result[area].shape[:2]
    result[area] = np.stack(enlarged(ab, slice(0, inner[0]), *inner), axis=-1)
    return result


def join(pixels, area, ab, *args, **kwargs):
    """`data.preprocess.colorize` within `area`; the rest of the picture stays neutral."""
    if pixels[area].shape == pixels.shape:
        return colorize(pixels, ab, *args, **kwargs)
    result = colorize(pixels, np.zeros((1, 1, 2), np.float32))
    result[area] = colorize(pixels[area], ab, *args, **kwargs)
    return result


def restored(gray):
    """A small copy of uint8 or uint16 (H, W), whose tones are stretched where they have faded."""
    small = shrink(eight_bits(gray), SIDE)
    low, high = np.percentile(small, (1, 99))
    if 8 <= high - low < NARROW:
        stretched = (small - low) * (240 / (high - low)) + 8
        small = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return small
