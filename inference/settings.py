"""How pictures are colorized, and the record of it beside the results.

Thanks to the record a second run does not mix results of other settings with the first ones.
"""

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


def recorded(colorizer, settings, format, quality):
    """All that decides the bytes of a result, as a dict for JSON."""
    with open(colorizer.model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    own = {"version": VERSION, "model_sha256": digest, "size": list(colorizer.sizes)}
    return own | asdict(settings) | {"format": format, "quality": quality}


class Record:
    """The settings of the results in a folder, in a file of that folder.

    While results of other settings are replaced, those older than the file are still to do.
    """

    def __init__(self, folder, settings, overwrite=False):
        """
        Args:
            folder: of the results; None: OUT is one file, of which nothing is recorded.
            settings: of `recorded`.
            overwrite: whether existing results are replaced.
        """
        self.folder, self.settings, self.overwrite = folder, settings, overwrite
        self.lock, self.begun, self.since = threading.Lock(), folder is None, 0
        self._read()

    def _read(self):
        self.stored, self.replacing = None, False
        with contextlib.suppress(AttributeError, OSError, ValueError, TypeError, LookupError):
            path = self.folder / RECORD  # there may be none, or a damaged one
            content = json.loads(path.read_text())
            self.stored, self.replacing = dict(content["settings"]), bool(content["replacing"])
            self.since = path.stat().st_mtime_ns

    def differences(self):
        """In words, how the settings of the existing results differ; "" if not, or if unknown."""
        old, new = self.stored or self.settings, self.settings
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        pairs = ((name, str(old.get(name))[:12], str(new.get(name))[:12]) for name in names)
        return ", ".join(f"{name} {before}, now {now}" for name, before, now in pairs)

    def is_outdated(self, path):
        """Whether a result is one of those that an interrupted --overwrite was to replace."""
        equal = self.replacing and self.stored == self.settings
        return equal and path.stat().st_mtime_ns < self.since

    def begin(self):
        """Write the file before the first result.

        It names no settings where others' results are kept: the folder then holds several kinds.
        """
        with self.lock:
            if not self.begun:
                self.folder.mkdir(parents=True, exist_ok=True)
                # before the reading: another shard writes its record before its results
                occupied = any(not name.startswith(".") for name in os.listdir(self.folder))
                self._read()
                if self.stored != self.settings:
                    self.replacing = self.overwrite and occupied
                    self._write(self.settings if self.overwrite or not occupied else None)
            self.begun = True

    def end(self):
        """All results that were to be replaced are."""
        if self.replacing:
            self.replacing = False
            self._write(self.settings)

    def _write(self, settings):
        content = {"settings": settings, "replacing": self.replacing}
        with atomic(self.folder / RECORD) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
