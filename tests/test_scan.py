"""What the network sees of scans, and where the colours go."""

import cv2
import numpy as np
import pytest
from skimage import data

from data.preprocess import colorize
from inference.scan import join, network_view, restored
from tests.test_line_art import page

GRAY = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY)
AB = np.float32([[[40, 20], [-30, 10]], [[5, -50], [20, 60]]])


@pytest.mark.parametrize("tone", [0, 190, 255])
@pytest.mark.parametrize("share", [0.01, 0.04])
def test_a_border_is_not_seen_and_stays_neutral(tone, share):
    n = max(1, round(share * max(GRAY.shape)))
    framed = cv2.copyMakeBorder(GRAY, n, n, n, n, cv2.BORDER_CONSTANT, value=tone)
    view = network_view(framed)
    (picture,) = view.pictures
    assert all(0 <= full - own <= 4 for full, own in zip(GRAY.shape, picture.shape))
    result = join(framed, view.area, AB)
    border = np.ones(framed.shape, bool)
    border[view.area] = False
    assert np.ptp(result[border].astype(int), axis=-1).max() <= 1
    assert np.array_equal(result[view.area], colorize(framed[view.area], AB))


def test_a_picture_without_faults_is_seen_as_it_is():
    view = network_view(data.astronaut())
    assert np.array_equal(view.pictures, [data.astronaut()]) and not view.line_art
    assert np.array_equal(join(GRAY, network_view(GRAY).area, AB), colorize(GRAY, AB))


def test_a_document_is_known_within_its_border():
    framed = cv2.copyMakeBorder(page(0, "text"), 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=0)
    assert network_view(framed).line_art


def test_faded_tones_are_stretched_and_others_kept():
    gray = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    good = cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.array_equal(restored(good), good)
    assert np.array_equal(restored(good.astype(np.uint16) * 257), good)
    faded = (90 + 0.4 * good).astype(np.uint8)
    near, far = (np.abs(one.astype(float) - good).mean() for one in (restored(faded), faded))
    assert near < 0.5 * far
