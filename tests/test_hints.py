"""Hints: colours stay within the edges of L, add up, and fall to nothing far away."""

import numpy as np
import pytest

from inference.hints import spread


def halves(step, height=60, width=90):
    """L of two even halves that differ by `step`."""
    lightness = np.full((height, width), 40, np.float32)
    lightness[:, width // 2 :] += step
    return lightness


@pytest.mark.parametrize(("step", "noise"), [(8, 0), (12, 1), (20, 0), (20, 1), (50, 1)])
def test_a_hint_stays_within_its_edges(step, noise):
    lightness = halves(step) + noise * np.random.default_rng(0).normal(size=(60, 90))
    found = spread(lightness.astype(np.float32), [(30, 20, 3, (60, -40))])
    assert found.shape == (60, 90, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[30, 20], (60, -40), atol=2)
    assert np.abs(found[:, :42]).mean(axis=(0, 1)) == pytest.approx((45, 30), abs=15)
    assert np.abs(found[:, 48:]).max() < 5


def test_hints_add_up_and_may_lie_anywhere():
    lightness = np.random.default_rng(1).normal(50, 10, (40, 30)).astype(np.float32)
    hints = [(0, 0, 0, (10, 0)), (39, 29, 4, (0, 20)), (20, 10, 2, (0, 0))]
    together = spread(lightness, hints)
    parts = [
        [(y, x, r, ab if i == j else (0, 0)) for j, (y, x, r, ab) in enumerate(hints)]
        for i in range(len(hints))
    ]
    np.testing.assert_allclose(together, sum(spread(lightness, part) for part in parts), atol=1e-4)
    assert np.abs(together[20, 10]).max() < 1  # a hint that pins what is right


def test_the_orientation_of_the_picture_does_not_matter():
    lightness = halves(5)
    upright = spread(lightness.T.copy(), [(20, 30, 3, (50, 10))])
    np.testing.assert_allclose(
        spread(lightness, [(30, 20, 3, (50, 10))]), upright.transpose(1, 0, 2), atol=1e-4
    )
    mirrored = spread(lightness[:, ::-1].copy(), [(30, 69, 3, (50, 10))])
    np.testing.assert_allclose(mirrored[:, ::-1], upright.transpose(1, 0, 2), atol=0.5)
