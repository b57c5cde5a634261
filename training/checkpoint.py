"""The state of a training run on disk: written whole or not at all, checked when read, the one before kept."""

import hashlib
import io
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np

from training.run import RunError
from utils import atomic

NAMES = ("last.checkpoint", "previous.checkpoint")


def write(folder, arrays, progress):
    """Write a checkpoint; the last one becomes the previous one.

    The file is the SHA-256 of the rest, then an uncompressed .npz of the arrays and of `progress` as JSON.

    Args:
        folder: that exists.
        arrays: dict of lists of numpy arrays, such as {"weights": [...], "optimizer": [...]}.
        progress: JSON-serialisable dict.
    """
    flat = {
        f"{group}/{i}": array
        for group, members in arrays.items()
        for i, array in enumerate(members)
    }
    buffer = io.BytesIO()
    np.savez(buffer, progress=np.frombuffer(json.dumps(progress).encode(), np.uint8), **flat)
    last, previous = (Path(folder, name) for name in NAMES)
    with atomic(last) as temporary:
        with open(temporary, "wb") as file:
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if last.exists():
            os.replace(last, previous)


def read(folder):
    """The newest sound checkpoint of a folder.

    Returns:
        (arrays, progress, refused): what `write` was given, and the names of the damaged files that were passed over.
        None in place of the first two if there is no sound one.
    """
    refused = []
    for name in NAMES:
        path = Path(folder, name)
        if not path.exists():
            continue
        content = path.read_bytes()
        digest, body = content[:32], memoryview(content)[32:]
        if hashlib.sha256(body).digest() != digest:
            refused.append(str(path))
            continue
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            arrays = {}
            for key in file.files:
                if key != "progress":
                    arrays.setdefault(key.partition("/")[0], []).append(file[key])
            return arrays, json.loads(file["progress"].tobytes()), refused
    return None, None, refused


def state_of(model):
    """All numbers of a compiled TrainingModel that a step changes, as lists of arrays by kind: what `write` takes."""
    return {
        kind: [keras.ops.convert_to_numpy(v) for v in variables]
        for kind, variables in variables_of(model).items()
    }


def variables_of(model):
    """The variables that a step changes, of a compiled TrainingModel, as lists by kind."""
    return {
        "weights": model.trained.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables,
        "seeds": [model.seeds.state],
    }  # fmt: skip


def restore(folder, model):
    """Give a compiled TrainingModel the state of the newest sound checkpoint.

    Returns:
        Its progress with "means", the state of the metrics; None if there is no checkpoint yet.

    Raises:
        RunError: no checkpoint is sound, or it is of another model; the message is one line.
    """
    arrays, progress, refused = read(folder)
    for name in refused:
        print(f"train.py: {name} is damaged and not used", file=sys.stderr)
    if progress is None:
        if refused:
            raise RunError(f"no sound checkpoint in {folder}: start again with another --run")
        return None
    for kind, variables in variables_of(model).items():
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays.get(kind, [])]:
            raise RunError(
                f"the checkpoint in {folder} is of another network than its config.json: start anew with another --run"
            )
        for variable, array in zip(variables, arrays[kind]):
            variable.assign(array)
    return progress | {"means": arrays["metrics"]}
