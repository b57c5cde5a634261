"""The networks by name, and the contract that their modules keep.

A new network is one file here and its name in `configs.NETWORKS`. Its module has:

    build(*, precision, ...)    keras.Model; every argument has a default. Inputs, a dict of some of
        "lightness" (N, H, W, 1), L in 0..100, H and W multiples of 8 or of `configs.SIZE_STEPS`,
        "global_lightness" (N, S, S, 1), the same pictures at the fixed size of a global branch, and
        "edges" (N, H, W, 1), 0 or 1.
        Output: ab (N, H, W, 2) in Lab units; layer "ab" holds it before it is last enlarged.
        `precision` is a Keras dtype policy; the output is float32 under all of them
    make_loss(statistics)   loss: (output, target ab (N, H, W, 2)) -> (N,), float32

and of these what differs from OPTIONAL:

    arguments(config)       arguments of `build` for a configs.Config; they are saved in the file
    LOSS_LAYER              the layer whose output the loss takes; None: the network's own
    SLOW_PREFIXES           variables that --slow-rate applies to, by prefix of their path
    BRANCHES                {branch: its last layer}, of those that meet in a fusion layer
    RESIZABLE_ARGUMENTS     arguments of `build` that may change from one training to the next
    statistics(target)      of target ab (N, H, W, 2), for the loss: NumPy array, summed over batches
    initialize(network, lightness, seed)    set initial weights that `build` does not give;
                            lightness: L of training pictures, (N, H, W, 1)
    enlarge(network, arguments)     weights for other RESIZABLE_ARGUMENTS, as `get_weights()`
    classifier(network, classes)    logits (N, classes) of a scene classifier for the training
    CLASSIFICATION_WEIGHT   of its cross-entropy in the loss
"""

import importlib

import configs

OPTIONAL = {"arguments": lambda config: {"width": config.width}, "LOSS_LAYER": None}
OPTIONAL |= {"SLOW_PREFIXES": (), "BRANCHES": {}, "RESIZABLE_ARGUMENTS": ()}
OPTIONAL |= {"CLASSIFICATION_WEIGHT": 0.0}
OPTIONAL |= dict.fromkeys(("statistics", "initialize", "enlarge", "classifier"))


def __getattr__(name):
    """NETWORKS, made when it is first used: models.properties is imported without Keras."""
    if name != "NETWORKS":
        raise AttributeError(name)
    networks = {name: importlib.import_module(f"models.{name}") for name in configs.NETWORKS}
    for module in networks.values():
        vars(module).update(OPTIONAL | vars(module))
    return globals().setdefault("NETWORKS", networks)
