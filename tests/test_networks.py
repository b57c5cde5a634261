"""The contract of a network, kept by each of them; and the encoder of efficientnet_unet."""

import inspect
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

import configs
from data.preprocess import target
from models import NETWORKS, convert_encoder, efficientnet_unet, zhang2016
from models import file as model_file
from training.model import TrainingModel
from training.optimizer import make_optimizer

pytestmark = pytest.mark.slow

SMALL = {
    "aciids2020": {"width": 1 / 16, "global_size": 64, "input_scale": 0.01},
    "efficientnet_unet": {"width": 0.25},
    "iizuka2016": {"width": 1 / 32},
    "zhang2016": {"width": 1 / 32},
}
RANGES = {"aciids2020": 128, "efficientnet_unet": 128, "iizuka2016": 100, "zhang2016": 110}
SCALES = {"aciids2020": 128, "efficientnet_unet": 128, "iizuka2016": 200}  # of ab in the loss
COUNTS = np.random.default_rng(1).integers(1, 1000, 313)  # of the bins of zhang2016
LABELS = np.array([0, 2, 1])


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """(name, module, network with random weights, inputs)."""
    module = NETWORKS[request.param]
    keras.utils.set_random_seed(0)
    network = module.build(**SMALL[request.param])
    step = configs.SIZE_STEPS.get(request.param, 8)
    rng, sides, x = np.random.default_rng(0), (2 * step, 3 * step), {}
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
    parameters = inspect.signature(module.build).parameters
    arguments = module.arguments(configs.Config(network=name))
    assert arguments.keys() <= parameters.keys() and "precision" not in arguments
    assert parameters.keys() >= {*module.RESIZABLE_ARGUMENTS}
    for member in ("statistics", "initialize", "enlarge", "classifier"):
        assert getattr(module, member) is None or callable(getattr(module, member))
    present = {layer.name for layer in network.layers}
    assert {module.LOSS_LAYER or "ab", "ab", *module.BRANCHES.values()} <= present
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
    last = {dtypes["ab"], dtypes[mixed.layers[-1].name], dtypes[module.LOSS_LAYER or "ab"]}
    assert last == {"float32"} and "bfloat16" in dtypes.values()
    scalings = [layer.name for layer in mixed.layers if isinstance(layer, keras.layers.Rescaling)]
    assert {dtypes[name] for name in scalings} == {"float32"}  # bfloat16 would round L to 0.25
    mixed.set_weights(network.get_weights())
    expected = run(network, x)
    assert np.abs(run(mixed, x) - expected).max() < 0.5 * np.abs(expected).max()


def loss_by_hand(name, outputs, truth):
    """The papers' losses in NumPy, with the scenes' cross-entropy at weight 0.25."""
    if name == "zhang2016":
        ab, z = truth[:, ::4, ::4], ops.convert_to_numpy(zhang2016.encode(truth[:, ::4, ::4]))
        scores = outputs["compared"] - outputs["compared"].max(axis=-1, keepdims=True)
        entropy = (z * (np.log(np.exp(scores).sum(axis=-1, keepdims=True)) - scores)).sum(axis=-1)
        weighted = zhang2016.rebalancing(COUNTS)[z.argmax(axis=-1)] * entropy
        return (weighted * (np.abs(ab).max(axis=(1, 2, 3), keepdims=True) > 5)[..., 0]).mean()
    error = np.square((outputs["ab"] - truth) / SCALES[name]).mean()
    if "classes" in outputs:
        scores = outputs["classes"] - outputs["classes"].max(axis=-1, keepdims=True)
        entropy = np.log(np.exp(scores).sum(axis=-1)) - scores[np.arange(3), LABELS]
        error += 0.25 * entropy.mean()
    return error


