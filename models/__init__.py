"""The networks by name, and the contract that each module of a network keeps.

A new network is one file and one line in NETWORKS. A module has:

    arguments(config)           keyword arguments of `build` out of configs.Config; they travel in the network's file
    build(*, precision, ...)    keras.Model. Inputs, a dict of some of "lightness" (N, H, W, 1), L in 0..100,
                                "global_lightness" (N, S, S, 1), the same pictures at the one size S of a branch that sees
                                the whole picture, and "edges" (N, H, W, 1), 0 or 1. Output ab (N, H, W, 2) in Lab units;
                                the layer "ab" holds it before it is last enlarged. Every argument has a default.
    LOSS_LAYER                  the layer whose output is compared with the target
    make_loss(statistics)       the loss, (output of LOSS_LAYER, target ab (N, H, W, 2)) -> (N,), float32
    statistics(target)          what the loss needs to know of the training pictures: target ab (N, H, W, 2) -> a NumPy
                                array, summed over the batches; None in place of the function: nothing
    initialize(network, lightness, seed)   initial weights that depend on L of training pictures; None: `build`'s
    OWN_RATE                    prefixes of the paths of variables that --classification-rate applies to
    BRANCHES                    {branch: its last layer} of those that meet in a fusion layer
    ablate(network, branch, mean)   the weights with the branch's output replaced by its mean; None without branches
    classifier(network, classes)    logits of a scene classifier trained along; None: not available
    FREE                        arguments that may differ between a network and the one it is initialized from
    enlarge(network, arguments) the weights of a network for one of those arguments, in the order of `get_weights()`
"""

import functools
import importlib

NAMES = ("aciids2020", "efficientnet_unet", "iizuka2016", "zhang2016")


@functools.cache
def _networks():
    return {name: importlib.import_module(f"models.{name}") for name in NAMES}


def __getattr__(name):
    """NETWORKS, made when it is first used: models.properties is imported without Keras."""
    if name == "NETWORKS":
        return _networks()
    raise AttributeError(name)
