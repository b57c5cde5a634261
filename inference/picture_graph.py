"""Colorizing as a function of tensors, for export: what `data.preprocess` does around a network.

Pictures are resized by matrices, so that their sizes may stay open; the results are OpenCV's except
for rounding.
"""

import numpy as np
import tensorflow as tf
from keras import layers, models, ops

from data import color
from data.preprocess import network_inputs, to_float


def colorize(predictor, mirror, picture, saturation):
    """The outputs of an exported file.

    Args:
        predictor: inference.view.Predictor; float32.
        mirror: average ab with that of the mirror image.
        picture: uint8 tensor (N, H, W, 3), sRGB.
        saturation: float32 tensor (), factor on ab.

    Returns:
        {"rgb": uint8 (N, H, W, 3), "ab": float32 (N, h, w, 2), before saturation and enlarging}.
    """
    codes = ops.cast(picture, "int32")
    _, height, width, _ = ops.shape(picture)
    planes = ops.cast(ops.transpose(codes, (0, 3, 1, 2)), "float32")
    largest = _fit(planes, predictor.side)
    views = {}
    for name, side in predictor.sides.items():
        view = ops.cast(ops.transpose(_fit(largest, side), (0, 2, 3, 1)), "int32")
        views[name] = _lightness(view)[..., None]
    ab = _ab(predictor, views)
    if mirror:
        turned = _ab(predictor, {name: ops.flip(view, axis=2) for name, view in views.items()})
        ab = (ab + ops.flip(turned, axis=2)) / 2
    large = _resize(ops.transpose(ab * saturation, (0, 3, 1, 2)), height, width, _bilinear)
    lightness = _lightness(codes)
    linear = color.linear_from_lab(lightness, *_fit_gamut(lightness, large[:, 0], large[:, 1]))
    places = ops.round(ops.clip(linear, 0, 1) * (len(color.CODE) - 1))
    return {"rgb": ops.take(color.CODE, ops.cast(places, "int32")), "ab": ab}


def _ab(predictor, views):
    """As `predictor(views)`; ONNX' own resizing may miss a side by a pixel, as of 48 to 80."""
    found = []
    for size in predictor.sizes:
        overall = views[str(predictor.global_size or size)]
        inputs = network_inputs(views[str(size)], overall, names=predictor.trunk.input)
        found.append(ops.transpose(predictor.trunk(inputs), (0, 3, 1, 2)))
    side = max(planes.shape[2] for planes in found)
    total = sum(_resize(planes, side, side, _bilinear) for planes in found)
    return ops.transpose(total / len(found), (0, 2, 3, 1))


class _Doubling(layers.Layer):
    """Bilinear enlarging by 2: in a graph Keras' own takes no open sizes."""

    def call(self, x):
        return tf.image.resize(x, 2 * tf.shape(x)[1:3])


def with_open_sizes(network):
    """The network with outputs ab and its layer "ab", whose graph takes any H and W."""

    def replace(layer):
        is_bilinear = getattr(layer, "interpolation", None) == "bilinear"
        return _Doubling(name=layer.name) if is_bilinear else layer

    both = models.Model(network.input, (network.output, network.get_layer("ab").output))
    return models.clone_model(both, clone_function=replace)


def ab_of_any_size(network, step, lightness, global_lightness=None):
    """For L of any size, (N, H, W, 1): {"ab": (N, H, W, 2), "small_ab": before its last enlarging}.

    `network` is of `with_open_sizes`. The last row and column are repeated up to multiples of
    `step`; the small ab is not cut.
    """
    _, height, width, _ = ops.shape(lightness)
    for axis, length in ((1, height), (2, width)):
        places = ops.minimum(ops.arange((length + step - 1) // step * step), length - 1)
        lightness = ops.take(lightness, places, axis=axis)
    ab, small = network(network_inputs(lightness, global_lightness, network.input))
    return {"ab": ab[:, :height, :width], "small_ab": small}


def _lightness(codes):
    """L (N, H, W) of sRGB codes (N, H, W, 3), int32."""
    linear = color.linear_from_srgb(to_float(np.arange(256, dtype=np.uint8)))
    return color.lightness_from_linear(ops.take(linear, codes))


def _fit(planes, side):
    """Planes (N, C, H, W), 0..255, at side x side, as `data.preprocess.resize`; whole numbers."""
    height, width = ops.shape(planes)[2:]
    halved = ops.logical_and(ops.equal(height, 2 * side), ops.equal(width, 2 * side))
    planes = _resize(planes, ops.minimum(height, side), ops.minimum(width, side), _area)
    # OpenCV rounds halves up when it halves a picture, and to even elsewhere
    planes = ops.round(planes + 1e-3 * ops.cast(halved, "float32"))
    return ops.clip(ops.round(_resize(planes, side, side, _cubic)), 0, 255)


def _resize(planes, height, width, weights):
    """(N, C, H, W) -> (N, C, height, width); `weights` of one axis is (new, old)."""

    def of_axis(old, new):
        source, result = (ops.cast(ops.arange(n), "float32") for n in (old, new))
        scale = ops.cast(old, "float32") / ops.cast(new, "float32")
        return weights(source[None], (result[:, None] + 0.5) * scale - 0.5, scale)

    old_height, old_width = ops.shape(planes)[2:]
    rows = ops.matmul(of_axis(old_height, height), planes)
    return ops.matmul(rows, ops.transpose(of_axis(old_width, width)))


# Weights: source's indices (1, old), the results' centres among them (new, 1), old / new


def _area(source, place, scale):
    return ops.clip((scale + 1) / 2 - ops.abs(source - place), 0, 1) / scale


def _bilinear(source, place, _):
    return ops.maximum(1 - ops.abs(source - ops.clip(place, 0, source[:, -1])), 0)


def _cubic(source, place, _):
    """Keys' cubic convolution with a = -0.75, as OpenCV's; the border is repeated."""
    total = 0
    for tap in (-1, 0, 1, 2):
        at = ops.floor(place) + tap
        d = ops.abs(place - at)
        near, far = (1.25 * d - 2.25) * d * d + 1, -0.75 * (((d - 5) * d + 8) * d - 4)
        weight = near if tap in (0, 1) else far
        total = total + ops.where(ops.clip(at, 0, source[:, -1]) == source, weight, 0.0)
    return total


def _fit_gamut(lightness, a, b):
    """`color.fit_gamut` of tensors (N, H, W)."""
    table = color.chroma_limits()
    rows, columns = table.shape
    hue = ops.arctan2(b, a) / (2 * np.pi)
    x = ops.where(hue < 0, hue + 1, hue) * (columns - 1)
    y = ops.clip(lightness / 100, 0, 1) * (rows - 1)
    left, top = ops.clip(ops.floor(x), 0, columns - 2), ops.clip(ops.floor(y), 0, rows - 2)
    place, x, y = ops.cast(top * columns + left, "int32"), x - left, y - top

    def between(start):
        left, right = (ops.take(table.ravel(), place + start + step) for step in (0, 1))
        return left * (1 - x) + right * x

    limit = between(0) * (1 - y) + between(columns) * y
    share = ops.minimum(limit / ops.maximum(ops.sqrt(a * a + b * b), 1e-6), 1)
    return a * share, b * share
