"""A network of Keras as an ONNX graph, layer by layer, on any backend. Inside, channels come second: (N, C, H, W)."""

import numpy as np

from inference.onnx_graph import Graph


class CannotExport(ValueError):
    """A network with a layer that is not known here. The message is one line."""


def network_graph(network, layer="ab"):
    """A network up to one of its layers, as a model of its own.

    Args:
        network: of `model_file.load`. Each layer computes in the type of its policy.
        layer: whose output is given.

    Returns:
        onnx.ModelProto: the network's inputs, float32 (N, 1, H, W) -> the layer's output, float32 (N, C, h, w).
    """
    graph, known = Graph(), {}
    for name, tensor in network.input.items():
        _, height, width, channels = tensor.shape
        known[id(tensor)] = graph.input(name, "float32", ["N", channels, height or f"H_{name}", width or f"W_{name}"])
    output = _trace(graph, network.get_layer(layer).output, known).cast("float32")
    return graph.model({"ab": (output, ["N", network.get_layer(layer).output.shape[-1], "h", "w"])})


def _trace(graph, tensor, known):
    """The Value of a symbolic tensor of Keras; `known`: {id of a tensor: its Value}."""
    if id(tensor) not in known:
        layer, node, index = tensor._keras_history
        sources = layer._inbound_nodes[node].input_tensors
        inputs = [_trace(graph, source, known) for source in sources]
        kind = type(layer).__name__
        if kind == "Functional":  # a network inside: its own layers, with its inputs
            inner = dict(zip(map(id, layer.inputs), inputs))
            known[id(tensor)] = _trace(graph, layer.outputs[index], inner)
        elif kind in _LAYERS:
            inputs = [value.cast(layer.compute_dtype) for value in inputs]
            known[id(tensor)] = _LAYERS[kind](graph, layer, *inputs)
        else:
            raise CannotExport(f"layer {layer.name}: {kind} cannot be exported")
    return known[id(tensor)]


def _weight(graph, layer, array, name):
    return graph.constant(np.asarray(array, "float32"), f"{layer.path}/{name}").cast(layer.compute_dtype)


def _activated(layer, x):
    name = layer.activation.__name__
    ops = {"linear": None, "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
    if name not in ops:
        raise CannotExport(f"layer {layer.name}: the activation {name} cannot be exported")
    return x.node(ops[name]) if ops[name] else x


def _conv(graph, layer, x):
    kernel, *bias = layer.get_weights()
    (stride, _), (dilation, _), (size, _) = layer.strides, layer.dilation_rate, layer.kernel_size
    total = dilation * (size - 1) - (stride - 1)  # of "same", for sides that the stride divides
    pads = [total // 2] * 2 + [total - total // 2] * 2
    weights = [_weight(graph, layer, kernel.transpose(3, 2, 0, 1), "kernel")]
    weights += [_weight(graph, layer, b, "bias") for b in bias]
    x = x.node("Conv", *weights, pads=pads, strides=[stride] * 2, dilations=[dilation] * 2, name=layer.name)
    return _activated(layer, x)


def _dense(graph, layer, x):
    kernel, *bias = layer.get_weights()
    weights = [_weight(graph, layer, kernel, "kernel"), *(_weight(graph, layer, b, "bias") for b in bias)]
    return _activated(layer, x.node("Gemm", *weights, name=layer.name))


def _batch_norm(graph, layer, x):
    mean, variance = (np.asarray(v) for v in (layer.moving_mean, layer.moving_variance))
    scale = (np.asarray(layer.gamma) if layer.scale else 1) / np.sqrt(variance + layer.epsilon)
    shift = (np.asarray(layer.beta) if layer.center else 0) - mean * scale
    shape = (-1, 1, 1) if len(layer.input.shape) == 4 else (-1,)
    return x * _weight(graph, layer, scale.reshape(shape), "scale") + _weight(graph, layer, shift.reshape(shape), "shift")


def _reshape(graph, layer, x):
    x = x.node("Reshape", np.array([0, *layer.target_shape]))
    return x.node("Transpose", perm=[0, 3, 1, 2])


def _upsampling(graph, layer, x):
    if layer.interpolation != "nearest":
        raise CannotExport(f"layer {layer.name}: {layer.interpolation} enlarging cannot be exported")
    return enlarge_nearest(x, layer.size[0])


def enlarge_nearest(x, factor):
    """(N, C, H, W) -> (N, C, factor * H, factor * W)."""
    scales = np.array([1, 1, factor, factor], np.float32)
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return x.node("Resize", None, scales, **options)


_LAYERS = {
    "Conv2D": _conv,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "Rescaling": lambda graph, layer, x: x * float(layer.scale) + float(layer.offset),
    "Concatenate": lambda graph, layer, *values: graph.node("Concat", *values, axis=1),
    "Add": lambda graph, layer, *values: graph.node("Sum", *values),
    "ReLU": lambda graph, layer, x: x.node("Relu"),
    "Softmax": lambda graph, layer, x: x.node("Softmax", axis=1),
    "Flatten": lambda graph, layer, x: x.node("Transpose", perm=[0, 2, 3, 1]).node("Flatten"),
    "Reshape": _reshape,
    "UpSampling2D": _upsampling,
}
