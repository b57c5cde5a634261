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
    guided: bool = False  # ab follow the edges of L
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
    """The settings of the results in a folder, in a file of that folder.

    While --overwrite replaces results of other settings, those older than the file are outdated.
    """

    def __init__(self, folder, settings, overwrite=False):
        """folder: None if OUT is one file, of which nothing is recorded."""
        self.path, self.settings, self.overwrite = folder and folder / RECORD, settings, overwrite
        self.lock, self.begun = threading.Lock(), folder is None
        self._read()

    def _read(self):
        self.stored, self.replacing, self.since = None, False, 0
        with contextlib.suppress(AttributeError, OSError, ValueError, TypeError, LookupError):
            content = json.loads(self.path.read_text())  # there may be none, or a damaged one
            self.stored, self.replacing = dict(content["settings"]), bool(content["replacing"])
            self.since = self.path.stat().st_mtime_ns

    def differences(self):
        """In words, how the settings of the existing results differ; "" if not, or if unknown."""
        old, new = self.stored or self.settings, self.settings
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        return ", ".join(f"{n} {str(old.get(n))[:12]}, now {str(new.get(n))[:12]}" for n in names)

    def is_outdated(self, path):
        """Whether a result is one of those that an interrupted --overwrite was to replace."""
        equal = self.replacing and self.stored == self.settings
        return equal and path.stat().st_mtime_ns < self.since

    def begin(self):
        """Write the file before the first result; without settings where others' are kept."""
        with self.lock:
            if not self.begun:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # before the reading: another shard writes its record before its results
                occupied = any(name[0] != "." for name in os.listdir(self.path.parent))
                self._read()
                if self.stored != self.settings:
                    self._write(self.overwrite or not occupied, self.overwrite and occupied)
            self.begun = True

    def end(self):
        """All results that were to be replaced are."""
        if self.replacing:
            self._write(True, False)

    def _write(self, known, replacing):
        self.replacing = replacing
        content = {"settings": self.settings if known else None, "replacing": replacing}
        with atomic(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
