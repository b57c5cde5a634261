"""ICC profiles: pixels from the colours of one to those of another."""

import functools
import io
import struct

import numpy as np
from PIL import Image, ImageCms


def _made(space):
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    icc[24:36] = struct.pack(
        ">6H", 2020, 1, 1, 0, 0, 0
    )  # the date, else no two runs would write the same bytes
    return bytes(icc)


SRGB, LAB = _made("sRGB"), _made("LAB")


def open_profile(icc):
    """The profile for Pillow's ImageCms. Raises OSError or ImageCms.PyCMSError if it is invalid."""
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


_D65 = (0.3127, 0.329)
_PRIMARIES = {  # x, y of red, green and blue, by their numbers in ITU-T H.273
    1: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # sRGB
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # Rec. 2020
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_CURVES = {4: (2.2,), 5: (2.8,), 8: (1.0,), 13: _SRGB_CURVE}  # H.273
_CURVES |= dict.fromkeys(
    (1, 6, 14, 15), (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
)  # Rec. 709


def of_png(gamma=None, chromaticities=None, cicp=None):
    """The ICC profile of the colours that a PNG without one describes (PNG, third edition, 4.3).

    Args:
        gamma: of gAMA, 1/2.2 as a rule; light = code^(1/gamma).
        chromaticities: x, y of white, red, green and blue, of cHRM.
        cicp: (primaries, transfer function, ...), of cICP, which goes before the others.

    Returns:
        bytes; empty for sRGB.

    Raises:
        ValueError: cICP has primaries or a transfer function that are not supported, such as PQ and HLG, or is not in
            full range.
    """
    white, primaries, curve = _D65, _PRIMARIES[1], _SRGB_CURVE
    if cicp:
        if cicp[0] not in _PRIMARIES or cicp[1] not in _CURVES:
            raise ValueError(f"primaries {cicp[0]} with transfer function {cicp[1]}")
        if tuple(cicp[2:]) != (0, 1):
            raise ValueError("not RGB in full range")
        primaries, curve = _PRIMARIES[cicp[0]], _CURVES[cicp[1]]
    else:
        if (
            chromaticities
            and np.abs(np.subtract(chromaticities, (*white, *primaries))).max() > 0.002
        ):
            white, primaries = chromaticities[:2], chromaticities[2:]
        if gamma and abs(gamma * 2.2 - 1) > 0.02:
            curve = (1 / gamma,)
    if (white, primaries, curve) == (_D65, _PRIMARIES[1], _SRGB_CURVE):
        return b""
    return _matrix_profile(white, primaries, curve)


_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1, 0.8249])


def _matrix_profile(white, primaries, curve):
    """An ICC profile from x, y of white and of the primaries, and the parameters of a tone curve (ICC.1:2022, 10.18)."""

    def xyz(x, y):
        return np.array([x / y, 1, (1 - x - y) / y])

    columns = np.stack([xyz(*primaries[i : i + 2]) for i in (0, 2, 4)], axis=-1)
    columns = columns * np.linalg.solve(columns, xyz(*white))
    cones = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ xyz(*white)))
    columns = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ columns

    def fixed(*values):
        return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))

    kind = 0 if len(curve) == 1 else 3
    tone = b"para" + struct.pack(">4xHH", kind, 0) + fixed(*curve)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*_D50)}
    tags |= {b"desc": b"desc" + struct.pack(">4xI", 4) + b"PNG\0" + bytes(79)}
    for i, channel in enumerate((b"r", b"g", b"b")):
        tags |= {
            channel + b"XYZ": b"XYZ " + bytes(4) + fixed(*columns[:, i]),
            channel + b"TRC": tone,
        }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", 128 + len(table + body), 0x04000000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    return (head.ljust(68, b"\0") + fixed(*_D50)).ljust(128, b"\0") + table + body


@functools.lru_cache(maxsize=16)
def _transform(source, target, mode):
    """From pixels of a Pillow mode to RGB. Threads may share it."""
    return ImageCms.buildTransform(open_profile(source), open_profile(target), mode, "RGB")


def rgb_image(image, source, target=SRGB):
    """Convert a Pillow image of any mode from the profile `source` to an RGB image. Raises as `open_profile`."""
    return ImageCms.applyTransform(image, _transform(source, target, image.mode))


def convert(pixels, source, target):
    """Convert pixels from one profile to another. Gray stays gray.

    8-bit colour goes through LittleCMS, which is fast; Pillow's binding has no 16-bit colour, which is computed here
    from the curves and matrix of a profile. One that has tables instead is applied in 8 bits, and what lies between two
    levels is kept as it is.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.
        source, target: bytes of ICC profiles, gray or RGB.

    Raises:
        Exception: of any type, for a profile that is invalid or cannot be a target.
    """
    if all(icc[16:20] == b"RGB " and _is_srgb(icc) for icc in (source, target)):
        return pixels
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return np.asarray(rgb_image(Image.fromarray(pixels), source, target))
    try:
        return _by_curves(pixels, source, target)
    except KeyError:  # the profile has tables instead
        return _by_tables(pixels, source, target)


def _by_tables(pixels, source, target):
    scale = np.iinfo(pixels.dtype).max // 255
    colour = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    levels = np.rint(colour / scale).astype(np.uint8)
    converted = (
        np.asarray(rgb_image(Image.fromarray(levels), source, target)).astype(np.int32) * scale
    )
    converted += colour.astype(np.int32) - levels.astype(np.int32) * scale
    converted = np.clip(converted, 0, 255 * scale).astype(pixels.dtype)
    return converted if pixels.ndim == 3 else np.ascontiguousarray(converted[..., 1])


def _by_curves(pixels, source, target):
    top = np.iinfo(pixels.dtype).max
    grid = np.linspace(0, 1, top + 1)
    if pixels.ndim == 2:  # in every RGB profile that works in practice the three curves are one
        light = _curve(source, "kTRC" if source[16:20] == b"GRAY" else "rTRC")(grid)
        return np.rint(top * _inverse(_curve(target, "rTRC"))(light)).astype(pixels.dtype)[pixels]
    light = np.stack(
        [_curve(source, f"{c}TRC")(grid)[pixels[..., i]] for i, c in enumerate("rgb")], -1
    )
    light = np.clip(light @ (np.linalg.inv(_primaries(target)) @ _primaries(source)).T, 0, 1)
    codes = [_inverse(_curve(target, f"{c}TRC"))(light[..., i]) for i, c in enumerate("rgb")]
    return np.rint(top * np.stack(codes, -1)).astype(pixels.dtype)


@functools.lru_cache(maxsize=64)
def is_target(icc):
    """Whether pixels can be converted to the RGB profile, and not only from it, as from that of a scanner."""
    try:
        _transform(SRGB, icc, "RGB")
    except ImageCms.PyCMSError:
        return False
    return True


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
