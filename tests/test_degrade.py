"""Faults of old photographs and scans, put into L."""

import numpy as np
import pytest
from keras import ops
from skimage import data

from data import degrade as faults
from data.degrade import DRAWS, degrade
from data.preprocess import lightness_of, resize

SIDE = 64


def lightness(count=4):
    names = ("astronaut", "chelsea", "coffee", "rocket")
    pictures = [resize(getattr(data, names[i % 4])(), SIDE, SIDE) for i in range(count)]
    return np.stack([lightness_of(picture) for picture in pictures])[..., None]


def degraded(x, seed=0, share=1.0):
    rng = np.random.default_rng(seed)
    draws = rng.random((len(x), DRAWS), np.float32)
    return ops.convert_to_numpy(degrade(x, draws, rng.standard_normal(x.shape, np.float32), share))


def test_the_same_draws_give_the_same_faults_and_others_give_others():
    x = lightness()
    found = degraded(x)
    assert np.array_equal(found, degraded(x)) and not np.array_equal(found, degraded(x, seed=1))
    assert found.min() >= 0 and found.max() <= 100


def test_a_share_of_the_pictures_is_left_alone():
    x = lightness(400)
    clean = (degraded(x, share=0.5) == x).all(axis=(1, 2, 3)).mean()
    assert np.array_equal(degraded(x, share=0.0), x)
    assert 0.45 < clean < 0.6  # and a few in which no fault came up


def test_every_draw_is_used_and_only_of_its_own_picture():
    x, rng = lightness(1).repeat(64, axis=0), np.random.default_rng(0)
    noise = rng.standard_normal(x.shape, np.float32)
    base = rng.random((64, DRAWS), np.float32)
    plain = ops.convert_to_numpy(degrade(x, base, noise, 0.9))
    for i in range(DRAWS):
        other = base.copy()
        other[::2, i] = rng.random(32, np.float32)
        changed = (ops.convert_to_numpy(degrade(x, other, noise, 0.9)) != plain).any(axis=(1, 2, 3))
        assert changed[::2].any() and not changed[1::2].any(), i


def test_blocks_are_jpegs():
    """Against OpenCV's encoder at quality 50, whose table is the standard's."""
    import cv2

    x = lightness(1)
    found = faults._jpeg(ops.convert_to_tensor(x), ops.ones((1, 1, 1, 1)))
    found = np.clip(ops.convert_to_numpy(found)[0, ..., 0], 0, 100)
    codes = np.rint(x[0, ..., 0] * 2.55).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, 50])
    expected = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) / 2.55
    assert np.abs(found - expected).mean() < 0.5 < np.abs(x[0, ..., 0] - expected).mean()


@pytest.mark.parametrize("sigma", [0.6, 2.0])
def test_blur_keeps_an_even_picture(sigma):
    even = np.full((1, SIDE, SIDE, 1), 40, np.float32)
    assert np.allclose(faults._blurred(ops.convert_to_tensor(even), sigma), 40, atol=1e-3)
