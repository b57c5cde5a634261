"""Iizuka et al.'s network: sizes, shared features, fusion, labels from folders, training."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import train
from configs import Config
from data import manifest
from data.batches import Batches, Order
from data.preprocess import training_inputs
from models import file as model_file
from models import iizuka2016
from training import checkpoint
from training.model import TrainingModel, update_batch_norm

pytestmark = pytest.mark.slow

WIDTH = 1 / 32


def inputs():
    rng, shapes = np.random.default_rng(0), {"lightness": 64, "global_lightness": 224}
    return {k: rng.uniform(0, 100, (2, n, n, 1)).astype("float32") for k, n in shapes.items()}


def call(main, *arguments):
    return main([str(argument) for argument in arguments])


def run(model, x):
    return ops.convert_to_numpy(model(x))


def part(network, name):
    return keras.Model(network.input, network.get_layer(name).output)


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
    assert iizuka2016.CLASSIFICATION_WEIGHT == 1 / 300

    low = network.get_layer("low")
    strides = [low.get_layer(f"low_conv{i}_kernel").strides[0] for i in range(1, 7)]
    strides += [network.get_layer(f"global_conv{i}_kernel").strides[0] for i in range(1, 5)]
    assert strides == [2, 1, 2, 1, 2, 1, 2, 1, 2, 1]
    assert low.compute_output_shape((1, 224, 224, 1)) == (1, 28, 28, 512)
    assert [network.get_layer(f"global_conv{i}").output.shape[1] for i in (2, 4)] == [14, 7]
    channels = {"global_dense1": 1024, "global_dense2": 512, "global_dense3": 256, "mid_conv2": 256}
    channels |= {"fusion": 256, "color_conv1": 128, "color_conv4": 32, "ab": 2}
    assert {name: network.get_layer(name).output.shape[-1] for name in channels} == channels


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
    repeated = ops.broadcast_to(vector[:, None, None], mid.shape)
    names = ("fusion_mid", "fusion_global")
    of_mid, of_vector = (network.get_layer(name).get_weights()[0] for name in names)
    kernel = np.concatenate([of_mid, of_vector[None, None]], axis=2)
    expected = ops.conv(ops.concatenate([mid, repeated], axis=-1), kernel)
    found, expected = run(part(network, "fusion_add"), inputs()), ops.convert_to_numpy(expected)
    assert found.std() > 1e-4 and np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_updated_statistics_are_those_of_the_batches():
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8) for _ in range(3)]
    network = iizuka2016.build(width=WIDTH)
    model = TrainingModel(network, Config(network="iizuka2016"))
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
    rows = manifest.scan_dataset([photographs], share=0.25)
    names = manifest.class_names(rows)
    assert names == ["0", "1", "2"]
    files, labels = manifest.paths(rows, "train"), manifest.labels(rows, "train", names)
    assert [int(Path(file).parent.name) for file in files] == labels.tolist()
    rgb, found = Batches(files, 32, 6, Order(seed=1, epoch=2), labels=labels)[0]
    every = Batches(files, 32, len(files))[0][0].astype(int)
    places = [np.abs(every - one).sum(axis=(1, 2, 3)).argmin() for one in rgb]
    assert labels[places].tolist() == found.tolist()
    flat = manifest.scan_dataset([photographs / "0"])
    with pytest.raises(ValueError, match="lies in no folder below"):
        manifest.class_names(flat)


def test_train_and_resume(photographs, tmp_path):
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
