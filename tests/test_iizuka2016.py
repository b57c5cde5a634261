"""Iizuka et al.'s network: sizes, shared features, fusion, labels from folders, training."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from skimage import data

import configs
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


def pictures(count=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def inputs(count=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"lightness": (64, 64), "global_lightness": (224, 224)}
    return {
        name: rng.uniform(0, 100, (count, *shape, 1)).astype("float32")
        for name, shape in shapes.items()
    }


def call(main, *arguments):
    return main([str(argument) for argument in arguments])


def run(model, x):
    return ops.convert_to_numpy(model(x))


def small_model(optimizer=None, classes=3, weight=1 / 300):
    keras.utils.set_random_seed(0)
    network = iizuka2016.build(width=WIDTH)
    scenes = iizuka2016.classifier(network, classes) if classes else None
    model = TrainingModel(
        network,
        iizuka2016.make_loss(),
        1.0,
        loss_layer=iizuka2016.LOSS_LAYER,
        classifier=scenes,
        classification_weight=weight,
    )
    model.compile(
        optimizer=optimizer or make_optimizer("sgd", 0.1, total_steps=10), run_eagerly=True
    )
    return model


def test_parameters_and_shapes_of_the_paper():
    network = iizuka2016.build()
    convolutions = {
        "low": [(1, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)],
        "mid": [(512, 512), (512, 256)],
        "global": [(512, 512)] * 4,
        "color": [(256, 128), (128, 64), (64, 64), (64, 32)],
    }
    expected = sum(
        9 * a * b + 4 * b for pairs in convolutions.values() for a, b in pairs
    )  # no bias, four of the norm
    expected += sum(a * b + 4 * b for a, b in [(7 * 7 * 512, 1024), (1024, 512), (512, 256)])
    expected += 256 * 256 + 256 * 256 + 4 * 256  # the fusion
    expected += 9 * 32 * 2 + 2  # the output, with a bias
    assert network.count_params() == expected == 42_189_314
    classifier = keras.Model(network.input, iizuka2016.classifier(network, 205))
    assert classifier.output.shape == (None, 205)
    assert [
        classifier.get_layer(f"scenes{end}").kernel.shape for end in ("_dense1_kernel", "")
    ] == [(512, 256), (256, 205)]

    low = network.get_layer("low")
    strides = [low.get_layer(f"low_conv{i}_kernel").strides[0] for i in range(1, 7)]
    strides += [network.get_layer(f"global_conv{i}_kernel").strides[0] for i in range(1, 5)]
    assert strides == [2, 1, 2, 1, 2, 1, 2, 1, 2, 1]
    assert low.compute_output_shape((1, 224, 224, 1)) == (1, 28, 28, 512)
    assert [network.get_layer(f"global_conv{i}").output.shape[1] for i in (2, 4)] == [14, 7]
    named = (
        "global_dense1",
        "global_dense2",
        "global_dense3",
        "mid_conv2",
        "fusion",
        "color_conv1",
        "color_conv4",
        "ab",
    )
    channels = [network.get_layer(name).output.shape[-1] for name in named]
    assert channels == [1024, 512, 256, 256, 256, 128, 32, 2]


def test_the_low_level_features_are_shared():
    network = iizuka2016.build(width=WIDTH)
    low = [v.path for v in network.variables if "low_conv" in v.path]
    assert len(low) == 6 * 5 == len(set(low))  # kernel, scale, shift, mean, variance: once
    mid, vector = (
        keras.Model(network.input, network.get_layer(iizuka2016.BRANCHES[k]).output)
        for k in ("mid", "global")
    )
    before = run(mid, inputs()), run(vector, inputs())
    first = network.get_layer("low").get_layer("low_conv1_kernel")
    first.set_weights([-first.get_weights()[0]])
    assert all(
        not np.allclose(run(model, inputs()), old) for model, old in zip((mid, vector), before)
    )


def test_fusion_equals_the_literal_repeat_and_concatenation():
    network = iizuka2016.build(width=WIDTH)
    branches = keras.Model(
        network.input, [network.get_layer(n).output for n in iizuka2016.BRANCHES.values()]
    )
    vector, mid = branches(inputs())
    joined = layers.Concatenate()([mid, layers.Reshape((8, 8, 8))(layers.RepeatVector(64)(vector))])
    literal = layers.Conv2D(8, 1, use_bias=False)
    literal.build(joined.shape)
    of_mid, of_vector = (
        network.get_layer(f"fusion_{name}").get_weights()[0] for name in ("mid", "global")
    )
    literal.set_weights([np.concatenate([of_mid, of_vector[None, None]], axis=2)])
    found = run(keras.Model(network.input, network.get_layer("fusion_add").output), inputs())
    expected = run(literal, joined)
    assert found.std() > 1e-4 and np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("photograph", [data.astronaut, data.coffee])
def test_training_and_colorizing_give_the_global_branch_nearly_the_same_picture(photograph, large):
    """0.25 of L apart on average at the training's size; 1 for a large one, resized twice."""
    picture = photograph() if large else resize(photograph(), 256, 256)
    trained = training_inputs(resize(picture, 256, 256)[None], iizuka2016.build(width=WIDTH).input)[
        "global_lightness"
    ]
    tested = lightness_of(resize(picture, 224, 224))
    difference = np.abs(ops.convert_to_numpy(trained)[0, ..., 0] - tested)
    assert difference.mean() < (1 if large else 0.25) and np.percentile(difference, 99) < (
        9 if large else 2.5
    )


