"""FID and LPIPS: two metrics that look through networks whose weights the user brings, as files of PyTorch.

FID: the weights of pytorch-fid, pt_inception-2015-12-05-6726825d.pth. LPIPS: AlexNet of torchvision,
alexnet-owt-7be5be79.pth, and the linear layers of LPIPS 0.1, lpips/weights/v0.1/alex.pth.
"""

import cv2
import keras
import numpy as np
from keras import layers

from evaluation import torchfile
from inference.hdf5 import BadModel

INCEPTION_SIDE = 299
SMALLEST = 32  # side of a picture that AlexNet has anything left of after its poolings
ALEXNET = (  # of Krizhevsky 2014: number in torchvision's "features", filters, kernel, stride, a pooling before it
    (0, 64, 11, 4, False), (3, 192, 5, 1, True), (6, 384, 3, 1, True), (8, 256, 3, 1, False), (10, 256, 3, 1, False),
)  # fmt: skip


class Lpips:
    """Learned perceptual distance between pictures (Zhang et al. 2018), version 0.1 on AlexNet: 0 for equal pictures.

    The features of five layers, each scaled to length 1 at every place; the mean over the places of their squared
    differences, weighted by the learned factor of each channel, summed over the layers.
    """

    def __init__(self, alexnet, linear):
        """
        Args:
            alexnet, linear: paths of the two files.

        Raises:
            BadModel: one of them is not what it should be.
        """
        self.network = _alexnet()
        weights, factors = torchfile.read(alexnet), torchfile.read(linear)
        for i, *_ in ALEXNET:
            convolution(self.network, f"features_{i}", alexnet, weights, f"features.{i}")
        self.factors = []
        for i, (_, filters, *_) in enumerate(ALEXNET):
            self.factors.append(taken(linear, factors, f"lin{i}.model.1.weight", (1, filters, 1, 1)).ravel())

    def __call__(self, first, second):
        """Distances of uint8 pictures, (N, H, W, 3) twice, no side below SMALLEST -> (N,)."""
        found = np.zeros(len(first))
        features = [self.network.predict_on_batch(x.astype(np.float32)) for x in (first, second)]
        for a, b, factors in zip(*features, self.factors):
            a, b = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (a, b))
            found += (np.square(a - b) @ factors).mean(axis=(1, 2), dtype=np.float64)
        return found


class Fid:
    """Fréchet distance between two sets of pictures (Heusel et al. 2017), as pytorch-fid has it: 0 for equal sets.

    The sets' features in the last pooling of the Inception network of 2015, taken as normal distributions. It depends on
    how many pictures there are: only figures of equally many, above the 2,048 features if they are to mean much, compare.
    """

    def __init__(self, path):
        """Raises BadModel: the file at `path` is not what it should be."""
        self.network, self.sets = _inception(), {}
        weights = torchfile.read(path)
        for layer in self.network.layers:
            if isinstance(layer, layers.Conv2D):
                normalised(self.network, layer.name, path, weights)

    def features(self, pictures):
        """uint8 (N, H, W, 3) -> (N, 2048)."""
        side = (INCEPTION_SIDE, INCEPTION_SIDE)
        x = [cv2.resize(picture.astype(np.float32), side, interpolation=cv2.INTER_LINEAR) for picture in pictures]
        return self.network.predict_on_batch(np.stack(x) / np.float32(127.5) - 1)

    def add(self, name, pictures):
        """Count pictures, uint8 (N, H, W, 3), into the set of that name."""
        x = self.features(pictures).astype(np.float64)
        count, total, products = self.sets.get(name, (0, 0, 0))
        self.sets[name] = count + len(x), total + x.sum(axis=0), products + x.T @ x

    def distance(self, first, second):
        """Between the sets of two names; nan unless both are of equally many pictures, two or more."""
        sets = [self.sets.get(name, (0,)) for name in (first, second)]
        return frechet(*(gaussian(*s) for s in sets)) if sets[0][0] == sets[1][0] > 1 else float("nan")


def gaussian(count, total, products):
    """(mean (D,), covariance (D, D)) of what was counted."""
    mean = total / count
    return mean, (products - count * np.outer(mean, mean)) / (count - 1)


def frechet(first, second):
    """Squared Fréchet distance of two normal distributions: |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))."""
    (m1, c1), (m2, c2) = first, second
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # The eigenvalues of root C2 root are those of C1 C2, and as it is symmetric they are real.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c2 @ root), 0)).sum()
    return float(np.square(m1 - m2).sum() + np.trace(c1) + np.trace(c2) - 2 * shared)


# --- weights


def taken(path, weights, name, shape):
    """A tensor of that name and shape, float32."""
    if name not in weights or weights[name].shape != shape:
        found = f"of shape {weights[name].shape}" if name in weights else "not there"
        raise BadModel(f"{path}: {name} is {found}, expected {shape}")
    array = weights[name].astype(np.float32)
    if not np.isfinite(array).all():
        raise BadModel(f"{path}: {name} holds numbers that are not finite")
    return array


def convolution(network, layer, path, weights, name):
    """Give a layer the kernel and the bias of PyTorch's layer `name`."""
    kernel, bias = network.get_layer(layer).get_weights()
    height, width, inputs, filters = kernel.shape
    stored = taken(path, weights, f"{name}.weight", (filters, inputs, height, width))
    network.get_layer(layer).set_weights([stored.transpose(2, 3, 1, 0), taken(path, weights, f"{name}.bias", bias.shape)])


def normalised(network, name, path, weights):
    """Give a layer the kernel of PyTorch's `name` and its batch normalisation, which is a factor and a bias by now."""
    kernel, bias = network.get_layer(name).get_weights()
    height, width, inputs, filters = kernel.shape
    dotted = name.replace("-", ".")
    stored = taken(path, weights, f"{dotted}.conv.weight", (filters, inputs, height, width)).transpose(2, 3, 1, 0)
    scale, offset, mean, variance = (
        taken(path, weights, f"{dotted}.bn.{part}", bias.shape)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + np.float32(1e-3))
    network.get_layer(name).set_weights([stored * factor, offset - mean * factor])


# --- networks


def _alexnet():
    """RGB codes (N, H, W, 3) -> the activations of its five convolutions."""
    # LPIPS's own scaling of -1..1 is torchvision's of 0..1, rounded: (x / 127.5 - 1 - shift) / scale
    shift, scale = np.float32([-0.030, -0.088, -0.188]), np.float32([0.458, 0.448, 0.450])
    inputs = layers.Input((None, None, 3))
    x = layers.Rescaling((1 / (127.5 * scale)).tolist(), (-(1 + shift) / scale).tolist())(inputs)
    outputs = []
    for i, filters, kernel, stride, pooled in ALEXNET:
        x = layers.MaxPooling2D(3, 2)(x) if pooled else x
        x = layers.ZeroPadding2D(2 if kernel == 11 else kernel // 2)(x)
        x = layers.Conv2D(filters, kernel, strides=stride, activation="relu", name=f"features_{i}")(x)
        outputs.append(x)
    return keras.Model(inputs, outputs)


def _inception():
    """
    RGB in -1..1, (N, 299, 299, 3) -> (N, 2048): Inception v3 (Szegedy et al. 2015) with the poolings of the network that
    FID is defined by. Batch normalisation is in the convolutions. Layers have PyTorch's names, with "-" for ".".
    """

    def conv(x, name, filters, kernel=1, stride=1, padding="same"):
        return layers.Conv2D(filters, kernel, strides=stride, padding=padding, activation="relu", name=name)(x)

    def chain(x, name, *steps):
        """Convolutions one after the other, each (what follows the block's name, filters, kernel)."""
        for part, *sizes in steps:
            x = conv(x, f"{name}-{part}", *sizes)
        return x

    def join(*parts):
        return layers.Concatenate()(parts)

    def average(x):
        return layers.AveragePooling2D(3, 1, padding="same")(x)  # over what lies inside

    def shrunk(x):
        return layers.MaxPooling2D(3, 2)(x)

    def a(x, name, pooled):
        return join(
            conv(x, f"{name}-branch1x1", 64),
            chain(x, name, ("branch5x5_1", 48), ("branch5x5_2", 64, 5)),
            chain(x, name, ("branch3x3dbl_1", 64), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
            conv(average(x), f"{name}-branch_pool", pooled),
        )

    def b(x, name):
        double = chain(x, name, ("branch3x3dbl_1", 64), ("branch3x3dbl_2", 96, 3))
        return join(
            conv(x, f"{name}-branch3x3", 384, 3, 2, "valid"),
            conv(double, f"{name}-branch3x3dbl_3", 96, 3, 2, "valid"),
            shrunk(x),
        )

    def c(x, name, n):
        row, column = (1, 7), (7, 1)
        double = [(n, 1), (n, column), (n, row), (n, column), (192, row)]
        return join(
            conv(x, f"{name}-branch1x1", 192),
            chain(x, name, ("branch7x7_1", n), ("branch7x7_2", n, row), ("branch7x7_3", 192, column)),
            chain(x, name, *((f"branch7x7dbl_{i}", *sizes) for i, sizes in enumerate(double, start=1))),
            conv(average(x), f"{name}-branch_pool", 192),
        )

    def d(x, name):
        single = conv(x, f"{name}-branch3x3_1", 192)
        seven = chain(x, name, ("branch7x7x3_1", 192), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)))
        return join(
            conv(single, f"{name}-branch3x3_2", 320, 3, 2, "valid"),
            conv(seven, f"{name}-branch7x7x3_4", 192, 3, 2, "valid"),
            shrunk(x),
        )

    def e(x, name, pool):
        def forked(x, part):
            return [conv(x, f"{name}-{part}{side}", 384, kernel) for side, kernel in (("a", (1, 3)), ("b", (3, 1)))]

        single = conv(x, f"{name}-branch3x3_1", 384)
        double = chain(x, name, ("branch3x3dbl_1", 448), ("branch3x3dbl_2", 384, 3))
        return join(
            conv(x, f"{name}-branch1x1", 320),
            *forked(single, "branch3x3_2"),
            *forked(double, "branch3x3dbl_3"),
            conv(pool(x), f"{name}-branch_pool", 192),
        )

    inputs = layers.Input((INCEPTION_SIDE, INCEPTION_SIDE, 3))
    x = conv(inputs, "Conv2d_1a_3x3", 32, 3, 2, "valid")
    x = conv(x, "Conv2d_2a_3x3", 32, 3, 1, "valid")
    x = shrunk(conv(x, "Conv2d_2b_3x3", 64, 3))
    x = conv(x, "Conv2d_3b_1x1", 80)
    x = shrunk(conv(x, "Conv2d_4a_3x3", 192, 3, 1, "valid"))
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = a(x, name, pooled)
    x = b(x, "Mixed_6a")
    for name, n in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = c(x, name, n)
    x = d(x, "Mixed_7a")
    x = e(x, "Mixed_7b", average)
    x = e(x, "Mixed_7c", layers.MaxPooling2D(3, 1, padding="same"))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
