"""Zhang et al.'s network: blocks, bins, soft encoding, rebalancing, annealed mean, training."""

import keras
import numpy as np
import pytest
from keras import ops

import train
from data import color
from models import file as model_file
from models import zhang2016
from training import run as runs
from training.dataset import Dataset

pytestmark = pytest.mark.slow


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


def test_encoding_and_counts_are_those_of_the_nearest_bins():
    ab = np.random.default_rng(0).uniform(-120, 120, (1, 8, 8, 2)).astype("float32")
    ab[0, 0, 0] = 300  # outside of all bins; many others leave the gamut
    found = ops.convert_to_numpy(zhang2016.encode(ops.convert_to_tensor(ab))).reshape(64, 313)
    expected = np.zeros((64, 313))
    distances = np.linalg.norm(zhang2016.bins() - ab.reshape(64, 1, 2).astype("float64"), axis=-1)
    for row, distance in zip(expected, distances):
        nearest = np.argsort(distance)[:5]
        gaussian = np.exp((distance.min() ** 2 - distance[nearest] ** 2) / (2 * 5.0**2))
        row[nearest] = gaussian / gaussian.sum()
    assert np.abs(found - expected)[1:].max() < 1e-3 and np.allclose(found.sum(axis=-1), 1)
    counts = np.bincount(distances.argmin(axis=-1), minlength=313)
    target = ops.convert_to_tensor(ab.repeat(4, axis=1).repeat(4, axis=2))
    assert np.array_equal(zhang2016.statistics(target), counts)


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
    assert np.allclose(zhang2016.rebalancing(np.ones(313)), 1, atol=0.2)


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


def test_the_annealed_mean_lies_between_mean_and_mode():
    network = zhang2016.build(width=1 / 32)
    start = network.get_layer("logits").output
    logits = np.full((1, 1, 1, 313), -20, "float32")
    near, far = 100, 210
    logits[..., near], logits[..., far] = np.log(0.6), np.log(0.4)
    found = keras.Model(start, network.get_layer("ab").output)(logits)
    found = ops.convert_to_numpy(found)[0, 0, 0]
    share = 0.6 ** (1 / 0.38) / (0.6 ** (1 / 0.38) + 0.4 ** (1 / 0.38))
    mode, other = zhang2016.bins()[near], zhang2016.bins()[far]
    assert np.allclose(found, share * mode + (1 - share) * other, atol=1e-2)


def test_training_counts_the_colours(photographs, tmp_path, capsys):
    run = tmp_path / "run"
    small = ["--width", 1 / 32, "--size", 64, "--batch", 8, "--epochs", 2, "--ema-decay", 0.5]
    arguments = ["--preset", "zhang", "--data", photographs, "--run", run, *small]
    train.main([str(argument) for argument in arguments])
    assert "variation -" in capsys.readouterr().out
    network, metadata = model_file.load(run / "best.keras")
    counts, started = metadata["statistics"], runs.read(run)
    assert network.name == "zhang2016" and len(counts) == 313 and sum(counts) == 22 * 16 * 16
    counted = Dataset(started.config, started.rows).statistics(zhang2016.statistics)
    assert counted == counts  # a resumed run has the same
