"""Old photographs: what the network is shown in place of a faded, grainy or screened picture."""

import cv2
import numpy as np

from data.preprocess import resize

SIDE = 256  # of the longer side at which a picture is restored, at most: no network sees more
NARROW = 140  # codes between the 1st and the 99th percentile, below which a picture is taken for faded
NOISY, SCREENED = 6, 35  # standard deviation of the noise, in codes, from which grain and a halftone screen are removed


def restored(gray):
    """A small copy of a picture without the faults that it shows: halftone screen, grain, a narrow range of tones.

    Each step is taken only where its fault is measured, since each of them harms a sound picture.

    Args:
        gray: uint8 or uint16 (H, W).

    Returns:
        uint8 (h, w).
    """
    if gray.dtype == np.uint16:
        gray = (gray >> 8).astype(np.uint8)
    small = shrink(gray, SIDE)
    noise = noise_of(small)
    if noise > SCREENED:
        small = cv2.GaussianBlur(small, (0, 0), 1.0)
        noise = noise_of(small)
    if noise > NOISY:
        small = cv2.fastNlMeansDenoising(small, None, min(0.9 * noise, 25), 5, 15)
    low, high = np.percentile(small, (1, 99))
    if 8 <= high - low < NARROW:
        stretched = (small - low) * (240 / (high - low)) + 8
        small = np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
    return small


def noise_of(gray):
    """Standard deviation of the noise of a uint8 picture, in codes (J. Immerkaer, CVIU 64, 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(gray.astype(np.float32), -1, kernel)[1:-1, 1:-1])
    return float(np.sqrt(np.pi / 2) / 6 * response.mean()) if response.size else 0.0


def shrink(pixels, side):
    """A picture whose longer side is at most `side`, the aspect kept."""
    whole = max(pixels.shape[:2]) // side
    if 1 < whole <= min(pixels.shape[:2]):  # by a whole number first, which OpenCV does five times as fast
        height, width = (n // whole for n in pixels.shape[:2])
        pixels = resize(pixels[: height * whole, : width * whole], height, width)
    scale = side / max(pixels.shape[:2])
    return pixels if scale >= 1 else resize(pixels, *(max(1, round(scale * n)) for n in pixels.shape[:2]))
