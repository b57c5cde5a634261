"""The optimizer of a run."""

import keras

from training.muon import Muon


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
        name: "sgd", "adam", "adamw", "muon" or "adadelta", with Keras' defaults for what is not
            given here. "muon" takes the inner convolutions (training/muon.py) and leaves the other
            variables to AdamW.
        schedule: "constant"; "plateau" leaves the rate to a callback; "cosine" rises over `warmup`
            steps and falls to 0 at `total_steps`; "steps" falls to a tenth after each of
            `milestones`.
        weight_decay: decoupled and times the learning rate; with "adam" an L2 penalty, added to the
            gradient (as Caffe).
        beta_2: of "adam" and "adamw".
        ema_decay: of the moving average of the weights, 0 for none.
        slow_prefixes: of the paths of variables whose rate is multiplied by `slow_rate`, and which
            Muon leaves to AdamW. Dense layers take up to 1,500 inputs, so that an Adam step of a
            given size changes their output far more than a 3x3 convolution's.
        precision: of the training, a Keras dtype policy; float16, whose gradients underflow
            otherwise, scales the loss.
    """
    optimizers = keras.optimizers
    kinds = {"sgd": optimizers.SGD, "adam": optimizers.Adam, "adamw": optimizers.AdamW}
    kinds |= {"muon": Muon, "adadelta": optimizers.Adadelta}
    penalty = weight_decay if name == "adam" else 0.0

    class PerBranch(kinds[name]):
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
    optimizer = PerBranch(rate, weight_decay=None if penalty else weight_decay, **options)
    return optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer
