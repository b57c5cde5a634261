"""Colorize arrays from Python. `Colorizer` is the public name of this project; docs/api.md describes it.

from colorizer import Colorizer
colorize = Colorizer()
rgb = colorize(gray)
"""

import itertools
import threading
from pathlib import Path

import numpy as np

try:
    from inference.engine import open_network
    from inference.options import DEFAULT_MODEL
    from inference.scan import enlarge, join, shown
    from models.properties import BadModel, factor_of, mirror_of, sizes_of
except ImportError as error:  # perhaps a user's own utils.py or data/ was imported in place of ours
    import importlib.util

    for name in ("utils", "data", "pictures", "models", "inference"):
        spec = importlib.util.find_spec(name)
        place = Path(spec.origin).resolve() if spec and spec.origin else Path(__file__).resolve()
        if not place.is_relative_to(Path(__file__).resolve().parent):
            advice = f"Rename {place}: colorizer.py has a module {name} of its own"
            raise ImportError(advice, name=name, path=str(place)) from error
    raise

__all__ = ["BadModel", "Colorizer"]


class Colorizer:
    """A network that colorizes pictures of any size. Threads may share it."""

    def __init__(self, model=None, batch=4, precision="auto"):
        """
        Args:
            model: path of a .keras file, of the authors' .h5, or of an .onnx file of `inference.export`; None: the bundled
                model. Keras is imported only for the first two.
            batch: pictures of a list that the network sees at a time.
            precision: "float32" or "mixed_bfloat16"; "auto": the faster of the two. An .onnx file has its own.

        Raises:
            BadModel, a ValueError: the file cannot be used.
        """
        self.model, self.batch = Path(model or DEFAULT_MODEL), batch
        make, metadata = open_network(self.model, precision)
        self.sizes = tuple(sizes_of(metadata))
        self.saturation, self.saturations = (
            factor_of(None, metadata),
            metadata.get("saturations", {}),
        )
        self._metadata = metadata
        self._engines = {count: make(self.sizes, count) for count in (1, batch)}
        self._lock = threading.Lock()

    def __repr__(self):
        names = "".join(f", {name} {factor:g}" for name, factor in self.saturations.items())
        sizes = " and ".join(map(str, self.sizes))
        return f"<Colorizer {self.model.name}, size {sizes}, saturation {self.saturation:g}{names}>"

    def __call__(self, picture, saturation=None, old=False, mirror=None, force=False):
        """Colorize one picture, or several.

        Args:
            picture: (H, W) gray or (H, W, 3) sRGB, of which L is taken: uint8, uint16, or float in 0..1. Or a list or
                another iterable of such pictures, of any sizes.
            saturation: factor on ab, 0 to 10, or a name in `saturations`; None: the model's default.
            old, mirror, force: as the options of test.py.

        Returns:
            sRGB (H, W, 3) of the picture's type. A list for a list or tuple; a generator for another iterable.

        Raises:
            TypeError, ValueError: a wrong type, shape or value; BadModel: the network gives no finite colours.
        """
        factor = factor_of(saturation, self._metadata)
        if isinstance(picture, (list, tuple)):
            return list(self._colorize(picture, factor, old, mirror, force))
        if _is_array(picture):
            return next(self._colorize([picture], factor, old, mirror, force))
        if not hasattr(picture, "__iter__") or isinstance(picture, (str, bytes)):
            raise TypeError(
                f"expected an array or an iterable of arrays, got {type(picture).__name__}"
            )
        return self._colorize(picture, factor, old, mirror, force)

    def ab(self, picture, saturation=None, old=False, mirror=None, force=False):
        """The colours that the call would join to a picture's L: float32 (H, W, 2), Lab units, not yet fitted to sRGB."""
        pixels = checked(picture)
        ((scan, ab),) = self._predict([pixels], old, mirror, force)
        return enlarge(
            ab * np.float32(factor_of(saturation, self._metadata)), scan.area, *pixels.shape[:2]
        )

    def _colorize(self, pictures, factor, *how):
        pictures = iter(pictures)
        while group := list(itertools.islice(pictures, self.batch)):
            pixels = [checked(picture) for picture in group]
            for picture, own, (scan, ab) in zip(group, pixels, self._predict(pixels, *how)):
                yield join(own, scan.area, ab, factor).astype(np.asarray(picture).dtype, copy=False)

    def _predict(self, pixels, old, mirror, force):
        """[(what the network is shown of a picture, its small ab)]."""
        scans = [shown(picture, old=old) for picture in pixels]
        engine = self._engines[1 if len(pixels) == 1 else self.batch]
        views = [engine.views(picture) for scan in scans for picture in scan.pictures]
        with self._lock:
            ab = engine.ab(views, old or mirror_of(self._metadata, mirror))
        if not np.isfinite(ab).all():
            raise BadModel(f"{self.model}: the network gave no finite colours")
        colours = (part.mean(axis=0) for part in np.split(ab, len(pixels)))
        return [(scan, (force or not scan.line_art) * ab) for scan, ab in zip(scans, colours)]


def _is_array(picture):
    return hasattr(picture, "__array__") or hasattr(picture, "__array_interface__")


def checked(picture):
    """A picture as the pipeline takes it: uint8, uint16 or float32, contiguous, native byte order."""
    if not _is_array(picture):
        raise TypeError(f"expected an array, got {type(picture).__name__}")
    pixels = np.asarray(picture)
    if pixels.dtype.kind != "f" and pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"expected uint8, uint16 or float, got {pixels.dtype}")
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"expected (H, W) or (H, W, 3), got {pixels.shape}")
    if pixels.dtype.kind == "f" and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails too
        raise ValueError(f"floats must lie in 0..1, got {pixels.min():g} to {pixels.max():g}")
    return np.ascontiguousarray(
        pixels, np.float32 if pixels.dtype.kind == "f" else pixels.dtype.newbyteorder("=")
    )
