"""The pictures that the benchmarks run on, all made from the photographs that scikit-image carries."""

import numpy as np
from PIL import Image
from skimage import data

SOURCES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "hubble_deep_field",
    "retina",
    "immunohistochemistry",
)


def crops(count, side, seed=0):
    """uint8 (side, side, 3), cut out of the photographs at random places."""
    rng = np.random.default_rng(seed)
    photographs = [getattr(data, name)() for name in SOURCES]
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        top, left = (rng.integers(0, n - side + 1) for n in photograph.shape[:2])
        yield photograph[top : top + side, left : left + side]


def write_small(folder, count, gray=False):
    """JPEG files of 256 x 256 pixels, as Places2 has them (quality 90). Returns their paths."""
    folder.mkdir(parents=True)
    paths = []
    for i, pixels in enumerate(crops(count, 256)):
        paths.append(folder / f"{i:05d}.jpg")
        Image.fromarray(pixels).convert("L" if gray else "RGB").save(paths[-1], quality=90)
    return paths


def write_large(folder, count):
    """Gray JPEG files of 12 megapixels: mosaics of crops, whose detail is that of photographs. Returns their paths."""
    folder.mkdir(parents=True)
    paths = []
    for i in range(count):
        tiles = list(crops(12 * 16, 250, seed=i))
        mosaic = np.vstack([np.hstack(tiles[row * 16 : row * 16 + 16]) for row in range(12)])
        paths.append(folder / f"{i:05d}.jpg")
        Image.fromarray(mosaic).convert("L").save(paths[-1], quality=95)  # 4000 x 3000
    return paths
