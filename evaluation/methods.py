"""What is measured: photographs themselves, ab that needs no network, and what trained networks give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

import configs
from data import preprocess
from data.as_published import luma_as_published
from inference.view import Predictor
from models import NETWORKS
from models import file as model_file
from models.properties import mirror_of, sizes_of

BATCH = 8  # pictures that a method is given at a time, at most


@dataclass(frozen=True)
class Target:
    """What a network was trained towards, see `data.preprocess.target`."""

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

    @property
    def target(self):
        clip = self.metadata.get("training", {}).get("clip_saturation", Target.clip)
        return Target(self.metadata.get("saturation", Target.saturation), clip)

    @property
    def pictures(self):
        """How many it saw in training, repetitions and the runs before (`--init-from`) counted; None: unknown."""
        seen, training = 0, self.metadata.get("training")
        while training:
            seen, training = seen + training.get("pictures", 0), training.get("before")
        return seen or None


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    ab: (uint8 pictures (N, S, S, 3), their targets {Target: K}) -> float32 (N, h, w, 2) in Lab units, h a divisor of S;
        None for the photograph itself, which is not put together anew.
    target: what its ab is compared with.
    factor: on ab, when it is joined to the lightness.
    """

    name: str
    ab: Callable | None
    target: Target
    factor: float = 1.0


def load(path):
    """The network in a file. Raises model_file.BadModel."""
    return Network(path, *model_file.load(path))


def layer_of(network, branch):
    """The name of the layer in which a branch ends, a key of its module's BRANCHES. Raises ValueError if it has none."""
    module = NETWORKS[network.model.name]
    layer = module.BRANCHES.get(branch)
    if not module.ablate or layer not in [own.name for own in network.model.layers]:
        raise ValueError(f"{network.path}: the network has no {branch}")
    return layer


def ablated(network, branch, pictures, size):
    """A network whose branch gives every picture and place the mean of what it gave the pictures: what it brings is lost.

    Args:
        network: the Network.
        branch: a key of its module's BRANCHES; see `layer_of`.
        pictures: batches of uint8 pictures (N, S, S, 3).
        size: side of the squares that the network sees of them.
    """
    probe = Predictor(network.model, [size], BATCH, layer_of(network, branch))
    outputs = (
        output
        for batch in pictures
        for output in probe.ab([probe.views(picture) for picture in batch])
    )
    mean = np.mean(
        [output.reshape(-1, output.shape[-1]).mean(axis=0) for output in outputs], axis=0
    )
    model = keras.models.clone_model(network.model)
    model.set_weights(NETWORKS[network.model.name].ablate(network.model, branch, mean))
    return replace(network, model=model)


def constant(ab):
    """The `ab` of a method that gives each pixel the same ab (2,)."""
    return lambda rgb, targets: np.broadcast_to(np.float32(ab), (*rgb.shape[:3], 2))


def ceiling(target, name="ceiling"):
    """The target itself as a method: what a perfect fit would give."""
    return Method(f"{name}, {target}", lambda rgb, targets: targets[target], target)


def trained(name, network, size, as_published=False, own_sizes=False):
    """A network as a method.

    Args:
        size: of the squares that it sees.
        as_published: it sees their Rec. 709 luma, not their L.
        own_sizes: it sees them at the sizes, and mirrored, as test.py shows them to it.
    """
    colorizer = predictor(network, size, own_sizes)

    def ab(rgb, targets):
        gray = (luma_as_published(picture, size) for picture in rgb) if as_published else rgb
        return colorizer.ab([colorizer.views(picture) for picture in gray])

    return Method(name, ab, network.target)


def predictor(network, size, own_sizes=False):
    """The network as `trained` shows it pictures."""
    if own_sizes:
        return Predictor(
            network.model, sizes_of(network.metadata), BATCH, mirror=mirror_of(network.metadata)
        )
    return Predictor(network.model, [size], BATCH)


def at_each(factors, method):
    """A method once for each factor on its ab, which its name tells if there are several."""
    names = [
        f"{method.name}, x {factor:g}" if len(factors) > 1 else method.name for factor in factors
    ]
    return [replace(method, name=name, factor=factor) for name, factor in zip(names, factors)]


def predict(methods, rgb):
    """The targets of uint8 pictures (N, S, S, 3), {Target: K}, and the ab that each method gives them.

    Methods that differ in their factor share their ab: the network runs once for all factors.
    """
    targets = {target: target.ab(rgb) for target in {method.target for method in methods}}
    given = {ab: ab(rgb, targets) for ab in {method.ab for method in methods} - {None}}
    return targets, [given.get(method.ab) for method in methods]
