"""ICC profiles: pixels from the colours of one to those of another, by LittleCMS."""

import functools
import struct

import imagecodecs
import numpy as np

_EXACT = 0x100  # cmsFLAGS_NOOPTIMIZE: no table of colours, which would round; slow


def _made(*args, **kwargs):
    icc = bytearray(imagecodecs.cms_profile(*args, **kwargs))
    icc[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)  # else no two runs would be the same
    return bytes(icc)


SRGB, ADOBE_RGB, LAB = _made("srgb"), _made("adobergb"), _made("lab4")

_D65 = (0.3127, 0.329)
_PRIMARIES = {  # x, y of red, green and blue, by their numbers in ITU-T H.273
    1: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # sRGB
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # Rec. 2020
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
_CODES = np.linspace(0, 1, 4096)
_SRGB_CURVE = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)
_CURVES = {4: 2.2, 5: 2.8, 8: 1.0, 13: None}  # by their numbers in H.273; None: the curve of sRGB


def of_png(gamma=None, chromaticities=None, cicp=None):
    """The ICC profile of the colours that a PNG without one describes (PNG, third edition, 4.3).

    Args:
        gamma: of gAMA, 1/2.2 as a rule, which is taken as the curve of sRGB.
        chromaticities: x, y of white, red, green and blue, of cHRM.
        cicp: (primaries, transfer function, matrix, full range), which goes before the others.

    Returns:
        bytes; empty for sRGB.

    Raises:
        ValueError: primaries or a curve that are not supported, such as PQ and HLG.
    """
    white, primaries, curve = _D65, _PRIMARIES[1], None
    if cicp:
        if cicp[0] not in _PRIMARIES or cicp[1] not in _CURVES or tuple(cicp[2:]) != (0, 1):
            raise ValueError(f"code points {', '.join(map(str, cicp))}")
        primaries, curve = _PRIMARIES[cicp[0]], _CURVES[cicp[1]]
    elif chromaticities and np.abs(np.subtract(chromaticities, (*white, *primaries))).max() > 0.002:
        white, primaries = chromaticities[:2], chromaticities[2:]
    if not cicp and gamma and abs(gamma * 2.2 - 1) > 0.02:
        curve = 1 / gamma
    if (white, primaries, curve) == (_D65, _PRIMARIES[1], None):
        return b""
    if min(white[1], *primaries[1::2]) <= 0:
        raise ValueError("chromaticities of no colour")
    places = [value for i in (0, 2, 4) for value in (*primaries[i : i + 2], 1)]
    tone = {"transferfunction": _SRGB_CURVE.astype("f4")} if curve is None else {"gamma": curve}
    try:
        return _made("rgb", whitepoint=(*white, 1), primaries=places, **tone)
    except RuntimeError as error:  # of LittleCMS
        raise ValueError("chromaticities of no colour") from error


def transform(values, source, target, space="rgb", exact=False):
    """Colours (H, W, C) or gray (H, W) of a profile -> (H, W, 3) of an RGB profile, the type kept.

    Args:
        space: "gray", "rgb", "cmyk" or "lab", what `values` are.
        exact: in 8 bits as well, which is slow.

    Raises:
        Exception: of any type, for a profile that is invalid or of another space.
    """
    flags = _EXACT if exact or values.dtype == np.uint16 else None
    how = {"colorspace": space, "outcolorspace": "rgb", "flags": flags}
    return imagecodecs.cms_transform(np.ascontiguousarray(values), source, target, **how)


def convert(pixels, source, target):
    """Pixels (H, W) or (H, W, 3), uint8 or uint16, of one profile as those of another.

    Gray stays gray: each of its levels is converted. `source` may be a gray profile. Raises as
    `transform`.
    """
    is_gray = source[16:20] == b"GRAY"
    if not is_gray and is_srgb(source) and is_srgb(target):
        return pixels
    if pixels.ndim == 3:
        return transform(pixels, source, target)
    levels = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=pixels.dtype)[None]
    levels = levels if is_gray else np.dstack([levels] * 3)
    return transform(levels, source, target, "gray" if is_gray else "rgb", True)[0, :, 1][pixels]


@functools.lru_cache(maxsize=64)
def is_target(icc):
    """Whether pixels can be converted to the RGB profile, and not only from it, as a scanner's."""
    try:
        transform(np.zeros((1, 1, 3), np.uint8), SRGB, icc)
    except Exception:  # of LittleCMS
        return False
    return True


@functools.lru_cache(maxsize=64)
def is_srgb(icc):
    """Whether the RGB profile is sRGB, to one level in 8 bits."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    return np.abs(transform(colours, icc, SRGB).astype(int) - colours).max() <= 1
