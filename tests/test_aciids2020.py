"""The network is the paper's: sizes, parameters, shapes, fusion, files."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

SMALL = {"width": 1 / 16, "global_size": 64}


def inputs(height=64, width=64, global_size=64, count=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "lightness": (height, width),
        "global_lightness": (global_size, global_size),
        "edges": (height, width),
    }
    x = {
        name: rng.uniform(0, 100, (count, *shape, 1)).astype("float32")
        for name, shape in shapes.items()
    }
    return x | {"edges": (x["edges"] > 75).astype("float32")}


def run(model, x):
    return ops.convert_to_numpy(model(x))


def test_parameters_and_shapes_of_the_paper():
    network = aciids2020.build()
    assert network.count_params() == 9_844_743
    assert len(network.non_trainable_variables) == 0
    filters = {
        "lfn": [64, 128, 128, 256, 512, 256],
        "cn": [64, 128, 128, 256, 512, 256, 128, 32, 8, 1],
        "edn": [8, 8, 8],
        "color": [128, 64, 32, 16, 2],
    }
    for branch, expected in filters.items():
        convolutions = [network.get_layer(f"{branch}_conv{i}") for i in range(1, len(expected) + 1)]
        assert [layer.filters for layer in convolutions] == expected
        assert all(
            layer.kernel_size == (3, 3) and layer.padding == "same" for layer in convolutions
        )
        activations = [layer.activation.__name__ for layer in convolutions]
        assert activations == ["relu"] * (len(expected) - 1) + [
            "tanh" if branch == "color" else "relu"
        ]
    strides = [
        [network.get_layer(f"{b}_conv{i}").strides[0] for i in range(1, 7)] for b in ("lfn", "cn")
    ]
    assert strides == [[2, 1, 2, 2, 1, 1]] * 2
    assert [network.get_layer(f"edn_conv{i}").strides for i in (1, 2, 3)] == [(2, 2)] * 3
    assert [network.get_layer(f"cn_dense{i}").units for i in (1, 2)] == [1500, 1000]
    branches = keras.Model(
        network.inputs, [network.get_layer(name).output for name in aciids2020.BRANCHES.values()]
    )
    shapes = [tuple(x.shape) for x in branches(inputs(256, 256, 256, count=1))]
    assert shapes == [(1, 1000), (1, 32, 32, 256), (1, 32, 32, 8)]
    assert not np.array_equal(
        network.get_layer("cn_conv1").kernel, network.get_layer("lfn_conv1").kernel
    )


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_grown_network_sees_the_same_at_more_pixels(factor):
    """CN's vector of a feature map, and of that map with every place repeated."""
    small = aciids2020.build(**SMALL)
    large = aciids2020.build(**SMALL | {"global_size": 64 * factor})
    large.set_weights(aciids2020.enlarge(small, {"global_size": 64 * factor}))
    places = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 1)).astype("float32")

    def vector(network, places):
        x = places
        for name in ("cn_flatten", "cn_dense1", "cn_dense2"):
            x = network.get_layer(name)(x)
        return ops.convert_to_numpy(x)

    repeated = places.repeat(factor, axis=1).repeat(factor, axis=2)
    assert np.ptp(vector(small, places)) > 0.1
    assert np.allclose(vector(large, repeated), vector(small, places), atol=1e-5)


def test_a_network_grows_to_a_size_that_is_no_multiple():
    """CN's vector of an even feature map stays; a smooth one's nearly."""
    small, large = (aciids2020.build(**SMALL | {"global_size": size}) for size in (64, 96))
    large.set_weights(aciids2020.enlarge(small, {"global_size": 96}))
    kernel, grown = (network.get_layer("cn_dense1").get_weights()[0] for network in (small, large))
    assert np.allclose(grown.sum(axis=0), kernel.sum(axis=0), atol=1e-5)
    ramp = [np.linspace(0, 1, n + 1)[1:] - 0.5 / n for n in (8, 12)]
    sums = [
        (np.add.outer(r, r).reshape(-1, 1) * k).sum(axis=0) for r, k in zip(ramp, (kernel, grown))
    ]
    assert np.corrcoef(*sums)[0, 1] > 0.95
    with pytest.raises(ValueError, match="was trained at size 96, larger than 64"):
        aciids2020.enlarge(large, {"global_size": 64})


