"""Colorize pictures from Python. `Colorizer` is the public name; docs/api.md describes it.

from colorizer import Colorizer
colorize = Colorizer()
rgb = colorize(gray)
"""

import functools
import importlib.util
import itertools
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

try:
    from data.as_published import colorize_as_published, luma_as_published, repeated
    from inference.hints import add_hints
    from inference.networks import open_network
    from inference.options import DEFAULT_MODEL
    from inference.scan import NetworkView, enlarge, join, network_view
    from inference.settings import Settings
    from models.properties import BadModel, factor_of, mirror_of, sizes_of
except ImportError as error:
    here = Path(__file__).resolve().parent  # perhaps a user's own utils.py or data/ came first
    for name in ("utils", "configs", "data", "pictures", "models", "inference"):
        spec = importlib.util.find_spec(name)
        place = spec and (spec.origin or [*spec.submodule_search_locations, None][0])
        if place and not Path(place).resolve().is_relative_to(here):
            advice = f"Rename {place}: colorizer.py has a module {name} of its own"
            advice += f"; or begin your program with sys.path.insert(0, {str(here)!r})"
            raise ImportError(advice, name=name, path=place) from error
    raise

__all__ = ["BadModel", "Colorizer"]
FORKED = (
    "a Colorizer computes only in the process that made it, and this one was forked from there: "
    "make one in each process, started by multiprocessing's method spawn"
)
_PROCESSES = set()  # in which a Colorizer was made


class Prepared(NamedTuple):
    """A picture on its way into the network."""

    view: NetworkView
    inputs: list  # what the engine takes of view.pictures


