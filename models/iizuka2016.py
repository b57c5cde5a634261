"""The network of *Let there be Color!* (Iizuka, Simo-Serra and Ishikawa, SIGGRAPH 2016, doi 10.1145/2897824.2925974).

Low-level features are shared by two branches: mid-level features keep the places, global features are one vector of the
picture at 224 x 224. Both meet at a fusion layer that feeds the colorization network. 3x3 convolutions throughout, batch
normalisation and ReLU after each layer but the last.
"""

from keras import Model, layers, ops

AB_SCALE = 100.0  # the last sigmoid, 0..1, spans a, b in -100..100, as in the released colorize.lua
GLOBAL_SIDE = 224  # of the picture that the global features are made of
BRANCHES = {"global": "global_dense3", "mid": "mid_conv2"}  # the layers that meet in the fusion
LOSS_LAYER = "color_up3"
SLOW_PREFIXES, FREE = (), ()
statistics = ablate = initialize = None


def arguments(config):
    """The arguments of `build` out of a configuration."""
    return {"width": config.width}


def enlarge(network, arguments):
    """The weights as they are: they fit pictures of any size."""
    return network.get_weights()


def build(*, width=1.0, precision="float32"):
    """The network: L in, ab out, both in CIE units; its scaling is part of it and saved with it.

    Args:
        width: factor on the number of filters and units, 1 in the paper; small widths make quick tests.
        precision: a Keras dtype policy, such as "mixed_bfloat16". The last sigmoid is float32 in any case.

    Returns:
        keras.Model. Inputs, a dict: "lightness" (N, H, W, 1), L in 0..100, H and W divisible by 8; "global_lightness"
        (N, 224, 224, 1), the same pictures at the size of the global features. Output (N, H, W, 2): ab in Lab units. The
        layer "ab" holds it before the last doubling, (N, H/2, W/2, 2).
    """

    def units(count):
        return max(1, round(count * width))

    def normal(x, name):
        # PyTorch's and Torch's momentum. The bias of the layer before is left out: the mean that is subtracted holds it.
        x = layers.BatchNormalization(momentum=0.9, dtype=precision, name=f"{name}_norm")(x)
        return layers.ReLU(dtype=precision, name=name)(x)

    def conv(x, filters, name, stride=1):
        kernel = layers.Conv2D(
            units(filters),
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            dtype=precision,
            name=f"{name}_kernel",
        )
        return normal(kernel(x), name)

    def dense(x, count, name):
        return normal(
            layers.Dense(units(count), use_bias=False, dtype=precision, name=f"{name}_kernel")(x),
            name,
        )

    # Low-level features, one model for both pictures: (H, W, 1) -> (H/8, W/8, 512)
    picture = layers.Input((None, None, 1), name="picture")
    x = layers.Rescaling(0.01, dtype="float32", name="low_scaling")(picture)
    for i, (filters, stride) in enumerate(
        [(64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1)], start=1
    ):
        x = conv(x, filters, f"low_conv{i}", stride)
    low = Model(picture, x, name="low")

    lightness = layers.Input((None, None, 1), name="lightness")
    global_lightness = layers.Input((GLOBAL_SIDE, GLOBAL_SIDE, 1), name="global_lightness")

    # Mid-level features: (H/8, W/8, 512) -> (H/8, W/8, 256)
    mid = low(lightness)
    for i, filters in enumerate((512, 256), start=1):
        mid = conv(mid, filters, f"mid_conv{i}")

    # Global features: (28, 28, 512) -> (7, 7, 512) -> 256
    x = low(global_lightness)
    for i, stride in enumerate((2, 1, 2, 1), start=1):
        x = conv(x, 512, f"global_conv{i}", stride)
    x = layers.Flatten(dtype=precision, name="global_flatten")(x)
    for i, count in enumerate((1024, 512, 256), start=1):
        x = dense(x, count, f"global_dense{i}")

    # Fusion layer, 1x1 over the mid-level features and the global vector repeated at every place. Over a repeated vector a
    # 1x1 convolution is one dense product added at every place, so the joined tensor is never built.
    fan = units(256)
    view = layers.Dense(fan, use_bias=False, dtype=precision, name="fusion_global")(x)
    x = layers.Conv2D(fan, 1, use_bias=False, dtype=precision, name="fusion_mid")(mid)
    x = layers.Add(dtype=precision, name="fusion_add")(
        [x, layers.Reshape((1, 1, fan), name="fusion_repeat")(view)]
    )
    x = normal(x, "fusion")

    # Colorization network: (H/8, W/8, 256) -> (H/2, W/2, 2) -> (H, W, 2)
    x = conv(x, 128, "color_conv1")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up1")(x)
    x = conv(x, 64, "color_conv2")
    x = conv(x, 64, "color_conv3")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up2")(x)
    x = conv(x, 32, "color_conv4")
    x = layers.Conv2D(
        2, 3, padding="same", activation="sigmoid", dtype="float32", name="color_conv5"
    )(x)
    x = layers.Rescaling(2 * AB_SCALE, -AB_SCALE, dtype="float32", name="ab")(x)
    x = layers.UpSampling2D(2, dtype="float32", name="color_up3")(x)
    return Model(
        {"lightness": lightness, "global_lightness": global_lightness}, x, name="iizuka2016"
    )


def classifier(network, classes):
    """The scene classifier: logits (N, classes), float32, out of the 512 global features before the last layer.

    It takes part in the training alone and is not in the file of the network: colorizing has no use for it. 205 classes in
    the paper.
    """
    features = network.get_layer("global_dense2").output
    x = layers.Dense(
        network.get_layer("global_dense3_kernel").units, use_bias=False, name="scenes_dense1_kernel"
    )(features)
    x = layers.BatchNormalization(momentum=0.9, name="scenes_dense1_norm")(x)
    x = layers.ReLU(name="scenes_dense1")(x)
    return layers.Dense(classes, dtype="float32", name="scenes")(x)


def make_loss(statistics=None):
    """The paper's colour loss: mean squared error of ab scaled to 0..1 for each picture, (N, H, W, 2) twice -> (N,)."""
    return lambda ab, target: ops.mean(ops.square((ab - target) / (2 * AB_SCALE)), axis=(1, 2, 3))
