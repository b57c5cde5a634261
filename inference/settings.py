"""How pictures are colorized, and the record of it beside the results."""

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass

from utils import RECORD, atomic

VERSION = 2  # of the results: raised when the same settings give other colours


@dataclass(frozen=True)
class Settings:
    """How pictures are colorized. `Colorizer.settings` fills in what the network's file says."""

    saturation: float = 1.0  # factor on ab
    mirror: bool = False  # average with the ab of the mirror image
    old: bool = False  # faded photographs: also see a copy with stretched tones; implies mirror
    guided: bool = True  # ab follow the edges of L
    gamut: str = "chroma"  # how colours outside sRGB are brought in: "chroma" or "clip"
    force: bool = False  # colorize documents and drawings too
    as_published: bool = False  # the steps of the authors' script, see data/as_published.py


def recorded(colorizer, settings, **others):
    """All that decides the bytes of a result, as a dict for JSON."""
    own = {"version": VERSION, "model_sha256": digest(colorizer.model)}
    return own | {"size": list(colorizer.sizes)} | asdict(settings) | others


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Record:
    """The settings of the results in a folder, in a file of that folder."""

    def __init__(self, folder, settings):
        """folder: None if OUT is one file, of which nothing is recorded."""
        self.path, self.settings = folder and folder / RECORD, settings
        self.lock, self.begun, self.stored = threading.Lock(), folder is None, self._read()

    def _read(self):
        with contextlib.suppress(AttributeError, OSError, ValueError, TypeError, LookupError):
            return dict(json.loads(self.path.read_text())["settings"])
        return None  # there is none, or a damaged one, or the results are of several settings

    def differences(self):
        """In words, how the settings of the existing results differ; "" if not, or if unknown."""
        old, new = self.stored or self.settings, self.settings
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        return ", ".join(f"{n} {str(old.get(n))[:12]}, now {str(new.get(n))[:12]}" for n in names)

    def begin(self, overwrite=False):
        """Write the file before the first result; without settings where others' are kept."""
        with self.lock:
            if not self.begun:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # before the reading: another shard writes its record before its results
                occupied = any(name[0] != "." for name in os.listdir(self.path.parent))
                if self._read() != self.settings:
                    replacing = {"overwriting": True} if occupied else {}
                    self._write(self.settings | replacing if overwrite or not occupied else None)
            self.begun = True

    def end(self):
        """All results that were to be replaced are."""
        if self.path and self._read() == self.settings | {"overwriting": True}:
            self._write(self.settings)

    def _write(self, settings):
        with atomic(self.path) as temporary:
            temporary.write_text(json.dumps({"settings": settings}, indent=1))