class Colorizer:
    """A network that colorizes pictures of any size. Threads may share it.

    `prepare`, `infer` and `join` are the steps of all colorizing, also of folders and the page.
    """

    def __init__(self, model=DEFAULT_MODEL, size=None, batch=None, precision="auto"):
        """
        Args:
            model: path of a .keras file, of the authors' .h5, or of a bare .onnx file of
                `inference.export`. Keras is imported only for the first two.
            size: side of the square that the network sees, or a list of sides, whose colours are
                averaged; None: what the network's file says.
            batch: pictures at a time (default 4), halved where memory runs out.
            precision: "float32" or "mixed_bfloat16"; "auto": the faster of the two. An .onnx file
                has float32.

        Raises:
            BadModel, a ValueError: the file cannot be used.
            ValueError: the network does not take this size.
            RuntimeError: this process was forked from one that had a Colorizer.
        """
        self._process = os.getpid()
        if "keras" in sys.modules and _PROCESSES - {self._process}:
            raise RuntimeError(FORKED)
        _PROCESSES.add(self._process)
        self.model = Path(model or DEFAULT_MODEL)
        self._make, self._metadata = open_network(self.model, precision)
        self.sizes = tuple(sizes_of(self._metadata, [size] if isinstance(size, int) else size))
        self.saturation = factor_of(None, self._metadata)
        self.saturations = self._metadata.get("saturations", {})
        self.engine, self._lock = self._make(self.sizes, batch or 4), threading.Lock()

    @functools.cached_property
    def _single(self):
        """The engine for one picture, which need not fill up a batch."""
        return self._make(self.sizes, 1)

    def settings(self, saturation=None, mirror=None, **others):
        """`Settings`; where saturation or mirror are None, as the network's file says.

        Args:
            saturation: factor on ab, 0 to 10, or a name in `saturations`.
            mirror: average with the colours of the mirror image.
            others: further fields of `Settings`, as the options of test.py.

        Raises:
            ValueError: a saturation out of range, or unknown to the network's file.
        """
        factor = factor_of(saturation, self._metadata)
        return Settings(factor, mirror_of(self._metadata, mirror), **others)

    def __call__(self, picture, saturation=None, hints=(), **others):
        """Colorize one picture, or several.

        Args:
            picture: (H, W) gray or (H, W, 3) sRGB, of which L is taken: uint8, uint16, or float in
                0..1. Or a list or another iterable of such pictures, of any sizes.
            saturation, others: see `settings`.
            hints: colours at places, (x, y, "#rrggbb") each, see `inference.hints.parse_hints`; of
                several pictures the same for each.

        Returns:
            sRGB (H, W, 3) of the picture's type. A list for a list or tuple; a generator for
            another iterable.

        Raises:
            TypeError, ValueError: a wrong type, shape or value.
            BadModel: the network gives no finite colours.
        """
        settings = self.settings(saturation, **others)
        if _is_array(picture):
            return next(self._colorize([picture], settings, hints))
        if not hasattr(picture, "__iter__") or isinstance(picture, (str, bytes)):
            kind = type(picture).__name__
            raise TypeError(f"expected an array or an iterable of arrays, got {kind}")
        results = self._colorize(picture, settings, hints)
        return list(results) if isinstance(picture, (list, tuple)) else results

    def ab(self, picture, saturation=None, hints=(), **others):
        """The colours that the call would join to a picture's L, before they are fitted to sRGB.

        Returns:
            float32 (H, W, 2), Lab units.
        """
        settings = self.settings(saturation, **others)
        ((view, ab),) = self._predict([checked(picture)], settings, hints)
        factor = np.float32(1 if view.hints else settings.saturation)
        return enlarge(ab * factor, view.area, *np.shape(picture)[:2])

    def predict(self, pictures, hints=(), **others):
        """What the network sees of each picture and the ab that it gives: [(NetworkView, ab)].

        ab is float32 (h, w, 2), Lab units, before saturation and enlarging; with hints saturated.
        """
        return self._predict(list(map(checked, pictures)), self.settings(**others), hints)

    def small_ab(self, pictures, settings=None):
        """The network's ab of pictures as they are: borders and documents are not looked for.

        settings: of which only the mirror image counts; None: as the network's file says.

        Returns:
            float32 (N, h, w, 2), Lab units, before saturation and enlarging.
        """
        prepared = [self._prepared(NetworkView([checked(picture)])) for picture in pictures]
        return np.stack(self._finite(prepared, settings or self.settings()))

    def film(self, frames, smooth=0.9, **others):
        """Colorize the frames of a film in order; few are in memory at a time.

        Args:
            frames: iterable of (H, W) gray or (H, W, 3) sRGB of one size, of which L is taken:
                uint8, uint16, or float in 0..1. Black borders are looked for in the first 8.
            smooth: share of the colours of the frame before that a frame keeps where nothing but
                motion changed, 0 to 1; 0: each frame by itself.
            others: `saturation`, `mirror`, `force` and `gamut`, see `settings`.

        Returns:
            A generator of sRGB (H, W, 3), of each frame's type.
        """
        from inference.film import colorize_frames  # it imports PyAV

        return colorize_frames(map(checked, frames), self, self.settings(**others), smooth)

    def prepare(self, pixels, settings, alpha=None, hints=()):
        """First step: what the network sees of a picture and its alpha, as `Prepared`."""
        if settings.as_published:
            return self._prepared(NetworkView([luma_as_published(pixels, *self.sizes)]))
        return self._prepared(network_view(pixels, alpha, settings.old, hints))

    def _prepared(self, view):
        if os.getpid() != self._process:
            raise RuntimeError(FORKED)
        return Prepared(view, [self.engine.views(pixels) for pixels in view.pictures])

    def infer(self, prepared, settings, engine=None):
        """Second step: the ab of each `Prepared`, float32 (h, w, 2), finite or not."""
        if not prepared:
            return []
        inputs = [x for one in prepared for x in one.inputs]
        with self._lock:
            found = (engine or self.engine).ab(inputs, settings.old or settings.mirror)
        parts = [part.mean(axis=0) for part in np.split(found, len(prepared))]
        return [self.hinted(one.view, ab, settings) for one, ab in zip(prepared, parts)]

    def hinted(self, view, ab, settings):
        """The network's ab of a view; with hints it is saturated, and what they change is added."""
        ab = ab * (settings.force or not view.line_art)
        if not view.hints or not np.isfinite(ab).all():
            return ab
        return add_hints(view.pictures[0], ab * np.float32(settings.saturation), view.hints)

    def join(self, pixels, view, ab, settings):
        """Last step: a picture's own L and ab (h, w, 2) -> sRGB (H, W, 3) of the picture's type."""
        if settings.as_published:
            return colorize_as_published(pixels, repeated(ab, *self.sizes))
        if view.hints:
            settings = replace(settings, saturation=1.0, guided=True)
        guide = view.pictures[0] if settings.guided else None  # hidden colours are filled in there
        return join(pixels, view.area, ab, settings.saturation, settings.gamut, guide)

    def _finite(self, prepared, settings):
        found = self.infer(prepared, settings, self._single if len(prepared) == 1 else None)
        if not all(np.isfinite(ab).all() for ab in found):
            raise BadModel(f"{self.model}: the network gave no finite colours")
        return found

    def _predict(self, pixels, settings, hints):
        prepared = [self.prepare(one, settings, hints=hints) for one in pixels]
        return [(one.view, ab) for one, ab in zip(prepared, self._finite(prepared, settings))]

    def _colorize(self, pictures, settings, hints):
        pictures = iter(pictures)
        while group := list(itertools.islice(pictures, self.engine.batch)):
            pixels = [checked(picture) for picture in group]
            for picture, own, found in zip(group, pixels, self._predict(pixels, settings, hints)):
                result = self.join(own, *found, settings)
                yield result.astype(np.asarray(picture).dtype, copy=False)


def _is_array(picture):
    return hasattr(picture, "__array__") or hasattr(picture, "__array_interface__")


def checked(picture):
    """A picture as the pipeline takes it: uint8, uint16 or float32, contiguous, native order."""
    if not _is_array(picture):
        raise TypeError(f"expected an array, got {type(picture).__name__}")
    pixels = np.asarray(picture)
    if pixels.dtype.kind != "f" and pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"expected uint8, uint16 or float, got {pixels.dtype}")
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"expected (H, W) or (H, W, 3), got {pixels.shape}")
    if pixels.dtype.kind == "f" and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails too
        raise ValueError(f"floats must lie in 0..1, got {pixels.min():g} to {pixels.max():g}")
    kind = np.float32 if pixels.dtype.kind == "f" else pixels.dtype.newbyteorder("=")
    return np.ascontiguousarray(pixels, kind)
