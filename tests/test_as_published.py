"""--as-published against the authors' steps, written afresh with Keras and scikit-image."""

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import color, data, feature

import test as script
from data import preprocess
from data.batches import Batches, Order
from inference.options import parse
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

PHOTOGRAPHS = {name: getattr(data, name)() for name in ("coffee", "chelsea", "rocket")}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An untrained network with strong colours that differ from place to place: (path, network)."""
    path = tmp_path_factory.mktemp("network") / "network.keras"
    keras.utils.set_random_seed(1)
    arguments = {"width": 1 / 16}
    weights = aciids2020.build(**arguments).get_weights()
    weights[-2:] = 20 * weights[-2], np.array([0.1, 0.2], np.float32)
    model_file.save(path, "aciids2020", weights, {"arguments": arguments, "size": 256})
    return path, model_file.load(path)[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name, pixels in PHOTOGRAPHS.items():
        Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=92)
    return folder


def loaded(path):
    """float64 (256, 256, 3), 0..1: how both scripts read a picture."""
    return np.float64(keras.utils.load_img(path, target_size=(256, 256))) / 255


def equal(found, expected, tolerance):
    """Whether 99.9 % of the values are within a tolerance."""
    return found.shape == expected.shape and np.mean(np.abs(found - expected) <= tolerance) >= 0.999


def published(network, path):
    """The test script: what it makes of a picture, uint8 (256, 256, 3)."""
    lightness = color.rgb2lab(color.gray2rgb(color.rgb2gray(loaded(path))))[..., 0]
    inputs = dict.fromkeys(("lightness", "global_lightness"), lightness)
    inputs |= {"edges": feature.canny(lightness)}
    inputs = {name: np.float32(x)[None, ..., None] for name, x in inputs.items()}
    ab = keras.ops.convert_to_numpy(network(inputs))[0]
    rgb = color.lab2rgb(np.dstack([lightness, ab.astype(np.float64)]))
    return np.rint(255 * rgb).astype(np.uint8)


def test_training_sees_what_theirs_saw(files):
    paths = sorted(files.iterdir())
    (batch,) = Batches(paths, 256, len(paths), Order(0, 0, short_batch=True), nearest=True)[0]
    inputs = aciids2020.build(width=1 / 16).input
    given = preprocess.training_inputs(batch, inputs)
    given = {name: keras.ops.convert_to_numpy(x) for name, x in given.items()}
    targets = keras.ops.convert_to_numpy(preprocess.target(batch, 1.8))
    found = {rgb.tobytes(): i for i, rgb in enumerate(batch)}
    for path in paths:
        rgb = loaded(path)
        i = found[np.rint(255 * rgb).astype(np.uint8).tobytes()]
        lightness = color.rgb2lab(rgb)[..., 0]
        hsv = color.rgb2hsv(rgb)
        hsv[..., 1] *= 1.8
        assert equal(given["lightness"][i, ..., 0], lightness, 100 / 255)
        assert equal(given["edges"][i, ..., 0], feature.canny(lightness), 0)
        assert equal(targets[i], color.rgb2lab(color.hsv2rgb(hsv))[..., 1:], 128 / 255)


def test_colorizing_is_theirs(files, network, tmp_path):
    path, model = network
    options = ["--as-published", "--format", "png", "--model", str(path)]
    assert script.main([str(files), str(tmp_path), *options]) == 0
    for source in files.iterdir():
        with Image.open(tmp_path / f"{source.stem}.png") as image:
            result, expected = np.asarray(image).astype(int), published(model, source)
        assert equal(result, expected, 1)
        assert np.ptp(result, axis=-1).mean() > 10  # it has colours


def test_it_goes_with_no_step_of_ours(files, tmp_path, capsys):
    for option in (["--size", "128"], ["--saturation", "2"], ["--old"], ["--gamut", "clip"]):
        with pytest.raises(SystemExit) as end:
            parse([str(files), str(tmp_path / "out"), "--as-published", *option])
        assert end.value.code == 2 and f"does not go with {option[0]}" in capsys.readouterr().err
