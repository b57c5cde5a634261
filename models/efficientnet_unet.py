"""A U-Net over EfficientNet-Lite2: a network that knows objects before it learns their colours.

The encoder is EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946) in its Lite form of 2020 (ReLU6, no squeeze and
excitation), width 1.1, depth 1.2, as trained on ImageNet. The decoder joins its features at strides 32, 16, 8, 4 and 2, as
the U-Net does (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597).
"""

from pathlib import Path

import numpy as np
from keras import Model, initializers, layers, ops

AB_SCALE = 128.0  # the last tanh spans a, b in -128..128
WEIGHTS = (
    Path(__file__).parent / "pretrained" / "efficientnet_lite2.npz"
)  # made by models/convert_encoder.py
STEM = 32
# repeats, kernel, stride, expansion, channels: of the base network, times depth and width
STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
LOSS_LAYER = "ab_full"
BRANCHES = {}
SLOW_PREFIXES = ("encoder_",)
FREE = ()
statistics = ablate = classifier = enlarge = None


def arguments(config):
    """The arguments of `build` out of a configuration."""
    return {"edges": config.edges, "width": config.width}


def build(*, edges=False, width=1.0, frozen=8, dropout=0.0, precision="float32"):
    """The network: L in, ab out, both in CIE units.

    Args:
        width: factor on the decoder's filters; the encoder's are those of its weights.
        precision: a Keras dtype policy, such as "mixed_bfloat16". The last tanh is float32 in any case.

    Returns:
        keras.Model. Input, a dict: "lightness" (N, H, W, 1), L in 0..100, H and W divisible by 32. Output (N, H, W, 2):
        ab in Lab units. The layer "ab" holds it before the last doubling, (N, H/2, W/2, 2).
    """

    def units(count):
        return max(1, round(count * width))

    def conv(x, filters, name, kernel=3, **kwargs):
        kwargs = {
            "activation": "relu",
            "kernel_initializer": "he_uniform",
            "dtype": precision,
        } | kwargs
        return layers.Conv2D(units(filters), kernel, padding="same", name=name, **kwargs)(x)

    def join(x, features, name):
        x = layers.UpSampling2D(
            2, interpolation="bilinear", dtype=precision, name=f"decoder_up_{name}"
        )(x)
        return layers.Concatenate(dtype=precision, name=f"decoder_join_{name}")([x, features])

    lightness = layers.Input((None, None, 1), name="lightness")
    features = encode(lightness, precision, frozen)
    if dropout:
        features = {
            s: layers.SpatialDropout2D(dropout, dtype=precision)(f) for s, f in features.items()
        }

    # Decoder: (H/32, W/32, 352) -> (H/2, W/2, 2) -> (H, W, 2)
    overall = layers.GlobalAveragePooling2D(keepdims=True, dtype=precision, name="decoder_mean")(
        features[32]
    )
    places = conv(features[32], 256, "decoder_32", 1, activation=None)
    overall = conv(overall, 256, "decoder_global", 1, activation=None)
    x = layers.Add(dtype=precision, name="decoder_add")([places, overall])
    x = layers.ReLU(dtype=precision, name="decoder_relu")(x)
    x = conv(join(x, features[16], "16"), 192, "decoder_16")
    inputs = {"lightness": lightness}
    if edges:
        edge = inputs["edges"] = layers.Input((None, None, 1), name="edges")
        for i in range(3):
            edge = conv(edge, 8, f"edn_conv{i + 1}", strides=2)
        features[8] = layers.Concatenate(dtype=precision)([features[8], edge])
    x = conv(join(x, features[8], "8"), 128, "decoder_8a")
    x = conv(x, 128, "decoder_8b")
    x = conv(join(x, features[4], "4"), 64, "decoder_4a")
    x = conv(x, 32, "decoder_4b")
    x = conv(join(x, features[2], "2"), 32, "decoder_2")
    # near 0, so that an untrained network is gray
    small = initializers.RandomNormal(stddev=1e-3)
    x = layers.Conv2D(
        2,
        3,
        padding="same",
        activation="tanh",
        kernel_initializer=small,
        name="decoder_ab",
        dtype="float32",
    )(x)
    x = layers.Rescaling(AB_SCALE, dtype="float32", name="ab")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", dtype="float32", name=LOSS_LAYER)(x)
    return Model(inputs, x, name="efficientnet_unet")


def encode(lightness, precision, frozen=8):
    """EfficientNet-Lite2's features of L (N, H, W, 1): {stride: (N, H / stride, W / stride, channels)}, strides 2 to 32.

    A gray picture is R = G = B, so the stem's kernels are summed over their three inputs; batch normalization is folded
    into the convolutions. The depthwise filters and all layers down to stride 8 stay as ImageNet has left them: their
    gradients are a large part of a step on a CPU, and training them brings nothing.
    """

    def conv(x, kind, name, stride=1, activation="relu6", **kwargs):
        trainable = total > frozen and kind is layers.Conv2D
        options = {
            "strides": stride,
            "padding": "same",
            "activation": activation,
            "dtype": precision,
        }
        return kind(name=name, trainable=trainable, **options, **kwargs)(x)

    total, features = 2, {}
    x = layers.Rescaling(1 / 50, -1.0, dtype="float32", name="encoder_scaling")(lightness)
    x = conv(x, layers.Conv2D, "encoder_stem", 2, filters=STEM, kernel_size=3)
    block = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        total *= stride
        for i in range(repeats):
            block, shortcut, wide = block + 1, x, x.shape[-1] * expansion
            name = f"encoder_block{block}"
            if expansion > 1:
                x = conv(x, layers.Conv2D, f"{name}_expand", filters=wide, kernel_size=1)
            x = conv(
                x,
                layers.DepthwiseConv2D,
                f"{name}_depthwise",
                stride if i == 0 else 1,
                kernel_size=kernel,
            )
            x = conv(
                x,
                layers.Conv2D,
                f"{name}_project",
                activation=None,
                filters=channels,
                kernel_size=1,
            )
            if i:
                x = layers.Add(dtype=precision, name=f"{name}_add")([x, shortcut])
        features[total] = x
    return features


def initialize(network, lightness, seed):
    """Set the encoder's weights to those trained on ImageNet (WEIGHTS: float16 arrays by the variables' paths)."""
    with np.load(WEIGHTS) as arrays:
        for variable in network.variables:
            if variable.path.startswith("encoder_"):
                variable.assign(arrays[variable.path].astype("float32"))


def make_loss(statistics=None):
    """Mean squared error of ab / 128 for each picture, (N, H, W, 2) twice -> (N,), float32."""
    return lambda ab, target: ops.mean(ops.square((ab - target) / AB_SCALE), axis=(1, 2, 3))
