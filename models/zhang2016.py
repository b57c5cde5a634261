"""The network of *Colorful Image Colorization* (Zhang, Isola and Efros, ECCV 2016).

At every place the network chooses among 313 bins of the ab plane. Rare colours weigh more in the
loss, and the result is the annealed mean of the distribution. arXiv 1603.08511
"""

import functools

import cv2
import numpy as np
from keras import Model, layers, ops

from data.color import lab_from_srgb

GRID = 10  # distance of the bins in a and in b (section 2.1)
NEIGHBOURS = 5  # of the soft encoding (section 2.1)
SIGMA = 5.0  # of the soft encoding and of the smoothing of the prior (sections 2.1 and 2.2)
UNIFORM = 0.5  # lambda, the share of the uniform distribution in the smoothed prior (section 2.2)
PATCHES = 1024  # of which the initial filters are made, at least
COLOURLESS = 5  # |a| and |b| up to which a picture is left out of the loss (released network)
TEMPERATURE = 0.38  # of the annealed mean (section 2.3)
LOSS_LAYER = "logits"


@functools.cache
def bins():
    """The centres of the bins, float32 (313, 2), in order of a, then b.

    The paper says "in gamut". These grid points lie less than a step from the convex hull of sRGB
    in the ab plane: the 313 of the authors' file.
    """
    steps = np.linspace(0, 1, 33, dtype=np.float32)
    rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 1, 3)
    gamut = lab_from_srgb(rgb)[..., 1:]
    corners = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)], np.float32) * (GRID - 0.01)
    hull = cv2.convexHull((cv2.convexHull(np.ascontiguousarray(gamut)) + corners).reshape(-1, 1, 2))
    line = np.arange(-130.0, 131.0, GRID)
    inside = [(a, b) for a in line for b in line if cv2.pointPolygonTest(hull, (a, b), False) >= 0]
    return np.array(inside, np.float32)


def build(*, width=1.0, precision="float32"):
    """L in, ab out, see `models`; `width` is a factor on the filters, 1 in the paper.

    The layer "ab" has a 4th of the sides, and so has "logits", (N, H/4, W/4, 313).
    """

    def block(x, number, filters, strides, dilation=1):
        """A 3x3 convolution with ReLU for each stride, then batch normalisation as Caffe has it."""
        options = {"padding": "same", "activation": "relu", "dtype": precision}
        options["dilation_rate"], filters = dilation, max(1, round(filters * width))
        for i, stride in enumerate(strides, start=1):
            x = layers.Conv2D(filters, 3, stride, name=f"conv{number}_{i}", **options)(x)
        options = {"momentum": 0.9, "center": False, "scale": False, "dtype": precision}
        return layers.BatchNormalization(name=f"norm{number}", **options)(x)

    lightness = layers.Input((None, None, 1), name="lightness")
    x = layers.Rescaling(0.01, -0.5, dtype="float32", name="scaling")(lightness)  # (H, W, 1)
    x = block(x, 1, 64, (1, 2))  # (H/2, W/2, 64)
    x = block(x, 2, 128, (1, 2))  # (H/4, W/4, 128)
    x = block(x, 3, 256, (1, 1, 2))  # (H/8, W/8, 256)
    x = block(x, 4, 512, (1, 1, 1))  # (H/8, W/8, 512), as the three that follow
    x = block(x, 5, 512, (1, 1, 1), dilation=2)
    x = block(x, 6, 512, (1, 1, 1), dilation=2)
    x = block(x, 7, 512, (1, 1, 1))
    x = layers.UpSampling2D(2, dtype=precision, name="up8")(x)
    x = block(x, 8, 256, (1, 1, 1))  # (H/4, W/4, 256)
    logits = layers.Conv2D(len(bins()), 1, dtype="float32", name="logits")(x)

    # Annealed mean (section 2.3, equation 5): the mean of the bins under softmax(logits / T)
    x = layers.Rescaling(1 / TEMPERATURE, dtype="float32", name="annealed")(logits)
    x = layers.Softmax(dtype="float32", name="probabilities")(x)
    centres = layers.Conv2D(2, 1, use_bias=False, trainable=False, dtype="float32", name="ab")
    x = centres(x)
    centres.set_weights([bins()[None, None]])
    x = layers.UpSampling2D(4, dtype="float32", name="enlarged")(x)
    return Model({"lightness": lightness}, x, name="zhang2016")


