"""Muon on matrices, kernels and the rest; decay, schedules."""

import keras
import numpy as np
import pytest
from keras import ops

from configs import Config
from models import aciids2020
from training.optimizer import Muon, make_optimizer, on_plateau


def step(optimizer, shape, gradients):
    """What some steps make of a variable of zeros."""
    variable = keras.Variable(np.zeros(shape, "float32"), name="kernel")
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    return ops.convert_to_numpy(variable)


def gradients(shape, count=3):
    return np.random.default_rng(0).standard_normal((count, *shape)).astype("float32")


def test_on_a_matrix_muon_is_that_of_keras():
    found, expected = (
        step(kind(1e-2), (24, 40), gradients((24, 40))) for kind in (Muon, keras.optimizers.Muon)
    )
    assert np.abs(expected).max() > 1e-3 and np.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "products, shape", [("float32", (3, 3, 16, 32)), ("bfloat16", (3, 3, 32, 16))]
)
def test_the_step_of_a_kernel_has_singular_values_near_one_another(shape, products):
    rate = 0.1
    gradient = gradients(shape, 1)[0]
    gradient *= np.linspace(0.2, 3, shape[-1], dtype="float32")  # some directions weak
    optimizer = Muon(rate, products=products, weight_decay=None, adam_weight_decay=None)
    matrices = (x.reshape(-1, shape[-1]) for x in (step(optimizer, shape, [gradient]), gradient))
    values, raw = (np.linalg.svd(matrix, compute_uv=False) for matrix in matrices)
    assert values.max() / values.min() < 1.8 < raw.max() / raw.min()
    scale = max(np.prod(shape[:3]), shape[-1]) ** 0.5  # Moonlight's
    assert np.median(values) == pytest.approx(rate * 0.2 * scale, rel=0.3)


def test_all_else_is_left_to_adamw():
    network = aciids2020.build(global_size=64)
    optimizer = make_optimizer(Config(optimizer="muon"), 10, aciids2020.SLOW_PREFIXES)
    optimizer.build(network.trainable_variables)
    pairs = zip(network.trainable_variables, optimizer.adam_velocities)
    muon = {variable.path for variable, second in pairs if second is None}
    names = [f"lfn_conv{i}" for i in range(2, 7)] + [f"color_conv{i}" for i in range(1, 5)]
    assert muon == {f"{name}/kernel" for name in names}


def test_adam_with_decay_adds_it_to_the_gradient():
    """An L2 penalty, as in Caffe, not AdamW's decay."""
    start = np.random.default_rng(1).standard_normal((4, 5)).astype("float32")
    found = []
    for optimizer, factor in (
        (make_optimizer(Config(optimizer="adam", weight_decay=0.3), 9), 0),
        (keras.optimizers.Adam(1e-2), 0.3),
    ):
        variable = keras.Variable(start, name="kernel")
        optimizer.build([variable])
        for gradient in gradients((4, 5)):
            whole = gradient + factor * ops.convert_to_numpy(variable)
            optimizer.apply([ops.convert_to_tensor(whole)], [variable])
        found.append(ops.convert_to_numpy(variable))
    assert np.allclose(*found, atol=1e-6) and not np.allclose(found[0], start, atol=1e-3)


def test_schedules():
    first, second = 225_000, 500_000
    steps = {0: 0.1, first: 0.1, first + 1: 0.01, second: 0.01, second + 1: 0.001}
    for options, expected in (
        ({"schedule": "steps"}, steps),
        ({"schedule": "cosine", "warmup": 10}, {0: 0, 5: 0.05, 10: 0.1, 55: 0.05, 100: 0}),
        ({"schedule": "cosine"}, {0: 0.1, 50: 0.05, 100: 0}),
    ):
        config = Config(optimizer="adam", learning_rate=0.1, beta_2=0.99, **options)
        optimizer = make_optimizer(config, 100)
        rates = [float(optimizer._learning_rate(step)) for step in expected]
        assert rates == pytest.approx([*expected.values()], abs=1e-6) and optimizer.beta_2 == 0.99


def test_the_rate_of_the_slow_variables():
    optimizer = make_optimizer(Config(learning_rate=1.0, slow_rate=0.5), 9, ("b",))
    variables = [keras.Variable(np.zeros(3, "float32"), name=name) for name in ("ab", "ba")]
    optimizer.build(variables)
    optimizer.apply([ops.ones(3)] * 2, variables)
    assert [float(variable[0]) for variable in variables] == [-1, -0.5]


def test_a_plateau_is_that_of_keras():
    rng = np.random.default_rng(0)
    losses = [1 - 5e-5 * i for i in range(15)] + [0.5] * 22 + list(rng.uniform(0.4, 1, 60))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd")
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=10)
    callback.set_model(model)
    callback.on_train_begin()
    falls = []
    for i, loss in enumerate(losses):
        model.optimizer.learning_rate = 1.0
        callback.on_epoch_end(i, {"val_loss": loss})
        falls.append(float(model.optimizer.learning_rate) < 1)
    assert [on_plateau(losses[:i]) for i in range(1, len(losses) + 1)] == falls and sum(falls) > 4
