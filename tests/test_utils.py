"""Finding files, atomic writes, locks, memory and processors."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import utils
from utils import find_files

ROOT = Path(utils.__file__).parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")


def make(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_find_files_order_links_and_loops(tmp_path):
    make(tmp_path, ("b/2.png", "b/10.png", "a/x.png", "z.png", "skip/no.png", "run/config.json"))
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "b")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = find_files(
        tmp_path, exclude=tmp_path / "skip", skip=lambda folder, names: "config.json" in names
    )
    expected = ["self", "z.png", "a/x.png", "again/10.png", "again/2.png"]
    assert names_of(found, tmp_path) == expected


def test_hidden_and_system_folders_are_passed_over(tmp_path):
    hidden = ["@eaDir/a.png", ".thumbnails/b.png", "#recycle/c.png", "$RECYCLE.BIN/d.png"]
    hidden += ["System Volume Information/e.png", "lost+found/f.png", ".Trash-1000/files/g.png"]
    hidden += ["__MACOSX/h.png", ".stversions/i.png", "in/.git/j.png", ".@__thumb/k.png"]
    hidden += ["in/._a.png", ".hidden.png"]
    kept = ["#recycle.png", "eaDir/y.png", "in/a.png"]
    make(tmp_path, [*hidden, *kept, utils.RECORD, f"{utils.PARTIAL}0123abcd-x.png"])
    heard = []
    assert names_of(find_files(tmp_path, hidden=heard.append), tmp_path) == kept
    expected = {n if "._" in n or n == ".hidden.png" else os.path.dirname(n) for n in hidden}
    expected = {".Trash-1000" if n == ".Trash-1000/files" else n for n in expected}
    assert {*names_of(heard, tmp_path)} == expected and len(heard) == len(hidden)
    root = tmp_path / ".thumbnails"  # asked for by name
    assert names_of(find_files(root), root) == ["b.png"]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    make(tmp_path, ("shut/b.png", "a.png"))
    scandir = os.scandir

    def refuse(folder):  # permissions do not stop root, under whom tests may run
        if Path(folder).name == "shut":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    heard = []
    found = find_files(tmp_path, unreadable=lambda folder, e: heard.append((folder, e.strerror)))
    assert list(found) == [tmp_path / "a.png"]
    assert heard == [(tmp_path / "shut", "Permission denied")]


def test_atomic(tmp_path):
    path = tmp_path / ("é" * 100 + ".weights.h5")  # as long as a name may be
    with utils.atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and temporary.name.endswith(".weights.h5")
        assert not path.exists()
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1
    with pytest.raises(KeyboardInterrupt), utils.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1


@linux
def test_flushed_before_and_after_the_move(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def flush(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))[:9])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("move"), replace(a, b)))
    for flush in (False, True):
        with utils.atomic(tmp_path / "a", flush=flush) as temporary:
            temporary.write_text("new")
    assert calls == ["move", utils.PARTIAL, "move", tmp_path.name[:9]]


def test_leftovers_are_removed_but_not_those_of_a_living_process(tmp_path):
    make(tmp_path, (".partial-0123abcd-a.png", ".partial-of-mine.png", "a.png"))
    with utils.atomic(tmp_path / "b.png") as living:
        living.write_bytes(b"half")
        utils.remove_leftovers(tmp_path)
        assert {*os.listdir(tmp_path)} == {living.name, ".partial-of-mine.png", "a.png"}
    assert {*os.listdir(tmp_path)} == {".partial-of-mine.png", "a.png", "b.png"}
    utils.remove_leftovers(tmp_path / "nowhere")


def run(code, *arguments):
    command = [sys.executable, "-c", "import os, sys, resource, utils; " + code, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "lock"
    process = run("held = utils.lock(sys.argv[1]); print(1, flush=True); sys.stdin.read()", path)
    process.stdout.readline()
    assert utils.lock(path) is None
    process.kill()
    process.communicate()
    with utils.lock(path) as held:
        assert held


@linux
def test_memory_left_keeps_to_the_limit_of_the_process():
    code = (
        "print(utils.memory_left());"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 50_000_000,) * 2);"
        "print(utils.memory_left())"
    )
    free, limited = map(int, run(code).communicate()[0].split())
    assert 0 < limited <= 50_000_000 < free


def test_the_quota_of_a_container(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    old, period = "cpu/cpu.cfs_quota_us", {"cpu/cpu.cfs_period_us": [100_000]}
    for files, count in (
        ({"cpu.max": [250_000, 100_000]}, 3),
        ({"cpu.max": [50_000, 100_000]}, 1),
        ({"cpu.max": [math.inf, 100_000]}, 64),
        ({old: [200_000]} | period, 2),
        ({old: [-1]} | period, 64),
        ({}, 64),
    ):
        monkeypatch.setattr(utils, "_control", lambda name, files=files: files.get(name, []))
        assert utils.cpu_count() == count


@pytest.mark.parametrize("name", ["utils.py", "models/__init__.py"])
def test_a_users_module_in_the_way_of_the_api_is_named(name, tmp_path):
    make(tmp_path, (name,))
    (tmp_path / "mine.py").write_text("import colorizer")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "mine.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert f"ImportError: Rename {tmp_path / name}: " in done.stderr.splitlines()[-1]
