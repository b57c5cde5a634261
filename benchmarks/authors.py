"""The authors' way, written afresh from their description: what the benchmarks measure against.

python -m benchmarks.authors IN OUT MODEL: all pictures in one array, one `predict`, then all files.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import gray2rgb, hsv2rgb, lab2rgb, rgb2hsv, rgb2lab
from skimage.feature import canny


def training_pair(path, saturation=1.8):
    """Of one file: L, edges and the target ab / 128, each (256, 256, channels), float64."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    lightness, hsv = rgb2lab(rgb)[..., 0], rgb2hsv(rgb)
    hsv[..., 1] *= saturation
    edges = canny(lightness).astype(float)
    return lightness[..., None], edges[..., None], rgb2lab(hsv2rgb(hsv))[..., 1:] / 128


def colorize_folder(source, out, model):
    """By a Keras model with the inputs of the paper's."""
    paths = sorted(source.iterdir())
    lightness = np.zeros((len(paths), 256, 256, 1))
    edges = np.zeros_like(lightness)
    for i, path in enumerate(paths):
        gray = np.asarray(Image.open(path).convert("L").resize((256, 256)))
        lightness[i, ..., 0] = rgb2lab(gray2rgb(gray))[..., 0]
        edges[i, ..., 0] = canny(lightness[i, ..., 0])
    inputs = {"lightness": lightness, "global_lightness": lightness, "edges": edges}
    ab = model.predict({name: inputs[name] for name in model.input}, verbose=0)
    out.mkdir(parents=True, exist_ok=True)
    for path, x, y in zip(paths, lightness, ab):
        rgb = lab2rgb(np.concatenate([x, y], axis=-1))
        Image.fromarray((255 * rgb).astype(np.uint8)).save((out / path.name).with_suffix(".jpg"))


if __name__ == "__main__":
    from models import file as model_file

    colorize_folder(Path(sys.argv[1]), Path(sys.argv[2]), model_file.load(sys.argv[3])[0])
