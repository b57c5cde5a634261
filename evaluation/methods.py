"""What is measured: photographs themselves, ab that needs no network, and what networks give."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from configs import Config
from data import preprocess
from data.color import lab_from_srgb
from evaluation import Refused
from inference.view import Predictor
from models import file as model_file
from models.properties import mirror_of, sizes_of

BATCH = 8  # pictures that a method is given at a time, at most


@dataclass(frozen=True)
class Target:
    """What a network was trained towards, see `preprocess.target`."""

    saturation: float = Config.saturation
    clip: bool = Config.clip_saturation

    def ab(self, rgb):
        """Of uint8 pictures (N, S, S, 3): K, float32 (N, S, S, 2), Lab units."""
        return keras.ops.convert_to_numpy(preprocess.target(rgb, self.saturation, self.clip))

    def __str__(self):
        return f"T = {self.saturation:g}" + ", clipped" * self.clip


class Network:
    """A network, at the sizes and with the mirror images that its file names.

    Attributes: `target`; `pictures`, how many it saw in training, repetitions and the runs before
    counted, 0 if its file does not say.
    """

    def __init__(self, path):
        """Raises BadModel."""
        model, metadata = model_file.load(path)
        self.predictor = Predictor(model, sizes_of(metadata), BATCH, mirror=mirror_of(metadata))
        training, self.pictures = metadata.get("training") or {}, 0
        clip = training.get("clip_saturation", Target.clip)
        self.target = Target(metadata.get("saturation", Target.saturation), clip)
        while training:
            self.pictures += training.get("pictures", 0)
            training = training.get("before")

    def ab(self, rgb):
        """Of uint8 pictures (N, S, S, 3): float32 (N, h, w, 2), Lab units."""
        return self.predictor.ab([self.predictor.views(picture) for picture in rgb])


def own_ab(rgb):
    """The `ab` of the photographs themselves."""
    return lab_from_srgb(preprocess.to_float(rgb))[..., 1:]


def gray(rgb):
    """The `ab` of all-gray pictures."""
    return np.zeros((*rgb.shape[:3], 2), np.float32)


@dataclass(frozen=True)
class Method:
    """A row of the tables."""

    name: str
    ab: Callable  # uint8 pictures (N, S, S, 3) -> float32 (N, h, w, 2), Lab units
    target: Target = Target()  # what its ab is compared with
    factor: float = 1.0  # on ab, when it is joined to the lightness

    def join(self, photograph, ab):
        """The result, (H, W, 3), of a photograph of any size and the method's ab for it."""
        if self.ab is own_ab:
            return photograph
        return preprocess.colorize(photograph, ab, self.factor)


def at_each(factors, name, ab, target):
    """A Method for each factor, which its name holds unless it is 1."""
    return [Method(name + f", x {x:g}" * (x != 1), ab, target, x) for x in factors]


def predict(methods, rgb):
    """The ab that methods and their targets give for uint8 pictures (N, S, S, 3): {`ab`: array}.

    A network runs once for all its factors. Raises Refused where ab is not finite.
    """
    found = {}
    for method in methods:
        for ab in (method.ab, method.target.ab):
            if ab not in found:
                found[ab] = ab(rgb)
        if not np.isfinite(found[method.ab]).all():
            raise Refused(f"{method.name}: the network gives no finite colours")
    return found
