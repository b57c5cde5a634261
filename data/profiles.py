"""ICC profiles: pixels from the colours of one to those of another."""

import functools
import io
import struct

import numpy as np
from PIL import Image, ImageCms


def _made(space):
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    icc[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)  # the date, else no two runs would write the same bytes
    return bytes(icc)


SRGB, LAB = _made("sRGB"), _made("LAB")


def open_profile(icc):
    """The profile for Pillow's ImageCms. Raises OSError or ImageCms.PyCMSError if it is invalid."""
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


@functools.lru_cache(maxsize=16)
def _transform(source, target, mode):
    """From pixels of a Pillow mode to RGB. Threads may share it."""
    return ImageCms.buildTransform(open_profile(source), open_profile(target), mode, "RGB")


def rgb_image(image, source, target=SRGB):
    """Convert a Pillow image of any mode from the profile `source` to an RGB image. Raises as `open_profile`."""
    return ImageCms.applyTransform(image, _transform(source, target, image.mode))


def convert(pixels, source, target):
    """Convert pixels from one profile to another. Gray stays gray.

    8-bit colour goes through LittleCMS, which is fast; Pillow's binding has no 16-bit colour, which is computed here.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.
        source, target: bytes of ICC profiles, gray or RGB.

    Raises:
        Exception: of any type, for a profile that is invalid or not a matrix profile.
    """
    if all(icc[16:20] == b"RGB " and _is_srgb(icc) for icc in (source, target)):
        return pixels
    top = np.iinfo(pixels.dtype).max
    grid = np.linspace(0, 1, top + 1)
    if pixels.ndim == 2:  # in every RGB profile that works in practice the three curves are one
        light = _curve(source, "kTRC" if source[16:20] == b"GRAY" else "rTRC")(grid)
        return np.rint(top * _inverse(_curve(target, "rTRC"))(light)).astype(pixels.dtype)[pixels]
    if pixels.dtype == np.uint8:
        return np.asarray(rgb_image(Image.fromarray(pixels), source, target))
    light = np.stack([_curve(source, f"{c}TRC")(grid)[pixels[..., i]] for i, c in enumerate("rgb")], -1)
    light = np.clip(light @ (np.linalg.inv(_primaries(target)) @ _primaries(source)).T, 0, 1)
    codes = [_inverse(_curve(target, f"{c}TRC"))(light[..., i]) for i, c in enumerate("rgb")]
    return np.rint(top * np.stack(codes, -1)).astype(pixels.dtype)


@functools.lru_cache(maxsize=64)
def _is_srgb(icc):
    """Whether the RGB profile is sRGB, to one level in 8 bits."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    converted = np.asarray(rgb_image(Image.fromarray(colours), icc))
    return np.abs(converted.astype(int) - colours).max() <= 1


def _tag(icc, name):
    """The data of one tag of an ICC profile; KeyError where it has none."""
    for i in range(struct.unpack_from(">I", icc, 128)[0]):
        signature, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * i)
        if signature == name.encode():
            return icc[offset : offset + size]
    raise KeyError(name)


def _primaries(icc):
    """(3, 3): linear RGB -> XYZ under D50."""
    return np.array([struct.unpack_from(">3i", _tag(icc, f"{c}XYZ"), 8) for c in "rgb"]).T / 65536


def _curve(icc, name):
    """The tone curve of a profile, code 0..1 -> light 0..1 (ICC.1:2022, 10.6 and 10.18)."""
    data = _tag(icc, name)
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        table = np.frombuffer(data, ">u2", count, 12)
        if count > 1:
            return lambda x: np.interp(x, np.linspace(0, 1, count), table / 65535)
        gamma = table[0] / 256 if count else 1.0
        return lambda x: x**gamma
    if data[:4] != b"para":
        raise ValueError(f"unknown kind of tone curve {data[:4]}")
    kind = struct.unpack_from(">H", data, 8)[0]
    g, *rest = np.frombuffer(data, ">i4", (1, 3, 4, 5, 7)[kind], 12) / 65536
    a, b, c, d, e, f = {  # light = (a x + b)^g + e from d on, c x + f below
        0: lambda: (1, 0, 0, 0, 0, 0),
        1: lambda a, b: (a, b, 0, -b / a, 0, 0),
        2: lambda a, b, c: (a, b, 0, -b / a, c, c),
        3: lambda a, b, c, d: (a, b, c, d, 0, 0),
        4: lambda a, b, c, d, e, f: (a, b, c, d, e, f),
    }[kind](*rest)
    return lambda x: np.clip(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f), 0, 1)


def _inverse(curve):
    grid = np.linspace(0, 1, 65536)
    return functools.partial(np.interp, xp=curve(grid), fp=grid)
