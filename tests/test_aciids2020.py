"""The network is the paper's: its table of layers, the fusion, the ablations, other sizes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import aciids2020

pytestmark = pytest.mark.slow

SMALL = {"width": 1 / 16, "global_size": 64}


def inputs(height=64, width=64, global_size=64, count=2):
    rng = np.random.default_rng(0)
    sizes = {"lightness": (height, width), "global_lightness": (global_size, global_size)}
    sizes["edges"] = height, width
    x = {name: rng.uniform(0, 100, (count, *size, 1)).astype("f4") for name, size in sizes.items()}
    return x | {"edges": (x["edges"] > 75).astype("float32")}


def run(model, x):
    return ops.convert_to_numpy(model(x))


def branches_of(network):
    outputs = {name: network.get_layer(at).output for name, at in aciids2020.BRANCHES.items()}
    return keras.Model(network.inputs, outputs)


def test_parameters_and_shapes_of_the_paper():
    network = aciids2020.build()
    assert network.count_params() == 9_844_743 and not network.non_trainable_variables
    assert aciids2020.build(edges=False).count_params() == 9_841_447
    table = {  # filters and strides
        "lfn": ([64, 128, 128, 256, 512, 256], [2, 1, 2, 2, 1, 1]),
        "cn": ([64, 128, 128, 256, 512, 256, 128, 32, 8, 1], [2, 1, 2, 2] + [1] * 6),
        "edn": ([8, 8, 8], [2, 2, 2]),
        "color": ([128, 64, 32, 16, 2], [1] * 5),
    }
    for branch, (filters, strides) in table.items():
        found = [network.get_layer(f"{branch}_conv{i + 1}") for i in range(len(filters))]
        assert [(layer.filters, layer.strides[0]) for layer in found] == [*zip(filters, strides)]
        assert all(layer.kernel_size == (3, 3) and layer.padding == "same" for layer in found)
        last = "tanh" if branch == "color" else "relu"
        names = [layer.activation.__name__ for layer in found]
        assert names == ["relu"] * (len(filters) - 1) + [last]
    assert [network.get_layer(f"cn_dense{i}").units for i in (1, 2)] == [1500, 1000]
    shapes = {k: tuple(x.shape) for k, x in branches_of(network)(inputs(256, 256, 256, 1)).items()}
    assert shapes == {"CN": (1, 1000), "LFN": (1, 32, 32, 256), "EDN": (1, 32, 32, 8)}


def test_the_literal_network_of_the_papers_table():
    """CN's vector repeated at all places, joined in the order LFN, CN, EDN, one 1x1 convolution."""
    network, x = aciids2020.build(**SMALL, input_scale=0.01, input_offset=-0.5), inputs(72, 104)
    own = {layer.name: layer for layer in network.layers}
    kernel, bias = own["fusion_conv"].get_weights()
    bias = np.random.default_rng(0).uniform(0, 0.2, bias.shape).astype("float32")
    own["fusion_conv"].set_weights([kernel, bias])

    def chain(y, prefix, count):
        for i in range(1, count + 1):
            y = own[f"{prefix}_conv{i}"](y)
        return y

    scaled = {name: 0.01 * x[name] - 0.5 for name in ("lightness", "global_lightness")}
    lfn, edn = chain(scaled["lightness"], "lfn", 6), chain(x["edges"], "edn", 3)
    cn = ops.reshape(chain(scaled["global_lightness"], "cn", 10), (2, -1))
    cn = own["cn_dense2"](own["cn_dense1"](cn))[:, None, None]
    joined = [lfn, ops.broadcast_to(cn, (2, 9, 13, cn.shape[-1])), edn]
    places, (of_cn,) = kernel[0, 0], own["fusion_cn"].get_weights()
    count = lfn.shape[-1]
    kernel = np.concatenate([places[:count], of_cn, places[count:]])[None, None]
    y = ops.relu(ops.conv(ops.concatenate(joined, axis=-1), kernel) + bias)
    up = layers.UpSampling2D(2)
    y = up(own["color_conv2"](up(own["color_conv1"](y))))
    for i in (3, 4, 5):
        y = own[f"color_conv{i}"](y)
    expected = 128 * ops.convert_to_numpy(up(y))
    assert np.allclose(run(network, x), expected, atol=1e-3) and expected.std() > 0.1


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_uniform"])
def test_the_two_fusion_kernels_are_drawn_as_the_one_of_the_paper(initializer):
    network = aciids2020.build(initializer=initializer)
    drawn = ops.convert_to_numpy(keras.initializers.get(initializer)((1, 1, 1264, 256)))
    for name in ("fusion_conv", "fusion_cn"):
        kernel = network.get_layer(name).get_weights()[0]
        assert kernel.std() == pytest.approx(drawn.std(), rel=0.02)
        assert np.abs(kernel).max() == pytest.approx(np.abs(drawn).max(), rel=0.01)


def test_an_enlarged_network_sees_nearly_the_same_at_more_pixels():
    """CN's vector of a smooth feature map; equal where the factor is an integer or the map even."""
    small = aciids2020.build(**SMALL)

    def vector(network, ramp):
        places = np.add.outer(ramp, ramp)[None, ..., None].astype("float32")
        for name in ("cn_flatten", "cn_dense1", "cn_dense2"):
            places = network.get_layer(name)(places)
        return ops.convert_to_numpy(places)[0]

    steps = np.arange(8)
    expected = vector(small, steps)
    for side in (8, 12, 24):
        large = aciids2020.build(**SMALL | {"global_size": 8 * side})
        large.set_weights(aciids2020.enlarge(small, {"global_size": 8 * side}))
        assert np.allclose(vector(large, np.ones(side)), vector(small, np.ones(8)), atol=1e-4)
        smooth = vector(large, (np.arange(side) + 0.5) * 8 / side - 0.5)
        assert np.corrcoef(smooth, expected)[0, 1] > 0.95 and np.ptp(expected) > 0.1
        if side % 8 == 0:
            assert np.allclose(vector(large, steps.repeat(side // 8)), expected, atol=1e-4)
    with pytest.raises(ValueError, match="was trained at size 192, larger than 64"):
        aciids2020.enlarge(large, {"global_size": 64})
