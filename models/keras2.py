"""Read a whole-model HDF5 file of the authors' scripts (Keras 2), with or without edges.

Keras reads it; layers are then found by how they are joined, since their names are counters.
"""

import json

import h5py
import keras
import numpy as np

from models import aciids2020
from models.properties import BadModel

BRANCHES = {  # by the order of the layers that have weights
    "lfn": [f"lfn_conv{i}" for i in range(1, 7)],
    "cn": [f"cn_conv{i}" for i in range(1, 11)] + ["cn_dense1", "cn_dense2"],
    "edn": [f"edn_conv{i}" for i in range(1, 4)],
}
COLOR = ["fusion_conv"] + [f"color_conv{i}" for i in range(1, 6)]
# All that the description may ask Keras to make, and the largest numbers in it
CLASSES = {
    *("Model", "Functional", "InputLayer", "Conv2D", "Dense", "Flatten", "Concatenate"),
    *("Reshape", "RepeatVector", "UpSampling2D"),
    *("GlorotUniform", "RandomUniform", "VarianceScaling", "Zeros"),
}
MAX_NUMBER, MAX_KERNEL = 1500, 3


def load_keras2(path, precision):
    """(network, metadata) as `models.file.load` gives them. `path` ends in .h5 or .hdf5.

    Raises:
        BadModel: the file holds another network. What Keras and h5py raise for a damaged file.
    """
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise BadModel("it holds weights alone: save the whole model with model.save()")
        json.loads(file.attrs["model_config"], object_hook=_check_layer, parse_int=_check_number)
    source = keras.models.load_model(path, compile=False)
    layers, join = _chain(source.outputs[0])
    by_length = {len(names): branch for branch, names in BRANCHES.items()}
    branches, inputs = {}, {}
    for tensor in _inputs(join):
        chain, first = _chain(tensor)
        branch = by_length.get(len(chain))
        branches[branch], inputs[branch] = chain, first.output
    if len(layers) != len(COLOR) or branches.keys() not in ({*BRANCHES}, {"lfn", "cn"}):
        raise BadModel("its layers are not those of the paper's network")
    weights = {
        name: layer.get_weights()
        for names, chain in [(COLOR, layers)] + [(BRANCHES[b], branches[b]) for b in branches]
        for name, layer in zip(names, chain)
    }

    # `build` has the 1x1 kernel over LFN, CN and EDN in two parts
    kernel, bias = weights["fusion_conv"]
    ends = np.cumsum([chain[-1].get_weights()[1].size for chain in branches.values()])
    rows = dict(zip(branches, np.split(kernel, ends[:-1], axis=2)))
    places = [rows[branch] for branch in ("lfn", "edn") if branch in rows]
    weights["fusion_conv"] = [np.concatenate(places, axis=2), bias]
    weights["fusion_cn"] = [rows["cn"][0, 0]]

    arguments = {"edges": "edn" in branches, "width": len(weights["lfn_conv1"][1]) / 64}
    network = aciids2020.build(**arguments, precision=precision)
    for name, arrays in weights.items():
        network.get_layer(name).set_weights(arrays)
    exact = aciids2020.build(**arguments)
    exact.set_weights(network.get_weights())
    _compare(source, exact, inputs.get("edn"))
    arguments |= {"global_size": 256, "input_scale": 1.0, "input_offset": 0.0}
    metadata = {"network": "aciids2020", "arguments": arguments, "size": 256}
    return network, metadata | {"training": {"by": "Keras 2"}}


def _check_layer(item):
    if item.get("class_name", "Model") not in CLASSES:
        raise BadModel(f"it asks for {item['class_name']!r}, which the paper's network has not")
    if max(item.get("kernel_size", [1])) > MAX_KERNEL:
        raise BadModel(f"it has a kernel of {item['kernel_size']}")
    return item


def _check_number(text):
    if abs(int(text)) > MAX_NUMBER:
        raise BadModel(f"its description says {text}, the limit is {MAX_NUMBER}")
    return int(text)


def _chain(tensor):
    """(the layers with weights that end in a tensor, the Concatenate or input before them)."""
    layers, layer = [], tensor._keras_history.operation
    while isinstance(layer.input, keras.KerasTensor) and layer.input is not layer.output:
        layers = [layer] * bool(layer.weights) + layers
        layer = layer.input._keras_history.operation
    return layers, layer


def _inputs(join):
    """The tensors that a Concatenate joins, in order; of a Concatenate among them, its own."""
    for tensor in join.input if isinstance(join, keras.layers.Concatenate) else []:
        source = tensor._keras_history.operation
        yield from _inputs(source) if isinstance(source, keras.layers.Concatenate) else [tensor]


def _compare(source, network, edge_input):
    """Raise BadModel unless two networks give the same ab for one input: strides, activations."""
    lightness = np.linspace(0, 100, 256**2, dtype="float32").reshape(1, 256, 256, 1)
    edges = np.random.default_rng(0).integers(0, 2, lightness.shape).astype("float32")
    views = {"lightness": lightness, "global_lightness": lightness, "edges": edges}
    found = network.predict_on_batch({name: views[name] for name in network.input}) / 128
    given = [edges if tensor is edge_input else lightness for tensor in source.inputs]
    (expected,) = keras.tree.flatten(source.predict_on_batch(given))
    if found.shape != expected.shape or not np.abs(found - expected).max() < 1e-3:
        raise BadModel("its layers are not those of the paper's network")
