"""Transparency: whether a file says that a channel is alpha, and what a network sees where it is 0."""

import struct

import cv2
import numpy as np

SIDE = 256  # of the reduced picture that is filled


def has_alpha(image):
    """Whether the last channel of an image that Pillow opened, not yet loaded, is alpha by what its file says.

    Pillow takes every fourth channel for alpha: padding bytes of TGA, a saved selection of PSD, infrared. It also
    compares the transparent level of a PNG of 2 or 4 bits with scaled pixels; that level is scaled here.
    """
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        bits = next((bits for bits in (2, 4) if f"L;{bits}'" in str(image.tile)), 8)
        image.info["transparency"] *= 255 // (2**bits - 1)
    if image.mode not in ("LA", "RGBA"):
        return True
    if image.format == "TGA":
        image.fp.seek(17)
        return bool(image.fp.read(1)[0] & 15)  # the number of alpha bits
    if image.format == "JPEG2000":
        image.fp.seek(0)
        return b"cdef" in image.fp.read(65536)  # the box that tells what the channels are
    if image.format == "PSD":
        image.fp.seek(26)
        for _ in range(2):  # colour table, resources
            image.fp.seek(struct.unpack(">I", image.fp.read(4))[0], 1)
        layers, _, count = struct.unpack(">IIh", image.fp.read(10).ljust(10, b"\0"))
        return (
            layers > 0 and count < 0
        )  # negative: the first extra channel is the picture's transparency
    return True


def fill_transparent(pixels, alpha):
    """Pixels in which what lies under alpha 0 is continued from the visible pixels around it.

    The visible pixels are averaged at halved sizes; each hidden pixel takes the value of the finest size that has one
    ("push-pull", Gortler et al. 1996, section 3.4).

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.
        alpha: (H, W), or None.

    Returns:
        an array like `pixels`; the same one if nothing is hidden.
    """
    hidden = alpha == 0 if alpha is not None else np.zeros(1, bool)
    if not hidden.any() or hidden.all():
        return pixels
    height, width = hidden.shape
    scale = min(1, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    seen = (~hidden).astype(np.float32)[..., None]
    sums = np.where(hidden[..., None], 0, pixels.reshape(height, width, -1)).astype(np.float32)
    filled = _fill(_reduce(sums, size), _reduce(seen, size))
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(
        pixels.shape
    )
    result = pixels.copy()
    result[hidden] = np.rint(filled[hidden]).astype(pixels.dtype)
    return result


def _fill(sums, weights):
    """Sums (h, w, c) divided by weights (h, w, 1); where they are small, the same at half the size takes their part."""
    if max(weights.shape[:2]) == 1:
        return sums / np.maximum(weights, 1e-6)
    height, width = weights.shape[:2]
    half = (width + 1) // 2, (height + 1) // 2
    coarse = _fill(_reduce(sums, half), _reduce(weights, half))
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(sums.shape)
    return np.where(weights > 1e-3, sums / np.maximum(weights, 1e-3), coarse)


def _reduce(values, size):
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
