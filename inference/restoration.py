"""Old photographs: what the network is shown in place of a faded picture."""

import numpy as np

from data.preprocess import resize

SIDE = 256  # of the longer side at which a picture is restored, at most: no network sees more
NARROW = (
    140  # codes between the 1st and the 99th percentile, below which a picture is taken for faded
)


def restored(gray):
    """A small copy of a picture, whose tones are stretched where they have faded to a narrow range.

    Args:
        gray: uint8 or uint16 (H, W).

    Returns:
        uint8 (h, w).
    """
    small = shrink((gray >> 8).astype(np.uint8) if gray.dtype == np.uint16 else gray, SIDE)
    low, high = np.percentile(small, (1, 99))
    if 8 <= high - low < NARROW:
        stretched = (small - low) * (240 / (high - low)) + 8
        small = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return small


def shrink(pixels, side):
    """A picture whose longer side is at most `side`, the aspect kept."""
    whole = max(pixels.shape[:2]) // side
    if (
        1 < whole <= min(pixels.shape[:2])
    ):  # by a whole number first, which OpenCV does five times as fast
        height, width = (n // whole for n in pixels.shape[:2])
        pixels = resize(pixels[: height * whole, : width * whole], height, width)
    scale = side / max(pixels.shape[:2])
    return (
        pixels
        if scale >= 1
        else resize(pixels, *(max(1, round(scale * n)) for n in pixels.shape[:2]))
    )
