"""Small pictures, ICC profiles and helpers for the tests of files."""

import struct

import numpy as np
from PIL import Image, ImageCms
from skimage import data

GRAY = data.camera()[:40, :60].copy()  # uint8 (40, 60)
COLOUR = data.astronaut()[:40, :60].copy()
GRAY16 = np.random.default_rng(0).integers(0, 65536, (40, 60), np.uint16)
COLOUR16 = np.random.default_rng(1).integers(0, 65536, (40, 60, 3), np.uint16)
ALPHA = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
D50 = (0.9642, 1.0, 0.8249)


def profile(space, gamma, primaries=()):
    """A small ICC profile: one tone curve, and colorants under D50 (rows of XYZ) for an RGB one."""
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    tags = (
        {b"kTRC": curve}
        if space == b"GRAY"
        else {channel + b"TRC": curve for channel in (b"r", b"g", b"b")}
    )
    for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries):
        tags[name] = struct.pack(">4s4x3i", b"XYZ ", *(round(65536 * value) for value in xyz))
    return assemble(b"mntr", space, b"XYZ ", tags)


def assemble(kind, space, connection, tags):
    """An ICC profile of version 2.1 from its tags, {signature: data}."""
    white = struct.pack(">3i", *(round(65536 * value) for value in D50))
    tags |= {b"wtpt": b"XYZ " + bytes(4) + white}
    tags |= {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)}
    table, body = b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4x4s4s4s4s12x4s", size, b"\2\x10\0\0", kind, space, connection, b"acsp")
    head = head.ljust(68, b"\0") + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ADOBE = profile(
    b"RGB ",
    2.2,
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
)
GRAY_GAMMA = profile(b"GRAY", 1.75)


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)
