"""The state of a run on disk: written as a unit, checked when read, the one before kept."""

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

    The file is the SHA-256 of the rest, then an .npz of the `arrays` of `state_of` and of the dict
    `progress` as JSON.
    """
    flat = {f"{kind}/{i}": a for kind, group in arrays.items() for i, a in enumerate(group)}
    flat["progress"] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **flat)
    last, previous = (Path(folder, name) for name in NAMES)
    with atomic(last, flush=True) as temporary:
        with open(temporary, "wb") as file:
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())
        if last.exists():
            os.replace(last, previous)


def read(folder):
    """The newest undamaged checkpoint: (arrays, progress or None twice, names of damaged files)."""
    damaged = []
    for path in (Path(folder, name) for name in NAMES):
        if not path.exists():
            continue
        content = path.read_bytes()
        body = memoryview(content)[32:]
        if hashlib.sha256(body).digest() != content[:32]:
            damaged.append(str(path))
            continue
        arrays = {}
        with np.load(io.BytesIO(body)) as file:
            for key in file.files:
                arrays.setdefault(key.partition("/")[0], []).append(file[key])
        (progress,) = arrays.pop("progress")
        return arrays, json.loads(progress.tobytes()), damaged
    return None, None, damaged


def _variables_of(model):
    """{kind: variables} of a compiled TrainingModel, all that a step changes."""
    return {
        "weights": model.trained.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
        "seeds": [model.seeds.state],
    }


def state_of(model):
    """The values of all that a step changes in a compiled TrainingModel, {kind: arrays}."""
    to_numpy = keras.ops.convert_to_numpy
    return {kind: [to_numpy(v) for v in found] for kind, found in _variables_of(model).items()}


def restore(folder, model):
    """Give a compiled TrainingModel the state of the newest undamaged checkpoint.

    Returns its progress with "means", the state of the metrics; None if there is no checkpoint yet.
    Raises RunError if all are damaged, or it is of another model.
    """
    arrays, progress, damaged = read(folder)
    for name in damaged:
        print(f"train.py: {name} is damaged and not used", file=sys.stderr)
    if progress is None:
        if damaged:
            raise RunError(f"all checkpoints in {folder} are damaged: use another --run")
        return None
    for kind, variables in _variables_of(model).items():
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays.get(kind, [])]:
            raise RunError(f"the checkpoint in {folder} is of another network: use another --run")
        for variable, array in zip(variables, arrays[kind]):
            variable.assign(array)
    return progress | {"means": arrays["metrics"]}
