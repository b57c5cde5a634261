"""What computes ab: a network in Keras or an ONNX file in ONNX Runtime, chosen by the file. Both are used alike:

engine.views(pixels)   what the network sees of a picture, see `views_of`
engine.ab(views)       a list of them -> float32 (n, h, w, 2), Lab units, before the last enlarging
engine.batch           pictures at a time
"""

from data.preprocess import lightness_of, resize


def views_of(pixels, sides):
    """What a network sees of a picture.

    Args:
        pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.
        sides: {input of the network: side of the square that it takes}.

    Returns:
        {input: L, 0..100, float32 (side, side, 1)}.
    """
    small = {side: lightness_of(resize(pixels, side, side))[..., None] for side in set(sides.values())}
    return {name: small[side] for name, side in sides.items()}
