"""With what settings the results of a folder were made: a small file in it, so that a second run does not mix others."""

import hashlib
import json
import os
import threading

from utils import RECORD, atomic

VERSION = 1  # of the results: raised when the same settings give other colours


def settings_of(options, saturation, sizes):
    """What decides the pixels of a result: a dict."""
    with open(options.model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    names = (
        "gamut",
        "guided",
        "old",
        "mirror",
        "toned",
        "force",
        "as_published",
        "side_by_side",
        "format",
        "quality",
    )
    settings = {name: getattr(options, name) for name in names}
    return {
        "version": VERSION,
        "model_sha256": digest,
        "saturation": saturation,
        "size": sizes,
    } | settings


class Record:
    """The settings of the results in a folder.

    While results of other settings are replaced, those older than the file are still to be replaced.
    """

    def __init__(self, folder, settings, overwrite=False):
        """
        Args:
            folder: of the results; None: OUT is one file, of which nothing is recorded.
            settings: of `settings_of`.
            overwrite: whether results that exist are replaced.
        """
        self.folder, self.path, self.settings = folder, folder and folder / RECORD, settings
        self.overwrite = overwrite
        self.lock, self.begun, self.replacing, self.stored = (
            threading.Lock(),
            folder is None,
            False,
            None,
        )
        try:
            stored = json.loads(self.path.read_text())
            self.stored, self.replacing = dict(stored["settings"]), bool(stored["replacing"])
            self.since = self.path.stat().st_mtime_ns
        except (
            AttributeError,
            OSError,
            ValueError,
            TypeError,
            LookupError,
        ):  # there is none, or it is damaged
            self.replacing = False

    def differences(self):
        """In words, how the settings of the results that exist differ; "" if they do not, or are not known."""
        if self.stored is None or self.stored == self.settings:
            return ""
        names = [
            name
            for name in {**self.stored, **self.settings}
            if self.stored.get(name) != self.settings.get(name)
        ]

        def shown(settings, name):
            return str(settings.get(name))[:12]

        return ", ".join(
            f"{name} {shown(self.stored, name)}, now {shown(self.settings, name)}" for name in names
        )

    def is_outdated(self, path):
        """Whether a result is one of those that a stopped run with --overwrite was to replace."""
        return (
            self.replacing and self.stored == self.settings and path.stat().st_mtime_ns < self.since
        )

    def begin(self):
        """Write the file before the first result, unless it says so already.

        It names no settings where others are kept: the folder then holds results of several.
        """
        with self.lock:
            if not self.begun and self.stored != self.settings:
                self.folder.mkdir(parents=True, exist_ok=True)
                occupied = any(not name.startswith(".") for name in os.listdir(self.folder))
                self.replacing = self.overwrite and occupied
                self._write(self.settings if self.overwrite or not occupied else None)
            self.begun = True

    def end(self):
        """All results that were to be replaced are."""
        if self.replacing:
            self.replacing = False
            self._write(self.settings)

    def _write(self, settings):
        with atomic(self.path) as temporary:
            temporary.write_text(
                json.dumps({"settings": settings, "replacing": self.replacing}, indent=1)
            )
