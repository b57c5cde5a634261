"""Iizuka et al.'s network: sizes, shared features, fusion, labels from folders, training."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from skimage import data

import test as colorizing
import train
from data import manifest
from data.batches import Batches, Order
from data.preprocess import lightness_of, resize, target, training_inputs
from models import aciids2020, iizuka2016
from models import file as model_file
from training import checkpoint
from training.model import TrainingModel, update_batch_norm
from training.optimizer import make_optimizer

pytestmark = pytest.mark.slow

WIDTH = 1 / 32
LABELS = np.array([0, 1, 2, 1])


def pictures(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)


def inputs():
    rng, shapes = np.random.default_rng(0), {"lightness": 64, "global_lightness": 224}
    return {k: rng.uniform(0, 100, (2, n, n, 1)).astype("float32") for k, n in shapes.items()}


def call(main, *arguments):
    return main([str(argument) for argument in arguments])


def run(model, x):
    return ops.convert_to_numpy(model(x))


def part(network, name):
    return keras.Model(network.input, network.get_layer(name).output)


def small_model(module=iizuka2016, optimizer="sgd", classes=3, weight=1 / 300, **arguments):
    keras.utils.set_random_seed(0)
    network = module.build(**arguments or {"width": WIDTH})
    model = TrainingModel(
        network,
        module.make_loss(),
        1.0,
        loss_layer=module.LOSS_LAYER,
        classifier=module.classifier(network, classes) if classes else None,
        classification_weight=weight,
    )
    model.compile(optimizer=make_optimizer(optimizer, 1.0, total_steps=10), run_eagerly=True)
    return model


def test_parameters_and_shapes_of_the_paper():
    network = iizuka2016.build()
    convolutions = {
        "low": [(1, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)],
        "mid": [(512, 512), (512, 256)],
        "global": [(512, 512)] * 4,
        "color": [(256, 128), (128, 64), (64, 64), (64, 32)],
    }
    # no bias, four of the norm
    expected = sum(9 * a * b + 4 * b for pairs in convolutions.values() for a, b in pairs)
    expected += sum(a * b + 4 * b for a, b in [(7 * 7 * 512, 1024), (1024, 512), (512, 256)])
    expected += 256 * 256 + 256 * 256 + 4 * 256  # the fusion
    expected += 9 * 32 * 2 + 2  # the output, with a bias
    assert network.count_params() == expected == 42_189_314
    classifier = keras.Model(network.input, iizuka2016.classifier(network, 205))
    kernels = [classifier.get_layer(name).kernel for name in ("scenes_dense1_kernel", "scenes")]
    assert [tuple(kernel.shape) for kernel in kernels] == [(512, 256), (256, 205)]

    low = network.get_layer("low")
    strides = [low.get_layer(f"low_conv{i}_kernel").strides[0] for i in range(1, 7)]
    strides += [network.get_layer(f"global_conv{i}_kernel").strides[0] for i in range(1, 5)]
    assert strides == [2, 1, 2, 1, 2, 1, 2, 1, 2, 1]
    assert low.compute_output_shape((1, 224, 224, 1)) == (1, 28, 28, 512)
    assert [network.get_layer(f"global_conv{i}").output.shape[1] for i in (2, 4)] == [14, 7]
    names = ["global_dense1", "global_dense2", "global_dense3", "mid_conv2", "fusion"]
    names += ["color_conv1", "color_conv4", "ab"]
    channels = [network.get_layer(name).output.shape[-1] for name in names]
    assert channels == [1024, 512, 256, 256, 256, 128, 32, 2]


def test_the_low_level_features_are_shared():
    network = iizuka2016.build(width=WIDTH)
    low = [v.path for v in network.variables if "low_conv" in v.path]
    assert len(low) == 6 * 5 == len(set(low))  # kernel, scale, shift, mean, variance: once
    branches = [part(network, name) for name in iizuka2016.BRANCHES.values()]
    before = [run(branch, inputs()) for branch in branches]
    first = network.get_layer("low").get_layer("low_conv1_kernel")
    first.set_weights([-first.get_weights()[0]])
    for branch, old in zip(branches, before):
        assert not np.allclose(run(branch, inputs()), old)


def test_fusion_equals_the_literal_repeat_and_concatenation():
    network = iizuka2016.build(width=WIDTH)
    vector, mid = (part(network, name)(inputs()) for name in iizuka2016.BRANCHES.values())
    joined = layers.Concatenate()([mid, layers.Reshape((8, 8, 8))(layers.RepeatVector(64)(vector))])
    literal = layers.Conv2D(8, 1, use_bias=False)
    literal.build(joined.shape)
    of_mid, of_vector = (
        network.get_layer(f"fusion_{name}").get_weights()[0] for name in ("mid", "global")
    )
    literal.set_weights([np.concatenate([of_mid, of_vector[None, None]], axis=2)])
    found, expected = run(part(network, "fusion_add"), inputs()), run(literal, joined)
    assert found.std() > 1e-4 and np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("large", "mean", "most"), [(False, 0.25, 2.5), (True, 1, 9)])
@pytest.mark.parametrize("photograph", [data.astronaut, data.coffee])
def test_training_and_colorizing_show_the_global_branch_nearly_the_same(
    photograph, large, mean, most
):
    """A large picture is resized twice in training."""
    picture = photograph() if large else resize(photograph(), 256, 256)
    network = iizuka2016.build(width=WIDTH)
    trained = training_inputs(resize(picture, 256, 256)[None], network.input)["global_lightness"]
    tested = lightness_of(resize(picture, 224, 224))
    difference = np.abs(ops.convert_to_numpy(trained)[0, ..., 0] - tested)
    assert difference.mean() < mean and np.percentile(difference, 99) < most


def test_loss_is_that_of_ab_brought_to_0_1_and_the_weighted_cross_entropy():
    rgb, model = pictures(), small_model(weight=0.25)
    outputs = model.predict_on_batch(rgb)
    truth = ops.convert_to_numpy(target(ops.convert_to_tensor(rgb), 1.0))
    error = (((outputs["ab"] + 100) / 200 - (truth + 100) / 200) ** 2).mean()
    logits = outputs["classes"] - outputs["classes"].max(axis=-1, keepdims=True)
    entropy = np.mean(np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(4), LABELS])
    found = model.evaluate(rgb, LABELS, batch_size=4, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(error + 0.25 * entropy, rel=1e-4)
    relative = ((outputs["ab"] - truth) ** 2).mean() / (truth**2).mean()
    assert found["relative_mse"] == pytest.approx(relative, rel=1e-4)
    alone = small_model(classes=0).evaluate(rgb, batch_size=4, return_dict=True, verbose=0)
    assert alone["loss"] == pytest.approx(error, rel=1e-4)


def test_one_step_of_adadelta_changes_every_weight():
    model = small_model(optimizer="adadelta")
    assert isinstance(model.optimizer, keras.optimizers.Adadelta) and model.optimizer.rho == 0.95
    before = [ops.convert_to_numpy(v) for v in model.trained.variables]
    model.train_on_batch(pictures(), LABELS)
    assert len(model.trainable_variables) == len(model.trained.trainable_variables) > 50
    for variable, old in zip(model.trained.variables, before):  # the moving statistics as well
        assert not np.array_equal(ops.convert_to_numpy(variable), old), variable.path


def test_a_classifier_of_the_papers_own_network():
    model = small_model(aciids2020, weight=0.1, width=1 / 16, global_size=64)
    (kernel,) = (v for v in model.trained.variables if v.path == "scenes/kernel")
    before = ops.convert_to_numpy(kernel)
    model.train_on_batch(pictures(), LABELS)
    assert not np.array_equal(ops.convert_to_numpy(kernel), before)
    assert "scenes/kernel" not in [v.path for v in model.network.variables]


def test_updated_statistics_are_those_of_the_batches():
    model, batches = small_model(), [pictures(seed) for seed in range(3)]
    network = model.network
    for layer in (network.get_layer("low"), network.get_layer("mid_conv1_norm")):
        layer.set_weights([array + 5 for array in layer.get_weights()])
    update_batch_norm(model, [(rgb,) for rgb in batches])
    norm, before = network.get_layer("mid_conv1_norm"), part(network, "mid_conv1_kernel")
    means = [  # as the statistics of `low` were in training: those of each batch
        ops.mean(before(training_inputs(rgb, network.input), training=True), axis=(0, 1, 2))
        for rgb in batches
    ]
    means = np.mean([ops.convert_to_numpy(mean) for mean in means], axis=0)
    assert np.allclose(norm.get_weights()[2], means, rtol=1e-3, atol=1e-4) and norm.momentum == 0.9


def test_labels_are_the_top_folders(photographs):
    rows = manifest.scan_dataset([photographs], share=0.25, progress=False)
    names = manifest.class_names(rows)
    assert names == ["0", "1", "2"]
    files, labels = manifest.paths(rows, "train"), manifest.labels(rows, "train", names)
    assert [int(Path(file).parent.name) for file in files] == labels.tolist()
    (rgb, found), every = (
        Batches(files, 32, 6, Order(seed=1, epoch=2), labels=labels)[0],
        Batches(files, 32, len(files))[0][0].astype(int),
    )
    places = [np.abs(every - one).sum(axis=(1, 2, 3)).argmin() for one in rgb]
    assert labels[places].tolist() == found.tolist()
    flat = manifest.scan_dataset([photographs / "0"], progress=False)
    with pytest.raises(ValueError, match="lies in no folder below"):
        manifest.class_names(flat)


def test_train_resume_and_colorize(photographs, tmp_path):
    """Resumed before its last step, with classifier and moving average: equal bit for bit."""
    run = tmp_path / "run"
    small = ["--width", WIDTH, "--size", 64, "--batch", 8, "--epochs", 2, "--ema-decay", 0.5]
    arguments = ["--preset", "iizuka", "--labels-from-folders", "--checkpoint-steps", 1, *small]
    call(train.main, "--data", photographs, "--run", run, *arguments)
    arrays, progress, _ = checkpoint.read(run)
    network, metadata = model_file.load(run / "best.keras")
    assert metadata["classes"] == 3 and metadata["scenes"] == ["0", "1", "2"]
    assert metadata["training"]["optimizer"] == "adadelta"
    assert len(arrays["weights"]) == len(network.variables) + 7  # those of the classifier
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row[f"variation_{name}"]) > 0 for row in rows for name in iizuka2016.BRANCHES)

    (run / "previous.checkpoint").replace(run / "last.checkpoint")
    assert (checkpoint.read(run)[1]["step"], progress["step"]) == (3, 4)
    call(train.main, "--run", run, "--resume")
    again, _, _ = checkpoint.read(run)
    assert all(np.array_equal(a, b) for kind in arrays for a, b in zip(arrays[kind], again[kind]))

    words = [photographs / "0", tmp_path / "out", "--model", run / "best.keras"]
    assert call(colorizing.main, *words) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 8
