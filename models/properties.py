"""What the file of a network says about colorizing: keys, limits and defaults."""

import math

from configs import SIZE_STEPS

# Of the metadata, in ONNX files too
EXPORTED_KEYS = ("network", "sizes", "mirror", "colorize_saturation", "saturations")
MAX_SIZE = 1024  # of the squares that a network sees


class BadModel(ValueError):
    """A model file that cannot be used; one line with the file and the reason."""


def size_step(metadata):
    """The sides of the squares that a network sees are multiples of this."""
    return SIZE_STEPS.get(metadata.get("network"), 8)


def check_metadata(metadata):
    """Raise BadModel if a value is not of the type and range that train.py and publish write."""
    step = size_step(metadata)

    def is_size(value):
        return type(value) is int and value % step == 0 and 0 < value <= MAX_SIZE

    def is_factor(value):
        return type(value) in (int, float) and 0 <= value < math.inf

    sizes, factor = f"multiples of {step} up to {MAX_SIZE}", "a number from 0"
    for name, is_valid, expected in (
        ("size", is_size, sizes),
        ("sizes", lambda v: type(v) is list and v and all(map(is_size, v)), sizes),
        ("mirror", lambda v: type(v) is bool, "true or false"),
        ("training", lambda v: type(v) is dict, "what train.py writes"),
        ("saturation", is_factor, factor),
        ("colorize_saturation", is_factor, factor),
        ("saturations", lambda v: type(v) is dict and all(map(is_factor, v.values())), factor),
    ):
        if name in metadata and not is_valid(metadata[name]):
            raise BadModel(f"its metadata says {name} {metadata[name]!r:.80}, expected {expected}")


def sizes_of(metadata, asked=None):
    """The sides of the squares that the network sees: those asked for, or what its file says.

    Raises ValueError for a size that the network does not take.
    """
    step = size_step(metadata)
    if wrong := [size for size in asked or () if size % step]:
        raise ValueError(f"size {wrong[0]}: this network takes multiples of {step}")
    return asked or metadata.get("sizes") or [metadata["size"]]


def mirror_of(metadata, asked=None):
    """Whether ab is averaged with that of the mirror image: as asked for, or as the file says."""
    return metadata.get("mirror", False) if asked is None else asked


def factor_of(saturation, metadata):
    """The factor on ab: a number from 0 to 10, a name of "saturations", or None, the default.

    Raises ValueError for another name or number.
    """
    if saturation is None:
        return metadata.get("colorize_saturation", 1.0)
    if isinstance(saturation, str):
        named = metadata.get("saturations", {})
        if saturation not in named:
            names = ", ".join(named) or "none"
            raise ValueError(f"saturation {saturation!r}: this model has the names: {names}")
        return named[saturation]
    if not 0 <= saturation <= 10:  # NaN fails too
        raise ValueError(f"saturation {saturation}: expected a number from 0 to 10")
    return saturation
