"""What became of each file of a batch job."""

import contextlib
import errno
import json
import os
import sys
import threading
from collections import Counter

from tqdm import tqdm

from utils import one_line, printable

KINDS = ("done", "skipped", "failed", "passed over")
_NAMES = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENOTCONN", "ESTALE")
_DISK = {getattr(errno, name, 0) for name in _NAMES}  # of a disk that takes no more results


class Report:
    """Counts what becomes of the files of `Jobs`; what is worth a line goes to stderr.

    Threads may share it. As a context manager it shows a progress bar, on a terminal only.
    """

    def __init__(self, jobs):
        self.counts, self.files = Counter(), []  # of files: (kind, path, note)
        self.frames = None  # of the film that is in work: (done, number or None)
        self.stopped = False  # set by whoever no longer wants the results
        self.lock, self.results = threading.Lock(), dict(jobs.pairs)
        self.bar = tqdm(total=len(jobs.pairs), unit=" pictures", disable=None)
        for folder, reason in jobs.unreadable:
            self._add("failed", folder, reason)
        for path, reason in jobs.passed_over:
            self._add("passed over", path, reason, quiet=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def __str__(self):
        return ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)

    def check(self):
        """Raise KeyboardInterrupt if the job was stopped."""
        if self.stopped:
            raise KeyboardInterrupt

    def note(self, text):
        say(text, sys.stderr)

    def count(self, kind, path, *notes):
        """One more file is "done", "skipped" or "failed"; notes make a line."""
        self.check()
        with self.lock:
            self._add(kind, path, ", ".join(filter(None, notes)))
            self.bar.update()

    def _add(self, kind, path, text, quiet=False):
        self.counts[kind] += 1
        self.files.append((kind, path, text))
        if text and not quiet:
            self.note(f"{printable(path)}: {text}")

    def print_json(self, message):
        """Print one object: the counts, the message that ends the job, each file.

        Paths are the files' own; bytes that are not UTF-8 are Python's surrogate escapes.
        """
        files = []
        for kind, path, note in self.files:
            result = self.results.get(path) if kind in ("done", "skipped") else None
            entry = {"input": os.fspath(path), "status": kind, "note": note}
            files.append(entry | {"result": result and os.fspath(result)})
        counts = {kind.replace(" ", "_"): self.counts[kind] for kind in KINDS}
        say(json.dumps(counts | {"message": message, "files": files}, indent=1), sys.stdout)

    @contextlib.contextmanager
    def failures_of(self, path):
        """Around the work on one file: an error counts it as failed and ends the block only.

        An error of a disk that takes no more results is raised.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            self.count("failed", path, one_line(error))


def say(text, stream):
    """Print lines beside a progress bar. A reader that has gone, as of a pipe, is no error."""
    try:
        tqdm.write(text, file=stream)
        stream.flush()
    except BrokenPipeError:  # the stream leads nowhere from here on, and at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
