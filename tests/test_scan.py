"""What the network is shown of scans, and that their borders, documents and tones come out as they should."""

import cv2
import numpy as np
import pytest
from skimage import data

from data.preprocess import colorize
from inference.restoration import restored
from inference.scan import join, shown
from tests.test_line_art import page

GRAY = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY)
AB = np.float32([[[40, 20], [-30, 10]], [[5, -50], [20, 60]]])


@pytest.mark.parametrize("tone", [0, 190, 255])
@pytest.mark.parametrize("share", [0.01, 0.04])
def test_a_border_is_not_shown_and_stays_neutral(tone, share):
    n = max(1, round(share * max(GRAY.shape)))
    framed = cv2.copyMakeBorder(GRAY, n, n, n, n, cv2.BORDER_CONSTANT, value=tone)
    scan = shown(framed)
    (picture,) = scan.pictures
    assert all(0 <= whole - own <= 4 for whole, own in zip(GRAY.shape, picture.shape))
    result = join(framed, scan.area, AB)
    border = np.ones(framed.shape, bool)
    border[scan.area] = False
    assert np.ptp(result[border].astype(int), axis=-1).max() <= 1
    assert np.array_equal(result[scan.area], colorize(framed[scan.area], AB))


def test_a_picture_without_faults_is_shown_as_it_is():
    scan = shown(data.astronaut())
    assert (
        len(scan.pictures) == 1
        and np.array_equal(scan.pictures[0], data.astronaut())
        and not scan.line_art
    )
    assert np.array_equal(join(GRAY, shown(GRAY).area, AB), colorize(GRAY, AB))


def test_a_document_is_known_within_its_border():
    framed = cv2.copyMakeBorder(page(0, "text"), 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=0)
    assert shown(framed).line_art


def test_the_tone_of_a_print_is_kept_where_that_is_asked():
    sepia = np.clip(np.dstack([GRAY * 1.0, GRAY * 0.85, GRAY * 0.6]), 0, 255).astype(np.uint8)
    whole = slice(0, None), slice(0, None)
    replaced, kept = (
        join(sepia, whole, 0 * AB, keep_tone=keep).astype(int) for keep in (False, True)
    )
    assert np.ptp(replaced, axis=-1).max() <= 1
    assert 20 < (kept[..., 0] - kept[..., 2]).mean() < 80


def test_restoring_stretches_faded_pictures_and_leaves_sound_ones_alone():
    sound = cv2.resize(
        cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), (256, 256), interpolation=cv2.INTER_AREA
    )
    assert np.array_equal(restored(sound), sound)
    assert np.array_equal(restored(sound.astype(np.uint16) * 257), sound)
    faded = (90 + 0.4 * sound).astype(np.uint8)
    distances = [
        np.abs(picture.astype(float) - sound).mean() for picture in (restored(faded), faded)
    ]
    assert distances[0] < 0.5 * distances[1]
