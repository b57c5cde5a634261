"""The file of a network: a `.keras` archive of the weights and all that colorizing needs.

The network is built from the arguments in the metadata: what the file describes never runs.
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
LIMITS = {"width": 2, "global_size": MAX_SIZE}  # of `build`; the largest network takes 0.7 GB


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
        (the keras.Model of the module's `build`, which computes in `precision`; metadata)

    Raises:
        BadModel: the file is missing, damaged, of another kind, or differs from the checksum beside
            it (of `inference.publish`); one line.
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
    """(weights from the file `init_from` of a configs.Config, the metadata's "training" or None).

    Raises BadModel as `load` does, or if more than RESIZABLE_ARGUMENTS differ.
    """
    path, module = config.init_from, NETWORKS[config.network]
    source, metadata = load(path)
    arguments = module.arguments(config)
    old = metadata["arguments"] | {"network": source.name}
    for name, new in ({"network": config.network} | arguments).items():
        if name not in module.RESIZABLE_ARGUMENTS and old.get(name) != new:
            raise BadModel(f"{path}: has {name} {old.get(name)}, the new network {new}")
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
        weights = Path(folder, WEIGHTS)  # Keras reads it 70 times faster than inside the archive
        weights.write_bytes(_member(archive, WEIGHTS, 4 * network.count_params() + MARGIN))
        with warnings.catch_warnings(action="ignore"):  # an error follows
            network.load_weights(weights)
    return network, metadata


def _member(archive, name, limit):
    size, compression = archive.getinfo(name).file_size, archive.getinfo(name).compress_type
    # zipfile bounds what it unpacks for these two alone
    if size > limit or compression not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadModel(f"{name} would take {size:,} bytes, or is not deflated")
    with archive.open(name) as file:
        return file.read(size)


def _check_arguments(build, arguments):
    """Each argument is of the type of its default in `build` and within LIMITS."""
    kinds = {name: type(p.default) for name, p in inspect.signature(build).parameters.items()}
    del kinds["precision"]
    for name, value in arguments.items():
        valid = type(value) is kinds.get(name)
        if valid and type(value) in (int, float):
            valid = abs(value) <= LIMITS.get(name, 1e6)  # NaN fails too
        if not valid:
            raise BadModel(f"its metadata says {name} {value!r}, which the network does not take")
