"""Documents, line art and drawings: pictures that have no colours to find."""

import numpy as np

from data.preprocess import shrink
from pictures.reader import eight_bits

SIDE = 512  # px of the longer side at which a picture is looked at, at most
PAPER, PAPER_SHARE = (
    190,
    0.7,
)  # the lowest tone of paper, in codes; the least share of the picture that has it
NEAR, FAR = 14, 25  # codes from the tone of the paper that still are paper, and that are shading
INK, INK_SHARE = (
    60,
    0.005,
)  # codes by which ink is darker than paper; the least share of the picture that has it
BLOCK = 8  # px of the squares in which shading is looked for
EVEN, SMOOTH = 3, 8  # standard deviation of a block of bare paper, and of one that holds no line


def is_line_art(gray):
    """Whether a picture is ink on paper: mostly even paper, and next to no shading in between.

    Args:
        gray: uint8 or uint16 (H, W).
    """
    small = shrink(gray, SIDE)
    small = small if small.dtype == np.uint8 else eight_bits(small)
    height, width = (n // BLOCK * BLOCK for n in small.shape)
    if min(height, width) < 4 * BLOCK:
        return False
    tones = np.bincount(small.ravel(), minlength=256) / small.size
    paper = int(np.convolve(tones, np.ones(9), "same").argmax())
    bare = tones[max(0, paper - NEAR) : paper + NEAR + 1].sum()
    inked = tones[: max(0, paper - INK)].sum()
    if paper < PAPER or bare < PAPER_SHARE or inked < INK_SHARE:
        return False
    blocks = (
        small[:height, :width]
        .astype(np.float32)
        .reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    )
    mean, deviation = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
    shaded = ((deviation < SMOOTH) & (np.abs(mean - paper) > FAR)).mean()
    return bool((deviation < EVEN).mean() > 0.35 and shaded < 0.005)
