"""What the authors describe, written afresh: the input path of their training and their way through a folder.

python -m benchmarks.authors IN OUT MODEL    colorize a folder as they do
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import gray2rgb, hsv2rgb, lab2rgb, rgb2hsv, rgb2lab
from skimage.feature import canny

from inference import model_file


def training_pair(path, saturation=1.8):
    """Of one file: L, edges and the target ab / 128, each (256, 256, channels), float64."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    lightness = rgb2lab(rgb)[..., 0]
    hsv = rgb2hsv(rgb)
    hsv[..., 1] *= saturation
    return lightness[..., None], canny(lightness)[..., None].astype(float), rgb2lab(hsv2rgb(hsv))[..., 1:] / 128


def colorize_folder(source, out, network):
    """All pictures into one array, one `predict`, all results to files."""
    paths = sorted(source.iterdir())
    lightness = np.zeros((len(paths), 256, 256, 1))
    edges = np.zeros_like(lightness)
    for i, path in enumerate(paths):
        gray = np.asarray(Image.open(path).convert("L").resize((256, 256)))
        lightness[i, ..., 0] = rgb2lab(gray2rgb(gray))[..., 0]
        edges[i, ..., 0] = canny(lightness[i, ..., 0])
    ab = network.predict({"lightness": lightness, "whole": lightness, "edges": edges}, verbose=0)
    out.mkdir(parents=True, exist_ok=True)
    for path, x, y in zip(paths, lightness, ab):
        rgb = lab2rgb(np.concatenate([x, y], axis=-1))
        Image.fromarray((255 * rgb).astype(np.uint8)).save((out / path.name).with_suffix(".png"))


if __name__ == "__main__":
    from utils import import_keras_quietly

    import_keras_quietly()

    colorize_folder(Path(sys.argv[1]), Path(sys.argv[2]), model_file.load(sys.argv[3])[0])
