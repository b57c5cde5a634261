"""What became of each picture of a batch job."""

import contextlib
import errno
import json
import sys
import threading
from collections import Counter

from tqdm import tqdm

from utils import one_line, printable, remove_leftovers

_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTCONN,
    errno.ESTALE,
}


class Report:
    """
    Counts what becomes of the pictures, and prints what is worth a line on stderr without tearing the progress bar.
    Threads may share it; as a context manager it shows the bar, on a terminal alone.
    """

    def __init__(self, jobs, verbose=False, listed=False):
        """
        Args:
            jobs: inference.jobs.Jobs.
            verbose: name the files that are passed over.
            listed: keep what became of each file, for `print_json`.
        """
        self.counts = Counter({"passed over": len(jobs.passed_over)})
        self.lock = threading.Lock()
        self.files = [] if listed else None
        self.results = dict(jobs.pairs) if listed else {}
        self.bar = tqdm(total=len(jobs.pairs), unit=" pictures", disable=None)
        for folder, reason in jobs.unreadable:
            self.counts["failed"] += 1
            self.note(f"{printable(folder)}: {reason}")
            self._list("failed", folder, reason)
        for path in jobs.passed_over:
            self._list("passed over", path, "")
            if verbose:
                self.note(f"{printable(path)}: not a picture, passed over")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def __str__(self):
        return ", ".join(
            f"{self.counts[kind]} {kind}" for kind in ("done", "skipped", "failed", "passed over")
        )

    def note(self, text):
        """A line on stderr that does not tear the progress bar."""
        tqdm.write(text, file=sys.stderr)

    def count(self, kind, path, *notes):
        """One more picture is "done", "skipped" or "failed"; notes that are not empty make a line."""
        text = ", ".join(filter(None, notes))
        with self.lock:
            self.counts[kind] += 1
            self._list(kind, path, text)
            if text:
                self.note(f"{printable(path)}: {text}")
            self.bar.update()

    def _list(self, kind, path, note):
        if self.files is not None:
            result = self.results.get(path) if kind in ("done", "skipped") else None
            entry = {"input": printable(path), "status": kind, "note": note}
            self.files.append(entry | {"result": None if result is None else printable(result)})

    def print_json(self, text):
        """Print one object on stdout: the counts, the text that ends the job, and what became of each file."""
        counts = {
            kind.replace(" ", "_"): self.counts[kind]
            for kind in ("done", "skipped", "failed", "passed over")
        }
        print(json.dumps(counts | {"message": text, "files": self.files}, indent=1))

    @contextlib.contextmanager
    def failures_of(self, path):
        """
        Around the work on one picture: whatever goes wrong counts as failed and ends the block, not the run. But for a disk
        that takes no more results: that is raised.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            self.count("failed", path, one_line(error))

    def todo(self, jobs, overwrite, outdated=lambda path: False):
        """
        The pairs of `jobs` that are left to do: those whose result exists are skipped unless `overwrite`, or unless it
        is `outdated(path)`. What killed processes left in the folders of the results is removed; several living ones may
        write there side by side.
        """
        for folder in {target.parent for _, target in jobs.pairs}:
            remove_leftovers(folder)
        todo = [
            pair for pair in jobs.pairs if overwrite or not pair[1].exists() or outdated(pair[1])
        ]
        self.counts["skipped"] = len(jobs.pairs) - len(todo)
        if self.files is not None:
            left = {source for source, _ in todo}
            for source, _ in jobs.pairs:
                if source not in left:
                    self._list("skipped", source, "")
        self.bar.update(self.counts["skipped"])
        return todo
