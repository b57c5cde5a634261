"""What the network is shown of scans, and that their borders, documents and tones come out as they should."""

import cv2
import numpy as np
import pytest
from skimage import data

from data.preprocess import colorize
from data.restoration import noise_of, restored
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
    assert len(scan.pictures) == 1 and np.array_equal(scan.pictures[0], data.astronaut()) and not scan.line_art
    assert np.array_equal(join(GRAY, shown(GRAY).area, AB), colorize(GRAY, AB))


def test_a_document_is_known_within_its_border():
    framed = cv2.copyMakeBorder(page(0, "text"), 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=0)
    assert shown(framed).line_art


def test_the_tone_of_a_print_is_kept_where_that_is_asked():
    sepia = np.clip(np.dstack([GRAY * 1.0, GRAY * 0.85, GRAY * 0.6]), 0, 255).astype(np.uint8)
    whole = slice(0, None), slice(0, None)
    replaced, kept = (join(sepia, whole, 0 * AB, keep_tone=keep).astype(int) for keep in (False, True))
    assert np.ptp(replaced, axis=-1).max() <= 1
    assert 20 < (kept[..., 0] - kept[..., 2]).mean() < 80


def test_restoring_undoes_each_fault_and_leaves_sound_pictures_alone():
    sound = cv2.resize(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY), (256, 256), interpolation=cv2.INTER_AREA)
    assert np.array_equal(restored(sound), sound)
    assert np.array_equal(restored(sound.astype(np.uint16) * 257), sound)

    def distance(picture):
        return np.abs(picture.astype(float) - sound).mean()

    noisy = np.clip(sound + np.random.default_rng(0).normal(0, 25, sound.shape), 0, 255).astype(np.uint8)
    faded = (90 + 0.4 * sound).astype(np.uint8)
    y, x = np.mgrid[:256, :256]
    dots = (np.cos(1.5 * (x + y)) + np.cos(1.5 * (x - y))) / 4 + 0.5
    screened = (255 * np.clip((sound / 255 - dots) * 4 + 0.5, 0, 1)).astype(np.uint8)
    for faulty, share in ((noisy, 0.6), (faded, 0.5), (screened, 0.6)):
        assert distance(restored(faulty)) < share * distance(faulty)


def test_noise_is_measured():
    noise = np.random.default_rng(0).normal(128, 10, (300, 300))
    assert noise_of(np.clip(noise, 0, 255).astype(np.uint8)) == pytest.approx(10, rel=0.05)
    assert noise_of(np.zeros((1, 2), np.uint8)) == 0
