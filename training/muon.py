"""Muon for networks of convolutions (Jordan 2024, Muon; Liu et al. 2025, arXiv 2502.16982)."""

import math
import re

import keras
from keras import ops

NARROW = 16  # channels: a kernel with fewer in or out is nearly a vector, and stays with AdamW


class Muon(keras.optimizers.Muon):
    """Keras' Muon that also takes kernels, flattened to matrices (height * width * in, out).

    Keras leaves every variable that is not a matrix to AdamW. Here AdamW keeps biases, 1 x 1
    kernels, kernels with fewer than NARROW channels on either side, and the variables whose path
    matches `exclude_layers`.
    """

    def __init__(self, learning_rate, *, products="float32", **options):
        """
        Args:
            learning_rate: of both kinds of step. The update of a matrix has the root mean square
                that AdamW's has (`rms_rate`), so that a rate for AdamW serves.
            products: dtype of the products in the Newton-Schulz iteration, such as "bfloat16".
            options: of keras.optimizers.Muon.
        """
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
        return ops.reshape(
            ops.cast(super().zeropower_via_newtonschulz5(matrix, steps), x.dtype), x.shape
        )

    def lr_adjust(self, x):
        return x * (self.rms_rate * math.sqrt(max(math.prod(x.shape[:-1]), x.shape[-1])))
