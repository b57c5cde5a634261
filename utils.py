"""Files and processors: find files, write them atomically, lock; memory; types of options."""

import argparse
import contextlib
import logging
import math
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = None

RECORD = ".colorized.json"  # the settings of a folder's results, see inference/settings.py
PARTIAL = ".partial-"  # begins the name of a file that is being written
SYSTEM_FOLDER = re.compile(  # of what systems and programs keep for themselves
    r"@eadir|[#@]recycle|#snapshot|@recently-snapshot"  # network disks
    r"|\$recycle\.bin|recycler|system volume information|lost\+found|lost\.dir|__macosx",
    re.IGNORECASE,
)


def printable(path):
    """The path as one line of text: what is not UTF-8, control characters and breaks escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(path)
    )


def one_line(error):
    """What an exception says, in one line."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return printable(text or type(error).__name__)


def _control(name):
    """The numbers in a file of the control groups, which limit a container; [] without it."""
    with contextlib.suppress(OSError, ValueError):
        words = Path("/sys/fs/cgroup", name).read_text().split()
        return [math.inf if word == "max" else int(word) for word in words]
    return []


def cpu_count():
    """How many processors this process may use: by its affinity and its container's quota."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    quota = _control("cpu.max")  # version 2 of control groups, else version 1
    quota = quota or _control("cpu/cpu.cfs_quota_us") + _control("cpu/cpu.cfs_period_us")
    if len(quota) == 2 and 0 < quota[0] < math.inf:
        count = min(count, math.ceil(quota[0] / quota[1]))
    return count


def native_precision():
    """The faster Keras dtype policy of this machine's CPU: bfloat16 if it multiplies in it."""
    with contextlib.suppress(OSError):  # Linux alone has this file
        if re.search("avx512_bf16|amx_bf16", Path("/proc/cpuinfo").read_text()):
            return "mixed_bfloat16"
    return "float32"


POOL = ThreadPoolExecutor(cpu_count())  # its threads start when they are first needed


def memory_left():
    """How many bytes the machine, the container and `ulimit -v` leave this process on Linux.

    Infinitely many elsewhere.
    """
    try:
        pages = Path("/proc/self/statm").read_text().split()[:2]
        size, resident = (int(n) * os.sysconf("SC_PAGE_SIZE") for n in pages)
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    left += [limit - size] if limit != resource.RLIM_INFINITY else []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        left += [limit - resident for limit in _control(name)]
    return min(left, default=math.inf)


def is_out_of_memory(error):
    """Whether an exception of any backend says that the device or the host has no memory left."""
    words = "RESOURCE_EXHAUSTED|ResourceExhausted|OOM|out of memory|t allocate memory|MemoryError"
    return re.search(words, f"{type(error).__name__} {error}") is not None


@contextlib.contextmanager
def atomic(path, flush=False):
    """Yield a temporary path beside `path`: moved into place if the block ends well, else removed.

    flush: write to the disk itself before and after the move, in case that power is lost.
    """
    path = Path(path)
    # Some writers choose the format by the end of the name; a long name leaves no room.
    temporary = path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{path.name[-32:]}")
    held = lock(temporary)  # as long as it is written: see remove_leftovers
    try:
        yield temporary
        if flush and fcntl:  # Windows flushes no file that is open to read
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
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse it for folders
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def lock(path):
    """Take the file `path`, made if absent: the open file that holds the lock, None if it is held.

    It is free again when the file is closed or the process ends. Where the system has no such
    locks, every process gets it.
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
    """Remove what killed processes left half written in a folder, not what others are writing."""
    for path in Path(folder).glob(f"{PARTIAL}*") if fcntl else ():
        if re.match(re.escape(PARTIAL) + "[0-9a-f]{8}-", path.name):
            with contextlib.suppress(OSError), open(path, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it is locked
                path.unlink()


def find_files(root, exclude=None, unreadable=None, skip=None, hidden=None):
    """Yield the paths of all files below a folder, in the same order on every machine.

    Sorted within each folder, a folder's own files before those of its subfolders. Links are
    followed, and each folder is entered once. Hidden files and folders (names that begin with ".",
    and SYSTEM_FOLDER) are left out; `root` itself may be one.

    Args:
        exclude: a folder to leave out.
        unreadable: called with (folder, error) where a folder cannot be listed.
        skip: called with (folder, names in it); True leaves the folder out, with all below it.
        hidden: called with the path of what is hidden, except this program's own files.
    """

    def is_hidden(path, is_folder):
        name = path.name
        found = name.startswith(".") or (is_folder and SYSTEM_FOLDER.fullmatch(name))
        if found and hidden and name != RECORD and not name.startswith(PARTIAL):
            hidden(path)
        return found

    def identity_of(folder):
        status = os.stat(folder)
        return status.st_dev, status.st_ino

    failed = unreadable and (lambda error: unreadable(Path(error.filename), error))
    seen = {identity_of(exclude)} if exclude is not None and os.path.isdir(exclude) else set()
    for top, folders, names in os.walk(root, onerror=failed, followlinks=True):
        folder, identity = Path(top), identity_of(top)
        if identity in seen or (skip and skip(folder, {*folders, *names})):
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(n for n in folders if not is_hidden(folder / n, True))
        yield from (folder / name for name in sorted(names) if not is_hidden(folder / name, False))


def import_keras_quietly():
    """Import Keras and let TensorFlow look for a GPU, without the lines that its C++ prints."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
            kept = os.dup(2)  # OSError: a program without a stderr
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 2)
            os.dup2(nowhere.fileno(), 2)
        import keras

        if keras.backend.backend() == "tensorflow":
            keras.distribution.list_devices()
            # Each network is traced once; it warns as if one were traced again and again.
            logging.getLogger("tensorflow").setLevel("ERROR")


def number(kind, low, high):
    """An argparse type: a number of `kind` from `low` to `high`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        whole = "whole " if kind is int else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no {whole}number from {low} to {high}")

    return parse


def share(text):
    """An argparse type: "i/n" -> (i, n), 0 <= i < n."""
    with contextlib.suppress(ValueError):
        i, n = map(int, text.split("/"))
        if 0 <= i < n:
            return i, n
    raise argparse.ArgumentTypeError(f"{text!r} is no I/N with I from 0 to N - 1")
