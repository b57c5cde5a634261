"""The networks by name, and the contract that their modules keep.

A new network is one file here and its name in `configs.NETWORKS`. Its module has:

    arguments(config)       arguments of `build` for a configs.Config; they are saved in the file
    build(*, precision, ...)    keras.Model; every argument has a default. Inputs, a dict of some of
        "lightness" (N, H, W, 1), L in 0..100,
        "global_lightness" (N, S, S, 1), the same pictures at the fixed size of a global branch, and
        "edges" (N, H, W, 1), 0 or 1.
        Output: ab (N, H, W, 2) in Lab units; layer "ab" holds it before it is last enlarged.
        `precision` is a Keras dtype policy; the output is float32 under all of them
    SIZE_STEP               H and W are multiples of it; `configs.SIZE_STEPS` repeats what is not 8
    LOSS_LAYER              the layer whose output the loss compares with the target
    make_loss(statistics)   loss: (output of LOSS_LAYER, target ab (N, H, W, 2)) -> (N,), float32
    SLOW_PREFIXES           variables that --slow-rate applies to, by prefix of their path
    BRANCHES                {branch: its last layer}, of those that meet in a fusion layer
    RESIZABLE_ARGUMENTS     arguments of `build` that may change from one training to the next

and these functions, or None:

    statistics(target)      what the loss needs to know of the training set: target ab (N, H, W, 2)
                            -> NumPy array, summed over the batches
    initialize(network, lightness, seed)    set initial weights that `build` does not give;
                            lightness: L of training pictures, (N, H, W, 1)
    enlarge(network, arguments)     weights for other RESIZABLE_ARGUMENTS, as `get_weights()`
    ablate(network, branch, mean)   weights with the output of a branch replaced by its mean
    classifier(network, classes)    logits (N, classes) of a scene classifier for the training
"""

import importlib

import configs


def __getattr__(name):
    """NETWORKS, made when it is first used: models.properties is imported without Keras."""
    if name != "NETWORKS":
        raise AttributeError(name)
    networks = {name: importlib.import_module(f"models.{name}") for name in configs.NETWORKS}
    return globals().setdefault("NETWORKS", networks)
