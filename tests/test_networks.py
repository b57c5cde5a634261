"""The contract of a network, kept by each of them; and the encoder of efficientnet_unet."""

import inspect
import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

import configs
from models import NETWORKS, convert_encoder, efficientnet_unet
from models import file as model_file

pytestmark = pytest.mark.slow

SMALL = {
    "aciids2020": {"width": 1 / 16, "global_size": 64, "input_scale": 0.01},
    "efficientnet_unet": {"width": 0.25},
    "iizuka2016": {"width": 1 / 32},
    "zhang2016": {"width": 1 / 32},
}
RANGES = {"aciids2020": 128, "efficientnet_unet": 128, "iizuka2016": 100, "zhang2016": 110}
SCALES = {"aciids2020": 128, "efficientnet_unet": 128, "iizuka2016": 200}  # of ab in the loss


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """(name, module, network with random weights, inputs)."""
    module = NETWORKS[request.param]
    keras.utils.set_random_seed(0)
    network = module.build(**SMALL[request.param])
    rng, sides = np.random.default_rng(0), (2 * module.SIZE_STEP, 3 * module.SIZE_STEP)
    x = {}
    for name, tensor in network.input.items():
        shape = (2, *(own or side for own, side in zip(tensor.shape[1:3], sides)), 1)
        x[name] = rng.uniform(0, 100, shape).astype("float32")
    if "edges" in x:
        x["edges"] = (x["edges"] > 75).astype("float32")
    return request.param, module, network, x


def run(network, x):
    return ops.convert_to_numpy(network(x))


def test_the_module_has_all_that_the_contract_says(case):
    name, module, network, _ = case
    assert configs.SIZE_STEPS.get(name, 8) == module.SIZE_STEP
    parameters = inspect.signature(module.build).parameters
    arguments = module.arguments(configs.Config(network=name))
    assert arguments.keys() <= parameters.keys() and "precision" not in arguments
    assert parameters.keys() >= module.RESIZABLE_ARGUMENTS
    for member in ("statistics", "initialize", "enlarge", "ablate", "classifier"):
        assert getattr(module, member) is None or callable(getattr(module, member))
    present = {layer.name for layer in network.layers}
    assert {module.LOSS_LAYER, "ab", *module.BRANCHES.values()} <= present
    assert network.name == name


def test_output_is_ab_at_the_size_of_the_picture(case):
    name, module, network, x = case
    found = run(network, x)
    assert found.shape == (*x["lightness"].shape[:3], 2) and found.dtype == np.float32
    assert 0 < np.abs(found).max() <= RANGES[name]
    before = run(keras.Model(network.input, network.get_layer("ab").output), x)
    factor = found.shape[1] // before.shape[1]
    assert factor == (4 if name == "zhang2016" else 2)
    if name == "efficientnet_unet":  # bilinear
        inner = 0.75 * before[:, :, 1:-1] + 0.25 * before[:, :, :-2]
        inner = 0.75 * inner[:, 1:-1] + 0.25 * inner[:, :-2]
        assert np.allclose(found[:, 2:-2:2, 2:-2:2], inner, atol=1e-4)
    else:
        assert np.array_equal(found, before.repeat(factor, axis=1).repeat(factor, axis=2))


def test_mixed_precision_has_a_float32_output(case):
    name, module, network, x = case
    mixed = module.build(**SMALL[name], precision="mixed_bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in mixed.layers}
    assert dtypes["ab"] == dtypes[module.LOSS_LAYER] == "float32" and "bfloat16" in dtypes.values()
    scalings = [layer.name for layer in mixed.layers if isinstance(layer, keras.layers.Rescaling)]
    assert {dtypes[name] for name in scalings} == {"float32"}  # bfloat16 would round L to 0.25
    mixed.set_weights(network.get_weights())
    expected = run(network, x)
    assert np.abs(run(mixed, x) - expected).max() < 0.5 * np.abs(expected).max()


@pytest.mark.parametrize("name", SCALES)
def test_loss_is_the_mean_squared_error_of_scaled_ab(name):
    ab, target = np.random.default_rng(0).uniform(-100, 100, (2, 3, 8, 8, 2)).astype("float32")
    found = NETWORKS[name].make_loss(None)(ops.convert_to_tensor(ab), ops.convert_to_tensor(target))
    expected = (((ab - target) / SCALES[name]) ** 2).mean(axis=(1, 2, 3))
    assert np.allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)