def test_loss_is_that_of_ab_brought_to_0_1_and_the_weighted_cross_entropy():
    rgb, labels = pictures(), np.array([0, 1, 2, 1])
    model = small_model(weight=0.25)
    outputs = model.predict_on_batch(rgb)
    truth = ops.convert_to_numpy(target(ops.convert_to_tensor(rgb), 1.0))
    error = (((outputs["ab"] + 100) / 200 - (truth + 100) / 200) ** 2).mean()
    logits = outputs["classes"] - outputs["classes"].max(axis=-1, keepdims=True)
    entropy = np.mean(np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(4), labels])
    found = model.evaluate(rgb, labels, batch_size=4, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(error + 0.25 * entropy, rel=1e-4)
    assert found["relative_mse"] == pytest.approx(
        ((outputs["ab"] - truth) ** 2).mean() / (truth**2).mean(), rel=1e-4
    )
    alone = small_model(classes=0).evaluate(rgb, batch_size=4, return_dict=True, verbose=0)
    assert alone["loss"] == pytest.approx(error, rel=1e-4)


def test_one_step_changes_every_trainable_weight():
    model = small_model(make_optimizer("adadelta", 1.0, total_steps=10))
    before = [ops.convert_to_numpy(v) for v in model.trained.variables]
    model.train_on_batch(pictures(), np.array([0, 1, 2, 1]))
    assert len(model.trainable_variables) == len(model.trained.trainable_variables) > 50
    for variable, old in zip(model.trained.variables, before):  # the moving statistics as well
        assert not np.array_equal(ops.convert_to_numpy(variable), old), variable.path


def test_adadelta_is_the_papers():
    optimizer = make_optimizer(configs.PRESETS["iizuka"].optimizer, 1.0, total_steps=1)
    assert isinstance(optimizer, keras.optimizers.Adadelta) and optimizer.rho == 0.95


def test_settled_statistics_are_those_of_the_batches():
    model, batches = small_model(), [(pictures(seed=i),) for i in range(3)]
    for layer in ("low", "mid_conv1_norm"):
        model.network.get_layer(layer).set_weights(
            [w + 5 for w in model.network.get_layer(layer).get_weights()]
        )
    update_batch_norm(model, batches)
    norm = model.network.get_layer("mid_conv1_norm")
    before = keras.Model(model.network.input, model.network.get_layer("mid_conv1_kernel").output)
    parts = []
    for (rgb,) in batches:  # as the statistics of `low` were in training: those of each batch
        parts.append(
            ops.convert_to_numpy(before(training_inputs(rgb, model.network.input), training=True))
        )
    means = np.mean([part.mean(axis=(0, 1, 2)) for part in parts], axis=0)
    assert np.allclose(norm.get_weights()[2], means, rtol=1e-3, atol=1e-4) and norm.momentum == 0.9


def test_labels_are_the_top_folders(photographs):
    rows = manifest.scan_dataset([photographs], share=0.25, progress=False)
    names = manifest.class_names(rows)
    assert names == ["0", "1", "2"]
    files, labels = manifest.paths(rows, "train"), manifest.labels(rows, "train", names)
    assert [int(Path(file).parent.name) for file in files] == labels.tolist()
    batches = Batches(files, 32, 6, Order(seed=1, epoch=2), labels=labels)
    whole = Batches(files, 32, len(files))[0][0]
    for i in range(len(batches)):
        rgb, found = batches[i]
        assert [
            labels[np.abs(whole.astype(int) - one).sum(axis=(1, 2, 3)).argmin()] for one in rgb
        ] == found.tolist()
    flat = manifest.scan_dataset([photographs / "0"], progress=False)
    with pytest.raises(ValueError, match="lies in no folder below"):
        manifest.class_names(flat)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"labels_from_folders": True}, "--classification-weight must be above 0"),
        ({"classification_weight": 0.1}, "goes with --labels-from-folders"),
        ({"network": "zhang2016", "labels_from_folders": True}, "zhang2016 has no classifier"),
        ({"network": "iizuka2016", "edges": False}, "iizuka2016 has no edge detection network"),
    ],
)
def test_options_that_do_not_go_together(options, reason):
    with pytest.raises(ValueError, match=reason):
        configs.make("paper", options)


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

    assert (
        call(colorizing.main, photographs / "0", tmp_path / "out", "--model", run / "best.keras")
        == 0
    )
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


def test_the_papers_own_network_with_a_classifier():
    """Not the paper's: its classification network learns from colours alone without the option."""
    keras.utils.set_random_seed(0)
    network = aciids2020.build(width=1 / 16, global_size=64)
    classifier = aciids2020.classifier(network, 3)
    model = TrainingModel(
        network, aciids2020.make_loss(), 1.8, classifier=classifier, classification_weight=0.1
    )
    model.compile(optimizer=make_optimizer("sgd", 0.01, total_steps=10), run_eagerly=True)
    before = model.trained.get_weights()
    model.train_on_batch(pictures(), np.array([0, 1, 2, 1]))
    (kernel,) = (i for i, v in enumerate(model.trained.variables) if v.path == "scenes/kernel")
    assert not np.array_equal(model.trained.get_weights()[kernel], before[kernel])
    assert "scenes/kernel" not in [v.path for v in network.variables]
