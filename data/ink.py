"""An ink wash landscape, drawn by arithmetic: a grayscale painting to colorize where there is none at hand.

Ink is a plane of float32 (H, W), 0 where the paper is bare, 1 where it is black.
"""

import cv2
import numpy as np

LAYERS = 5  # of mountains, from the most distant to the nearest
WATER = 0.84  # where the lake begins, share of the height


def landscape(seed=0, height=800, width=1200):
    """Mountains in mist above a lake, with pines, a boat and birds: uint8 (height, width), the same for the same seed."""
    rng = np.random.default_rng([seed, 6])
    ink = np.zeros((height, width), np.float32)
    for layer in range(LAYERS):
        near = layer / (LAYERS - 1)
        line = ridge(rng, height, width, near)
        below = (np.arange(height, dtype=np.float32)[:, None] - line) / height  # how deep inside the mountain
        ink *= 1 - np.clip(below / 0.01, 0, 1)  # it hides what is behind it
        ink = np.maximum(ink, mountain(rng, below, near))
        if layer >= LAYERS - 2:
            pines(rng, ink, line, near)
    lake(rng, ink)
    birds(rng, ink)
    paper = 0.93 + 0.02 * noise(rng, height, width, 3) + rng.normal(0, 0.008, ink.shape).astype(np.float32)
    return np.clip(255 * paper * (1 - 0.93 * variation(rng, ink)), 0, 255).astype(np.uint8)


