"""The recipe: what the network sees, what it is compared with, and what comes out."""

import cv2
import numpy as np
import pytest
from keras import ops
from skimage import color as reference
from skimage import data
from skimage.feature import canny

from data.preprocess import colorize, enlarge, fit, lightness_of, network_inputs, target, training_inputs, unit

PHOTOGRAPH = data.astronaut()[:256, :256]


def test_lightness_of_a_gray_file_and_of_a_color_picture():
    red = np.array([[[255, 0, 0]]], np.uint8)
    luma = cv2.cvtColor(red, cv2.COLOR_RGB2GRAY)
    assert lightness_of(red)[0, 0] == pytest.approx(53.2, abs=0.05)
    assert lightness_of(luma)[0, 0] == pytest.approx(32.3, abs=0.1)
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.abs(lightness_of(gray) - lightness_of(np.stack([gray] * 3, axis=-1))).max() < 1e-4
    assert np.abs(lightness_of(gray) - lightness_of(gray.astype(np.uint16) * 257)).max() < 1e-4


def test_training_and_colorizing_give_the_network_the_same_input():
    """The path of train.py, uint8 colour on the device, and that of test.py, L from NumPy."""
    trained = training_inputs(PHOTOGRAPH[None], ("lightness", "whole", "edges"))
    tested = network_inputs(lightness_of(PHOTOGRAPH)[None, ..., None])
    for name in ("lightness", "whole", "edges"):
        a, b = (ops.convert_to_numpy(x[name]) for x in (trained, tested))
        assert a.shape == b.shape == (1, 256, 256, 1)
        assert np.abs(a - b).max() < 1e-3 if name != "edges" else (a != b).mean() < 1e-4
    lightness = reference.rgb2lab(PHOTOGRAPH)[..., 0]
    assert np.abs(ops.convert_to_numpy(trained["lightness"])[0, ..., 0] - lightness).max() < 2e-3
    assert (ops.convert_to_numpy(trained["edges"])[0, ..., 0] != canny(lightness, mode="constant")).mean() < 1e-4


@pytest.mark.parametrize("factor, clip", [(1.0, False), (1.8, False), (1.8, True)])
def test_target_is_the_way_through_hsv(factor, clip):
    hsv = reference.rgb2hsv(PHOTOGRAPH)
    hsv[..., 1] = np.minimum(hsv[..., 1] * factor, 1) if clip else hsv[..., 1] * factor
    expected = reference.rgb2lab(reference.hsv2rgb(hsv))[..., 1:]
    found = ops.convert_to_numpy(target(PHOTOGRAPH[None], factor, clip))[0]
    assert np.abs(found - expected).max() < 2e-3


def test_lightness_and_true_ab_give_the_photograph_back():
    lab = reference.rgb2lab(PHOTOGRAPH).astype("float32")
    found = np.rint(255 * colorize(lightness_of(PHOTOGRAPH), lab[..., 1:]))
    assert np.abs(found - PHOTOGRAPH).max() <= 1


@pytest.mark.parametrize("saturation", [0.0, 1.0, 4.0])
def test_lightness_survives_any_chroma(saturation):
    lightness = lightness_of(PHOTOGRAPH)
    ab = 60 * np.random.default_rng(0).standard_normal((256, 256, 2)).astype("float32")
    rgb = np.rint(255 * colorize(lightness, ab, saturation)).astype(np.uint8)
    assert np.abs(reference.rgb2lab(rgb)[..., 0] - lightness).max() < 1
    if saturation:
        clipped = np.rint(255 * colorize(lightness, ab, saturation, gamut="clip")).astype(np.uint8)
        assert np.abs(reference.rgb2lab(clipped)[..., 0] - lightness).max() > 5
    else:
        assert np.ptp(rgb, axis=-1).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_fit(dtype):
    picture = (unit(data.coffee()) * {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]).astype(dtype)
    for shape in ((400, 600), (256, 256), (100, 700), (800, 100)):
        out = fit(picture, *shape)
        assert out.shape == (*shape, 3) and out.dtype == dtype
        assert unit(out).mean() == pytest.approx(unit(picture).mean(), rel=0.01)
    checker = np.indices((64, 64)).sum(0) % 2 * 200
    assert np.array_equal(np.unique(fit(checker.astype(np.uint8), 16, 16)), [100])  # averaged, nothing aliases


def test_enlarged_chroma_is_smooth_and_a_guide_brings_back_its_edges():
    lightness = np.where(np.arange(256) < 130, 20, 80).astype("float32") * np.ones((256, 1), "float32")
    truth = np.stack([np.where(lightness < 50, -30, 40), np.where(lightness < 50, 50, -20)], axis=-1).astype("float32")
    small = cv2.resize(truth, (32, 32), interpolation=cv2.INTER_AREA)
    smooth, guided = enlarge(small, 256, 256), enlarge(small, 256, 256, guide=lightness)
    assert smooth.shape == guided.shape == truth.shape and smooth.dtype == guided.dtype == np.float32
    assert np.abs(np.diff(smooth[..., 0], axis=1)).max() < 12 < 60 < np.abs(np.diff(guided[..., 0], axis=1)).max()
    assert np.abs(guided - truth).mean() < 0.3 * np.abs(smooth - truth).mean()
    flat = np.full((32, 32, 2), (12, -7), "float32")
    for out in (enlarge(flat, 100, 70), enlarge(flat, 100, 70, guide=lightness[:100, 100:170])):
        assert np.allclose(out, (12, -7), atol=1e-3)
