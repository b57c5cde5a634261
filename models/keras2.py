"""Read a whole-model HDF5 file of the authors' scripts (Keras 2), with or without edges.

Keras reads it; layers are then found by how they are joined, since their names are counters.
"""

import json

import h5py
import keras
import numpy as np

from models import aciids2020
from models.properties import BadModel

COLOR = ["fusion_conv", *(f"color_conv{i}" for i in range(1, 6))]
BRANCHES = {  # by the number of layers that have weights
    6: [f"lfn_conv{i}" for i in range(1, 7)],
    12: [*(f"cn_conv{i}" for i in range(1, 11)), "cn_dense1", "cn_dense2"],
    3: [f"edn_conv{i}" for i in range(1, 4)],
}
# What the description may ask Keras to make, and the largest number in it
CLASSES = {"Model", "Functional", "InputLayer", "Conv2D", "Dense", "Flatten", "Concatenate"}
CLASSES |= {"Reshape", "RepeatVector", "UpSampling2D"}
CLASSES |= {"GlorotUniform", "RandomUniform", "VarianceScaling", "Zeros"}
MAX_NUMBER = 1500


def load_keras2(path, precision):
    """(network, metadata) as `models.file.load` gives them. `path` ends in .h5 or .hdf5.

    Raises BadModel for another network, and what Keras and h5py raise for a damaged file.
    """
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise BadModel("it holds weights alone: save the whole model with model.save()")
        json.loads(file.attrs["model_config"], object_hook=_check_layer, parse_int=_check_number)
    source = keras.models.load_model(path, compile=False)
    color, join = _chain(source.outputs[0])
    branches = {len(chain): chain for chain, _ in map(_chain, _joined(join))}
    names = [COLOR, *(BRANCHES.get(count, []) for count in branches)]
    weights = {}
    for own, chain in zip(names, [color, *branches.values()]):
        weights |= zip(own, (layer.get_weights() for layer in chain))
    # `build` has the 1x1 kernel over LFN, CN and EDN in two parts
    kernel, bias = weights["fusion_conv"]
    ends = np.cumsum([chain[-1].get_weights()[1].size for chain in branches.values()])
    rows = dict(zip(branches, np.split(kernel, ends[:-1], axis=2)))
    weights["fusion_cn"] = [rows.pop(12)[0, 0]]
    weights["fusion_conv"] = [np.concatenate([rows[n] for n in (6, 3) if n in rows], axis=2), bias]

    arguments = {"edges": 3 in rows, "width": len(weights["lfn_conv1"][1]) / 64}
    exact = aciids2020.build(**arguments)
    for name, arrays in weights.items():
        exact.get_layer(name).set_weights(arrays)
    # One input for both finds other strides and activations, and layers that were left out
    picture = np.random.default_rng(0).uniform(0, 100, (1, 256, 256, 1)).astype("float32")
    found = exact.predict_on_batch(dict.fromkeys(exact.input, picture)) / aciids2020.AB_SCALE
    (expected,) = keras.tree.flatten(source.predict_on_batch([picture] * len(source.inputs)))
    if found.shape != expected.shape or not np.abs(found - expected).max() < 1e-3:
        raise BadModel("its layers are not those of the paper's network")

    network = aciids2020.build(**arguments, precision=precision)
    network.set_weights(exact.get_weights())
    arguments |= {"global_size": 256, "input_scale": 1.0, "input_offset": 0.0}
    metadata = {"network": "aciids2020", "arguments": arguments, "size": 256}
    return network, metadata | {"training": {"by": "Keras 2"}}


def _check_layer(item):
    if item.get("class_name", "Model") not in CLASSES:
        raise BadModel(f"it asks for {item['class_name']!r}, which the paper's network has not")
    return item


def _check_number(text):
    if abs(number := int(text)) > MAX_NUMBER:
        raise BadModel(f"its description says {text}, the limit is {MAX_NUMBER}")
    return number


def _chain(tensor):
    """(the layers with weights that end in a tensor, the input or Concatenate before them)."""
    layers, layer = [], tensor._keras_history.operation
    while not isinstance(layer, (keras.layers.InputLayer, keras.layers.Concatenate)):
        layers = [layer] * bool(layer.weights) + layers
        layer = layer.input._keras_history.operation
    return layers, layer


def _joined(join):
    """The tensors that a Concatenate joins, in order; of a Concatenate among them, its own."""
    for tensor in join.input:
        source = tensor._keras_history.operation
        yield from _joined(source) if isinstance(source, keras.layers.Concatenate) else [tensor]
