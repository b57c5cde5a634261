"""The network is the paper's: its table of layers, the fusion, the ablations."""

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
        assert [layer.filters for layer in found] == filters
        assert [layer.strides[0] for layer in found] == strides
        assert all(layer.kernel_size == (3, 3) and layer.padding == "same" for layer in found)
        last = "tanh" if branch == "color" else "relu"
        names = [layer.activation.__name__ for layer in found]
        assert names == ["relu"] * (len(filters) - 1) + [last]
    assert [network.get_layer(f"cn_dense{i}").units for i in (1, 2)] == [1500, 1000]
    shapes = {k: tuple(x.shape) for k, x in branches_of(network)(inputs(256, 256, 256, 1)).items()}
    assert shapes == {"CN": (1, 1000), "LFN": (1, 32, 32, 256), "EDN": (1, 32, 32, 8)}
    cn, lfn = (network.get_layer(f"{branch}_conv1").kernel for branch in ("cn", "lfn"))
    assert not np.array_equal(cn, lfn)  # no shared weights


def test_fusion_equals_the_literal_repeat_and_concatenation():
    network, x = aciids2020.build(**SMALL), inputs()
    parts = branches_of(network)(x)
    repeated = ops.broadcast_to(parts["CN"][:, None, None], (2, 8, 8, parts["CN"].shape[-1]))
    joined = ops.concatenate([parts["LFN"], repeated, parts["EDN"]], axis=-1)  # paper's order
    kernel, _ = network.get_layer("fusion_conv").get_weights()
    bias = np.random.default_rng(0).uniform(0, 0.2, 16).astype("float32")
    network.get_layer("fusion_conv").set_weights([kernel, bias])
    (of_cn,) = network.get_layer("fusion_cn").get_weights()
    kernel = np.concatenate([kernel[0, 0, :16], of_cn, kernel[0, 0, 16:]])[None, None]
    expected = ops.convert_to_numpy(ops.relu(ops.conv(joined, kernel) + bias))
    found = run(keras.Model(network.inputs, network.get_layer("fusion").output), x)
    assert found.std() > 0.1 and np.allclose(found, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_uniform"])
def test_the_two_fusion_kernels_are_drawn_as_the_one_of_the_paper(initializer):
    network = aciids2020.build(initializer=initializer)
    drawn = ops.convert_to_numpy(keras.initializers.get(initializer)((1, 1, 1264, 256)))
    for name in ("fusion_conv", "fusion_cn"):
        kernel = network.get_layer(name).get_weights()[0]
        assert kernel.std() == pytest.approx(drawn.std(), rel=0.02)
        assert np.abs(kernel).max() == pytest.approx(np.abs(drawn).max(), rel=0.01)


@pytest.mark.parametrize("branch", aciids2020.BRANCHES)
def test_an_ablated_branch_is_a_constant_in_the_fusion(branch):
    network, blind, x = aciids2020.build(**SMALL), aciids2020.build(**SMALL), inputs()
    parts = branches_of(network)(x)
    mean = np.random.default_rng(0).uniform(0, 9, parts[branch].shape[-1]).astype("float32")
    blind.set_weights(aciids2020.ablate(network, branch, mean))
    parts[branch] = ops.broadcast_to(mean, parts[branch].shape)
    joined = ops.concatenate([parts["LFN"], parts["EDN"]], axis=-1)
    view = network.get_layer("fusion_cn")(parts["CN"])[:, None, None]
    expected = ops.convert_to_numpy(ops.relu(network.get_layer("fusion_conv")(joined) + view))
    found = run(keras.Model(blind.inputs, blind.get_layer("fusion").output), x)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(run(blind, x), run(network, x), atol=0.1)


def test_scaling_is_inside():
    scale = {"input_scale": 0.01, "input_offset": -0.5}
    raw, scaled = (aciids2020.build(**SMALL, **arguments) for arguments in ({}, scale))
    scaled.set_weights(raw.get_weights())
    x = inputs()
    by_hand = x | {name: 0.01 * x[name] - 0.5 for name in ("lightness", "global_lightness")}
    assert np.allclose(run(scaled, x), run(raw, by_hand), atol=1e-4)


@pytest.mark.parametrize("factor", [1, 3])
def test_an_enlarged_network_sees_the_same_at_more_pixels(factor):
    """CN's vector of a feature map, and of that map with every place repeated."""
    size = {"global_size": 64 * factor}
    small, large = aciids2020.build(**SMALL), aciids2020.build(**SMALL | size)
    large.set_weights(aciids2020.enlarge(small, size))
    places = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 1)).astype("float32")

    def vector(network, x):
        for name in ("cn_flatten", "cn_dense1", "cn_dense2"):
            x = network.get_layer(name)(x)
        return ops.convert_to_numpy(x)

    repeated = places.repeat(factor, axis=1).repeat(factor, axis=2)
    assert np.ptp(vector(small, places)) > 0.1
    assert np.allclose(vector(large, repeated), vector(small, places), atol=1e-5)


def test_a_network_is_enlarged_by_a_factor_that_is_no_integer():
    """CN's vector of an even feature map stays; a smooth one's nearly."""
    small, large = (aciids2020.build(**SMALL | {"global_size": size}) for size in (64, 96))
    large.set_weights(aciids2020.enlarge(small, {"global_size": 96}))
    kernels = [network.get_layer("cn_dense1").get_weights()[0] for network in (small, large)]
    assert np.allclose(*(kernel.sum(axis=0) for kernel in kernels), atol=1e-5)
    ramps = [np.linspace(0, 1, n + 1)[1:] - 0.5 / n for n in (8, 12)]
    maps = [np.add.outer(ramp, ramp).reshape(-1, 1) for ramp in ramps]
    sums = [(x * kernel).sum(axis=0) for x, kernel in zip(maps, kernels)]
    assert np.corrcoef(*sums)[0, 1] > 0.95
    with pytest.raises(ValueError, match="was trained at size 96, larger than 64"):
        aciids2020.enlarge(large, {"global_size": 64})


def test_the_table_of_layers_is_checked_against_a_literal_network():
    """Any size that 8 divides: the same network by the paper's rows, layers without names."""
    network, x = aciids2020.build(**SMALL), inputs(72, 104)
    weights = {layer.name: layer for layer in network.layers}

    def chain(y, prefix, count):
        for i in range(1, count + 1):
            y = weights[f"{prefix}_conv{i}"](y)
        return y

    lfn, edn = chain(x["lightness"], "lfn", 6), chain(x["edges"], "edn", 3)
    cn = chain(x["global_lightness"], "cn", 10)
    cn = weights["cn_dense2"](weights["cn_dense1"](ops.reshape(cn, (2, -1))))
    y = weights["fusion_conv"](ops.concatenate([lfn, edn], axis=-1))
    y = ops.relu(y + weights["fusion_cn"](cn)[:, None, None])
    up = layers.UpSampling2D(2)
    y = up(weights["color_conv2"](up(weights["color_conv1"](y))))
    for i in (3, 4, 5):
        y = weights[f"color_conv{i}"](y)
    expected = 128 * ops.convert_to_numpy(up(y))
    assert np.allclose(run(network, x), expected, atol=1e-3) and expected.std() > 0.1
