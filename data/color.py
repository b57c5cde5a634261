"""Colour mathematics: sRGB, CIE XYZ, CIELab, saturation and the sRGB gamut.

Every function takes float32 arrays with the colour on the last axis, (..., 3), and returns the same kind: NumPy arrays are
computed by NumPy, tensors by the Keras backend, so that one text serves the training step on any device and the
full-resolution output on the CPU. Gamma-encoded sRGB and linear RGB lie in 0..1 inside the gamut and may leave it;
CIELab has L in 0..100 and a, b in about -110..110 inside the gamut.

The constants are scikit-image's (IEC 61966-2-1 sRGB, illuminant D65, 2 degree observer). The matrices are spelled out as
sums of products: a matrix product may be rounded to TF32 or bfloat16 by an accelerator, elementwise arithmetic is not.
"""

import numpy as np
from keras import ops

XYZ_FROM_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE = np.array([0.95047, 1.0, 1.08883])  # XYZ of D65, Y = 1


def _library(x):
    """numpy for NumPy arrays, keras.ops for tensors: the two share every name that is used here."""
    return np if isinstance(x, np.ndarray) else ops


def _matmul(matrix, x):
    """(3, 3) constant applied to the last axis of (..., 3), in float32 on every device."""
    columns = [x[..., i] for i in range(3)]
    rows = [sum(float(weight) * column for weight, column in zip(row, columns)) for row in matrix]
    return _library(x).stack(rows, axis=-1)


def linear_from_srgb(srgb):
    """Gamma-encoded sRGB -> linear RGB (IEC 61966-2-1). Values below 0 follow the linear toe, as in scikit-image."""
    xp = _library(srgb)
    return xp.where(srgb > 0.04045, xp.power((xp.maximum(srgb, 0.04045) + 0.055) / 1.055, 2.4), srgb / 12.92)


def srgb_from_linear(linear):
    """Linear RGB -> gamma-encoded sRGB, the inverse of `linear_from_srgb`."""
    xp = _library(linear)
    curve = 1.055 * xp.power(xp.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return xp.where(linear > 0.0031308, curve, linear * 12.92)


def _f(t):
    """CIE 1976's compression of a tristimulus ratio; slope 7.787 below 0.008856 (CIE 15, as scikit-image rounds it)."""
    xp = _library(t)
    return xp.where(t > 0.008856, xp.power(xp.maximum(t, 0.008856), 1 / 3), 7.787 * t + 16 / 116)


def _f_inverse(f):
    xp = _library(f)
    return xp.where(f > 0.2068966, f * f * f, (f - 16 / 116) / 7.787)


def lightness_from_gray(gray):
    """CIELab L, 0..100, of the neutral sRGB colour R = G = B = gray, any shape: the curve is inverted, L is exact."""
    return 116 * _f(linear_from_srgb(gray)) - 16


def lightness_from_srgb(srgb):
    """CIELab L, (..., 3) -> (...): only the luminance row of `lab_from_srgb`."""
    linear = linear_from_srgb(srgb)
    luminance = sum(float(weight) * linear[..., i] for i, weight in enumerate(XYZ_FROM_RGB[1]))
    return 116 * _f(luminance) - 16


def lab_from_srgb(srgb):
    """Gamma-encoded sRGB -> CIELab."""
    f = _f(_matmul(XYZ_FROM_RGB / WHITE[:, None], linear_from_srgb(srgb)))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return _library(f).stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def linear_from_lab(lab):
    """CIELab -> linear RGB, not clipped: colours that sRGB cannot show lie outside 0..1."""
    y = (lab[..., 0] + 16) / 116
    f = _library(lab).stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    return _matmul(RGB_FROM_XYZ * WHITE, _f_inverse(f))


def srgb_from_lab(lab):
    """CIELab -> gamma-encoded sRGB, not clipped."""
    return srgb_from_linear(linear_from_lab(lab))


def boost_saturation(srgb, factor, clip=False):
    """Multiply the HSV saturation S by `factor` (the paper's T), keeping hue and value.

    With v = max(R, G, B), sRGB -> HSV, S' = T * S -> sRGB is exactly rgb' = v - T * (v - rgb). S' is not clipped by
    default, as in the authors' code: rgb' may then be negative. `clip` holds S' at 1 by min(T, 1 / S) in place of T.
    """
    xp = _library(srgb)
    value = xp.max(srgb, axis=-1, keepdims=True)
    fall = value - srgb
    if clip:
        factor = xp.minimum(factor, value / xp.maximum(xp.max(fall, axis=-1, keepdims=True), 1e-6))
    return value - factor * fall


def fit_gamut(lab, rounds=12):
    """Reduce the chroma of the colours that leave sRGB until they just fit, at fixed L and hue. NumPy, (..., 3).

    The largest share of the chroma that stays inside 0..1 is found by bisection, to 1 part in 2 ** rounds, for those
    pixels alone that are outside. The lower end of the bracket is taken, so that nothing is left to be clipped and the
    lightness is exact.
    """

    def outside(colors):
        linear = linear_from_lab(colors)
        return ((linear < -1e-6) | (linear > 1 + 1e-4)).any(axis=-1)  # 0.001 and 0.004 of L

    out = outside(lab)
    if not out.any():
        return lab
    colors = lab[out]
    low, high = np.zeros(len(colors), np.float32), np.ones(len(colors), np.float32)
    for _ in range(rounds):
        middle = (low + high) / 2
        leaves = outside(np.concatenate([colors[:, :1], colors[:, 1:] * middle[:, None]], axis=-1))
        low, high = np.where(leaves, low, middle), np.where(leaves, middle, high)
    fitted = lab.copy()
    fitted[out, 1:] = colors[:, 1:] * low[:, None]
    return fitted
