"""The file of a network: a `.keras` archive of the weights and all that colorizing needs.

A file from the internet is data: the network is built from the arguments in the metadata, and what
the file describes is never built or run.
"""

import hashlib
import inspect
import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from models import NETWORKS
from models.keras2 import load_keras2
from models.properties import MAX_SIZE, BadModel, check_metadata
from utils import atomic

METADATA = "colorizer.json"  # beside Keras' own members in the archive
WEIGHTS = "model.weights.h5"
MARGIN = 2**22  # bytes: the most for the metadata, and for what HDF5 adds to the weights
LIMITS = {"width": 2, "global_size": MAX_SIZE}  # of `build`: the largest network takes 0.7 GB


def save(path, network, weights, metadata):
    """Write a network, a key of NETWORKS, to a `.keras` file, which plain Keras loads too.

    Args:
        weights: arrays in the order of `get_weights()`.
        metadata: JSON-serialisable dict: "arguments" (of `build`, without precision), "size" (side
            of the training pictures in pixels), and what `models.properties` reads.
    """
    model = NETWORKS[network].build(**metadata["arguments"])  # float32, as the file
    model.set_weights(weights)
    with atomic(path, flush=True) as temporary:
        keras.saving.save_model(model, temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(METADATA, json.dumps({"network": network} | metadata, indent=1))


def load(path, precision="float32"):
    """Read a network that `save` wrote, or a whole-model HDF5 file of the authors' scripts.

    Returns:
        (network, metadata): the keras.Model of the module's `build`, which computes in `precision`.

    Raises:
        BadModel: the file is missing, damaged, of another kind, or differs from the checksum beside
            it (of `inference.publish`); the message is one line.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise BadModel("no such file")
        checksum = checksum_of(path)
        if checksum.exists() and checksum.read_text().split()[0] != sha256(path):
            raise BadModel(f"damaged: its SHA-256 is not that in {checksum.name}")
        network, metadata = (load_keras2 if h5py.is_hdf5(path) else _load)(path, precision)
        if not all(np.isfinite(array).all() for array in network.get_weights()):
            raise BadModel("not all of its weights are finite")
        return network, metadata
    except Exception as error:  # zipfile, json, h5py and Keras each have their own
        reason = str(error).strip() or type(error).__name__
        if not isinstance(error, BadModel):
            reason = f"not a network that train.py saved, or damaged ({reason})"
    raise BadModel(f"{path}: {' '.join(reason.split())[:300]}")  # it may quote the file at length


def initial_weights(config):
    """The weights of the file `init_from` for the network of a configs.Config.

    Returns (arrays in the order of `get_weights()`, the metadata's "training" or None). Raises
    BadModel as `load` does, or if more than RESIZABLE_ARGUMENTS differ.
    """
    path, module = config.init_from, NETWORKS[config.network]
    source, metadata = load(path)
    arguments = module.arguments(config)
    new = {"network": config.network} | arguments
    old = {"network": source.name} | metadata["arguments"]
    for name in new:
        if name not in module.RESIZABLE_ARGUMENTS and old.get(name) != new[name]:
            raise BadModel(f"{path}: has {name} {old.get(name)}, the new network {new[name]}")
    try:
        weights = module.enlarge(source, arguments) if module.enlarge else source.get_weights()
    except ValueError as error:
        raise BadModel(f"{path}: {error}") from error
    return weights, metadata.get("training")


def checksum_of(path):
    """Where the SHA-256 of a published network stands."""
    return path.with_name(path.name + ".sha256")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(path, precision):
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        metadata = json.loads(_member(archive, METADATA, MARGIN))
        build = NETWORKS[metadata["network"]].build
        check_metadata({"size": None} | metadata)
        _check_arguments(build, metadata["arguments"])
        network = build(**metadata["arguments"], precision=precision)
        limit = 4 * network.count_params() + MARGIN
        weights = Path(folder, WEIGHTS)  # Keras reads it 70 times faster than inside the archive
        weights.write_bytes(_member(archive, WEIGHTS, limit))
        with h5py.File(weights) as file:  # Keras refuses arrays above 4 GiB only
            sizes = [0]
            file.visititems(lambda name, item: sizes.append(getattr(item, "nbytes", 0)))
        if max(sizes) > limit:
            raise BadModel(f"an array would take {max(sizes):,} bytes, the limit is {limit:,}")
        with warnings.catch_warnings(action="ignore"):  # an error follows
            network.load_weights(weights)
    return network, metadata


def _member(archive, name, limit):
    """The bytes of a member. Python bounds what it unpacks at a time for deflated ones alone."""
    info = archive.getinfo(name)
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if info.file_size > limit or info.compress_type not in methods:
        raise BadModel(f"{name} would take {info.file_size:,} bytes, or is not deflated")
    with archive.open(info) as file:
        return file.read(info.file_size)


def _check_arguments(build, arguments):
    """Each argument is of the type of its default in `build` and within LIMITS."""
    kinds = {name: type(p.default) for name, p in inspect.signature(build).parameters.items()}
    del kinds["precision"]
    for name, value in arguments.items():
        kind = kinds.get(name)
        valid = type(value) is kind or (type(value), kind) == (int, float)
        if valid and kind in (int, float):
            valid = abs(value) <= LIMITS.get(name, 1e6)  # NaN fails too
        if not valid:
            raise BadModel(f"its metadata says {name} {value!r}, which the network does not take")
