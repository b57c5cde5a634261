"""Small pictures, ICC profiles and helpers for the tests of files."""

import imagecodecs
import numpy as np
from PIL import Image, ImageCms
from skimage import data

GRAY = data.camera()[:40, :60].copy()  # uint8 (40, 60)
COLOUR = data.astronaut()[:40, :60].copy()
GRAY16 = np.random.default_rng(0).integers(0, 65536, (40, 60), np.uint16)
COLOUR16 = np.random.default_rng(1).integers(0, 65536, (40, 60, 3), np.uint16)
ALPHA = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = imagecodecs.cms_profile("adobergb")
GRAY_GAMMA = imagecodecs.cms_profile("gray", gamma=1.75)


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)
