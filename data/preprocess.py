"""The recipe: picture -> network inputs; picture and T -> target K; L and ab -> picture.

Pictures are arrays (H, W) for gray or (H, W, 3) for sRGB, uint8, uint16 or float32 in 0..1. What
runs inside the training step takes batched tensors; what handles pictures of any size takes NumPy
arrays and does without Keras.
"""

import cv2
import numpy as np

from data import color

STRIP_PIXELS = 2**16  # pictures are joined in strips of rows that stay in the processor's cache


def to_float(pixels):
    """uint8 0..255 or uint16 0..65535 -> float32 0..1; floats are 0..1 already. Tensors: uint8."""
    if not isinstance(pixels, np.ndarray):
        return color.array_namespace(pixels).cast(pixels, "float32") / 255.0
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return np.divide(pixels, peak, dtype=np.float32)


def resize(pixels, height, width):
    """Resize a picture, its type kept, its aspect not: averaged where it shrinks, else cubic."""
    smaller = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    for shape, interpolation in ((smaller, cv2.INTER_AREA), ((height, width), cv2.INTER_CUBIC)):
        if pixels.shape[:2] != shape:
            pixels = cv2.resize(pixels, shape[::-1], interpolation=interpolation)
    return pixels


def shrink(pixels, side):
    """A picture whose longer side is at most `side`, the aspect kept."""
    factor = max(pixels.shape[:2]) // side
    if 1 < factor <= min(pixels.shape[:2]):  # by a whole number first: OpenCV is five times as fast
        height, width = (n // factor for n in pixels.shape[:2])
        pixels = resize(pixels[: height * factor, : width * factor], height, width)
    scale = side / max(pixels.shape[:2])
    shape = (max(1, round(scale * n)) for n in pixels.shape[:2])
    return pixels if scale >= 1 else resize(pixels, *shape)


def lightness_of(pixels):
    """CIELab L, 0..100: of NumPy (H, W) gray or (H, W, 3) sRGB, or of a tensor (N, H, W, 3).

    A gray value is the neutral colour R = G = B.
    """
    if pixels.ndim > 2:
        return color.lightness_from_srgb(to_float(pixels))
    if pixels.dtype == np.uint8:
        return cv2.LUT(pixels, _LIGHTNESS)
    return color.lightness_from_gray(to_float(pixels))


_LIGHTNESS = color.lightness_from_gray(to_float(np.arange(256, dtype=np.uint8)))


INPUTS = ("lightness", "global_lightness", "edges")


def network_inputs(lightness, global_lightness=None, names=INPUTS):
    """The inputs of a network, a dict of tensors, see `models`.

    Args:
        lightness: float32 (N, H, W, 1), L in 0..100, H and W divisible by 8.
        global_lightness: the same pictures at the fixed size of a global branch, (N, S, S, 1); None
            if `lightness` has that size already.
        names: the inputs that the network has; a model's `input` names them.
    """
    from keras import ops

    from data.edges import canny

    lightness = ops.convert_to_tensor(lightness)
    made = {"lightness": lightness, "global_lightness": lightness}
    if global_lightness is not None:
        made["global_lightness"] = ops.convert_to_tensor(global_lightness)
    if "edges" in names:
        made["edges"] = canny(lightness[..., 0])[..., None]
    return {name: made[name] for name in names}


def training_inputs(rgb, inputs, degrade=lambda lightness: lightness):
    """`network_inputs` of uint8 sRGB pictures (N, H, W, 3) at the size of the network.

    `inputs` is the network's `input`, `degrade` is applied to L, (N, H, W, 1), before all else.
    Where "global_lightness" has a side of its own, L is resized on the device.
    """
    from keras import ops

    lightness = global_lightness = degrade(lightness_of(ops.convert_to_tensor(rgb))[..., None])
    side = inputs.get("global_lightness", lightness).shape[1]
    if side != lightness.shape[1]:
        options = {"antialias": True, "data_format": "channels_last"}
        global_lightness = ops.image.resize(lightness, (side, side), **options)
    return network_inputs(lightness, global_lightness, inputs)


def target(rgb, saturation, clip=False):
    """The target K: ab of the pictures, their HSV saturation times `saturation`, T.

    uint8 sRGB (N, H, W, 3) -> float32 tensor (N, H, W, 2), Lab units, -150..150. `clip` holds
    S' = T * S at 1; the authors' code does not.
    """
    from keras import ops

    srgb = to_float(ops.convert_to_tensor(rgb))
    return color.lab_from_srgb(color.boost_saturation(srgb, saturation, clip))[..., 1:]


def colorize(pixels, ab, saturation=1.0, gamut="chroma", guide=None):
    """Enlarge predicted ab to the size of its picture and join it to the picture's own lightness.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.
        ab: float32 (h, w, 2), Lab units, of any size; enlarged bilinearly.
        saturation: factor on ab.
        gamut: how colours outside sRGB are brought in: "chroma" reduces their chroma at fixed L and
            hue; "clip" clips R, G and B as the authors' scripts do.
        guide: picture of any size, as `pixels`, whose edges of L ab follows, by a local linear
            model of ab in L (fast guided filter, He and Sun 2015); None: it does not.

    Returns:
        sRGB (H, W, 3), of the type of `pixels`.
    """
    height, width = pixels.shape[:2]
    slope, offset = None, ab * np.float32(saturation)
    if guide is not None:
        slope, offset = _local_model(offset, lightness_of(resize(guide, *ab.shape[:2])))
    result = np.empty((height, width, 3), pixels.dtype)
    rows = max(1, STRIP_PIXELS // width)
    for start in range(0, height, rows):
        strip = slice(start, min(start + rows, height))
        lightness = lightness_of(pixels[strip])
        planes = enlarged(offset, strip, height, width)
        if guide is not None:
            slopes = enlarged(slope, strip, height, width)
            planes = [s * lightness + o for s, o in zip(slopes, planes)]
        if gamut == "chroma":
            planes = color.fit_gamut(lightness, *planes)
        linear = color.linear_from_lab(lightness, *planes)
        result[strip] = color.codes_from_linear(linear, pixels.dtype)
    return result


def enlarged(small, strip, height, width):
    """Rows `strip` of the two planes of (h, w, 2) enlarged bilinearly, pixel centres aligned."""
    place = (np.arange(strip.start, strip.stop) + 0.5) * len(small) / height - 0.5
    place = np.clip(place, 0, len(small) - 1)
    above = place.astype(int)
    below = np.minimum(above + 1, len(small) - 1)
    share = (place - above).astype(np.float32)[:, None, None]
    rows = small[above] * (1 - share) + small[below] * share
    planes = (np.ascontiguousarray(rows[..., i]) for i in range(2))
    return [cv2.resize(plane, (width, len(rows))) for plane in planes]  # bilinearly


def _local_model(ab, lightness):
    """(slope, offset), (h, w, 2) each, of ab as a linear function of L in windows of 5 x 5."""

    def mean(x):
        return cv2.blur(x, (5, 5), borderType=cv2.BORDER_REFLECT).reshape(*lightness.shape, -1)

    # 4: contrasts under 2 L are not followed
    variance = mean(lightness * lightness) - mean(lightness) ** 2 + 4.0
    slope = (mean(lightness[..., None] * ab) - mean(lightness) * mean(ab)) / variance
    return mean(slope), mean(mean(ab) - slope * mean(lightness))
