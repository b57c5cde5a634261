"""Colour mathematics: sRGB, CIE XYZ, CIELab, saturation and the sRGB gamut.

Functions take float32 NumPy arrays or Keras tensors, with the colour on the last axis, (..., 3),
unless they say otherwise, and return the same kind. Gamma-encoded sRGB and linear RGB lie in 0..1
inside the gamut and may leave it; CIELab has L in 0..100, a and b in about -110..110. The constants
are scikit-image's (IEC 61966-2-1 sRGB, illuminant D65, 2 degree observer).
"""

import functools

import cv2
import numpy as np

XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE = np.array([0.95047, 1.0, 1.08883])  # XYZ of D65, Y = 1


def array_namespace(x):
    """numpy for NumPy arrays, keras.ops for tensors; their functions share their names."""
    if isinstance(x, np.ndarray):
        return np
    from keras import ops

    return ops


def _matmul(matrix, x):
    """(3, 3) constant applied to the last axis of (..., 3).

    Elementwise, because an accelerator may round a matrix product to TF32 or bfloat16.
    """
    columns = [x[..., i] for i in range(3)]
    rows = [sum(float(weight) * column for weight, column in zip(row, columns)) for row in matrix]
    return array_namespace(x).stack(rows, axis=-1)


def linear_from_srgb(srgb):
    """Gamma-encoded sRGB -> linear RGB (IEC 61966-2-1). Below 0 linear, as in scikit-image."""
    xp = array_namespace(srgb)
    curve = xp.power((xp.maximum(srgb, 0.04045) + 0.055) / 1.055, 2.4)
    return xp.where(srgb > 0.04045, curve, srgb / 12.92)


def srgb_from_linear(linear):
    """Linear RGB -> gamma-encoded sRGB, the inverse of `linear_from_srgb`. NumPy alone."""
    curve = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curve, linear * 12.92)


def _f(t):
    """CIE 1976's compression of a tristimulus ratio, linear below 0.008856 (as in CIE 15)."""
    xp = array_namespace(t)
    return xp.where(t > 0.008856, xp.power(xp.maximum(t, 0.008856), 1 / 3), 7.787 * t + 16 / 116)


def _f_inverse(f):
    """`_f` inverted: the cube, and below 0.2068966, which few pictures reach, its tangent there."""
    xp, knee, cube = array_namespace(f), 0.2068966, f * f * f
    if xp is np and f.min(initial=knee) >= knee:
        return cube
    return xp.where(f > knee, cube, (f - 16 / 116) / 7.787)


def lightness_from_gray(gray):
    """CIELab L, 0..100, of the neutral sRGB colour R = G = B = gray, any shape."""
    return 116 * _f(linear_from_srgb(gray)) - 16


def lightness_from_srgb(srgb):
    """CIELab L, (..., 3) -> (...): only the luminance row of `lab_from_srgb`."""
    return lightness_from_linear(linear_from_srgb(srgb))


def lightness_from_linear(linear):
    """CIELab L of linear RGB, (..., 3) -> (...)."""
    luminance = sum(float(weight) * linear[..., i] for i, weight in enumerate(XYZ_FROM_RGB[1]))
    return 116 * _f(luminance) - 16


def lab_from_srgb(srgb):
    """Gamma-encoded sRGB -> CIELab."""
    f = _f(_matmul(XYZ_FROM_RGB / WHITE[:, None], linear_from_srgb(srgb)))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return array_namespace(f).stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def linear_from_lab(lightness, a, b):
    """CIELab -> linear RGB, not clipped: colours that sRGB cannot show lie outside 0..1.

    Three planes -> (..., 3); those of NumPy are (H, W), float32.
    """
    y = (lightness + 16) * (1 / 116)
    xyz = [_f_inverse(f) for f in (y + a * (1 / 500), y, y - b * (1 / 200))]
    if (xp := array_namespace(y)) is not np:
        return _matmul(RGB_FROM_XYZ * WHITE, xp.stack(xyz, axis=-1))
    return cv2.transform(cv2.merge(xyz), RGB_FROM_XYZ * WHITE)


def boost_saturation(srgb, factor, clip=False):
    """Multiply the HSV saturation S by `factor` (the paper's T), keeping hue and value.

    With v = max(R, G, B), sRGB -> HSV, S' = T * S -> sRGB is exactly rgb' = v - T * (v - rgb), which
    may be negative, as in the authors' code. `clip` holds S' at 1 by min(T, 1 / S) in place of T.
    """
    xp = array_namespace(srgb)
    value = xp.max(srgb, axis=-1, keepdims=True)
    fall = value - srgb
    if clip:
        factor = xp.minimum(factor, value / xp.maximum(xp.max(fall, axis=-1, keepdims=True), 1e-6))
    return value - factor * fall


@functools.cache  # computed when it is first needed
def chroma_limits():
    """The highest chroma in sRGB: float32 (L in 257 steps 0..100, hue in 513 steps 0..2 pi)."""
    lightness = np.linspace(0, 100, 257, dtype=np.float32)[:, None] * np.ones(513, np.float32)
    hue = np.linspace(0, 2 * np.pi, 513, dtype=np.float32) * np.ones_like(lightness)
    a, b, limit = np.cos(hue), np.sin(hue), np.zeros_like(hue)
    for step in 256 * 0.5 ** np.arange(1, 17, dtype=np.float32):  # bisection: 0..256, to 0.004
        linear = linear_from_lab(lightness, a * (limit + step), b * (limit + step))
        limit += step * ((linear > -1e-5) & (linear < 1 + 1e-5)).all(axis=-1)
    return limit


def fit_gamut(lightness, a, b):
    """Reduce chroma until it fits sRGB, L and hue kept: NumPy planes (H, W) -> (a, b).

    The limit is interpolated between exact values. What then still leaves sRGB leaves it by so
    little that clipping moves L by less than 0.05.
    """
    side = 2**15 - 2  # the longest that OpenCV's remap takes
    if max(lightness.shape) > side:
        axis = int(np.argmax(lightness.shape))
        cuts = range(side, lightness.shape[axis], side)
        parts = zip(*(np.split(plane, cuts, axis) for plane in (lightness, a, b)))
        return tuple(np.concatenate(p, axis) for p in zip(*(fit_gamut(*part) for part in parts)))
    limits = chroma_limits()
    per_hue = np.float32((limits.shape[1] - 1) / (2 * np.pi))
    per_lightness = np.float32((limits.shape[0] - 1) / 100)
    chroma, hue = cv2.cartToPolar(a, b)
    places = hue * per_hue, lightness * per_lightness
    limit = cv2.remap(limits, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = np.minimum(limit / np.maximum(chroma, 1e-6), 1)
    return a * share, b * share


_CODES = 2**16 - 1
CODE = srgb_from_linear(np.arange(_CODES + 1, dtype=np.float32) / _CODES)
CODE = np.rint(255 * CODE).astype(np.uint8)


def codes_from_linear(linear, dtype):
    """Linear RGB, NumPy (H, W, 3) -> gamma-encoded sRGB, clipped: uint8, uint16 or float32 0..1."""
    if dtype == np.uint8:  # by a table, whose steps are a twentieth of a code at most
        places = cv2.addWeighted(linear, _CODES, linear, 0, 0, dtype=cv2.CV_16U)  # rounds and clips
        return CODE.take(places)
    srgb = srgb_from_linear(np.clip(linear, 0, 1))
    return srgb if dtype == np.float32 else np.rint(srgb * np.iinfo(dtype).max).astype(dtype)
