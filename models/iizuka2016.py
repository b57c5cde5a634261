"""The network of *Let there be Color!* (Iizuka, Simo-Serra and Ishikawa, SIGGRAPH 2016).

Two branches share low-level features: mid-level features keep the places, global features are one
vector of the picture at 224 x 224. A fusion layer joins them and feeds the colorization network.
Batch normalisation and ReLU follow each layer but the last.
doi 10.1145/2897824.2925974
"""

from keras import Model, layers, ops

AB_SCALE = 100.0  # the last sigmoid, 0..1, spans a, b in -100..100, as in the released colorize.lua
GLOBAL_SIZE = 224  # of the picture that the global features are made of
CLASSIFICATION_WEIGHT = 1 / 300  # alpha of the paper
BRANCHES = {"global": "global_dense3", "mid": "mid_conv2"}


def build(*, width=1.0, precision="float32"):
    """L in, ab out, see `models`; `width` is a factor on filters and units, 1 in the paper."""

    def units(count):
        return max(1, round(count * width))

    def normal(x, name):
        # Torch's momentum. The layer before has no bias: the mean that is subtracted replaces it.
        x = layers.BatchNormalization(momentum=0.9, dtype=precision, name=f"{name}_norm")(x)
        return layers.ReLU(dtype=precision, name=name)(x)

    plain = {"use_bias": False, "dtype": precision}

    def conv(x, filters, name, stride=1):
        layer = layers.Conv2D(units(filters), 3, stride, "same", name=f"{name}_kernel", **plain)
        return normal(layer(x), name)

    # Low-level features, one model for both pictures: (H, W, 1) -> (H/8, W/8, 512)
    picture = layers.Input((None, None, 1), name="picture")
    x = layers.Rescaling(0.01, dtype="float32", name="low_scaling")(picture)
    low_level = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))
    for i, (filters, stride) in enumerate(low_level, start=1):
        x = conv(x, filters, f"low_conv{i}", stride)
    low = Model(picture, x, name="low")

    lightness = layers.Input((None, None, 1), name="lightness")
    global_lightness = layers.Input((GLOBAL_SIZE, GLOBAL_SIZE, 1), name="global_lightness")

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
        x = layers.Dense(units(count), name=f"global_dense{i}_kernel", **plain)(x)
        x = normal(x, f"global_dense{i}")

    # Fusion layer, 1x1 over the mid-level features and the global vector repeated at every place.
    # Over a repeated vector it is one dense product added at every place.
    fan = units(256)
    view = layers.Dense(fan, name="fusion_global", **plain)(x)
    x = layers.Conv2D(fan, 1, name="fusion_mid", **plain)(mid)
    view = layers.Reshape((1, 1, fan), name="fusion_repeat")(view)
    x = layers.Add(dtype=precision, name="fusion_add")([x, view])
    x = normal(x, "fusion")

    # Colorization network: (H/8, W/8, 256) -> (H/2, W/2, 2) -> (H, W, 2)
    x = conv(x, 128, "color_conv1")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up1")(x)
    x = conv(x, 64, "color_conv2")
    x = conv(x, 64, "color_conv3")
    x = layers.UpSampling2D(2, dtype=precision, name="color_up2")(x)
    x = conv(x, 32, "color_conv4")
    options = {"activation": "sigmoid", "dtype": "float32", "name": "color_conv5"}
    x = layers.Conv2D(2, 3, padding="same", **options)(x)
    x = layers.Rescaling(2 * AB_SCALE, -AB_SCALE, dtype="float32", name="ab")(x)
    x = layers.UpSampling2D(2, dtype="float32", name="color_up3")(x)
    inputs = {"lightness": lightness, "global_lightness": global_lightness}
    return Model(inputs, x, name="iizuka2016")


def classifier(network, classes):
    """The scene classifier on the 512 global features, 205 classes in the paper."""
    features = network.get_layer("global_dense2").output
    units = network.get_layer("global_dense3_kernel").units
    x = layers.Dense(units, use_bias=False, name="scenes_dense1_kernel")(features)
    x = layers.BatchNormalization(momentum=0.9, name="scenes_dense1_norm")(x)
    x = layers.ReLU(name="scenes_dense1")(x)
    return layers.Dense(classes, dtype="float32", name="scenes")(x)


def make_loss(statistics=None):
    """The paper's loss: the mean squared error of ab scaled to 0..1."""
    return lambda ab, target: ops.mean(ops.square((ab - target) / (2 * AB_SCALE)), axis=(1, 2, 3))
