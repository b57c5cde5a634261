"""The optimizer of a run; Muon for kernels; when the learning rate falls on a plateau."""

import math
import re

import keras
from keras import ops, optimizers

from configs import MILESTONES

NARROW = 16  # channels: a kernel with fewer is nearly a vector


class Muon(optimizers.Muon):
    """Keras' Muon that also takes kernels, flattened to matrices (height * width * in, out).

    K. Jordan, Muon (2024); Liu et al., arXiv 2502.16982, for the scale of its steps (`rms_rate`),
    by which a rate for AdamW serves. AdamW keeps biases, 1 x 1 kernels, kernels with fewer than
    NARROW channels in or out, and the variables whose path matches `exclude_layers`.
    `products` is the dtype of the products in the Newton-Schulz iteration.
    """

    def __init__(self, learning_rate, *, products="float32", **options):
        super().__init__(learning_rate, **options)
        self.products = products

    def _should_use_adamw(self, variable):
        if len(variable.shape) != 4:
            return super()._should_use_adamw(variable)
        height, width, channels_in, channels_out = variable.shape
        flat = height * width > 1 and min(channels_in, channels_out) >= NARROW
        return not flat or any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def zeropower_via_newtonschulz5(self, x, steps):
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        matrix = ops.cast(matrix / (ops.norm(matrix) + 1e-7), self.products)
        matrix = super().zeropower_via_newtonschulz5(matrix, steps)
        return ops.reshape(ops.cast(matrix, x.dtype), x.shape)

    def lr_adjust(self, x):
        return x * (self.rms_rate * math.sqrt(max(math.prod(x.shape[:-1]), x.shape[-1])))


KINDS = {"sgd": optimizers.SGD, "adam": optimizers.Adam, "adamw": optimizers.AdamW}
KINDS |= {"muon": Muon, "adadelta": optimizers.Adadelta}


def make_optimizer(config, total_steps, slow_prefixes=()):
    """The optimizer of a configs.Config, with Keras' defaults for what that does not say.

    The schedule "plateau" is a constant rate, which train.py lowers. Muon leaves the variables
    whose paths begin with `slow_prefixes`, those of `slow_rate`, to AdamW.
    """
    c, rate = config, config.learning_rate
    penalty = c.weight_decay if c.optimizer == "adam" else 0.0  # L2, as Caffe

    class PerBranch(KINDS[c.optimizer]):
        def build(self, variables):
            super().build(variables)
            slow = [v.path.startswith(tuple(slow_prefixes)) for v in variables]
            self.factors = [c.slow_rate if is_slow else 1.0 for is_slow in slow]

        def update_step(self, gradient, variable, rate):
            gradient = gradient + penalty * variable if penalty else gradient
            factor = self.factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, rate * factor)

    if c.schedule == "cosine":
        start = {"initial_learning_rate": rate}
        if c.warmup:
            start = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": c.warmup}
        rate = optimizers.schedules.CosineDecay(decay_steps=max(1, total_steps - c.warmup), **start)
    if c.schedule == "steps":
        rates = [rate, rate * 0.1, rate * 0.1**2]
        rate = optimizers.schedules.PiecewiseConstantDecay(list(MILESTONES), rates)
    options = {"use_ema": True, "ema_momentum": c.ema_decay} if c.ema_decay else {}
    options |= {"beta_2": c.beta_2} if c.optimizer in ("adam", "adamw") else {}
    if c.optimizer == "muon":
        options["exclude_layers"] = ["dense", *(f"^{prefix}" for prefix in slow_prefixes)]
        options["adam_weight_decay"] = c.weight_decay
        options["products"] = keras.DTypePolicy(c.precision).compute_dtype
    return PerBranch(rate, weight_decay=None if penalty else c.weight_decay, **options)


def on_plateau(losses, patience=10, least=1e-4):
    """Whether the rate falls after the last of the epochs' losses, as Keras' ReduceLROnPlateau.

    It does when for `patience` epochs none was lower than the lowest before by more than `least`.
    """
    best, waited = math.inf, 0
    for loss in losses:
        waited = 0 if waited == patience else waited
        best, waited = (loss, 0) if loss + least < best else (best, waited + 1)
    return waited == patience
