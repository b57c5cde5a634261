"""The network of *natural image automatic colorization* (ACIIDS 2020).

Iizuka et al.'s network (SIGGRAPH 2016) with an edge detection network added: local features (LFN),
classification (CN) and edge detection (EDN) meet at a fusion layer that feeds the colorization
network. 9,844,743 parameters at full width. doi 10.1007/978-3-030-41964-6_53
"""

import math

import numpy as np
from keras import Model, initializers, layers, ops

AB_SCALE = 128.0  # the last tanh spans a, b in -128..128
SLOW_PREFIXES = ("cn_", "fusion_cn/")  # CN and its part of the fusion
BRANCHES = {"CN": "cn_dense2", "LFN": "lfn_conv6", "EDN": "edn_conv3"}
RESIZABLE_ARGUMENTS = {"global_size", "initializer"}


def arguments(config):
    names = ("edges", "width", "input_scale", "input_offset", "initializer")
    return {"global_size": config.size} | {name: getattr(config, name) for name in names}


def build(
    *,
    edges=True,
    width=1.0,
    global_size=256,
    input_scale=1.0,
    input_offset=0.0,
    initializer="glorot_uniform",
    precision="float32",
):
    """L and edges in, ab out, see `models`. The defaults are the paper's.

    Args:
        edges: False leaves out the edge detection network and its input (the paper's ablation).
        width: factor on the number of filters and units.
        global_size: side of the picture that the classification network sees.
        input_scale, input_offset: the convolutions see input_scale * L + input_offset.
        initializer: "glorot_uniform" (Keras' default), "he_uniform", or "he_gentle": He's, but the
            one ReLU filter that CN ends in has no negative weights, hence is open everywhere, and
            CN's part of the fusion is 0. Else CN is noise at first, and the loss closes the filter
            for good.
    """
    gentle = initializer == "he_gentle"
    initializer = "he_uniform" if gentle else initializer

    def units(count):
        return max(1, round(count * width))

    drawn = {"kernel_initializer": initializer, "dtype": precision}

    def conv(x, filters, name, stride=1, kernel=3, **options):
        options = drawn | {"activation": "relu", "padding": "same", "name": name} | options
        return layers.Conv2D(filters, kernel, stride, **options)(x)

    def stack(x, prefix, filters_and_strides):
        for i, (filters, stride) in enumerate(filters_and_strides, start=1):
            x = conv(x, filters, f"{prefix}_conv{i}", stride)
        return x

    def scaled(x, name):
        return layers.Rescaling(input_scale, input_offset, dtype="float32", name=name)(x)

    lightness = layers.Input((None, None, 1), name="lightness")
    global_lightness = layers.Input((global_size, global_size, 1), name="global_lightness")
    edge_map = layers.Input((None, None, 1), name="edges")

    # Local features network: (H, W, 1) -> (H/8, W/8, 256)
    features = ((64, 2), (128, 1), (128, 2), (256, 2), (512, 1), (256, 1))
    features = [(units(filters), stride) for filters, stride in features]
    lfn = stack(scaled(lightness, "lfn_scaling"), "lfn", features)

    # Classification network, weights of its own: (256, 256, 1) -> (32, 32, 1) -> 1000
    deeper = [(units(filters), 1) for filters in (128, 32, 8)]
    cn = stack(scaled(global_lightness, "cn_scaling"), "cn", [*features, *deeper])
    last = initializers.RandomUniform(0, math.sqrt(6 / (9 * units(8)))) if gentle else initializer
    cn = conv(cn, 1, "cn_conv10", kernel_initializer=last)
    cn = layers.Flatten(dtype=precision, name="cn_flatten")(cn)
    cn = layers.Dense(units(1500), name="cn_dense1", **drawn)(cn)
    cn = layers.Dense(units(1000), name="cn_dense2", **drawn)(cn)

    # Edge detection network: (H, W, 1) -> (H/8, W/8, 8)
    places = lfn
    if edges:
        edn = stack(edge_map, "edn", [(units(8), 2)] * 3)
        places = layers.Concatenate(dtype=precision, name="fusion_join")([lfn, edn])

    # Fusion layer, 1x1 over LFN, the CN vector repeated at every place, and EDN. Over a repeated
    # vector it is one dense product added at every place. The two kernels are parts of the paper's,
    # drawn from its distribution.
    fan_in, fan_out = places.shape[-1] + cn.shape[-1], units(256)
    fan = {"glorot_uniform": (fan_in + fan_out) / 2, "he_uniform": fan_in / 2}[initializer]
    limit = math.sqrt(3 / fan)
    joint = {"kernel_initializer": initializers.RandomUniform(-limit, limit), "dtype": precision}
    x = conv(places, fan_out, "fusion_conv", kernel=1, activation=None, **joint)
    if gentle:
        joint["kernel_initializer"] = "zeros"
    view = layers.Dense(fan_out, use_bias=False, name="fusion_cn", **joint)(cn)
    view = layers.Reshape((1, 1, fan_out), name="fusion_repeat")(view)
    x = layers.Add(dtype=precision, name="fusion_add")([x, view])
    x = layers.ReLU(dtype=precision, name="fusion")(x)

    # Colorization network: (H/8, W/8, 256) -> (H/2, W/2, 2) -> (H, W, 2)
    x = conv(x, units(128), "color_conv1")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up1")(x)
    x = conv(x, units(64), "color_conv2")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up2")(x)
    x = conv(x, units(32), "color_conv3")
    x = conv(x, units(16), "color_conv4")
    x = conv(x, 2, "color_conv5", activation="tanh", dtype="float32")
    x = layers.Rescaling(AB_SCALE, dtype="float32", name="ab")(x)
    x = layers.UpSampling2D(2, dtype="float32", name="color_up3")(x)
    inputs = {"lightness": lightness, "global_lightness": global_lightness}
    inputs |= {"edges": edge_map} if edges else {}
    return Model(inputs, x, name="aciids2020")


def enlarge(network, arguments):
    """Weights for a CN that sees a larger picture, of side arguments["global_size"].

    CN's first dense layer has a row for each place of an 8th of that picture. Each row is divided
    among the places of the larger picture by the area in common: CN's vector stays nearly the same.
    Raises ValueError if the new picture is the smaller one.
    """
    arrays, new = network.get_weights(), arguments["global_size"]
    old = network.input["global_lightness"].shape[1]
    if new < old:
        raise ValueError(f"was trained at size {old}, larger than {new}")
    row = next(i for i, v in enumerate(network.variables) if v.path == "cn_dense1/kernel")
    old, new = old // 8, new // 8
    kernel = arrays[row].reshape(old, old, -1)
    left = np.maximum(np.arange(new)[:, None] / new, np.arange(old) / old)
    right = np.minimum(np.arange(1, new + 1)[:, None] / new, np.arange(1, old + 1) / old)
    shares = old * np.maximum(right - left, 0)  # of the old places: (new, old)
    kernel = np.einsum("ia,jb,abu->iju", shares, shares, kernel)
    arrays[row] = kernel.reshape(new * new, -1).astype("float32")
    return arrays


def make_loss(statistics=None):
    """The paper's loss: the mean squared error of ab / 128."""
    return lambda ab, target: ops.mean(ops.square((ab - target) / AB_SCALE), axis=(1, 2, 3))
