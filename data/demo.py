"""Photographs that scikit-image carries, for a trial without any other data: `python -m data.demo OUT`.

OUT/originals holds the photographs, OUT/photographs crops of them to train on. A network that is trained on five
photographs knows these five: the trial shows that the path works, not what the method can do.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

CROPS = 60  # of each photograph


def photographs():
    """name -> uint8 (H, W, 3)."""
    return {
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "motorcycle": data.stereo_motorcycle()[0],
        "rocket": data.rocket(),
    }


def write_originals(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in photographs().items():
        Image.fromarray(picture).save(folder / f"{name}.png")


def write_crops(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, picture in photographs().items():
        for i in range(CROPS):
            side = rng.integers(200, min(picture.shape[:2]) + 1)
            top, left = (rng.integers(0, n - side + 1) for n in picture.shape[:2])
            crop = Image.fromarray(picture[top : top + side, left : left + side]).resize((256, 256))
            crop.save(folder / f"{name}-{i:02d}.jpg", quality=95, subsampling=0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m data.demo OUT")
    write_originals(Path(sys.argv[1]) / "originals")
    write_crops(Path(sys.argv[1]) / "photographs")
