"""ICC profiles: pixels from the colours of one to those of another, by LittleCMS."""

import functools
import struct

import imagecodecs
import numpy as np

_EXACT = 0x100  # cmsFLAGS_NOOPTIMIZE: no table of colours, which would round; slow


def _made(kind):
    icc = bytearray(imagecodecs.cms_profile(kind))
    icc[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)  # else no two runs would be the same
    return bytes(icc)


SRGB, ADOBE_RGB, LAB = _made("srgb"), _made("adobergb"), _made("lab4")


def transform(values, source, target, space="rgb", exact=False):
    """Colours (H, W, C) or gray (H, W) of a profile -> (H, W, 3) of an RGB profile, the type kept.

    `space` is "gray", "rgb", "cmyk" or "lab"; `exact` is so in 8 bits as well, and slow. Raises
    exceptions of any type for a profile that is invalid or of another space.
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


def to_srgb(pixels, icc, notes):
    """Pixels (H, W), (H, W, 3) or of CMYK (H, W, 4) in sRGB, and the profile for a colour result.

    An RGB profile is kept; gray and CMYK give way to sRGB. `notes` takes a remark on a profile that
    cannot be used.
    """
    space, is_cmyk = icc[16:20], pixels.ndim == 3 and pixels.shape[2] == 4
    try:
        if space == b"CMYK" and is_cmyk:
            return transform(pixels, icc, SRGB, "cmyk"), SRGB
        if (space == b"RGB " and not is_cmyk) or (space == b"GRAY" and pixels.ndim == 2):
            kept = icc if space == b"RGB " and is_target(icc) else SRGB
            return convert(pixels, icc, SRGB), kept
    except Exception:  # LittleCMS raises any kind of error on a hostile profile
        pass
    if icc:
        notes.append("its colour profile cannot be used, taken as sRGB")
    if is_cmyk:  # without a profile: ink and black take away light
        top = int(np.iinfo(pixels.dtype).max)
        light = top - pixels[..., 3:].astype(np.uint32)
        pixels = (light - (pixels[..., :3] * light + top // 2) // top).astype(pixels.dtype)
    return pixels, b""


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
