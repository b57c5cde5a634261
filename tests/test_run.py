"""Where the pictures of a run come from: run folders in the data, moved folders, copies."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from skimage import data
from test_train import SMALL, refused, train

from data import manifest
from data.batches import NAMED, Batches


def test_folders_of_runs_are_left_out(photographs, tmp_path, capsys):
    folder = shutil.copytree(photographs, tmp_path / "data")
    plain = manifest.scan_dataset([folder], progress=False)

    def make_run(run):
        (run / "samples").mkdir(parents=True)
        for file in ("config.json", "manifest.csv"):
            (run / file).write_text("{}")
        shutil.copy(photographs / "0/00.png", run / "samples/epoch-001.png")

    make_run(folder / "run1")
    make_run(folder / "deep/run2")
    assert manifest.scan_dataset([folder]) == plain
    assert "run2 and 1 more, the folder of a training run" in capsys.readouterr().err
    make_run(folder)  # the folder of the pictures is that of the run
    assert manifest.scan_dataset([folder], progress=False) == plain


LINKS = {"link": os.symlink, "copy": shutil.copy, "hard link": os.link}


@pytest.mark.parametrize("kind", [*LINKS, "link to a folder", "none"])
def test_copies_in_both_splits_are_counted(photographs, tmp_path, kind, capsys):
    val = tmp_path / "val"
    val.mkdir()
    Image.fromarray(data.coffee()).save(val / "other.png")
    if kind == "link to a folder":
        (val / "in").symlink_to(photographs / "0")
    elif kind != "none":
        for path in sorted((photographs / "0").iterdir()):
            LINKS[kind](path, val / path.name)
    rows = manifest.scan_dataset([photographs], [val])
    assert [row["split"] for row in rows].count("val") == (1 if kind == "none" else 9)
    line = "8 of 9 validation pictures are training pictures as well, by content or link: "
    assert (line in capsys.readouterr().err) == (kind != "none")


def test_pictures_that_are_gone_are_one_line(tmp_path, capsys, photographs):
    gone = r"none of the pictures can be read any more; .*0\.jpg: no longer decodes"
    with pytest.raises(OSError, match=gone):
        Batches([f"{tmp_path}/gone/{i}.jpg" for i in range(2000)], 64, 64)[0]
    assert capsys.readouterr().out == ""
    good = sorted(photographs.rglob("*.png"))[0]
    batch = Batches([*(tmp_path / f"{i}.png" for i in range(20)), good], 64, 21)[0][0]
    assert all(np.array_equal(rgb, batch[-1]) for rgb in batch)
    capsys.readouterr()
    Batches([*(tmp_path / f"{i}.png" for i in range(20)), good], 64, 1)[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == NAMED


@pytest.mark.slow
def test_a_moved_folder_is_named_on_resume(photographs, tmp_path):
    """One line where it is gone; --data NEW goes on there, and the run remembers it."""
    old, new = tmp_path / "old", tmp_path / "new"
    run, places = ("--run", tmp_path / "run"), ("--data", old / "1", old / "2", "--val", old / "0")
    shutil.copytree(photographs, old)
    assert train(*places, *SMALL, "--epochs", 2, *run, "--steps", 3).status == 0
    path = tmp_path / "run/config.json"
    path.write_text(path.read_text().replace('"steps": 3', '"steps": 4'))  # as if it was stopped

    def data_of():
        return [json.loads(path.read_text())[name] for name in ("data", "val")]

    before = data_of()
    old.rename(new)
    line = refused(*run, "--resume")
    assert f"{old}/1: no such folder" in line and "--data NEW" in line
    moved = ("--data", new / "1", new / "2", "--val", new / "0")
    assert "8 of 24 pictures are not there" in refused(*run, "--resume", *moved[:4], new / "2")
    assert "name all, in the order of" in refused(*run, "--resume", "--data", new)
    done = train(*run, "--resume", *moved, "--dry-run")
    assert done.status == 0 and data_of() == before
    done = train(*run, "--resume", *moved)
    assert done.status == 0 and "resumed after step 3" in done.out
    assert data_of() == [[f"{new}/1", f"{new}/2"], [f"{new}/0"]]
    assert train(*run, "--resume").status == 0


@pytest.mark.slow
def test_a_refused_run_does_not_block_its_folder(tmp_path):
    folder, run = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    options = ("--data", folder, "--run", run, *SMALL, "--batch", 1, "--steps", 1)
    Image.fromarray(data.coffee()[:96, :96]).save(folder / "0.png")
    assert "too few pictures" in refused(*options) and not run.exists()
    for i in range(1, 12):
        Image.fromarray(data.coffee()[10 * i : 10 * i + 96, :96]).save(folder / f"{i}.png")
    assert train(*options).status == 0
