"""The metrics: known values, scikit-image's own, and bleeding where the answer is known."""

import cv2
import numpy as np
import pytest
from skimage import color, data

from data.preprocess import resize
from evaluation import metrics as m


@pytest.fixture(scope="module")
def pair():
    """A photograph and the same with its ab smeared, 150 x 200."""
    reference = resize(data.coffee(), 150, 200)
    ycc = cv2.cvtColor(reference, cv2.COLOR_RGB2YCrCb)
    ycc[..., 1:] = cv2.GaussianBlur(ycc[..., 1:], (0, 0), 6)
    return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), reference


def test_ab_mse():
    reference = np.zeros((4, 5, 2), np.float32)
    assert m.ab_mse(reference, reference) == 0
    mse = m.ab_mse(reference + np.float32([64, 0]), reference)
    assert mse == pytest.approx(0.125)  # (1/4 + 0) / 2


def test_psnr_and_ciede2000(pair):
    mse = np.square(pair[0].astype(float) - pair[1]).mean()
    assert m.psnr(*pair) == pytest.approx(20 * np.log10(255 / mse**0.5), abs=1e-6)
    assert m.psnr(pair[1], pair[1]) == np.inf
    lab = [color.rgb2lab(rgb) for rgb in pair]
    assert m.ciede2000(*lab) == pytest.approx(color.deltaE_ciede2000(*lab).mean(), abs=1e-6)


def test_ssim_of_one_window_is_the_formula(pair):
    x, y = (picture[:11, :11].astype(float) for picture in pair)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(taps, taps)[..., None] / taps.sum() ** 2
    mx, my = ((weights * p).sum((0, 1)) for p in (x, y))
    vx, vy = ((weights * (p - mean) ** 2).sum((0, 1)) for p, mean in ((x, mx), (y, my)))
    covariance = (weights * (x - mx) * (y - my)).sum((0, 1))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert m.ssim(pair[0][:11, :11], pair[1][:11, :11]) == pytest.approx(expected.mean(), abs=1e-6)


def test_saturation_and_colorfulness():
    """Saturation of pure red, pink at half of it, gray and black: 1, 1/2, 0 and 0."""
    colours = np.array([[[255, 0, 0], [254, 127, 127]], [[90, 90, 90], [0, 0, 0]]], np.uint8)
    assert m.saturation(colours) == pytest.approx(1.5 / 4, abs=0.002)
    halves = np.zeros((2, 4, 3), np.uint8)
    halves[0, :, 0], halves[1, :, 1] = 200, 200  # rg = +-200, yb = 100
    assert m.colorfulness(halves) == pytest.approx(200 + 0.3 * 100)
    assert m.colorfulness(np.full((5, 5, 3), 77, np.uint8)) == 0


# --- bleed

LEFT = np.arange(96)[None, :, None] < 48
LAB = np.where(LEFT, np.float32([40, 30, 20]), np.float32([75, -20, 35]))
LAB = np.tile(LAB, (64, 1, 1))  # two flat regions, the border in the middle
LIGHTNESS, AB = np.ascontiguousarray(LAB[..., 0]), np.ascontiguousarray(LAB[..., 1:])


def blurred(sigma):
    return cv2.GaussianBlur(AB, (0, 0), sigma)


def test_bleed_rises_with_the_blur_of_the_border():
    found = [m.bleed(blurred(sigma), AB, LIGHTNESS) for sigma in (1, 2, 4, 8)]
    assert m.bleed(AB, AB, LIGHTNESS) == 0
    assert (np.diff(found) > 1).all() and found[-1] > 60, found
    assert m.bleed(0.7 * blurred(4), AB, LIGHTNESS) == pytest.approx(found[2], rel=1e-3)
    for flat in (0 * AB, 0 * AB + 17.3):
        assert m.bleed(flat, blurred(8), LIGHTNESS) == m.bleed(blurred(8), flat, LIGHTNESS) == 0


def test_bleed_shifted_off_the_edge():
    """A colour that ends 8 px beside its object bleeds; one that ends at the edge does not."""
    inner = np.s_[:, 16:-16]
    assert m.bleed(np.roll(AB, 8, axis=1)[inner], AB[inner], LIGHTNESS[inner].copy()) > 95
    assert m.bleed(AB[:, ::-1].copy(), AB, LIGHTNESS) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("step, expected", [(8, 0), (10, -94)])
def test_an_edge_is_3_of_lightness_per_pixel(step, expected):
    """Smoothed and differenced, a step of 8 rises by 2.6 per px at most, of 10 by 3.2."""
    lightness = np.ascontiguousarray(np.where(AB[..., 0] > 0, 40, 40 + step).astype(np.float32))
    reference = np.repeat(AB[:, :1], AB.shape[1], axis=1)
    reference[:, :20] = AB[:, -1:]
    assert m.bleed(AB, reference, lightness) == pytest.approx(expected, abs=1)
