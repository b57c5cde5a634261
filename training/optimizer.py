"""The optimizer of a run."""

import keras

from training.muon import Muon


def make_optimizer(
    name, learning_rate, *, total_steps, schedule="plateau", warmup=0, weight_decay=0.0, average=0.0,
    classification_rate=1.0, precision="float32",
):  # fmt: skip
    """The optimizer of a run.

    Args:
        name: "sgd", "adamw", "muon" or "adadelta", with Keras' defaults for what is not given here. "muon" takes the
            inner 3x3 convolutions (models/muon.py) and leaves all else to AdamW.
        schedule: "plateau" leaves the rate to a callback; "cosine" rises over `warmup` steps and falls to 0 at
            `total_steps`.
        average: momentum of the moving average of the weights, 0 for none.
        classification_rate: factor on the rate of the classification network and its way into the fusion. Its dense
            layers take up to 1,500 inputs, so that an Adam step of a given size changes their output far more than a
            3x3 convolution's.
        precision: of the training, a Keras dtype policy; float16, whose gradients underflow otherwise, scales the loss.
    """
    kinds = {
        "sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW, "muon": Muon, "adadelta": keras.optimizers.Adadelta
    }  # fmt: skip
    options = {}
    if name == "muon":
        options = {"exclude_layers": ["dense", "^cn_", "^fusion_cn", "scenes"], "adam_weight_decay": weight_decay}
        options["products"] = keras.DTypePolicy(precision).compute_dtype

    class PerBranch(kinds[name]):
        def build(self, variables):
            super().build(variables)
            slow = [v.path.startswith(("cn_", "fusion_cn/")) for v in variables]
            self.factors = [classification_rate if s else 1.0 for s in slow]

        def update_step(self, gradient, variable, rate):
            super().update_step(gradient, variable, rate * self.factors[self._get_variable_index(variable)])

    rate = learning_rate
    if schedule == "cosine":
        start = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": warmup} if warmup else {
            "initial_learning_rate": rate
        }  # fmt: skip
        rate = keras.optimizers.schedules.CosineDecay(decay_steps=max(1, total_steps - warmup), **start)
    moving = {"use_ema": True, "ema_momentum": average} if average else {}
    optimizer = PerBranch(rate, weight_decay=weight_decay, **moving, **options)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer
