"""The colour mathematics against scikit-image in float64, and against itself by round trip."""

import numpy as np
import pytest
from keras import ops
from skimage import color as reference

from data import color

FACTORS = (1, 1.4, 1.6, 1.8, 2)
RANDOM = np.random.default_rng(0).integers(0, 256, (100_000, 3)).astype("float32") / 255


def boosted_reference(srgb, factor, clip):
    """The way of the authors' scripts: through HSV."""
    hsv = reference.rgb2hsv(srgb.astype("float64"))
    hsv[..., 1] *= factor
    if clip:
        hsv[..., 1] = np.minimum(hsv[..., 1], 1)
    return reference.rgb2lab(reference.hsv2rgb(hsv))


@pytest.mark.parametrize("clip", [False, True])
def test_boosted_lab_of_random_colors(clip):
    for factor in FACTORS:
        expected = boosted_reference(RANDOM, factor, clip)
        for library in (np.asarray, ops.convert_to_tensor):
            found = color.lab_from_srgb(color.boost_saturation(library(RANDOM), factor, clip))
            assert np.abs(ops.convert_to_numpy(found) - expected).max() < 2e-3


def test_boosted_lab_of_photographs(color_photograph):
    photograph = color_photograph.astype("float32") / 255
    for factor in FACTORS:
        found = color.lab_from_srgb(color.boost_saturation(photograph, factor))
        assert np.abs(found - boosted_reference(photograph, factor, False)).max() < 2e-3


def test_round_trips():
    lab = color.lab_from_srgb(RANDOM)
    assert lab.dtype == np.float32
    linear = color.linear_from_lab(*np.moveaxis(lab, -1, 0)[..., None])[:, 0]
    assert linear.dtype == np.float32
    assert np.abs(color.srgb_from_linear(linear) - RANDOM).max() < 1e-4
    assert np.abs(color.srgb_from_linear(color.linear_from_srgb(RANDOM)) - RANDOM).max() < 1e-5
    assert np.abs(color.lightness_from_srgb(RANDOM) - lab[:, 0]).max() < 1e-4
    gray = np.linspace(0, 1, 256, dtype="float32")
    expected = reference.rgb2lab(np.repeat(gray[:, None], 3, axis=1).astype("float64"))[:, 0]
    assert np.abs(color.lightness_from_gray(gray) - expected).max() < 1e-3


def test_codes_are_those_of_the_curve():
    srgb = RANDOM[:, None]
    linear = color.linear_from_srgb(srgb)
    assert np.array_equal(color.codes_from_linear(linear, np.dtype("uint8")), np.rint(255 * srgb))
    deep = color.codes_from_linear(linear, np.dtype("uint16"))
    assert deep.dtype == np.uint16 and np.abs(deep - 65535 * srgb).max() <= 1
    ramp = np.linspace(-0.2, 1.2, 30_000, dtype="float32").reshape(100, 100, 3)
    exact = 255 * np.clip(color.srgb_from_linear(ramp), 0, 1)
    codes = color.codes_from_linear(ramp, np.dtype("uint8"))
    assert np.abs(codes - exact).max() < 0.56  # rounding and the table's step


def test_fit_gamut_keeps_lightness_and_hue_and_as_much_chroma_as_fits():
    rng = np.random.default_rng(1)
    lightness = rng.uniform(1, 99, (100, 200)).astype("float32")
    a, b = rng.uniform(-120, 120, (2, 100, 200)).astype("float32")
    fitted = color.fit_gamut(lightness, a, b)
    linear = color.linear_from_lab(lightness, *fitted)
    assert linear.min() > -0.004 and linear.max() < 1.004
    left = color.lightness_from_srgb(color.srgb_from_linear(np.clip(linear, 0, 1)))
    assert np.abs(left - lightness).max() < 0.05
    assert np.abs(fitted[0] * b - fitted[1] * a).max() < 0.01  # 0 where the hue is the same
    share = np.hypot(*fitted) / np.hypot(a, b)
    free = color.linear_from_lab(lightness, a, b)
    inside = ((free > 0.001) & (free < 0.999)).all(-1)
    assert 0.05 < inside.mean() < 0.9 and share[inside].min() > 0.99 and share.max() <= 1
    outside = ((free < -0.001) | (free > 1.001)).any(-1)
    more = color.linear_from_lab(lightness, *(x * 1.02 + 0.2 * np.sign(x) for x in fitted))
    assert ((more < 0) | (more > 1)).any(-1)[outside].mean() > 0.99  # a little more would not fit
