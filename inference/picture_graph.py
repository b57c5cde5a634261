"""Colorizing as one function of tensors, picture in, picture out, for export: what `data.preprocess` does around a network.

Pictures are resized by matrices, so that sizes may stay free. The results differ from OpenCV's by rounding alone.
"""

import numpy as np
from keras import ops

from data import color
from data.preprocess import lightness_of, network_inputs, to_float

CODES = np.arange(256, dtype=np.uint8)


def colorize(predictor, picture, saturation, mirror=False):
    """Pictures of one size -> colour pictures.

    Args:
        predictor: inference.view.Predictor; float32.
        picture: uint8 tensor (N, H, W) gray or (N, H, W, 3) sRGB.
        saturation: float32 tensor (), factor on ab.
        mirror: average ab with that of the mirror image.

    Returns:
        (rgb, ab): uint8 (N, H, W, 3), and float32 (N, h, w, 2), Lab units, before saturation and enlarging.
    """
    codes = ops.cast(picture, "int32")
    _, height, width = ops.shape(picture)[:3]
    planes = ops.cast(
        codes[:, None] if len(picture.shape) == 3 else ops.transpose(codes, (0, 3, 1, 2)), "float32"
    )
    largest = _resized(planes, predictor.side)
    views = {name: _view(_resized(largest, side)) for name, side in predictor.sides.items()}
    ab = predictor(views)
    if mirror:
        turned = predictor({name: ops.flip(view, axis=2) for name, view in views.items()})
        ab = (ab + ops.flip(turned, axis=2)) / 2
    large = _resize(ops.transpose(ab * saturation, (0, 3, 1, 2)), height, width, _bilinear)
    lightness = _lightness(codes)
    linear = color.linear_from_lab(lightness, *_fit_gamut(lightness, large[:, 0], large[:, 1]))
    steps = len(color.CODE) - 1
    return ops.take(color.CODE, ops.cast(ops.round(ops.clip(linear, 0, 1) * steps), "int32")), ab


def ab_of_any_size(network, views):
    """ab, float32 (N, H, W, 2), of L of any size: sides that 8 does not divide are filled up by their last line.

    Args:
        network: as `model_file.load` gives it.
        views: {input: L}: "lightness", float32 (N, H, W, 1), and, if the network has it, "global_lightness".
    """
    _, height, width, _ = ops.shape(views["lightness"])
    filled = views["lightness"]
    for axis, length in ((1, height), (2, width)):
        filled = ops.take(
            filled, ops.minimum(ops.arange((length + 7) // 8 * 8), length - 1), axis=axis
        )
    return network(network_inputs(**views | {"lightness": filled}, names=network.input))[
        :, :height, :width
    ]


def _resized(planes, side):
    """Planes (N, C, H, W), 0..255, at side x side, as `data.preprocess.resize` gives them; whole numbers."""
    height, width = ops.shape(planes)[2:]
    halved = ops.cast(
        ops.logical_and(ops.equal(height, 2 * side), ops.equal(width, 2 * side)), "float32"
    )
    planes = _resize(planes, ops.minimum(height, side), ops.minimum(width, side), _area)
    planes = ops.round(
        planes + 1e-3 * halved
    )  # OpenCV rounds halves up there, and to even elsewhere
    return ops.clip(ops.round(_resize(planes, side, side, _cubic)), 0, 255)


def _view(planes):
    """L (N, side, side, 1) of `_resized` planes, as `lightness_of` gives it."""
    codes = ops.cast(planes, "int32")
    return _lightness(codes[:, 0] if planes.shape[1] == 1 else ops.transpose(codes, (0, 2, 3, 1)))[
        ..., None
    ]


def _lightness(codes):
    """L of gray codes (N, H, W) or of sRGB codes (N, H, W, 3), int32 -> (N, H, W)."""
    if len(codes.shape) == 3:
        return ops.take(lightness_of(CODES[None])[0], codes)
    return color.lightness_from_linear(ops.take(color.linear_from_srgb(to_float(CODES)), codes))


def _resize(planes, height, width, weights):
    """(N, C, H, W) -> (N, C, height, width); `weights(old, new)` is the matrix (new, old) of one axis."""
    old_height, old_width = ops.shape(planes)[2:]
    return ops.matmul(
        ops.matmul(weights(old_height, height), planes), ops.transpose(weights(old_width, width))
    )


def _places(old, new):
    """The sources' indices (1, old), and where among them the results' centres lie, (new, 1); float32."""
    source, result = (ops.cast(ops.arange(n), "float32") for n in (old, new))
    scale = ops.cast(old, "float32") / ops.cast(new, "float32")
    return source[None], (result[:, None] + 0.5) * scale - 0.5, scale


def _area(old, new):
    source, place, scale = _places(old, new)
    distance = ops.abs(source - place)
    return ops.clip((scale + 1) / 2 - distance, 0, 1) / scale


def _bilinear(old, new):
    source, place, _ = _places(old, new)
    return ops.maximum(1 - ops.abs(source - ops.clip(place, 0, source[:, -1])), 0)


def _cubic(old, new):
    """Keys' cubic convolution with a = -0.75, as OpenCV's; the border is repeated."""
    source, place, _ = _places(old, new)
    total = 0
    for tap in (-1, 0, 1, 2):
        at = ops.floor(place) + tap
        d = ops.abs(place - at)
        weight = (
            (1.25 * d - 2.25) * d * d + 1 if tap in (0, 1) else -0.75 * (((d - 5) * d + 8) * d - 4)
        )
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
    upper, lower = (
        ops.take(table.ravel(), place + step) * (1 - x)
        + ops.take(table.ravel(), place + step + 1) * x
        for step in (0, columns)
    )
    limit = upper * (1 - y) + lower * y
    share = ops.minimum(limit / ops.maximum(ops.sqrt(a * a + b * b), 1e-6), 1)
    return a * share, b * share
