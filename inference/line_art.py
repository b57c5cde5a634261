"""Documents, line art and drawings: pictures that have no colours to find."""

import cv2
import numpy as np

from data.preprocess import shrink
from pictures.reader import eight_bits

SIDE, BLOCK = 512, 8  # px: of the longer side of the picture that is judged, and of its blocks
FAINTEST, CONTRAST = 30, 150  # codes of 255 from paper to ink: the least, and what it is scaled to
# In scaled codes from the paper: up to which a pixel is paper, from which a block is, and ink
PAPER, SHADE, INK = 20, 30, 60
FLAT, SMOOTH = 4, 8  # standard deviation of a block of bare paper, and of one without lines
STROKE = 9  # px: wider ink is no stroke but an area
LIGHT, EVEN = 190, 20  # codes: drawings on paper as light and as even need not fill the page


def is_line_art(gray):
    """Whether a picture is ink on paper: thin strokes on one tone, and no shading in between.

    The paper may be of any tone, also darker than the ink, and unevenly lit. Measured on 6,043
    photographs and on pages made for the purpose; see tests/test_line_art.py.

    Args:
        gray: uint8 or uint16 (H, W).
    """
    small = eight_bits(shrink(gray, SIDE))
    if min(small.shape) < 4 * BLOCK:
        return False
    paper, near = _paper(small)
    if near < 0.5:  # as in most photographs
        return False
    distance = small - paper
    low, high = np.percentile(distance, (0.5, 99.5))
    if max(-low, high) < FAINTEST:
        return False
    distance *= CONTRAST / (high if high > -low else low)  # ink lies above 0
    ink = distance > INK
    inked, bare = ink.mean(), (np.abs(distance) <= PAPER).mean()
    if inked < 0.005 or bare < 0.7:
        return False
    blocks = _blocks(cv2.GaussianBlur(distance, (3, 3), 0), BLOCK)
    tone, deviation = np.abs(blocks.mean(axis=(1, 3))), blocks.std(axis=(1, 3))
    shaded = ((deviation < SMOOTH) & (tone > SHADE)).mean()
    strokes = np.ones((STROKE, STROKE), np.uint8)
    areas = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, strokes).sum()
    if not ((deviation < FLAT).mean() > 0.25 and shaded < 0.005 and areas < 0.1 * ink.sum()):
        return False
    filled = _blocks(ink, min(ink.shape) // 8).any(axis=(1, 3)).mean()
    between = (1 - bare - inked) / inked  # of a page little has tones between paper and ink
    simple = np.median(paper) >= LIGHT and np.ptp(paper) < EVEN
    return bool(between < 0.6 and (filled > 0.55 or simple) or between < 1.5 and filled > 0.7)


def _paper(gray):
    """The tone of the paper under each pixel, (H, W), and the share of blocks that have it.

    It is a quadratic surface through the middles of most blocks.
    """
    tones = cv2.medianBlur(gray, 5)[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(float)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in tones.shape), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    distance = np.abs(tones - np.median(tones))
    for _ in range(5):
        kept = distance <= max(7, np.median(distance))
        some = terms[kept]
        surface = terms @ np.linalg.lstsq(some.T @ some, some.T @ tones[kept], rcond=None)[0]
        distance = np.abs(tones - surface)
    paper = cv2.resize(surface.astype(np.float32), gray.shape[::-1])
    return paper, (distance <= SHADE).mean()


def _blocks(plane, side):
    height, width = (n // side for n in plane.shape)
    return plane[: height * side, : width * side].reshape(height, side, width, side)
