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
    result = cv2.copyMakeBorder(picture, *widths, cv2.BORDER_CONSTANT, value=tone)
    result = result + np.random.default_rng(0).normal(0, noise, result.shape)
    return np.clip(result, 0, 255).astype(np.uint8)


def without():
    """Pictures without a border, {name: pixels}."""
    found = {name: gray(name) for name in PICTURES}
    small = {f"small {name}": cv2.resize(g, (64, 48), None, 0, 0, 3) for name, g in found.items()}
    clipped = found["astronaut"].copy()  # white above a skyline
    for column, height in enumerate((40 + 20 * np.sin(np.arange(512) / 30)).astype(int)):
        clipped[:height, column] = 255
    sky = clipped.copy()  # of nearly one tone, above a straight horizon
    sky[:200] = np.random.default_rng(0).integers(240, 246, (200, 512))
    halves = np.repeat(np.uint8([[60, 190]]), [131, 125], axis=1).repeat(256, axis=0)
    even = {str(s): np.full(s, 7, np.uint8) for s in ((1, 1), (1, 50), (7, 7), (20, 3))}
    return found | small | even | {"clipped": clipped, "sky": sky, "halves": halves}


@pytest.mark.parametrize("name, picture", without().items())
def test_a_picture_without_a_border_has_none(name, picture):
    assert find_borders(picture) == (0, 0, 0, 0)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("tone", [0, 90, 235, 255])
@pytest.mark.parametrize("share", [0.01, 0.04, 0.1])
def test_a_border_of_any_tone_and_width_is_found(share, tone, noise):
    # the lower edge of the astronaut is as dark as a noisy black border
    for name in ("chelsea", "coffee") if noise else ("chelsea", "coffee", "astronaut"):
        picture = gray(name)
        width = max(1, round(share * max(picture.shape)))
        found = find_borders(framed(picture, [width] * 4, tone, noise))
        assert all(0 <= own - width <= 2 for own in found), (name, found, width)


def test_sides_may_differ_and_16_bits_are_as_8():
    picture = framed(gray("coffee"), (12, 0, 7, 0), 255)
    assert find_borders(picture) == (13, 0, 8, 0)
    assert find_borders(picture.astype(np.uint16) * 257) == (13, 0, 8, 0)


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
