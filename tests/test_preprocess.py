"""The recipe: what the network sees, what it is compared with, and what comes out."""

import cv2
import numpy as np
import pytest
from keras import ops
from skimage import color as reference
from skimage import data
from skimage.feature import canny

from data import preprocess
from data.preprocess import (
    colorize,
    lightness_of,
    network_inputs,
    resize,
    to_float,
    training_inputs,
)
from models import aciids2020

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
    trained = training_inputs(PHOTOGRAPH[None], aciids2020.build(width=1 / 16).input)
    tested = network_inputs(lightness_of(PHOTOGRAPH)[None, ..., None])
    for name in ("lightness", "global_lightness", "edges"):
        a, b = (ops.convert_to_numpy(x[name]) for x in (trained, tested))
        assert a.shape == b.shape == (1, 256, 256, 1)
        assert np.abs(a - b).max() < 1e-3 if name != "edges" else (a != b).mean() < 1e-4
    lightness = reference.rgb2lab(PHOTOGRAPH)[..., 0]
    assert np.abs(ops.convert_to_numpy(trained["lightness"])[0, ..., 0] - lightness).max() < 2e-3
    edges = ops.convert_to_numpy(trained["edges"])[0, ..., 0]
    assert (edges != canny(lightness, mode="constant")).mean() < 1e-4


def test_lightness_and_true_ab_give_the_photograph_back():
    lab = reference.rgb2lab(PHOTOGRAPH).astype("float32")
    assert np.abs(colorize(PHOTOGRAPH, lab[..., 1:]).astype(int) - PHOTOGRAPH).max() <= 1


@pytest.mark.parametrize("saturation", [0.0, 1.0, 4.0])
def test_lightness_survives_any_chroma(saturation):
    lightness = lightness_of(PHOTOGRAPH)
    ab = 60 * np.random.default_rng(0).standard_normal((256, 256, 2)).astype("float32")
    rgb = colorize(PHOTOGRAPH, ab, saturation)
    assert np.abs(reference.rgb2lab(rgb)[..., 0] - lightness).max() < 1
    if saturation:
        clipped = colorize(PHOTOGRAPH, ab, saturation, gamut="clip")
        assert np.abs(reference.rgb2lab(clipped)[..., 0] - lightness).max() > 5
    else:
        assert np.ptp(rgb, axis=-1).max() <= 1


def test_resize():
    for dtype, peak in (("uint8", 255), ("uint16", 65535), ("float32", 1)):
        picture = (to_float(data.coffee()) * peak).astype(dtype)
        for shape in ((400, 600), (256, 256), (100, 700), (800, 100)):
            out = resize(picture, *shape)
            assert out.shape == (*shape, 3) and out.dtype == dtype
            assert to_float(out).mean() == pytest.approx(to_float(picture).mean(), rel=0.01)
    checker = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    assert (resize(checker, 16, 16) == 100).all()  # averaged, nothing aliases


@pytest.mark.parametrize("guided", [False, True])
def test_strips_join_without_a_seam(monkeypatch, guided):
    gray = data.camera()[:255, :200]
    ab = np.random.default_rng(0).normal(0, 30, (32, 32, 2)).astype("float32")
    guide = gray if guided else None
    whole = colorize(gray, ab, guide=guide)
    monkeypatch.setattr(preprocess, "STRIP_PIXELS", 500)  # two rows, and one left over
    assert whole.shape == (255, 200, 3) and np.array_equal(colorize(gray, ab, guide=guide), whole)


@pytest.mark.parametrize("height, width", [(100, 70), (32, 32), (9, 300), (1, 1)])
def test_chroma_is_enlarged_bilinearly(height, width):
    gray = np.full((height, width), 128, np.uint8)
    ab = np.random.default_rng(0).uniform(-20, 20, (32, 32, 2)).astype("float32")
    expected = cv2.resize(ab, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.abs(reference.rgb2lab(colorize(gray, ab))[..., 1:] - expected).max() < 1


def test_a_guide_brings_back_the_edges_of_the_colors():
    gray = np.where(np.arange(256) < 130, 90, 170).astype("uint8") * np.ones((256, 1), "uint8")
    truth = np.where((gray < 128)[..., None], (-30, 30), (30, -20)).astype("float32")
    small = cv2.resize(truth, (32, 32), interpolation=cv2.INTER_AREA)
    smooth, guided = (
        reference.rgb2lab(colorize(gray, small, guide=g))[..., 1:] for g in (None, gray)
    )
    steps = [np.abs(np.diff(ab[..., 0], axis=1)).max() for ab in (smooth, guided)]
    assert steps[0] < 12 < 40 < steps[1]
    assert np.abs(guided - truth).mean() < 0.3 * np.abs(smooth - truth).mean()
    flat = colorize(gray, np.full((32, 32, 2), (12, -7), "float32"), guide=gray)
    assert np.abs(reference.rgb2lab(flat)[..., 1:] - (12, -7)).max() < 1
