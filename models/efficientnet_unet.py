"""A U-Net on an encoder that was trained to tell objects.

The encoder is EfficientNet-Lite2 as trained on ImageNet: EfficientNet (Tan and Le, ICML 2019,
arXiv 1905.11946) of width 1.1 and depth 1.2 with ReLU6 and without squeeze and excitation
(EfficientNet-Lite, 2020, github.com/tensorflow/tpu). The decoder joins its features at strides 32,
16, 8, 4 and 2, as a U-Net does (Ronneberger, Fischer and Brox, MICCAI 2015, arXiv 1505.04597).

Of the encoder only the 1x1 convolutions at strides 16 and 32 are trained: on a CPU the gradients of
the rest take most of a step, and training it does not help.
"""

from pathlib import Path

import numpy as np
from keras import Model, initializers, layers

from models import aciids2020

WEIGHTS = Path(__file__).parent / "pretrained" / "efficientnet_lite2.npz"  # of convert_encoder.py
STEM = 32  # filters
STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
SLOW_PREFIXES = ("encoder_",)
make_loss = aciids2020.make_loss  # the mean squared error of ab / 128


def build(*, width=1.0, precision="float32"):
    """L in, ab out, see `models`; `width` is a factor on the decoder's filters."""

    def conv(x, filters, name, kernel=3, activation="relu"):
        options = {"kernel_initializer": "he_uniform", "padding": "same", "activation": activation}
        filters = max(1, round(filters * width))
        return layers.Conv2D(filters, kernel, dtype=precision, name=name, **options)(x)

    def double(x, name, dtype):
        return layers.UpSampling2D(2, interpolation="bilinear", dtype=dtype, name=name)(x)

    def join(x, stride):
        pair = double(x, f"decoder_up_{stride}", precision), features[stride]
        return layers.Concatenate(dtype=precision, name=f"decoder_join_{stride}")(pair)

    lightness = layers.Input((None, None, 1), name="lightness")
    features = encode(lightness, precision)

    # Decoder: (H/32, W/32, 352) -> (H/2, W/2, 2) -> (H, W, 2)
    mean = layers.GlobalAveragePooling2D(keepdims=True, dtype=precision, name="decoder_mean")
    mean = mean(features[32])
    places = conv(features[32], 256, "decoder_32", 1, None)
    mean = conv(mean, 256, "decoder_global", 1, None)
    x = layers.Add(dtype=precision, name="decoder_add")([places, mean])
    x = layers.ReLU(dtype=precision, name="decoder_relu")(x)
    x = conv(join(x, 16), 192, "decoder_16")
    x = conv(join(x, 8), 128, "decoder_8a")
    x = conv(x, 128, "decoder_8b")
    x = conv(join(x, 4), 64, "decoder_4a")
    x = conv(x, 32, "decoder_4b")
    x = conv(join(x, 2), 32, "decoder_2")
    # near 0, so that an untrained network is gray
    options = {"kernel_initializer": initializers.RandomNormal(stddev=1e-3), "padding": "same"}
    last = layers.Conv2D(2, 3, activation="tanh", dtype="float32", name="decoder_ab", **options)
    x = layers.Rescaling(aciids2020.AB_SCALE, dtype="float32", name="ab")(last(x))
    x = double(x, "ab_full", "float32")
    return Model({"lightness": lightness}, x, name="efficientnet_unet")


def encode(lightness, precision):
    """EfficientNet-Lite2's features: L (N, H, W, 1) -> {stride: (N, H / stride, W / stride, C)}."""

    def conv(x, kind, name, stride=1, activation="relu6", **kwargs):
        options = {"padding": "same", "dtype": precision, "name": name, "activation": activation}
        trainable = total > 8 and kind is layers.Conv2D
        return kind(strides=stride, trainable=trainable, **options, **kwargs)(x)

    def pointwise(x, channels, name, **kwargs):
        return conv(x, layers.Conv2D, name, filters=channels, kernel_size=1, **kwargs)

    total, features, block = 2, {}, 0
    x = layers.Rescaling(1 / 50, -1.0, dtype="float32", name="encoder_scaling")(lightness)
    x = conv(x, layers.Conv2D, "encoder_stem", 2, filters=STEM, kernel_size=3)
    for repeats, kernel, stride, expansion, channels in STAGES:
        total *= stride
        for i in range(repeats):
            block, shortcut, step = block + 1, x, stride if i == 0 else 1
            name = f"encoder_block{block}"
            if expansion > 1:
                x = pointwise(x, x.shape[-1] * expansion, f"{name}_expand")
            x = conv(x, layers.DepthwiseConv2D, f"{name}_depthwise", step, kernel_size=kernel)
            x = pointwise(x, channels, f"{name}_project", activation=None)
            if i:
                x = layers.Add(dtype=precision, name=f"{name}_add")([x, shortcut])
        features[total] = x
    return features


def initialize(network, lightness, seed):
    """Set the encoder to WEIGHTS: float16 arrays by the variables' paths."""
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        for variable in network.variables:
            if variable.path.startswith("encoder_"):
                variable.assign(arrays[variable.path].astype("float32"))