def noise(rng, height, width, cells, octaves=6):
    """Fractal noise of mean 0 and deviation 1: octaves of half the size and half the strength each."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows, columns = (max(2, min(n, round(cells * 2**octave * n / width))) for n in (height, width))
        small = rng.standard_normal((rows, columns), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.mean()) / total.std()


def ridge(rng, height, width, near):
    """The skyline of a layer of mountains: row of its edge in every column, (width,). Nearer ones stand lower."""
    x = np.linspace(0, 1, width, dtype=np.float32)
    line = np.full(width, 0.52 + 0.30 * near, np.float32)
    for _ in range(3):
        peak, reach, rise = rng.uniform(-0.1, 1.1), rng.uniform(0.08, 0.22), rng.uniform(0.10, 0.34) * (1 - 0.35 * near)
        line -= rise * np.exp(-((np.abs(x - peak) / reach) ** 1.3))
    return height * (line - 0.012 * noise(rng, 1, width, 12)[0])


def mountain(rng, below, near):
    """The ink of one layer: a wash that dissolves downwards into mist, an outline, and strokes down its slopes."""
    height, width = below.shape
    inside = np.clip(below / 0.004, 0, 1)
    depth = 0.10 + 0.10 * near
    cloud = 1 + 0.35 * noise(rng, height, width, 5)
    wash = (0.16 + 0.34 * near) * np.exp(-np.maximum(below, 0) / depth) * np.clip(cloud, 0.2, 2)
    pressure = np.clip(0.6 + 0.5 * noise(rng, 1, width, 20), 0, 1.2)
    outline = (0.18 + 0.55 * near) * pressure * np.exp(-(((below - 0.003) / (0.002 + 0.003 * near)) ** 2))
    # Folds run down from the skyline and lean: noise that is stretched along them and fades with the depth.
    lean = width * (0.25 * below + 0.03 * noise(rng, height, width, 4))
    columns = np.arange(width, dtype=np.float32) + lean.astype(np.float32)
    rows = np.broadcast_to(np.maximum(below, 0).astype(np.float32) * height * 0.12, below.shape)
    folds = cv2.remap(noise(rng, height, width, 24), columns % width, np.ascontiguousarray(rows), cv2.INTER_LINEAR)
    dry = np.clip(0.6 + noise(rng, height, width, 60, 3), 0, 1)  # the brush does not touch everywhere
    strokes = (0.08 + 0.42 * near) * np.clip(folds - 0.3, 0, 1.2) * dry * np.exp(-np.maximum(below, 0) / depth)
    return (inside * np.clip(wash + outline + strokes, 0, 1)).astype(np.float32)


def stroke(ink, points, thickness, tone):
    """A line of the brush through points (x, y), as wide as `thickness` px, that never lightens what is there."""
    mask = np.zeros(ink.shape, np.uint8)
    cv2.polylines(
        mask, [np.round(np.multiply(points, 16)).astype(np.int32)], False, 255, max(1, round(thickness)), cv2.LINE_AA, 4
    )
    np.maximum(ink, mask * np.float32(tone / 255), out=ink)


def pines(rng, ink, line, near):
    """Groups of pines on the skyline: a leaning trunk, boughs of flat dabs that shorten towards the top."""
    height, width = ink.shape
    for start in rng.uniform(0.05, 0.95, 3) * width:
        for x in start + width * rng.normal(0, 0.03, 4):
            foot = int(np.clip(x, 0, width - 1))
            tall, tone = height * rng.uniform(0.05, 0.09) * (0.6 + 0.6 * near), rng.uniform(0.65, 0.9) * (0.5 + 0.45 * near)
            top = (foot + rng.normal(0, 0.12) * tall, line[foot] - tall)
            stroke(
                ink,
                [(foot, line[foot] + 4), ((foot + top[0]) / 2 + rng.normal(0, 2), line[foot] - tall / 2), top],
                tall / 28,
                tone,
            )
            for share in np.linspace(0.3, 1, 7):
                middle = np.array([foot + (top[0] - foot) * share, line[foot] - tall * share])
                reach = tall * (0.42 - 0.32 * share) * rng.uniform(0.7, 1.3)
                for side in (-1, 1):
                    tip = middle + (side * reach, reach * rng.uniform(0.05, 0.35))
                    stroke(ink, [middle, (middle + tip) / 2 - (0, reach * 0.1), tip], tall / 22, tone * rng.uniform(0.7, 1))


def lake(rng, ink):
    """Bare paper below the mountains, with a few lines of ripples and a boat."""
    height, width = ink.shape
    shore = WATER * height + 0.012 * height * noise(rng, 1, width, 4)[0]
    depth = (np.arange(height, dtype=np.float32)[:, None] - shore) / height
    ink *= 1 - np.clip(depth / 0.05, 0, 1)
    for _ in range(26):
        x, y, length = rng.uniform(0, width), height * rng.uniform(WATER + 0.04, 0.99), width * rng.uniform(0.02, 0.10)
        stroke(ink, [(x, y), (x + length / 2, y + rng.normal(0, 1.5)), (x + length, y)], 1.5, rng.uniform(0.08, 0.25))
    x, y, s = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.91, 0.95), width / 30
    stroke(ink, [(x - s, y - s / 4), (x - s / 2, y), (x + s / 2, y), (x + s, y - s / 3)], s / 9, 0.85)
    stroke(ink, [(x - s / 2, y), (x - s / 4, y - s / 2), (x + s / 4, y - s / 2), (x + s / 2, y)], s / 12, 0.7)
    stroke(ink, [(x + 0.7 * s, y - s / 5), (x + 0.7 * s, y - 0.65 * s)], s / 9, 0.9)  # the man who stands in it
    stroke(ink, [(x - 0.8 * s, y + s / 5), (x + 0.8 * s, y + s / 5)], s / 14, 0.2)


def birds(rng, ink):
    height, width = ink.shape
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.08, 0.16)
    for _ in range(5):
        at, wing = np.array([x, y]) + rng.normal(0, (width / 20, height / 40)), width / 110 * rng.uniform(0.6, 1)
        stroke(
            ink,
            [at - (wing, wing / 2), at - (wing / 3, wing / 2), at, at + (wing / 3, -wing / 2), at + (wing, -wing / 2)],
            1.6,
            0.6,
        )


def variation(rng, ink):
    """Ink creeps along the fibres of the paper: edges become uneven, and wet places bleed a little."""
    height, width = ink.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    uneven = cv2.remap(
        ink,
        x + 1.2 * noise(rng, height, width, 150, 2),
        y + 1.2 * noise(rng, height, width, 150, 2),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return 0.8 * uneven + 0.2 * cv2.GaussianBlur(uneven, (0, 0), width / 150)
