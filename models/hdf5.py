"""Numbers out of an HDF5 file that nobody vouches for: what lies in the file itself, is whole, and is finite.

HDF5 can point to other files, declare more numbers than it holds, and run filters over them. None of that is followed.
"""

import contextlib

import h5py
import numpy as np

from models.properties import BadModel


@contextlib.contextmanager
def opened(stream, kind):
    """The h5py.File in a binary stream. Whatever damage shows itself inside becomes BadModel: "damaged, or not `kind`"."""
    try:
        with h5py.File(stream, "r") as file:
            yield file
    except BadModel:
        raise
    # A damaged file shows itself in any of these, from HDF5 as from a layout that is not what Keras writes.
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        MemoryError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise BadModel(f"damaged, or not {kind} ({type(error).__name__}: {reason})") from error


def member(group, path, kind):
    """The group or dataset at `path` below `group`. Only hard links are followed: others can lead to other files."""
    for part in path.split("/"):
        links = group.id.links
        if not links.exists(part.encode()):
            raise BadModel(f"{group.name} has no {part!r}")
        if links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise BadModel(f"{part!r} in {group.name} is a link, which is not followed")
        group = group[part]
    if not isinstance(group, kind):
        raise BadModel(f"{group.name} is no {kind.__name__.lower()}")
    return group


def numbers(dataset):
    """The values of a dataset as float32, in the shape it declares. Keras writes them in one plain piece."""
    layout = dataset.id.get_create_plist()
    stored = (
        layout.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
        and not layout.get_external_count()
    )
    if not stored or dataset.id.get_storage_size() < dataset.nbytes:
        raise BadModel(f"{dataset.name}: its values are not in the file, or not in one piece")
    if dataset.dtype.kind != "f":
        raise BadModel(f"{dataset.name}: its values are no floating-point numbers")
    values = dataset[()].astype("float32")
    if not np.isfinite(values).all():
        raise BadModel(f"{dataset.name}: not all of its values are finite numbers")
    return values


def text(value):
    """An HDF5 string attribute, which h5py gives as bytes or str by how it was written."""
    return value if isinstance(value, str) else bytes(value).decode()
