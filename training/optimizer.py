"""The optimizer of a run; Muon for kernels; when the learning rate falls on a plateau."""

import math
import re

import keras
from keras import ops, optimizers

NARROW = 16  # channels: a kernel with fewer in or out is nearly a vector, and stays with AdamW


class Muon(optimizers.Muon):
    """Keras' Muon that also takes kernels, flattened to matrices (height * width * in, out).

    K. Jordan, Muon (2024); Liu et al., arXiv 2502.16982, for the scale of its steps (`rms_rate`),
    by which a rate for AdamW serves. AdamW keeps biases, 1 x 1 kernels, kernels with fewer than
    NARROW channels on either side, and the variables whose path matches `exclude_layers`.
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


def make_optimizer(
    name,
    learning_rate,
    *,
    total_steps,
    schedule="plateau",
    warmup=0,
    milestones=(),
    weight_decay=0.0,
    beta_2=0.999,
    ema_decay=0.0,
    slow_prefixes=(),
    slow_rate=1.0,
    precision="float32",
):
    """The optimizer of a run.

    Args:
        name: a key of KINDS, with Keras' defaults for what is not given here.
        schedule: "constant"; "plateau": train.py lowers it; "cosine" rises over `warmup` steps and
            falls to 0 at `total_steps`; "steps" falls to a tenth after each of `milestones`.
        weight_decay: decoupled and times the learning rate; with "adam" an L2 penalty, added to the
            gradient (as Caffe).
        beta_2: of "adam" and "adamw".
        ema_decay: of the moving average of the weights, 0 for none.
        slow_prefixes: of the paths of variables whose rate is multiplied by `slow_rate`, and which
            Muon leaves to AdamW.
        precision: a Keras dtype policy, for Muon's products.
    """
    penalty = weight_decay if name == "adam" else 0.0

    class PerBranch(KINDS[name]):
        def build(self, variables):
            super().build(variables)
            slow = [v.path.startswith(tuple(slow_prefixes)) for v in variables]
            self.factors = [slow_rate if is_slow else 1.0 for is_slow in slow]

        def update_step(self, gradient, variable, rate):
            gradient = gradient + penalty * variable if penalty else gradient
            factor = self.factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, rate * factor)

    rate = learning_rate
    if schedule == "cosine":
        start = {"initial_learning_rate": rate}
        if warmup:
            start = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": warmup}
        rate = optimizers.schedules.CosineDecay(decay_steps=max(1, total_steps - warmup), **start)
    if schedule == "steps":
        rates = [learning_rate * 0.1**i for i in range(len(milestones) + 1)]
        rate = optimizers.schedules.PiecewiseConstantDecay(list(milestones), rates)
    options = {"use_ema": True, "ema_momentum": ema_decay} if ema_decay else {}
    options |= {"beta_2": beta_2} if name in ("adam", "adamw") else {}
    if name == "muon":
        options["exclude_layers"] = ["dense", *(f"^{prefix}" for prefix in slow_prefixes)]
        options["adam_weight_decay"] = weight_decay
        options["products"] = keras.DTypePolicy(precision).compute_dtype
    return PerBranch(rate, weight_decay=None if penalty else weight_decay, **options)


def on_plateau(losses, patience=10, least=1e-4):
    """Whether the last of the epochs' losses makes the rate fall, as Keras' ReduceLROnPlateau.

    It does when for `patience` epochs none was lower than the lowest before by more than `least`.
    """
    best, waited = math.inf, 0
    for loss in losses:
        waited = 0 if waited == patience else waited
        best, waited = (loss, 0) if loss + least < best else (best, waited + 1)
    return waited == patience
