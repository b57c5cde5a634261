"""What the authors describe, written afresh: what the benchmarks measure against.

    python -m benchmarks.authors IN OUT MODEL.h5

colorizes a folder as they do. It needs tf_keras, the Keras 2 of their scripts.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import gray2rgb, hsv2rgb, lab2rgb, rgb2hsv, rgb2lab
from skimage.feature import canny


def installed():
    return importlib.util.find_spec("tf_keras") is not None


def network():
    """The paper's network in tf_keras, float32, untrained: speed does not depend on weights."""
    import tf_keras
    from tf_keras import layers

    def convolutions(x, *kinds, kernel=3, activation="relu"):
        for filters, stride in kinds:
            options = {"strides": stride, "padding": "same", "activation": activation}
            x = layers.Conv2D(filters, kernel, **options)(x)
        return x

    features = (64, 2), (128, 1), (128, 2), (256, 2), (512, 1), (256, 1)
    inputs = [layers.Input((256, 256, 1)) for _ in range(3)]
    local = convolutions(inputs[0], *features)
    scene = layers.Flatten()(convolutions(inputs[1], *features, (128, 1), (32, 1), (8, 1), (1, 1)))
    scene = layers.Dense(1000)(layers.Dense(1500)(scene))
    scene = layers.Reshape((32, 32, 1000))(layers.RepeatVector(32 * 32)(scene))
    edges = convolutions(inputs[2], (8, 2), (8, 2), (8, 2))
    x = convolutions(layers.Concatenate()([local, scene, edges]), (256, 1), kernel=1)
    x = layers.UpSampling2D()(convolutions(x, (128, 1)))
    x = layers.UpSampling2D()(convolutions(x, (64, 1)))
    x = convolutions(convolutions(x, (32, 1), (16, 1)), (2, 1), activation="tanh")
    return tf_keras.Model(inputs, layers.UpSampling2D()(x))


def training_pair(path, saturation=1.8):
    """Of one file: L, edges and the target ab / 128, each (256, 256, channels), float64."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    lightness = rgb2lab(rgb)[..., 0]
    hsv = rgb2hsv(rgb)
    hsv[..., 1] *= saturation
    return (
        lightness[..., None],
        canny(lightness)[..., None].astype(float),
        rgb2lab(hsv2rgb(hsv))[..., 1:] / 128,
    )


def colorize_folder(source, out, model):
    """All pictures into one array, one `predict`, all results to JPEG files."""
    paths = sorted(source.iterdir())
    lightness = np.zeros((len(paths), 256, 256, 1))
    edges = np.zeros_like(lightness)
    for i, path in enumerate(paths):
        gray = np.asarray(Image.open(path).convert("L").resize((256, 256)))
        lightness[i, ..., 0] = rgb2lab(gray2rgb(gray))[..., 0]
        edges[i, ..., 0] = canny(lightness[i, ..., 0])
    ab = 128 * model.predict([lightness, lightness, edges], verbose=0)
    out.mkdir(parents=True, exist_ok=True)
    for path, x, y in zip(paths, lightness, ab):
        rgb = lab2rgb(np.concatenate([x, y], axis=-1))
        Image.fromarray((255 * rgb).astype(np.uint8)).save((out / path.name).with_suffix(".jpg"))


if __name__ == "__main__":
    import tf_keras

    colorize_folder(
        Path(sys.argv[1]), Path(sys.argv[2]), tf_keras.models.load_model(sys.argv[3], compile=False)
    )
