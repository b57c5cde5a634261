"""Plain borders are found to a pixel, and pictures without one keep all of their pixels."""

import cv2
import numpy as np
import pytest
from skimage import data

from inference.borders import find_borders

PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "camera")


def gray(name):
    picture = getattr(data, name)()
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def framed(picture, widths, tone, noise=0.0):
    result = cv2.copyMakeBorder(picture, *widths, cv2.BORDER_CONSTANT, value=tone).astype(
        np.float32
    )
    result += np.random.default_rng(0).normal(0, noise, result.shape) if noise else 0
    return np.clip(result, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_without_a_border_has_none(name):
    assert find_borders(gray(name)) == (0, 0, 0, 0)
    assert find_borders(cv2.resize(gray(name), (64, 48), interpolation=cv2.INTER_AREA)) == (
        0,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("tone", [0, 90, 235, 255])
@pytest.mark.parametrize("share", [0.01, 0.04, 0.1])
def test_a_border_of_any_tone_and_width_is_found(share, tone, noise):
    for name in ("chelsea", "coffee") + ("astronaut",) * (
        not noise
    ):  # its lower edge is as dark as a noisy black border
        picture = gray(name)
        width = max(1, round(share * max(picture.shape)))
        found = find_borders(framed(picture, [width] * 4, tone, noise))
        assert all(0 <= own - width <= 2 for own in found), (name, found, width)


def test_sides_may_differ_and_16_bits_are_as_8():
    picture = framed(gray("coffee"), (12, 0, 7, 0), 255)
    assert find_borders(picture) == (13, 0, 8, 0)
    assert find_borders(picture.astype(np.uint16) * 257) == (13, 0, 8, 0)


def test_an_even_sky_is_no_border():
    """Clipped white above a skyline; a sky of nearly one tone that ends with a straight horizon."""
    picture = gray("astronaut").copy()
    skyline = (40 + 20 * np.sin(np.arange(512) / 30)).astype(int)
    for column, height in enumerate(skyline):
        picture[:height, column] = 255
    assert find_borders(picture) == (0, 0, 0, 0)
    picture[:200] = np.random.default_rng(0).integers(240, 246, (200, 512))
    assert find_borders(picture) == (0, 0, 0, 0)


@pytest.mark.parametrize("quality", [None, 75])
@pytest.mark.parametrize("tone", [0, 16, 128, 255])
@pytest.mark.parametrize("share", [0.14, 0.16, 0.22, 0.34, 0.42])
def test_bars_of_one_exact_tone_may_be_wide(share, tone, quality):
    """Films in another frame, photographs in an upright screenshot, a print's wide foot."""
    for name in ("chelsea", "coffee", "rocket"):
        picture = gray(name)
        high, wide = (round(n * share / (1 - 2 * share)) for n in picture.shape)
        for widths in ((high, high, 0, 0), (0, 0, wide, wide), (9, high, 9, 9)):
            bars = framed(picture, widths, tone)
            if quality:
                bars = cv2.imdecode(cv2.imencode(".jpg", bars, [1, quality])[1], 0)
            differences = np.subtract(find_borders(bars), widths)
            assert (np.abs(differences) <= 9).all(), (name, widths, differences)


@pytest.mark.parametrize("frames", [((16, 245), (12, 5)), ((12, 5), (16, 245)),
                                    ((8, 5), (12, 240), (12, 10))])  # fmt: skip
def test_frames_within_frames(frames):
    for name in ("chelsea", "coffee", "astronaut"):
        picture = gray(name)
        for width, tone in frames:
            picture = framed(picture, [width] * 4, tone)
        total = sum(width for width, _ in frames)
        assert all(0 <= own - total <= 6 for own in find_borders(picture)), name


def test_two_even_halves_are_a_picture():
    picture = np.full((256, 256), 60, np.uint8)
    picture[:, 131:] = 190
    assert find_borders(picture) == (0, 0, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 7), (20, 3)])
def test_tiny_and_even_pictures(shape):
    assert find_borders(np.full(shape, 7, np.uint8)) == (0, 0, 0, 0)
