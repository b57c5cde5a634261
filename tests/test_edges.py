"""Edge maps against scikit-image's Canny in float64."""

import numpy as np
from keras import ops
from skimage import color as reference
from skimage import data
from skimage.feature import canny

from data.edges import canny as ours
from data.preprocess import lightness_of


def expected(lightness):
    return canny(lightness, sigma=1, low_threshold=0.1, high_threshold=0.2, mode="constant")


def test_edges_of_photographs(color_photograph):
    truth = expected(reference.rgb2lab(color_photograph)[..., 0])
    found = ours(lightness_of(ops.convert_to_tensor(color_photograph[None])))
    found = ops.convert_to_numpy(found)[0]
    assert set(np.unique(found)) == {0, 1}
    assert 0.01 < truth.mean() < 0.5
    assert (found != truth).mean() <= 1e-4


def test_pictures_of_a_batch_do_not_touch_each_other():
    places = (0, 100, 200)
    batch = [reference.rgb2lab(data.astronaut()[i : i + 64, i : i + 96])[..., 0] for i in places]
    batch = np.stack([*batch, np.full((64, 96), 50)])  # the last has no edges
    found = ops.convert_to_numpy(ours(ops.convert_to_tensor(batch.astype("float32"))))
    for lightness, edges in zip(batch, found):
        assert np.array_equal(edges, expected(lightness))


def test_hysteresis_follows_a_weak_edge_through_the_whole_picture():
    """One long winding step above the low threshold, and at its start above the high one."""
    lightness = np.full((96, 96), 50.0)
    for i in range(6):
        lightness[8 + 14 * i : 15 + 14 * i, 6:90] += 0.07
        end = slice(80, 90) if i % 2 == 0 else slice(6, 16)
        lightness[15 + 14 * i : 22 + 14 * i, end] += 0.07 if i < 5 else 0
    lightness += np.random.default_rng(0).normal(0, 2e-4, lightness.shape)  # no exact ties
    lightness[8:15, 6:90] += 0.1 * np.exp(-np.arange(84) / 10)
    truth = expected(lightness)
    strong = canny(lightness, sigma=1, low_threshold=0.2, high_threshold=0.2, mode="constant")
    found = ops.convert_to_numpy(ours(ops.convert_to_tensor(lightness[None].astype("float32"))))[0]
    assert strong.sum() < 100 and truth.sum() > 900
    assert (found != truth).sum() <= 10
