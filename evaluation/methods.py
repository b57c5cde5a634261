"""What is measured: photographs themselves, ab that needs no network, and what networks give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

import configs
from data import preprocess
from inference.view import Predictor
from models import NETWORKS
from models import file as model_file
from models.properties import mirror_of, sizes_of

BATCH = 8  # pictures that a method is given at a time, at most


@dataclass(frozen=True)
class Target:
    """What a network was trained towards, see `preprocess.target`."""

    saturation: float = configs.Config.saturation
    clip: bool = configs.Config.clip_saturation

    def ab(self, rgb):
        """Of uint8 pictures (N, S, S, 3): K, float32 (N, S, S, 2), Lab units."""
        return keras.ops.convert_to_numpy(preprocess.target(rgb, self.saturation, self.clip))

    def __str__(self):
        return f"T = {self.saturation:g}" + ", clipped" * self.clip


@dataclass(frozen=True)
class Network:
    """A network, its file and its metadata (`model_file.load`)."""

    path: Path
    model: keras.Model
    metadata: dict

    @cached_property
    def predictor(self):
        """At the sizes, and with the mirror images, that the file names."""
        mirror = mirror_of(self.metadata)
        return Predictor(self.model, sizes_of(self.metadata), BATCH, mirror=mirror)

    @property
    def target(self):
        clip = self.metadata.get("training", {}).get("clip_saturation", Target.clip)
        return Target(self.metadata.get("saturation", Target.saturation), clip)

    @property
    def pictures(self):
        """How many it saw in training, repetitions and the runs before counted; None: unknown."""
        seen, training = 0, self.metadata.get("training")
        while training:
            seen, training = seen + training.get("pictures", 0), training.get("before")
        return seen or None

    def ab(self, rgb):
        """Of uint8 pictures (N, S, S, 3): float32 (N, h, w, 2), Lab units."""
        return self.predictor.ab([self.predictor.views(picture) for picture in rgb])


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    ab: (uint8 pictures (N, S, S, 3), their targets {Target: K}) -> float32 (N, h, w, 2) in Lab
        units; None for the photograph itself.
    """

    name: str
    ab: Callable | None
    target: Target = Target()  # what its ab is compared with
    factor: float = 1.0  # on ab, when it is joined to the lightness


def load(path):
    """The network in a file. Raises model_file.BadModel."""
    return Network(path, *model_file.load(path))


def ablated(network, branch, pictures):
    """A network whose branch gives every picture and place its mean over the pictures.

    branch: a key of its module's BRANCHES, else BadModel is raised.
    pictures: batches of uint8 pictures (N, S, S, 3).
    """
    module = NETWORKS[network.model.name]
    layer = module.BRANCHES.get(branch)
    if not module.ablate or layer not in [own.name for own in network.model.layers]:
        raise model_file.BadModel(f"{network.path}: the network has no {branch}")
    probe = Predictor(network.model, [sizes_of(network.metadata)[0]], BATCH, layer)
    outputs = (probe.ab([probe.views(picture) for picture in batch]) for batch in pictures)
    means = [x.reshape(-1, x.shape[-1]).mean(axis=0) for batch in outputs for x in batch]
    model = keras.models.clone_model(network.model)
    model.set_weights(module.ablate(network.model, branch, np.mean(means, axis=0)))
    return replace(network, model=model)


def constant(ab):
    """The `ab` of a method that gives each pixel the same ab (2,)."""
    return lambda rgb, targets: np.broadcast_to(np.float32(ab), (*rgb.shape[:3], 2))


def ceiling(target, name="ceiling"):
    """The target itself as a method: what a perfect fit would give."""
    return Method(f"{name}, {target}", lambda rgb, targets: targets[target], target)


def trained(name, network):
    """A network as a method."""
    return Method(name, lambda rgb, targets: network.ab(rgb), network.target)


def at_each(factors, method):
    """A method once for each factor on its ab, which its name holds if there are several."""
    if len(factors) == 1:
        return [replace(method, factor=factors[0])]
    return [replace(method, name=f"{method.name}, x {x:g}", factor=x) for x in factors]


def predict(methods, rgb):
    """The targets of uint8 pictures (N, S, S, 3), {Target: K}, and the ab of each method.

    The network runs once for methods that differ in their factor alone.
    """
    targets = {target: target.ab(rgb) for target in {method.target for method in methods}}
    given = {ab: ab(rgb, targets) for ab in {method.ab for method in methods} - {None}}
    return targets, [given.get(method.ab) for method in methods]
