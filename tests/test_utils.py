"""Finding files, atomic writes, memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import utils
from utils import find_files


def test_find_files_order_links_and_loops(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/x.png", "z.png", ".hidden.png", "skip/no.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "b")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = [
        str(path.relative_to(tmp_path)) for path in find_files(tmp_path, exclude=tmp_path / "skip")
    ]
    assert found == [".hidden.png", "self", "z.png", "a/x.png", "again/10.png", "again/2.png"]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.png").touch()
    scandir = os.scandir

    def refuse(folder):  # permissions do not stop root, under whom tests may run
        if folder.name == "shut":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    heard = []
    found = list(
        find_files(
            tmp_path, unreadable=lambda folder, error: heard.append((folder, error.strerror))
        )
    )
    assert found == [tmp_path / "a.png"] and heard == [(tmp_path / "shut", "Permission denied")]


def test_atomic(tmp_path):
    path = tmp_path / ("é" * 100 + ".weights.h5")  # as long as a name may be
    with utils.atomic(path) as temporary:
        temporary.write_text("new")
        assert (
            temporary.parent == tmp_path
            and temporary.name.endswith(".weights.h5")
            and not path.exists()
        )
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1
    with pytest.raises(KeyboardInterrupt), utils.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_memory_left_keeps_to_the_limit_of_the_process():
    code = (
        "import resource, utils; print(utils.memory_left());"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 50_000_000,) * 2); print(utils.memory_left())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(utils.__file__).parent,
        capture_output=True,
        text=True,
    )
    free, limited = map(int, done.stdout.split())
    assert 0 < limited <= 50_000_000 < free