@pytest.mark.parametrize("height, width", [(64, 64), (8, 16), (72, 104)])
def test_any_size_divisible_by_eight(height, width):
    network = aciids2020.build(**SMALL)
    x = inputs(height, width)
    assert run(network, x).shape == (2, height, width, 2)
    half = keras.Model(network.inputs, network.get_layer("ab").output)
    assert np.array_equal(np.repeat(np.repeat(run(half, x), 2, axis=1), 2, axis=2), run(network, x))


def test_fusion_equals_the_literal_repeat_and_concatenation():
    network = aciids2020.build(**SMALL)
    branches = keras.Model(
        network.inputs, {k: network.get_layer(v).output for k, v in aciids2020.BRANCHES.items()}
    )
    lfn, cn, edn = (layers.Input(branches.output[k].shape[1:]) for k in ("LFN", "CN", "EDN"))
    repeated = layers.Reshape((8, 8, cn.shape[-1]))(layers.RepeatVector(64)(cn))
    literal = layers.Conv2D(16, 1, activation="relu")
    fused = literal(layers.Concatenate()([lfn, repeated, edn]))  # the paper's order of channels
    kernel, bias = network.get_layer("fusion_conv").get_weights()
    (of_cn,) = network.get_layer("fusion_cn").get_weights()
    literal.set_weights(
        [np.concatenate([kernel[0, 0, :16], of_cn, kernel[0, 0, 16:]])[None, None], bias + 0.1]
    )
    network.get_layer("fusion_conv").set_weights([kernel, bias + 0.1])
    x = inputs(64, 64)
    found = run(keras.Model(network.inputs, network.get_layer("fusion").output), x)
    parts = branches(x)
    expected = run(keras.Model([lfn, cn, edn], fused), [parts["LFN"], parts["CN"], parts["EDN"]])
    assert found.std() > 0.1 and np.abs(found - expected).max() < 1e-5 * max(
        1, np.abs(expected).max()
    )


@pytest.mark.parametrize("branch", aciids2020.BRANCHES)
def test_an_ablated_branch_is_a_constant_in_the_fusion(branch):
    network, blind = aciids2020.build(**SMALL), aciids2020.build(**SMALL)
    parts = keras.Model(
        network.inputs, {k: network.get_layer(v).output for k, v in aciids2020.BRANCHES.items()}
    )(inputs())
    mean = np.random.default_rng(0).uniform(0, 9, parts[branch].shape[-1]).astype("float32")
    blind.set_weights(aciids2020.ablate(network, branch, mean))
    parts[branch] = ops.broadcast_to(mean, parts[branch].shape)
    places = network.get_layer("fusion_conv")(
        ops.concatenate([parts["LFN"], parts["EDN"]], axis=-1)
    )
    expected = ops.relu(places + network.get_layer("fusion_cn")(parts["CN"])[:, None, None])
    found = run(keras.Model(blind.inputs, blind.get_layer("fusion").output), inputs())
    assert np.allclose(found, ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-4)
    assert not np.allclose(run(blind, inputs()), run(network, inputs()), atol=0.1)


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_uniform"])
def test_the_two_fusion_kernels_are_drawn_as_the_one_of_the_paper(initializer):
    network = aciids2020.build(initializer=initializer)
    drawn = keras.initializers.get(initializer)((1, 1, 1264, 256))
    for name in ("fusion_conv", "fusion_cn"):
        kernel = network.get_layer(name).get_weights()[0]
        assert kernel.std() == pytest.approx(float(ops.std(drawn)), rel=0.02)
        assert np.abs(kernel).max() == pytest.approx(float(ops.max(ops.abs(drawn))), rel=0.01)


def test_the_ablation_has_no_edges():
    network, x = aciids2020.build(edges=False, **SMALL), inputs()
    del x["edges"]
    assert set(network.input) == set(x) and run(network, x).shape == (2, 64, 64, 2)
    assert aciids2020.build(edges=False).count_params() == 9_844_743 - 80 - 2 * 584 - 8 * 256


def test_scaling_is_inside():
    raw, scaled = (
        aciids2020.build(**SMALL, **k) for k in ({}, {"input_scale": 0.01, "input_offset": -0.5})
    )
    scaled.set_weights(raw.get_weights())
    x = inputs()
    by_hand = x | {name: 0.01 * x[name] - 0.5 for name in ("lightness", "global_lightness")}
    assert np.allclose(run(scaled, x), run(raw, by_hand), atol=1e-4)
    assert np.abs(run(raw, x)).max() <= aciids2020.AB_SCALE


def test_mixed_precision_keeps_the_last_tanh_in_float32():
    network = aciids2020.build(**SMALL, precision="mixed_bfloat16")
    assert network.get_layer("color_conv5").compute_dtype == "float32"
    assert network.get_layer("color_conv4").compute_dtype == "bfloat16"
    assert (
        network.get_layer("lfn_scaling").compute_dtype == "float32"
    )  # bfloat16 would round L to 0.25


def test_loss_is_the_mean_squared_error_of_ab_over_128():
    rng = np.random.default_rng(0)
    ab, target = rng.uniform(-100, 100, (2, 3, 8, 8, 2)).astype("float32")
    expected = ((ab / 128 - target / 128) ** 2).mean(axis=(1, 2, 3))
    found = aciids2020.make_loss()(ops.convert_to_tensor(ab), ops.convert_to_tensor(target))
    assert np.allclose(found, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    network = aciids2020.build(**SMALL, input_scale=0.01)
    path = tmp_path_factory.mktemp("saved") / "network.keras"
    card = {
        "arguments": SMALL | {"input_scale": 0.01},
        "size": 64,
        "saturation": 1.8,
        "training": {"steps": 3},
    }
    model_file.save(path, "aciids2020", network.get_weights(), card)
    return path, run(network, inputs())


def test_a_saved_file_gives_the_same_network_and_its_card(saved):
    path, expected = saved
    network, card = model_file.load(path)
    assert np.array_equal(run(network, inputs()), expected)
    assert (
        card["saturation"] == 1.8
        and card["training"] == {"steps": 3}
        and card["network"] == "aciids2020"
    )
    mixed, _ = model_file.load(path, precision="mixed_bfloat16")
    assert 0 < np.abs(run(mixed, inputs()) - expected).max() < 0.2 * np.abs(expected).max()


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_plain_keras_loads_a_saved_file_on_every_backend(saved, backend, tmp_path):
    """In a process that cannot import this repository, in safe mode, without custom objects."""
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    path, expected = saved
    np.savez(tmp_path / "x.npz", **inputs())
    code = (
        "import sys, keras, numpy as np; network = keras.models.load_model(sys.argv[1], safe_mode=True);"
        "y = network({k: v for k, v in np.load(sys.argv[2]).items()});"
        "np.save(sys.argv[3], keras.ops.convert_to_numpy(y))"
    )
    command = [
        sys.executable,
        "-P",
        "-c",
        code,
        str(path),
        str(tmp_path / "x.npz"),
        str(tmp_path / "y.npy"),
    ]
    subprocess.run(
        command,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
    )
    assert np.abs(np.load(tmp_path / "y.npy") - expected).max() < 1e-3


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "cut", "text", "no card", "other network", "other width"]
)
def test_a_file_that_cannot_be_used_is_one_line(saved, damage, tmp_path):
    path, content = tmp_path / "x.keras", saved[0].read_bytes()
    if damage == "no card":
        aciids2020.build(**SMALL).save(path)
    elif damage in ("other network", "other width"):
        model_file.save(
            path,
            "aciids2020",
            model_file.load(saved[0])[0].get_weights(),
            model_file.load(saved[0])[1],
        )
        old, new = {
            "other network": (b'"aciids2020"', b'"aciids2021"'),
            "other width": (b"0.0625", b"0.1250"),
        }[damage]
        rewrite_card(path, old, new)
    elif damage != "missing":
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2], "text": b"no network"}[damage]
        )
    with pytest.raises(model_file.BadModel) as error:
        model_file.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def rewrite_card(path, old, new):
    import zipfile

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members[model_file.METADATA]
    members[model_file.METADATA] = members[model_file.METADATA].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
