"""Damaged pictures: read or refused in one line, within a time and a memory limit."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "fuzz_reader.py"


def outcomes(first, last):
    """{number: "read" or "refused"} of a range; the process that reads must reach its end."""
    done = subprocess.run(
        [sys.executable, WORKER, str(first), str(last)],
        capture_output=True,
        text=True,
        errors="replace",
    )
    found = dict(re.findall(r"^(\d+) \(.*\): (read|refused) in [\d.]+ s$", done.stdout, re.M))
    assert done.returncode == 0 and len(found) == last - first, (
        done.stdout[-200:],
        done.stderr[-2000:],
    )
    return found


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.soak)])
def test_damaged_pictures_are_read_or_refused(count):
    parts = [(first, min(first + 1000, count)) for first in range(0, count, 1000)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [
            outcome
            for part in pool.map(lambda part: outcomes(*part), parts)
            for outcome in part.values()
        ]
    assert len(found) == count and found.count("read") > count / 4 < found.count(
        "refused"
    )  # both are tried
