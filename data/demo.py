"""Photographs of scikit-image, to try everything on: `python -m data.demo OUT`.

Writes OUT/photographs and their gray copies, OUT/gray.
"""

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


def write(folder, pictures, mode=None):
    """Write pictures, name -> uint8 (H, W) or (H, W, 3), as PNG files of `mode`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        image = Image.fromarray(picture)
        image.convert(mode or image.mode).save(folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m data.demo OUT")
    out, pictures = Path(sys.argv[1]), photographs() | {"camera": data.camera()}  # the last is gray
    write(out / "photographs", pictures)
    write(out / "gray", pictures, "L")
