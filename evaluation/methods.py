"""What is measured: photographs themselves, chroma that needs no network, and what trained networks give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

import configs
from data.preprocess import target
from inference import model_file
from inference.view import Colorizer
from models import NETWORKS

BATCH = 8  # pictures that a candidate is given at a time, at most


@dataclass(frozen=True)
class Target:
    """What a network was trained towards, see `data.preprocess.target`."""

    saturation: float = configs.Config.saturation
    clip: bool = configs.Config.clip_saturation

    def __str__(self):
        return f"T = {self.saturation:g}" + ", clipped" * self.clip


@dataclass(frozen=True)
class Network:
    """A network, its file and its card (`model_file.load`)."""

    path: Path
    model: keras.Model
    card: dict

    @property
    def target(self):
        clip = self.card.get("training", {}).get("clip_saturation", Target.clip)
        return Target(self.card.get("saturation", Target.saturation), clip)

    @property
    def pictures(self):
        """How many it saw in training, repetitions and the runs before (`--start`) counted; None if that is not known."""
        seen, training = 0, self.card.get("training")
        while training:
            seen, training = seen + training.get("pictures", 0), training.get("before")
        return seen or None


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    chroma: (uint8 pictures (N, S, S, 3), their targets {Target: K}) -> ab, float32 (N, h, w, 2), h a divisor of S; None
        for the photograph itself, which is not put together anew.
    target: what its ab is held against.
    factor: on the chroma, when it is joined to the lightness.
    """

    name: str
    chroma: Callable | None
    target: Target
    factor: float = 1.0


def load(path):
    """The network in a file. Raises model_file.BadModel."""
    return Network(path, *model_file.load(path))


def ablated(network, branch, pictures, size):
    """A network whose branch gives every picture and place the mean of what it gave the pictures: what it brings is lost.

    Args:
        network: the Network.
        branch: a key of its module's BRANCHES.
        pictures: batches of uint8 pictures (N, size, size, 3).
        size: side of the squares that the network sees.

    Raises:
        ValueError: the network has no such branch.
    """
    module = NETWORKS[network.model.name]
    layer = module.BRANCHES.get(branch)
    if not module.ablate or layer not in [own.name for own in network.model.layers]:
        raise ValueError(f"{network.path}: the network has no {branch}")
    probe = Colorizer(network.model, size, BATCH, layer)
    outputs = (output for batch in pictures for output in probe.ab([probe.views(picture) for picture in batch]))
    mean = np.mean([output.reshape(-1, output.shape[-1]).mean(axis=0) for output in outputs], axis=0)
    model = keras.models.clone_model(network.model)
    model.set_weights(module.ablate(network.model, branch, mean))
    return replace(network, model=model)


def constant(ab):
    """The `chroma` of a candidate that gives each pixel the same ab (2,)."""
    return lambda rgb, goals: np.broadcast_to(np.float32(ab), (*rgb.shape[:3], 2))


def ceiling(goal, name="ceiling"):
    """The target itself as a candidate: what a perfect fit would give."""
    return Method(f"{name}, {goal}", lambda rgb, goals: goals[goal], goal)


def trained(name, network, size):
    """A network as a candidate that sees squares of side `size`."""
    colorizer = Colorizer(network.model, size, BATCH)

    def chroma(rgb, goals):
        return colorizer.ab([colorizer.views(picture) for picture in rgb])

    return Method(name, chroma, network.target)


def at_each(factors, candidate):
    """A candidate once for each factor on its chroma, which its name tells if there are several."""
    names = [f"{candidate.name}, x {factor:g}" if len(factors) > 1 else candidate.name for factor in factors]
    return [replace(candidate, name=name, factor=factor) for name, factor in zip(names, factors)]


def predict(candidates, rgb):
    """The targets of uint8 pictures (N, S, S, 3), {Target: K}, and the chroma that each candidate gives them."""
    goals = {t: keras.ops.convert_to_numpy(target(rgb, t.saturation, t.clip)) for t in {c.target for c in candidates}}
    given = {chroma: chroma(rgb, goals) for chroma in {c.chroma for c in candidates} - {None}}  # candidates may share it
    return goals, [given.get(c.chroma) for c in candidates]
