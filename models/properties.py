"""What the file of a network says of colorizing, and what is wrong with a file."""

import math

TOLD = ("mirror", "colorize_saturation", "saturations")  # what an exported file repeats
MAX_SIDE = 1024  # of the squares that a network sees


class BadModel(ValueError):
    """A model file that cannot be used. The message is one line that names the file and says why."""


def check_metadata(metadata):
    """BadModel if what a file says of colorizing has not the types that train.py and `inference.publish` write."""
    factors = {name: metadata.get(name, 1) for name in ("saturation", "colorize_saturation")}
    named = metadata.get("saturations", {})
    if type(named) is not dict:
        raise BadModel(f"its metadata says saturations {named!r:.80}, expected names and numbers")
    if type(metadata.get("mirror", False)) is not bool:
        raise BadModel(
            f"its metadata says mirror {metadata['mirror']!r:.80}, expected true or false"
        )
    sizes = metadata.get("sizes", [8])
    if (
        type(sizes) is not list
        or not sizes
        or any(type(n) is not int or n % 8 or not 8 <= n <= MAX_SIDE for n in sizes)
    ):
        raise BadModel(
            f"its metadata says sizes {sizes!r:.80}, expected multiples of 8 up to {MAX_SIDE}"
        )
    for name, value in {**named, **factors}.items():
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise BadModel(f"its metadata says {name} {value!r}, expected a number from 0 up")


def sizes_of(metadata, asked=None):
    """The sides of the squares that the network is to see of a picture: those asked for, or what its file says."""
    return asked or metadata.get("sizes") or [metadata["size"]]


def mirror_of(metadata, asked=None):
    """Whether the mirror image of a picture is colorized too: as asked for, or as its file says.

    Raises:
        ValueError: a network that was exported with mirror images is asked to do without.
    """
    own = metadata.get("mirror", False)
    if asked is False and own and metadata.get("exported"):
        raise ValueError("the network was exported with mirror images and cannot do without")
    return own if asked is None else asked


def factor_of(saturation, metadata):
    """The factor on ab that a saturation means: a number, a name of the file's "saturations", or None, the file's default.

    Raises:
        ValueError: a name that the file does not bring, or a number outside 0..10.
    """
    if saturation is None:
        return metadata.get("colorize_saturation", 1.0)
    named = metadata.get("saturations", {})
    if isinstance(saturation, str):
        if saturation not in named:
            raise ValueError(
                f"saturation {saturation!r}: the names that this model brings are: {', '.join(named) or 'none'}"
            )
        return named[saturation]
    if not 0 <= saturation <= 10:  # NaN fails too
        raise ValueError(f"saturation {saturation}: expected a number from 0 to 10")
    return saturation
