"""The paper's network out of a whole-model HDF5 file of Keras 2, as the authors' `model.save("x.h5")` wrote it.

The file is data. It is read with h5py and json, Keras never sees it: nothing in it can run (of a Lambda layer only the
name is read), and no link out of it is followed. The layers are found by how they are joined, as their names depend on
what else the Python process had made. The network without edge detection, the
authors' ablation, is read too; any other is refused: it would colour wrongly.
"""

import json
from collections import Counter
from typing import NamedTuple

import h5py
import numpy as np

from models import aciids2020
from models.hdf5 import member, numbers, opened, text
from models.properties import BadModel


class _Layer(NamedTuple):
    kind: str  # Keras' class name
    name: str
    config: dict
    sources: list[str]  # the layers whose outputs it takes, in order


# What each step of the network must be, in the terms of a Keras 2 layer's config. A key that the file's config lacks
# was unknown to the release that wrote it (`groups`, `interpolation`), and is then at the value given here.
def _conv(stride=1, kernel=3, activation="relu"):
    return "Conv2D", {
        "kernel_size": [kernel, kernel],
        "strides": [stride, stride],
        "activation": activation,
        "padding": "same",
        "dilation_rate": [1, 1],
        "groups": 1,
        "use_bias": True,
        "data_format": "channels_last",
    }


_FLATTEN = "Flatten", {"data_format": "channels_last"}
_DENSE = "Dense", {"activation": "linear", "use_bias": True}
_UP = "UpSampling2D", {"size": [2, 2], "interpolation": "nearest", "data_format": "channels_last"}

_LFN = [_conv(2), _conv(), _conv(2), _conv(2), _conv(), _conv()]
_BRANCHES = {
    "lfn": _LFN,
    "cn": [*_LFN, _conv(), _conv(), _conv(), _conv(), _FLATTEN, _DENSE, _DENSE],
    "edn": [_conv(2), _conv(2), _conv(2)],
}
_COLOR = [
    _conv(kernel=1),
    _conv(),
    _UP,
    _conv(),
    _UP,
    _conv(),
    _conv(),
    _conv(activation="tanh"),
    _UP,
]
_BRANCH_BY_CONVOLUTIONS = {6: "lfn", 10: "cn", 3: "edn"}
# What may stand between CN's vector and the concatenation. However it is written, it repeats the vector at every place.
_REPEAT = {"RepeatVector", "Reshape", "UpSampling2D", "Lambda", "TFOpLambda", "TensorFlowOpLayer"}


def is_keras2(path) -> bool:
    """Whether a file is HDF5, as Keras 2 writes, by its first bytes; `read_keras2` says whether it is of use."""
    return h5py.is_hdf5(path)


def read_keras2(path) -> dict[str, list[np.ndarray]]:
    """The weights for `models.aciids2020.build()`, in float32: layer name -> arrays as for `set_weights`.

    The arrays of a layer are [kernel, bias]. The 1x1 fusion kernel over LFN, CN and EDN is split as `build` has it:
    "fusion_conv" keeps the rows of LFN and, where there is one, EDN, and the bias, "fusion_cn" is [the rows of CN].
    Widths are the file's.

    Raises:
        BadModel: not a whole-model file of Keras 2, damaged, not the paper's network, or reaching outside the file.
        OSError: `path` cannot be opened.
    """
    with open(
        path, "rb"
    ) as stream:  # h5py does not lock a file opened here, and so reads from any file system
        try:
            with opened(stream, "a Keras 2 model") as file:
                return _read(file)
        except BadModel as error:
            raise BadModel(f"{path}: {error}") from error


def load_keras2(path, precision, max_width):
    """(network, metadata) as `models.file.load` gives them. Raises as `read_keras2`, or where it is too wide."""
    weights = read_keras2(path)
    width = weights["lfn_conv1"][0].shape[-1] / aciids2020.build().get_layer("lfn_conv1").filters
    if width > max_width:
        raise BadModel(
            f"{path}: its layers are {width:g} times as wide as the paper's, the limit is {max_width}"
        )
    arguments = {
        "edges": "edn_conv1" in weights,
        "width": width,
        "global_size": 256,
        "input_scale": 1.0,
        "input_offset": 0.0,
    }
    model = aciids2020.build(**arguments, precision=precision)
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)
    return model, {
        "network": "aciids2020",
        "arguments": arguments,
        "size": 256,
        "training": {"by": "Keras 2"},
    }


