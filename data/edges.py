"""The Canny edge detector (J. Canny, PAMI 1986) by tensor operations, as scikit-image's.

Elementwise arithmetic, shifts and maxima in float32: it runs in the training step, and no
accelerator rounds it.
"""

import numpy as np
from keras import ops

# The paper's, scikit-image's defaults; thresholds in the units of L
SIGMA, LOW, HIGH = 1.0, 0.1, 0.2


def _blur_change(x, axis):
    """What a Gaussian along one axis of (N, H, W) adds to x; what lies outside is absent, not 0.

    A sum of differences x[i + k] - x[i]: float32 then keeps the precision of the local contrast.
    """
    radius = int(4 * SIGMA + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    taps /= taps.sum()

    def cut(x, start, stop):
        return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

    line = ops.ones_like(x[:1, :, :1] if axis == 1 else x[:1, :1])
    total, inside = 0.0, float(taps[radius]) * line
    for k, tap in enumerate(taps[radius + 1 :].tolist(), start=1):
        after, before = [(0, 0)] * 3, [(0, 0)] * 3
        after[axis], before[axis] = (0, k), (k, 0)
        # what place i receives from i + k, and place i + k gives back
        step = tap * (cut(x, k, None) - cut(x, None, -k))
        total = total + (ops.pad(step, after) - ops.pad(step, before))
        reached = tap * cut(line, k, None)
        inside = inside + (ops.pad(reached, after) + ops.pad(reached, before))
    return total / inside


def _neighbours(padded):
    """The nine (N, H, W) shifts [row][column] of (N, H + 2, W + 2): each place's neighbours."""
    return [[padded[:, i : i - 2 or None, j : j - 2 or None] for j in range(3)] for i in range(3)]


def _sobel(x):
    """Unnormalised derivatives of (N, H, W) along rows and columns, the border repeated."""
    x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    x = ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
    (nw, n, ne), (w, _, e), (sw, s, se) = _neighbours(x)
    return (sw - nw) + 2 * (s - n) + (se - ne), (ne - nw) + 2 * (e - w) + (se - sw)


def _spread(x):
    """Maximum over 3 x 3 places of 0/1 (N, H, W): one step of growth through the 8 neighbours."""
    padded = ops.pad(x, [(0, 0), (1, 1), (1, 1)])
    rows = ops.maximum(ops.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return ops.maximum(ops.maximum(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])


def canny(lightness):
    """Edge maps of pictures.

    Args:
        lightness: float32 tensor (N, H, W), CIELab L, 0..100.

    Returns:
        float32 tensor (N, H, W), 1 on edges and 0 elsewhere, as
        `skimage.feature.canny(L, sigma=1, low_threshold=0.1, high_threshold=0.2, mode="constant")`.
    """
    change = _blur_change(lightness, 1)
    change = change + _blur_change(lightness, 2) + _blur_change(change, 2)
    # the blurred picture is lightness + change
    rows, columns = zip(_sobel(lightness), _sobel(change))
    down, right = sum(rows), sum(columns)
    magnitude = ops.sqrt(down * down + right * right)

    # A ridge is at least as high as the gradient's magnitude one step ahead and one step back along
    # the gradient, both interpolated between the two neighbours that the direction passes between.
    (nw, n, ne), (w, _, e), (sw, s, se) = _neighbours(ops.pad(magnitude, [(0, 0), (1, 1), (1, 1)]))
    tall = ops.abs(down) >= ops.abs(right)
    same = down * right >= 0
    longer, shorter = (f(ops.abs(down), ops.abs(right)) for f in (ops.maximum, ops.minimum))
    ratio = shorter / ops.maximum(longer, 1e-30)
    ahead_straight, back_straight = ops.where(tall, s, e), ops.where(tall, n, w)
    ahead_diagonal = ops.where(same, se, ops.where(tall, sw, ne))
    back_diagonal = ops.where(same, nw, ops.where(tall, ne, sw))
    ahead = ratio * ahead_diagonal + (1 - ratio) * ahead_straight
    back = ratio * back_diagonal + (1 - ratio) * back_straight
    ridge = ops.logical_and(magnitude >= ahead, magnitude >= back)
    weak = ops.cast(ops.logical_and(ridge, magnitude >= LOW), "float32")
    weak = ops.pad(weak[:, 1:-1, 1:-1], [(0, 0), (1, 1), (1, 1)])  # no edge on the border
    strong = ops.cast(magnitude >= HIGH, "float32") * weak

    # Hysteresis: strong edges grow along weak ones until nothing changes.
    def grow(edges, before):
        for _ in range(4):  # several steps for each test of the end; steps past it change nothing
            before, edges = edges, _spread(edges) * weak
        return edges, before

    start = strong, ops.zeros_like(strong)
    return ops.while_loop(lambda edges, before: ops.any(edges > before), grow, start)[0]