def test_the_compiled_loss_is_the_papers_and_one_step_changes_every_weight(case):
    name, module, _, _ = case
    keras.utils.set_random_seed(1)
    network = module.build(**SMALL[name])
    classifier = module.classifier(network, 3) if module.classifier else None
    loss, outputs = module.make_loss(COUNTS), {"classification_weight": 0.25}
    outputs |= {"loss_layer": module.LOSS_LAYER, "classifier": classifier}
    model = TrainingModel(network, loss, 1.8, **outputs)
    config = next(c for c in configs.PRESETS.values() if c.network == name)
    optimizer = make_optimizer(config.optimizer, config.learning_rate, total_steps=10)
    model.compile(optimizer=optimizer, run_eagerly=True)
    rgb = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    rgb[0] = rgb[0] if name != "zhang2016" else 128  # a gray picture is left out of its loss
    given = (rgb, LABELS) if classifier is not None else (rgb,)
    outputs, truth = model.predict_on_batch(rgb), ops.convert_to_numpy(target(rgb, 1.8))
    found = model.evaluate(*given, batch_size=2, return_dict=True, verbose=0)  # 2 and 1
    assert found["loss"] == pytest.approx(loss_by_hand(name, outputs, truth), rel=1e-4)
    relative = ((outputs["ab"] - truth) ** 2).mean() / (truth**2).mean()
    assert found["relative_mse"] == pytest.approx(relative, rel=1e-4)

    if name == "aciids2020":  # a layer of one filter may be dead by chance
        for layer in map(network.get_layer, ("cn_conv10", "color_conv5")):
            layer.set_weights([np.abs(layer.get_weights()[0]), layer.get_weights()[1] + 0.1])
    if name == "efficientnet_unet":
        module.initialize(network, None, 0)
    before = model.trained.get_weights()
    model.train_on_batch(*given)
    trained = {id(v) for v in model.trainable_variables}
    moving = ("moving_mean", "moving_variance")
    for variable, old in zip(model.trained.variables, before, strict=True):
        is_kept = np.array_equal(ops.convert_to_numpy(variable), old)
        assert is_kept != (id(variable) in trained or variable.name in moving), variable.path
    fixed = {v.path for v in network.non_trainable_variables if v.name not in moving}
    assert all(p == "ab/kernel" or p.startswith("encoder_") for p in fixed)


def test_a_saved_file_is_read_by_us_and_by_plain_keras(case, tmp_path):
    name, module, network, x = case
    weights = [w + 0.01 for w in network.get_weights()]
    network.set_weights(weights)
    own = {k: v for k, v in SMALL[name].items() if k != "global_size"}
    config = configs.Config(network=name, size=64, init_from=tmp_path / "x.keras", **own)
    metadata = {"arguments": module.arguments(config), "size": 64, "training": {"steps": 3}}
    model_file.save(tmp_path / "x.keras", name, weights, metadata)
    loaded, read = model_file.load(tmp_path / "x.keras")
    assert read == metadata | {"network": name}
    plain = keras.models.load_model(tmp_path / "x.keras", safe_mode=True)
    for found in (loaded, plain):
        assert np.array_equal(run(found, x), run(network, x))
    mixed, _ = model_file.load(tmp_path / "x.keras", precision="mixed_bfloat16")
    assert mixed.get_layer("ab").compute_dtype == "float32" and mixed.dtype_policy != "float32"
    initial, before = model_file.initial_weights(config)
    assert before == {"steps": 3}
    assert all(np.array_equal(a, b) for a, b in zip(initial, weights, strict=True))
    with pytest.raises(model_file.BadModel, match="has width .*, the new network 0.5"):
        model_file.initial_weights(replace(config, width=0.5))


@pytest.mark.parametrize("backend", ["jax", "torch"])
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
    network, means = encoder
    assert distance(means()) < 0.05  # float16; 0.038
    for name, _, _ in [*convert_encoder.layers()][::9]:  # one layer folded wrongly is found
        layer = network.get_layer(name)
        kernel, bias = layer.get_weights()
        for wrong in ([1.05 * kernel, bias], [kernel, 0 * bias]):
            layer.set_weights(wrong)
            assert distance(means()) > 0.06, name
        layer.set_weights([kernel, bias])


def test_of_the_encoder_only_pointwise_layers_after_stride_8_are_trained():
    network = efficientnet_unet.build()
    assert network.count_params() == 5_704_970
    trained = {v.path.split("/")[0] for v in network.trainable_variables if "encoder" in v.path}
    blocks = {int(name.removeprefix("encoder_block").split("_")[0]) for name in trained}
    assert blocks == set(range(8, 22)) and not any("depthwise" in name for name in trained)
    encoder = [v for v in network.variables if v.path.startswith("encoder_")]
    assert sum(int(np.prod(v.shape)) for v in encoder) == 4_329_608
