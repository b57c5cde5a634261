"""Faults of old photographs and scans, put into L."""

import cv2
import numpy as np
from keras import ops
from skimage import data

from data import degrade as faults
from data.degrade import DRAWS, degrade
from data.preprocess import lightness_of, resize

SIDE = 64


def lightness(count):
    names = ("astronaut", "chelsea", "coffee", "rocket")
    pictures = [resize(getattr(data, name)(), SIDE, SIDE) for name in names]
    return np.stack([lightness_of(pictures[i % 4]) for i in range(count)])[..., None]


def degraded(x, share):
    rng = np.random.default_rng(0)
    draws = rng.random((len(x), DRAWS), np.float32)
    return ops.convert_to_numpy(degrade(x, draws, rng.standard_normal(x.shape, np.float32), share))


def test_a_share_of_the_pictures_is_left_alone():
    x = lightness(400)
    found = degraded(x, share=0.5)
    assert 0.45 < (found == x).all(axis=(1, 2, 3)).mean() < 0.6  # a few in which no fault came up
    assert np.array_equal(degraded(x, share=0.0), x)
    assert found.min() >= 0 and found.max() <= 100


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
    x = lightness(1)
    found = faults._jpeg(ops.convert_to_tensor(x), ops.ones((1, 1, 1, 1)))
    found = np.clip(ops.convert_to_numpy(found)[0, ..., 0], 0, 100)
    codes = np.rint(x[0, ..., 0] * 2.55).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, 50])
    expected = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) / 2.55
    assert np.abs(found - expected).mean() < 0.5 < np.abs(x[0, ..., 0] - expected).mean()


def test_blur_keeps_an_even_picture():
    even = np.full((1, SIDE, SIDE, 1), 40, np.float32)
    assert np.allclose(faults._blurred(ops.convert_to_tensor(even), 2.0), 40, atol=1e-3)
