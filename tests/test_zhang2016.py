"""Zhang et al.'s network: blocks, bins, soft encoding, rebalancing, annealed mean, training."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import test as colorizing
import train
from data import color
from data.preprocess import target
from models import file as model_file
from models import zhang2016
from training import run as runs
from training.dataset import Dataset
from training.model import TrainingModel
from training.optimizer import make_optimizer

pytestmark = pytest.mark.slow

WIDTH = 1 / 32
FLAT = np.ones(313)


def run(model, x):
    return ops.convert_to_numpy(model(x))


def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


def truth_of(rgb):
    return ops.convert_to_numpy(target(ops.convert_to_tensor(rgb), 1.0))


def small_model(optimizer="sgd", rate=0.1, counts=FLAT):
    keras.utils.set_random_seed(0)
    network, loss = zhang2016.build(width=WIDTH), zhang2016.make_loss(counts)
    model = TrainingModel(network, loss, 1.0, loss_layer=zhang2016.LOSS_LAYER)
    model.compile(optimizer=make_optimizer(optimizer, rate, total_steps=10), run_eagerly=True)
    return model


def test_parameters_and_shapes_of_the_paper():
    network = zhang2016.build()
    blocks = {1: (64, 128, 2), 2: (128, 64, 2), 3: (256, 32, 3)}  # filters, side, convolutions
    blocks |= dict.fromkeys((4, 5, 6, 7), (512, 32, 3)) | {8: (256, 64, 3)}
    shapes = keras.Model(network.input, {n: network.get_layer(f"norm{n}").output for n in blocks})
    found = shapes.compute_output_shape({"lightness": (1, 256, 256, 1)})
    expected, channels = 256 * 313 + 313 + 2 * 313, 1  # logits; bins, which are not learned
    for number, (filters, side, convolutions) in blocks.items():
        assert tuple(found[number]) == (1, side, side, filters)
        for i in range(1, convolutions + 1):
            dilation = network.get_layer(f"conv{number}_{i}").dilation_rate
            assert dilation == ((2, 2) if number in (5, 6) else (1, 1))
            expected, channels = expected + 9 * channels * filters + filters, filters
        expected += 2 * filters
    assert network.count_params() == expected == 31_319_019
    assert network.compute_output_shape({"lightness": (1, 256, 256, 1)}) == (1, 256, 256, 2)


def test_the_bins_are_the_313_of_the_paper():
    bins = zhang2016.bins()
    assert bins.shape == (313, 2) and len(np.unique(bins, axis=0)) == 313 and not (bins % 10).any()
    # rows of the authors' file, pts_in_hull.npy: a, the least and the greatest b
    rows = {-90: (50, 90), -50: (-30, 100), 0: (-70, 100), 50: (-100, 80), 100: (-90, 0)}
    for a, (low, high) in rows.items():
        assert bins[bins[:, 0] == a, 1].tolist() == list(range(low, high + 1, 10))
    rgb = np.random.default_rng(0).random((100_000, 3)).astype(np.float32)
    cells = np.unique(np.rint(color.lab_from_srgb(rgb)[:, 1:] / 10) * 10, axis=0)
    assert {*map(tuple, cells)} <= {*map(tuple, bins)}  # every colour has its cell


def test_encoding_is_that_of_the_five_nearest_bins():
    rng = np.random.default_rng(0)
    ab = rng.uniform(-120, 120, (4, 5, 2)).astype("float32")  # many leave the gamut
    found = ops.convert_to_numpy(zhang2016.encode(ops.convert_to_tensor(ab)))
    far = zhang2016.encode(ops.convert_to_tensor(np.full((1, 2), 300, "float32")))
    assert np.isclose(ops.sum(far), 1)  # outside of all bins
    expected = np.zeros((20, 313))
    for row, point in zip(expected, ab.reshape(-1, 2).astype("float64")):
        distance = np.linalg.norm(zhang2016.bins() - point, axis=1)
        nearest = np.argsort(distance)[:5]
        gaussian = np.exp(-(distance[nearest] ** 2) / (2 * 5.0**2))
        row[nearest] = gaussian / gaussian.sum()
    assert np.abs(found.reshape(20, 313) - expected).max() < 1e-3
    assert ((found > 0).sum(axis=-1) <= 5).all() and np.allclose(found.sum(axis=-1), 1, atol=1e-6)


def test_colours_are_counted_by_their_nearest_bin():
    target = np.random.default_rng(0).uniform(-100, 100, (2, 32, 32, 2)).astype("float32")
    ab = target[:, ::4, ::4]
    distance = np.linalg.norm(zhang2016.bins() - ab[..., None, :], axis=-1)
    expected = np.bincount(distance.argmin(axis=-1).ravel(), minlength=313)
    assert np.array_equal(zhang2016.statistics(ops.convert_to_tensor(target)), expected)


def test_rebalancing():
    counts = np.random.default_rng(0).geometric(1e-3, 313) * (np.arange(313) % 3 == 0)
    weights = zhang2016.rebalancing(counts)
    bins, p = zhang2016.bins(), np.zeros(313)
    for q in range(313):  # the mass of each bin, spread over the bins by a Gaussian
        gaussian = np.exp(-((bins - bins[q]) ** 2).sum(axis=1) / (2 * 5.0**2))
        p += counts[q] / counts.sum() * gaussian / gaussian.sum()
    assert p.sum() == pytest.approx(1) and p @ weights == pytest.approx(1, rel=1e-5)  # equation 4
    seen = counts > 0
    mixed = 0.5 * p + 0.5 * seen / seen.sum()
    assert np.allclose((weights * mixed)[seen], (weights * mixed)[seen][0], rtol=1e-4)
    # what did not occur weighs as the rarest that did
    assert (weights[~seen] == weights[seen].max()).all()
    assert np.allclose(zhang2016.rebalancing(FLAT), 1, atol=0.2)


def test_pictures_without_colour_are_left_out_of_the_loss():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 4, 4, 313)).astype("float32")
    target = rng.uniform(-4, 4, (2, 16, 16, 2)).astype("float32")
    target[1] *= 10
    found = zhang2016.make_loss(FLAT)(*map(ops.convert_to_tensor, (logits, target)))
    assert found[0] == 0 < found[1]


def test_the_data_decide_the_initial_weights():
    """Each channel has mean 0 and variance 1 before its ReLU; a seed gives the same filters."""
    first, again, other = (zhang2016.build(width=1 / 16) for _ in range(3))
    x = {"lightness": np.random.default_rng(0).uniform(0, 100, (4, 64, 64, 1)).astype("float32")}
    for network, seed in ((first, 0), (again, 0), (other, 1)):
        zhang2016.initialize(network, x["lightness"], seed)
    for name in ("conv1_2", "conv3_3", "conv6_1", "conv8_3"):
        layer = first.get_layer(name)
        seen = keras.Model(first.input, layer.input).predict(x, verbose=0)
        options = {"strides": layer.strides, "dilation_rate": layer.dilation_rate}
        values = ops.conv(seen, layer.kernel, padding="same", **options) + layer.bias
        values = ops.convert_to_numpy(values).reshape(-1, layer.filters)
        assert np.abs(values.mean(axis=0)).max() < 0.3, name
        assert np.abs(values.std(axis=0) - 1).max() < 0.3, name
    kernels, same, others = (
        [layer.get_weights()[0] for layer in network.layers if layer.name.startswith("conv")]
        for network in (first, again, other)
    )
    assert all(np.array_equal(a, b) for a, b in zip(kernels, same))
    assert not any(np.array_equal(a, b) for a, b in zip(kernels, others))


def plain(*color):
    return np.broadcast_to(np.array(color, np.uint8), (2, 64, 64, 3)).copy()


def nearest_bin(rgb):
    return np.linalg.norm(zhang2016.bins() - truth_of(rgb)[0, 0, 0], axis=1).argmin()


def test_rare_colours_weigh_more_in_the_compiled_gradient():
    """One step of SGD from equal logits moves their biases by weight * (Z - 1/313)."""
    common, rare = plain(140, 120, 90), plain(200, 30, 30)
    counts = np.zeros(313)
    counts[nearest_bin(common)], counts[nearest_bin(rare)] = 990, 10
    moved = []
    for rgb in (common, rare):
        model = small_model(rate=1.0, counts=counts)
        logits = model.network.get_layer("logits")
        logits.set_weights([np.zeros_like(w) for w in logits.get_weights()])
        model.train_on_batch(rgb)
        z = ops.convert_to_numpy(zhang2016.encode(ops.convert_to_tensor(truth_of(rgb)[0, 0, 0])))
        moved.append(logits.get_weights()[1] @ (z - 1 / 313) / np.sum((z - 1 / 313) ** 2))
    weights = zhang2016.rebalancing(counts)
    expected = [weights[nearest_bin(rgb)] for rgb in (common, rare)]
    assert moved == pytest.approx(expected, rel=1e-3) and moved[1] > 2 * moved[0]


def test_the_compiled_loss():
    rgb, counts = pictures(), np.random.default_rng(1).integers(1, 1000, 313)
    model, truth = small_model(counts=counts), truth_of(rgb)
    outputs = model.predict_on_batch(rgb)
    quarter = truth[:, ::4, ::4]
    z = ops.convert_to_numpy(zhang2016.encode(ops.convert_to_tensor(quarter)))
    logits = outputs["compared"] - outputs["compared"].max(axis=-1, keepdims=True)
    entropy = (z * (np.log(np.exp(logits).sum(axis=-1, keepdims=True)) - logits)).sum(axis=-1)
    expected = (zhang2016.rebalancing(counts)[z.argmax(axis=-1)] * entropy).mean()
    found = model.evaluate(rgb, batch_size=2, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    relative = ((outputs["ab"] - truth) ** 2).mean() / (truth**2).mean()
    assert found["relative_mse"] == pytest.approx(relative, rel=1e-4)


def test_one_step_changes_every_trainable_weight():
    model = small_model("adamw", 1e-3)
    before = [ops.convert_to_numpy(v) for v in model.network.variables]
    model.train_on_batch(pictures())
    assert len(model.trainable_variables) == 2 * 22 + 2
    for variable, old in zip(model.network.variables, before):  # all but the centres of the bins
        is_kept = np.array_equal(ops.convert_to_numpy(variable), old)
        assert is_kept == (variable.path == "ab/kernel"), variable.path


def test_the_annealed_mean_lies_between_mean_and_mode():
    network = zhang2016.build(width=WIDTH)
    start = network.get_layer("logits").output
    read_out = keras.Model(start, network.get_layer("ab").output)
    logits = np.full((1, 1, 1, 313), -20, "float32")
    near, far = 100, 210
    logits[..., near], logits[..., far] = np.log(0.6), np.log(0.4)
    found = run(read_out, logits)[0, 0, 0]
    share = 0.6 ** (1 / 0.38) / (0.6 ** (1 / 0.38) + 0.4 ** (1 / 0.38))
    mode, other = zhang2016.bins()[near], zhang2016.bins()[far]
    assert np.allclose(found, share * mode + (1 - share) * other, atol=1e-2)
    mean = 0.6 * mode + 0.4 * other
    assert 0 < np.linalg.norm(found - mode) < np.linalg.norm(mean - mode)


def test_train_and_colorize(photographs, tmp_path, capsys):
    run_folder = tmp_path / "run"
    small = ["--width", WIDTH, "--size", 64, "--batch", 8, "--epochs", 2, "--ema-decay", 0.5]
    arguments = ["--preset", "zhang", "--data", photographs, "--run", run_folder, *small]
    train.main([str(argument) for argument in arguments])
    assert "variation -" in capsys.readouterr().out
    counts = json.loads((run_folder / "statistics.json").read_text())
    assert len(counts) == 313 and sum(counts) == 22 * 16 * 16
    network, metadata = model_file.load(run_folder / "best.keras")
    assert metadata["statistics"] == counts and network.name == "zhang2016"
    started = runs.read(run_folder)  # a resumed run does not count again
    assert Dataset(started.config, started.rows).statistics(None, run_folder) == counts

    arguments = [photographs / "0", tmp_path / "out", "--model", run_folder / "best.keras"]
    assert colorizing.main([str(argument) for argument in arguments]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 8
