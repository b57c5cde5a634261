"""Photographs that scikit-image carries, to try everything on without any other data: `python -m data.demo OUT`."""

import sys
from pathlib import Path

from PIL import Image
from skimage import data


def photographs():
    """name -> uint8 (H, W, 3)."""
    return {
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "motorcycle": data.stereo_motorcycle()[0],
        "rocket": data.rocket(),
    }


def write(folder, pictures):
    """Write pictures, name -> uint8 (H, W) or (H, W, 3), as PNG files into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m data.demo OUT")
    write(
        Path(sys.argv[1]), photographs() | {"camera": data.camera()}
    )  # the last has been gray ever since