def _read(file):
    if "model_config" not in file.attrs:
        raise BadModel(
            "it holds no network: weights alone, or not a Keras file; save with model.save()"
        )
    version, backend = text(file.attrs["keras_version"]), text(file.attrs["backend"])
    if not version.startswith("2.") or backend != "tensorflow":
        raise BadModel(f"saved by Keras {version} on {backend}; only Keras 2 on tensorflow is read")
    graph, output = _graph(json.loads(text(file.attrs["model_config"])))

    color, join = _trace(graph, output)
    weights, widths = {}, {}
    for source in _joined(graph, join):
        steps, _ = _trace(graph, source)
        branch = _BRANCH_BY_CONVOLUTIONS.get(sum(layer.kind == "Conv2D" for layer in steps))
        if branch == "cn":
            while steps[-1].kind in _REPEAT:
                steps.pop()
        if branch is None or branch in widths:
            raise BadModel(
                f"layer {source}: it does not end a branch of 6, of 10 or of 3 convolutions"
            )
        _match(branch, steps, _BRANCHES[branch])
        arrays = _arrays(file, branch, steps, channels=1)
        weights |= arrays
        *_, (_, bias) = arrays.values()
        widths[branch] = len(bias)
    if not {"lfn", "cn"} <= widths.keys():
        raise BadModel(
            f"the fusion joins {', '.join(widths) or 'nothing'}; expected lfn, cn and, but for the ablation, edn"
        )

    _match("color", color, _COLOR)
    [[kernel, bias]] = _arrays(file, "fusion", color[:1], channels=sum(widths.values())).values()
    rows = dict(zip(widths, np.split(kernel, np.cumsum([*widths.values()])[:-1], axis=2)))
    places = [rows[branch] for branch in ("lfn", "edn") if branch in rows]
    weights["fusion_conv"] = [np.concatenate(places, axis=2), bias]
    weights["fusion_cn"] = [rows["cn"][0, 0]]
    return weights | _arrays(file, "color", color[1:], channels=len(bias))


def _graph(model):
    """Keras 2's `model_config` -> ({name: _Layer}, the name of the output layer)."""
    if model["class_name"] not in ("Model", "Functional"):
        raise BadModel(f"a {model['class_name']} model; the paper's has two or three inputs")
    layers = model["config"]["layers"]
    names = {layer["name"] for layer in layers}
    graph = {}
    for layer in layers:
        if len(layer["inbound_nodes"]) > 1:
            raise BadModel(f"layer {layer['name']}: it is used more than once")
        sources = _references(layer["inbound_nodes"], names)
        graph[layer["name"]] = _Layer(layer["class_name"], layer["name"], layer["config"], sources)
    [output] = _references(model["config"]["output_layers"], names)
    return graph, output


def _references(node, names):
    """The layers named in a Keras 2 tensor reference, [name, node index, tensor index, arguments], however nested."""
    if isinstance(node, dict):
        node = [*node.values()]
    if not isinstance(node, list) or not node:
        return []
    if isinstance(node[0], str) and node[0] in names:
        return [node[0], *_references(node[3:], names)]
    return [name for item in node for name in _references(item, names)]


def _trace(graph, name):
    """Follow the first source from `name` upstream -> (layers in the order of computing, the Concatenate or input)."""
    steps = []
    while (layer := graph[name]).sources and layer.kind != "Concatenate":
        steps.append(layer)
        name = layer.sources[0]
        if len(steps) > len(graph):
            raise BadModel(f"layer {name}: it feeds itself")
    return steps[::-1], layer


def _joined(graph, join):
    """The layers that a Concatenate joins on channels, in order; one that joins another Concatenate counts as one."""
    if join.kind != "Concatenate" or join.config["axis"] not in (-1, 3):
        raise BadModel(
            f"layer {join.name}: expected a concatenation on channels before the fusion, found {join.kind}"
        )
    for source in join.sources:
        if graph[source].kind == "Concatenate":
            yield from _joined(graph, graph[source])
        else:
            yield source


def _match(part, steps, expected):
    if [layer.kind for layer in steps] != [kind for kind, _ in expected]:
        raise BadModel(f"{part}: the layers are {', '.join(layer.kind for layer in steps)}")
    for layer, (_, required) in zip(steps, expected):
        for key, value in required.items():
            if layer.config.get(key, value) != value:
                raise BadModel(
                    f"{part}: layer {layer.name} has {key} {layer.config[key]}, expected {value}"
                )


def _arrays(file, part, steps, channels):
    """The weights of a chain of layers that takes `channels`: {"<part>_conv1": [kernel, bias], ...}."""
    arrays, count = {}, Counter()
    for layer in steps:
        match layer.kind:
            case "Conv2D":
                kind, shape = (
                    "conv",
                    (*layer.config["kernel_size"], channels, layer.config["filters"]),
                )
            case "Dense":
                kind, shape = "dense", (channels, layer.config["units"])
            case "Flatten":
                channels = None  # as many as the picture has places: the file alone does not say
                continue
            case _:
                continue
        count[kind] += 1
        arrays[f"{part}_{kind}{count[kind]}"] = _kernel_and_bias(file, layer.name, shape)
        channels = shape[-1]
    return arrays


def _kernel_and_bias(file, layer, shape):
    """[kernel, bias] of a layer, the kernel of `shape` (None matches any number)."""
    group = member(file, f"model_weights/{layer}", h5py.Group)
    datasets = [member(group, text(name), h5py.Dataset) for name in group.attrs["weight_names"]]
    found, expected = [dataset.shape for dataset in datasets], [shape, shape[-1:]]
    if None in shape and found:
        expected[0] = tuple(have if want is None else want for want, have in zip(shape, found[0]))
    if found != expected:
        raise BadModel(
            f"layer {layer}: the weights have the shapes {found}, expected {[shape, shape[-1:]]}"
        )
    return [numbers(dataset) for dataset in datasets]