def initialize(network, lightness, seed):
    """Set data-dependent initial weights (Kraehenbuehl et al., ICLR 2016), as the authors did.

    The filters of each 3x3 convolution are the centres of k-means over its input patches, scaled
    and shifted so that each channel has mean 0 and variance 1 before its ReLU.
    """
    lightness, rng = ops.convert_to_numpy(lightness), np.random.default_rng([seed, 7])
    cv2.setRNGSeed(seed)
    for layer in network.layers:
        if not layer.name.startswith("conv"):
            continue
        before = Model(network.input, layer.input)
        x = before.predict({"lightness": lightness}, batch_size=4, verbose=0).astype("float32")
        stride, dilation = layer.strides[0], layer.dilation_rate[0]
        patches = ops.image.extract_patches(x, 3, stride, dilation, padding="same")
        patches = ops.convert_to_numpy(patches)
        patches = patches.reshape(-1, patches.shape[-1])
        patches = patches[rng.permutation(len(patches))[: max(PATCHES, 2 * layer.filters)]]
        unit = patches - patches.mean(axis=1, keepdims=True)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-6
        stop = (cv2.TERM_CRITERIA_MAX_ITER, 3, 0)
        centres = cv2.kmeans(unit, layer.filters, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2]
        given = patches @ centres.T
        deviation = given.std(axis=0) + 1e-6
        centres /= deviation[:, None]
        bias = -(given / deviation).mean(axis=0)
        layer.set_weights([centres.T.reshape(layer.kernel.shape), bias])


def quarter(ab):
    """Every fourth pixel of ab, as in the released network: (N, H, W, 2) -> (N, H/4, W/4, 2)."""
    return ab[:, ::4, ::4]


def _closeness(ab):
    """The squared distance of ab (..., 2) to each bin, negative: (..., 313)."""
    # no matrix product, which an accelerator may round
    a, b = (ab[..., i, None] - bins()[:, i] for i in range(2))
    return -(a * a + b * b)


def encode(ab):
    """The soft encoding Z (section 2.1): the 5 nearest bins of ab, weighted by a Gaussian.

    (..., 2), Lab units -> float32 (..., 313), which sums to 1.
    """
    closeness = _closeness(ab)
    fifth = ops.top_k(closeness, NEIGHBOURS)[0][..., -1:]
    # relative to the nearest: far from all bins the Gaussians would be 0
    gaussian = ops.exp((closeness - ops.max(closeness, axis=-1, keepdims=True)) / (2 * SIGMA**2))
    z = ops.where(closeness >= fifth, gaussian, 0.0)
    return z / ops.sum(z, axis=-1, keepdims=True)


def statistics(target):
    """How often each bin is the nearest: target ab (N, H, W, 2) -> NumPy int64 (313,)."""
    nearest = ops.convert_to_numpy(ops.argmax(_closeness(quarter(target)), axis=-1))
    return np.bincount(nearest.ravel(), minlength=len(bins()))


def rebalancing(counts):
    """The weight of each bin in the loss (section 2.2, equation 4): `statistics` -> float32 (313,).

    Proportional to 1 / ((1 - lambda) p + lambda u), with mean 1 under p, the distribution smoothed
    by a Gaussian in the ab plane; u is uniform over the bins that occur, as in the released code.
    """
    apart = np.linalg.norm(bins()[:, None].astype("float64") - bins(), axis=-1)
    smoothing = np.exp(-(apart**2) / (2 * SIGMA**2))
    p = (smoothing / smoothing.sum(axis=0)) @ (counts / np.sum(counts))  # keeps each bin's mass
    uniform = (np.asarray(counts) > 0) / np.count_nonzero(counts)
    weights = 1 / np.maximum((1 - UNIFORM) * p + UNIFORM * uniform, 1e-12)
    # bins that did not occur, and may yet, weigh as the rarest
    weights = np.where(uniform > 0, weights, weights[uniform > 0].max())
    return (weights / (p @ weights)).astype("float32")


def make_loss(statistics):
    """The paper's loss (equations 2 and 3): cross-entropy with the soft encoding, rebalanced.

    The mean over the places, not the sum; a place has the weight of its nearest bin. A picture
    without colour has 0.
    """
    weights = rebalancing(statistics)

    def loss(logits, target):
        ab = quarter(target)
        z = encode(ab)
        entropy = -ops.sum(z * ops.log_softmax(logits, axis=-1), axis=-1)
        coloured = ops.cast(ops.max(ops.abs(ab), axis=(1, 2, 3)) > COLOURLESS, "float32")
        weight = ops.take(weights, ops.argmax(z, axis=-1), axis=0)
        return coloured * ops.mean(weight * entropy, axis=(1, 2))

    return loss
