"""Faults of old photographs and scans in L: grain, fading, blur, scratches, borders, blocks.

Arithmetic on batched tensors, for the training step on any device. What is random comes in as
tensors: the same draws give the same faults.
"""

import numpy as np
from keras import ops

DRAWS = 36  # random numbers for each picture
SCRATCHES = 3  # at most, on a picture
CHANCE = 0.35  # of each fault, in a picture that has any

# JPEG's example table for luminance (ITU-T T.81, table K.1) and the cosines of the discrete cosine
# transform (A.3.3)
TABLE = """
    16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56   14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99
"""
TABLE = np.array(TABLE.split(), np.float32).reshape(8, 8)
COSINES = np.cos(np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)) / 2
COSINES[0] /= np.sqrt(2)
COSINES = COSINES.astype(np.float32)


def degrade(lightness, draws, noise, share=1.0):
    """Pictures with faults, each of them mild to strong.

    Args:
        lightness: float32 tensor (N, S, S, 1), L in 0..100, S divisible by 8.
        draws: float32 (N, DRAWS), uniform in 0..1.
        noise: float32 (N, S, S, 1), standard normal.
        share: of the pictures that get faults; the others are returned as they are.

    Returns:
        float32 (N, S, S, 1), L in 0..100.
    """
    side = lightness.shape[1]
    numbers = iter(range(DRAWS))

    def draw(low=0.0, high=1.0):
        """One number for each picture, low..high: (N, 1, 1, 1)."""
        i = next(numbers)
        return low + (high - low) * ops.reshape(draws[:, i : i + 1], (-1, 1, 1, 1))

    def sometimes(changed, x):
        return ops.where(draw() < CHANCE, changed, x)

    chosen = draw() < share
    x = sometimes(100 * ops.power(lightness / 100, ops.exp(draw(-0.7, 0.7))), lightness)  # gamma
    x = sometimes(x + draw() * (_blurred(x, max(0.6, 0.01 * side)) - x), x)
    contrast = draw(0.3, 1)
    # faded: a narrower range, anywhere in 0..100
    x = sometimes(contrast * x + draw(0, 100) * (1 - contrast), x)
    coarse = draw()
    grain = (1 - coarse) * noise + coarse * 2 * _blurred(noise, 0.7)
    x = sometimes(x + (0.5 + 7 * draw() ** 2) * grain, x)
    for _ in range(SCRATCHES):
        tone = draw(-50, 50)
        line = _line(side, slope=draw(-0.3, 0.3), place=draw(-1.2, 1.2), width=draw(-0.4, 0.4))
        x = sometimes(x + tone * line, x)
    x = sometimes(_bordered(x, side, draw), x)
    x = sometimes(_jpeg(x, ops.exp(draw(-2, 0.5))), x)
    return ops.where(chosen, ops.clip(x, 0, 100), lightness)


def _blurred(x, sigma):
    """A Gaussian blur of (N, S, S, 1), sigma in pixels; what lies outside counts as absent."""
    radius = int(np.ceil(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel, ones = ops.reshape(taps, shape), ops.ones_like(x[:1])
        x = ops.conv(x, kernel, padding="same") / ops.conv(ones, kernel, padding="same")
    return x


def _line(side, slope, place, width):
    """Coverage 0..1 of a steep line, (N, S, S, 1); `place` of its middle, `slope` in half sides."""
    along = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = ops.reshape(along, (1, side, 1, 1)), ops.reshape(along, (1, 1, side, 1))
    pixels = ops.abs(x - place - slope * y) * (side / 2)
    return ops.clip(width + 0.5 - pixels, 0, 1)


def _bordered(x, side, draw):
    """Plain borders of any tone, often black or white; a pixel may be covered in part."""
    widest = 0.12 * side * draw() ** 2 + 0.3
    even = draw() < 0.5  # as wide on all sides
    start, end = ops.arange(side, dtype="float32"), ops.arange(side - 1, -1, -1, dtype="float32")
    cover = ops.zeros_like(x)
    for shape in ((1, side, 1, 1), (1, 1, side, 1)):
        for distance in (start, end):
            width = widest * ops.where(even, 1.0, draw())
            cover = ops.maximum(cover, ops.clip(width - ops.reshape(distance, shape), 0, 1))
    tone = ops.clip(draw(-100, 200), 0, 100)
    return x + cover * (tone - x)


def _jpeg(x, coarseness):
    """L rounded in the cosine transform of 8 x 8 blocks, as by JPEG; 1: table K.1 (quality 50)."""
    count, side = ops.shape(x)[0], x.shape[1]
    blocks = ops.reshape(x, (count, side // 8, 8, side // 8, 8)) * 2.55
    step = ops.reshape(coarseness, (-1, 1, 1, 1, 1)) * ops.reshape(TABLE, (1, 1, 8, 1, 8))
    frequencies = ops.einsum("kanbm,in,jm->kaibj", blocks, COSINES, COSINES)
    frequencies = ops.round(frequencies / step) * step
    blocks = ops.einsum("kaibj,in,jm->kanbm", frequencies, COSINES, COSINES)
    return ops.reshape(blocks, (count, side, side, 1)) / 2.55
