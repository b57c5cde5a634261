"""The file of a network: one `.keras` file holds all that colorizing needs. The one wall against hostile files."""

import hashlib
import inspect
import io
import json
import math
import zipfile
from pathlib import Path, PurePosixPath

import h5py
from keras import saving

from models import NETWORKS
from models.hdf5 import member, numbers, opened, text
from models.keras2 import is_keras2, load_keras2
from models.properties import MAX_SIDE, BadModel, check_metadata
from utils import atomic

METADATA = "colorizer.json"  # beside Keras' own members in the archive
# A file cannot ask for a network larger than these: of the largest, the weights take 0.7 GB.
MAX_WIDTH = 2  # and MAX_SIDE
UNPACKS = 8  # a member may be so many times as large as the whole file: trained weights hardly shrink at all


def save(path, network, weights, metadata):
    """Write a network to a `.keras` file that plain Keras loads too, on any backend, in safe mode; whole or not at all.

    Args:
        path: of the file, ending in .keras; overwritten.
        network: a key of NETWORKS.
        weights: arrays in the order of `get_weights()`.
        metadata: JSON-serialisable dict that travels in the file: "arguments" (of the network's `build`, without
            precision), "size" (side of the training pictures) and whatever else describes the training.
    """
    model = NETWORKS[network].build(
        **metadata["arguments"]
    )  # float32, whatever the precision of the training was
    model.set_weights(weights)
    with atomic(path) as temporary:
        saving.save_model(model, temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(METADATA, json.dumps({"network": network} | metadata, indent=1))


def load(path, precision="float32"):
    """Read a network that `save` wrote, or a whole-model HDF5 file of the authors' scripts (Keras 2).

    Only numbers are taken from the file: the network is built by this repository from the metadata's arguments, and nothing
    that the file describes is run. What the file holds is checked before memory is given to it. Where a
    checksum stands beside the file (`inference.publish`), the file must agree with it.

    Returns:
        (network, metadata): the keras.Model as `build` describes it, computing in `precision`, and the metadata.

    Raises:
        BadModel: the file is missing, damaged, hostile, or not of these kinds; the message is one line.
    """
    path = Path(path)
    if not path.is_file():
        raise BadModel(f"{path}: no such file")
    try:
        checksum = checksum_of(path)
        if (
            checksum.exists()
            and hashlib.sha256(path.read_bytes()).hexdigest() != checksum.read_text().split()[0]
        ):
            raise BadModel(
                f"its SHA-256 is not that in {checksum.name}: damaged, or not the file that was published"
            )
        if is_keras2(path):
            return load_keras2(path, precision, MAX_WIDTH)
        with zipfile.ZipFile(path) as archive:
            return _from_archive(archive, precision, limit=UNPACKS * path.stat().st_size)
    except BadModel as error:
        reason = str(error).removeprefix(f"{path}: ")
    except Exception as error:  # zipfile, json, h5py and Keras each have their own
        reason = f"not a network that train.py saved, or damaged ({str(error).strip() or type(error).__name__})"
    raise BadModel(
        f"{path}: {' '.join(reason.split())[:300]}"
    )  # names in it are the file's, and may be of any length


def checksum_of(path):
    """Where the SHA-256 of a published network stands."""
    return path.with_name(path.name + ".sha256")


def initial_weights(path, network, arguments):
    """The weights of a file for a new network of the same kind; those of a smaller one are enlarged.

    Args:
        path: of a file that `load` reads.
        network: a key of NETWORKS.
        arguments: of the new network's `build`. The file's may differ in what the network's module calls FREE.

    Returns:
        (arrays in the order of `get_weights()`, what the file's metadata says of its training).

    Raises:
        BadModel: as `load` does, or the file's network differs; the message is one line.
    """
    source, metadata = load(path)
    own, its = {"network": network} | arguments, {"network": source.name} | metadata["arguments"]
    module = NETWORKS[network]
    differ = [name for name in own if name not in module.FREE and its.get(name) != own[name]]
    if differ:
        raise BadModel(
            f"{path}: has {differ[0]} {its.get(differ[0])}, the new network {own[differ[0]]}"
        )
    try:
        return module.enlarge(source, arguments), metadata.get("training")
    except ValueError as error:
        raise BadModel(f"{path}: {error}") from error


def _from_archive(archive, precision, limit):
    metadata = json.loads(_unpacked(archive, METADATA, limit))
    _refuse_code(archive, json.loads(_unpacked(archive, "config.json", limit)))
    module, arguments, side = NETWORKS[metadata["network"]], metadata["arguments"], metadata["size"]
    if "whole" in arguments:  # its name until the first release
        arguments["global_size"] = arguments.pop("whole")
    _check_arguments(module.build, arguments)
    if type(side) is not int or side % 8 or not 8 <= side <= MAX_SIDE:
        raise BadModel(
            f"its metadata says size {side!r}, expected a multiple of 8 up to {MAX_SIDE}"
        )
    _check_training(metadata)
    stored = io.BytesIO(_unpacked(archive, "model.weights.h5", limit))
    model = module.build(**arguments, precision=precision)
    with opened(stored, "weights that Keras wrote") as file:
        _fill(model, _layers(file, set()))
    return model, metadata


def _unpacked(archive, name, limit):
    """The bytes of a member. Python unpacks "deflated" piece by piece, the other methods by any amount at once."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadModel(
            f"{name} is packed by method {info.compress_type}, only stored and deflated are read"
        )
    if info.file_size > limit:
        raise BadModel(
            f"{name} would unpack to {info.file_size:,} bytes, the limit for this file is {limit:,}"
        )
    with archive.open(info) as file:
        return file.read(
            info.file_size
        )  # not read(): that unpacks all there is before it looks at the size


def _refuse_code(archive, description):
    """Keras' description of the network is not used here; one that asks for more than Keras' own layers is a trap."""
    for name in archive.namelist():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BadModel(f"it holds {name!r}, a path that leads out of the archive")
    waiting = [description]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            kind, source = item.get("class_name"), item.get("module") or "keras"
            if (
                kind in ("Lambda", "__lambda__", "function")
                or str(source).partition(".")[0] != "keras"
            ):
                raise BadModel(f"its description asks to run code of its own ({source}.{kind})")
        waiting += (
            item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        )


def _check_arguments(build, arguments):
    """Arguments are of the kinds that `build` has as defaults, and in a range that makes a network of a usual size."""
    defaults = {
        name: p.default
        for name, p in inspect.signature(build).parameters.items()
        if name != "precision"
    }
    for name, value in arguments.items():
        kind, own = type(defaults.get(name)), type(value)
        fits = own is kind or (kind is float and own is int)
        if name not in defaults or not fits or (own is float and not math.isfinite(value)):
            raise BadModel(f"its metadata says {name} {value!r}, which the network does not take")
    width, global_size = arguments.get("width", 1), arguments.get("global_size", 256)
    if not 0 < width <= MAX_WIDTH:
        raise BadModel(f"its metadata says width {width}, expected up to {MAX_WIDTH}")
    if not 0 < global_size <= MAX_SIDE or global_size % 8:
        raise BadModel(
            f"its metadata says global_size {global_size}, expected a multiple of 8 up to {MAX_SIDE}"
        )


def _check_training(metadata):
    """What the metadata says of training and colorizing has the types that train.py and `inference.publish` write."""
    check_metadata(metadata)
    training = metadata.get("training")
    while training is not None:
        kinds = {"pictures": int, "clip_saturation": bool}
        if type(training) is not dict or any(
            type(training.get(name, kind())) is not kind for name, kind in kinds.items()
        ):
            raise BadModel("what its metadata says of the training is not what train.py writes")
        training = training.get("before")


def _layers(group, seen):
    """{layer's name: its datasets} of everything below a group of Keras' weights; nothing is read yet."""
    found = {}
    for name in group:
        inner = member(group, name, h5py.Group)
        if name == "vars" and len(inner):
            found[text(inner.attrs["name"])] = [
                member(inner, str(i), h5py.Dataset) for i in range(len(inner))
            ]
        elif (address := h5py.h5o.get_info(inner.id).addr) not in seen:  # a group may hold itself
            seen.add(address)
            found |= _layers(inner, seen)
    return found


def _fill(model, layers):
    """Put a file's numbers, by layer, into a model with just these layers."""
    variables = {}
    for variable in model.variables:
        variables.setdefault(variable.path.rpartition("/")[0], []).append(variable)
    if missing := variables.keys() ^ layers.keys():
        raise BadModel(
            f"layer {min(missing)} is not in both the file and the network that its metadata describes"
        )
    for name, own in variables.items():
        shapes, expected = (
            [dataset.shape for dataset in layers[name]],
            [tuple(v.shape) for v in own],
        )
        if shapes != expected:
            raise BadModel(
                f"layer {name}: the weights have the shapes {shapes}, expected {expected}"
            )
    for name, own in variables.items():
        for variable, dataset in zip(own, layers[name]):
            variable.assign(numbers(dataset))
