"""Files and options: find files, write atomically, lock; memory; types of options."""

import argparse
import contextlib
import logging
import math
import os
import re
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = None


def printable(path):
    """The path as one line of text for people: what is not UTF-8, control characters and line breaks are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(path)
    )


RECORD = ".colorized.json"  # with what settings the results of a folder were made, see inference/settings.py
POOL = ThreadPoolExecutor(os.cpu_count())  # its threads start when they are first needed
PARTIAL = ".partial-"  # what is being written is named so, and is never taken for a picture


@contextlib.contextmanager
def atomic(path, flush=False):
    """Yields a temporary path beside `path`, moved into place when the block ends well and removed when it does not.

    With `flush` the file is on the disk before it takes the name, and the name before this returns.
    """
    path = Path(path)
    # The end of the name is kept, because some writers choose the format by it; a full name could grow too long.
    temporary = path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{path.name[-32:]}")
    held = lock(temporary)  # as long as it is written: see remove_leftovers
    try:
        yield temporary
        if flush:
            _flush(temporary)
        if not fcntl:  # Windows moves no open file
            held.close()
        os.replace(temporary, path)
        if flush and fcntl:
            _flush(path.parent)
    finally:
        held.close()
        temporary.unlink(missing_ok=True)


def _flush(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if fcntl else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path):
    """
    Takes the file `path`, made if absent, for this process alone, until the file that is returned is closed or the process
    ends, by whatever cause. None if another process has it. Where the system has no such locks, nobody is kept out.
    """
    file = open(path, "ab")  # noqa: SIM115, the caller closes it
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks
        pass
    return file


def remove_leftovers(folder):
    """Removes what killed processes left half written in a folder; what a living one is writing stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [
            entry.path
            for entry in entries
            if re.match(re.escape(PARTIAL) + "[0-9a-f]{8}-", entry.name)
        ]
        for path in found if fcntl else ():
            with (
                contextlib.suppress(OSError),
                open(path, "ab") as file,
            ):  # OSError: locked, or there are no locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)


def import_keras_quietly():
    """Import Keras and let TensorFlow look for a GPU, without what it prints in C++ on the way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras

        if keras.backend.backend() == "tensorflow":
            keras.distribution.list_devices()
            # each of several networks is traced once, which TensorFlow takes for one that is traced again and again
            logging.getLogger("tensorflow").setLevel("ERROR")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def memory_left():
    """
    How many bytes this process may still take, by what Linux says of the machine, of its container and of `ulimit -v`;
    infinitely many on other systems.
    """
    try:
        with open("/proc/self/statm") as file:
            size, resident = (
                int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split()[:2]
            )
        with open("/proc/meminfo") as file:
            free = next(
                int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")
            )
    except (OSError, StopIteration):
        return math.inf
    left = [free]
    if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        left.append(limit - size)
    for name in (
        "memory.max",
        "memory/memory.limit_in_bytes",
    ):  # of the container, in versions 2 and 1 of cgroups
        with contextlib.suppress(OSError, ValueError):  # "max": none
            left.append(int(Path("/sys/fs/cgroup", name).read_text()) - resident)
    return min(left)


def is_out_of_memory(error):
    """Whether an exception says that the device or the host has no memory left, in the words of any of the backends."""
    words = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OOM", "out of memory", "t allocate memory")
    return isinstance(error, MemoryError) or any(
        w in f"{type(error).__name__} {error}" for w in words
    )


def find_files(
    root, exclude=None, unreadable=lambda folder, error: None, skip=lambda folder, names: False
):
    """
    Yields the paths of everything under the folder `root` that is not a folder: sorted within each folder, a folder's
    own files before those of its subfolders, the same order on every machine.

    Links are followed and each folder is entered once, so that a loop of links ends. `exclude`: a folder to leave out.
    `unreadable(folder, error)` hears of each folder that cannot be listed, and the search goes on. `skip(folder, names)`:
    whether to leave out a folder that holds these names, with all below it.
    """
    seen = {_identity(exclude)} if exclude is not None and os.path.isdir(exclude) else set()
    folders = [Path(root)]
    while folders:
        folder = folders.pop()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                found = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError as error:
            unreadable(folder, error)
            continue
        if skip(folder, {name for name, _ in found}):
            continue
        yield from (folder / name for name, is_folder in found if not is_folder)
        folders += [folder / name for name, is_folder in reversed(found) if is_folder]


def _identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def one_line(error):
    reason = (
        getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    )
    return printable(reason)


def number(kind, low, high):
    """An argparse type: a number of `kind` from `low` to `high`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {'whole ' if kind is int else ''}number from {low} to {high}"
        )

    return parse


def share(text):
    """An argparse type: "i/n" -> (i, n), 0 <= i < n."""
    with contextlib.suppress(ValueError):
        i, n = map(int, text.split("/"))
        if 0 <= i < n:
            return i, n
    raise argparse.ArgumentTypeError(f"{text!r} is no I/N with I from 0 to N - 1")
