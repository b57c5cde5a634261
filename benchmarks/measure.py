"""How things are measured: in turns, by medians; memory as the operating system counts it."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """A line of the table. `value` is a ratio unless the text of `what` says otherwise."""

    what: str
    value: float
    bar: str  # what it should be, "" where it is only stated
    detail: str


def seconds(function, clock=time.perf_counter):
    started = clock()
    function()
    return clock() - started


def in_turns(first, second, rounds=ROUNDS, clock=time.perf_counter):
    """Seconds of each (medians), and the median of second / first pair by pair: how many times as fast `first` is.

    The two alternate, so that what else the machine does falls on both. One round more goes before and is not counted.
    """
    first(), second()
    pairs = [(seconds(first, clock), seconds(second, clock)) for _ in range(rounds)]
    return *(statistics.median(times) for times in zip(*pairs)), statistics.median(
        b / a for a, b in pairs
    )


def process(*command):
    """Run Python on `command` in a process of its own -> (seconds, peak memory in MB, stdout). Raises if it fails."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1000, printed


def process_json(*command):
    """What a process prints as its last line, read as JSON, and its peak memory in MB under "memory" if it says none."""
    _, memory, printed = process(*command)
    return {"memory": memory} | json.loads(printed.splitlines()[-1])


def machine():
    """One line about the hardware and the libraries."""
    import keras

    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(": ")[2] for line in lines if line.startswith("model name")), model
        )
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    return f"{os.cpu_count()} cores of {model}, Keras {keras.__version__} on {backend} {version}"
