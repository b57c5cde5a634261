"""What is trained: the recipe, a network and its loss as one keras.Model that takes uint8 pictures; its optimizer."""

import keras
from keras import ops

from data.preprocess import target, training_inputs


class Ratio(keras.metrics.Metric):
    """The loss over the loss of all-gray output (a = b = 0) on the same pictures and target: 1 is as good as no colour.

    An MSE alone says nothing, since that of all-gray output depends on the photographs as much (0.02 to 0.05).
    """

    def __init__(self, name="ratio"):
        super().__init__(name=name)
        self.loss = self.add_weight(name="loss", initializer="zeros")
        self.gray = self.add_weight(name="gray", initializer="zeros")

    def update_state(self, loss, gray):
        self.loss.assign_add(ops.sum(loss))
        self.gray.assign_add(ops.sum(gray))

    def result(self):
        return self.loss / ops.maximum(self.gray, 1e-12)


class Training(keras.Model):
    """uint8 sRGB pictures (N, S, S, 3) -> {"ab": output, "target": K}, both float32 (N, S, S, 2) in Lab units.

    Lab, the saturation boost and Canny run here, on the device, inside the compiled step.
    """

    def __init__(self, network, loss, saturation, clip_saturation=False):
        """
        Args:
            network: from the `build` of a module of models/.
            loss: that module's `loss`: (output, target) -> (N,), one value for each picture.
            saturation, clip_saturation: of the target, see `data.preprocess.target`.
        """
        super().__init__()
        self.network, self.picture_loss = network, loss
        self.saturation, self.clip_saturation = saturation, clip_saturation
        self.ratio = Ratio()

    def call(self, rgb, training=None):
        ab = self.network(training_inputs(rgb, self.network.input), training=training)
        return {"ab": ab, "target": target(rgb, self.saturation, self.clip_saturation)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(self.picture_loss(y_pred["ab"], y_pred["target"]))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        gray = ops.zeros_like(y_pred["target"])
        self.ratio.update_state(
            self.picture_loss(y_pred["ab"], y_pred["target"]), self.picture_loss(gray, y_pred["target"])
        )
        return self.get_metrics_result()


def make_optimizer(
    name, learning_rate, *, total_steps, schedule="plateau", warmup=0, weight_decay=0.0, average=0.0,
    classification_rate=1.0, loss_scaling=False,
):  # fmt: skip
    """The optimizer of a run.

    Args:
        name: "sgd" or "adamw", with Keras' defaults for what is not given here.
        schedule: "plateau" leaves the rate to a callback; "cosine" rises over `warmup` steps and falls to 0 at
            `total_steps`.
        average: momentum of the moving average of the weights, 0 for none.
        classification_rate: factor on the rate of the classification network and its way into the fusion. Its dense
            layers take up to 1,500 inputs, so that an Adam step of a given size changes their output far more than a
            3x3 convolution's.
        loss_scaling: for float16, whose gradients underflow otherwise.
    """
    kind = {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW}[name]

    class PerBranch(kind):
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
    optimizer = PerBranch(rate, weight_decay=weight_decay, **moving)
    return keras.optimizers.LossScaleOptimizer(optimizer) if loss_scaling else optimizer


def spread(features):
    """How much features differ between pictures, relative to their size: 0 if they are the same for every picture.

    Args:
        features: NumPy (N, ...), one row for each picture.

    Returns:
        The standard deviation over the pictures over the features' root mean square, each pooled over all features.
    """
    size = (features.astype("float64") ** 2).mean()
    return float((features.var(axis=0, dtype="float64").mean() / size) ** 0.5) if size else 0.0