def test_a_saved_file_gives_the_same_network_and_metadata(case, tmp_path):
    name, module, network, x = case
    rng = np.random.default_rng(1)  # the statistics of batch normalisation as well
    weights = [w + rng.uniform(0, 0.01, w.shape).astype("float32") for w in network.get_weights()]
    network.set_weights(weights)
    metadata = {"arguments": SMALL[name], "size": 64, "saturation": 1.8, "training": {"steps": 3}}
    model_file.save(tmp_path / "x.keras", name, weights, metadata)
    loaded, found = model_file.load(tmp_path / "x.keras")
    assert found == {"network": name} | metadata
    assert np.array_equal(run(loaded, x), run(network, x))
    plain = keras.models.load_model(tmp_path / "x.keras", safe_mode=True)
    assert np.array_equal(run(plain, x), run(network, x))
    mixed, _ = model_file.load(tmp_path / "x.keras", precision="mixed_bfloat16")
    assert mixed.get_layer("ab").compute_dtype == "float32" and mixed.dtype_policy != "float32"
    initial, before = model_file.initial_weights(tmp_path / "x.keras", name, SMALL[name])
    assert before == {"steps": 3}
    assert all(np.array_equal(a, b) for a, b in zip(initial, weights, strict=True))
    with pytest.raises(model_file.BadModel, match="has width .*, the new network 0.5"):
        model_file.initial_weights(tmp_path / "x.keras", name, SMALL[name] | {"width": 0.5})


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_plain_keras_loads_a_saved_file_on_every_backend(backend, tmp_path):
    """In a process that cannot import this repository, in safe mode, without custom objects."""
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    network = NETWORKS["zhang2016"].build(width=1 / 32)
    x = np.random.default_rng(0).uniform(0, 100, (2, 32, 32, 1)).astype("float32")
    metadata = {"arguments": {"width": 1 / 32}, "size": 32}
    model_file.save(tmp_path / "n.keras", "zhang2016", network.get_weights(), metadata)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import keras, numpy as np; network = keras.models.load_model('n.keras', safe_mode=True);"
        "y = network({'lightness': np.load('x.npy')});"
        "np.save('y.npy', keras.ops.convert_to_numpy(y))"
    )
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, env=environment)
    expected = run(network, {"lightness": x})
    assert np.abs(np.load(tmp_path / "y.npy") - expected).max() < 1e-3


# ---- the encoder of efficientnet_unet


@pytest.fixture(scope="module")
def encoder():
    """(network with the encoder's weights, means): means() of each channel after each stage."""
    network = efficientnet_unet.build(width=0.25)
    efficientnet_unet.initialize(network, None, 0)
    last, block = [], 0
    for repeats, *_ in efficientnet_unet.STAGES:
        block += repeats
        last.append(f"encoder_block{block}_{'add' if repeats > 1 else 'project'}")
    stages = keras.Model(network.input, [network.get_layer(name).output for name in last])
    x = {"lightness": convert_encoder.test_picture()[None, ..., None]}
    return network, lambda: [ops.convert_to_numpy(y).mean(axis=(0, 1, 2)) for y in stages(x)]


def distance(means):
    """The largest difference from the original network, in standard deviations of a stage."""
    with np.load(efficientnet_unet.WEIGHTS, allow_pickle=False) as arrays:
        reference = arrays["reference"]
    parts = np.split(reference, np.cumsum([len(stage) for stage in means])[:-1])
    return max(np.abs(own - part).max() / part.std() for own, part in zip(means, parts))


def test_the_encoder_computes_what_the_original_network_does(encoder):
    assert distance(encoder[1]()) < 0.05  # float16; 0.038


@pytest.mark.parametrize("name", [ours for ours, _, _ in convert_encoder.layers()][::9])
def test_one_layer_folded_wrongly_is_found(encoder, name):
    network, means = encoder
    layer = network.get_layer(name)
    kernel, bias = layer.get_weights()
    for wrong in ([1.05 * kernel, bias], [kernel, 0 * bias]):
        layer.set_weights(wrong)
        distant = distance(means())
        layer.set_weights([kernel, bias])
        assert distant > 0.06


def test_of_the_encoder_only_pointwise_layers_after_stride_8_are_trained():
    network = efficientnet_unet.build()
    assert network.count_params() == 5_704_970
    trained = {v.path.split("/")[0] for v in network.trainable_variables if "encoder" in v.path}
    blocks = {int(name.removeprefix("encoder_block").split("_")[0]) for name in trained}
    assert blocks == set(range(8, 22)) and not any("depthwise" in name for name in trained)
    encoder = [v for v in network.variables if v.path.startswith("encoder_")]
    assert sum(int(np.prod(v.shape)) for v in encoder) == 4_329_608
