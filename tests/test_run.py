"""Where the pictures of a run come from: run folders in the data, missing folders, copies."""

import shutil

import numpy as np
import pytest
from PIL import Image
from skimage import data
from test_train import SMALL, refused, train

import configs
from data import manifest
from data.batches import NAMED, Batches
from training import run as runs
from training.devices import Devices


def test_folders_of_runs_are_left_out(photographs, tmp_path, capsys):
    folder = shutil.copytree(photographs, tmp_path / "data")
    plain = manifest.scan_dataset([folder])

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
    assert manifest.scan_dataset([folder]) == plain


@pytest.mark.parametrize("kind", ["copy", "link to a folder", "none"])
def test_copies_in_both_splits_are_counted(photographs, tmp_path, kind, capsys):
    val = tmp_path / "val"
    val.mkdir()
    Image.fromarray(data.coffee()).save(val / "other.png")
    if kind == "link to a folder":
        (val / "in").symlink_to(photographs / "0")
    elif kind == "copy":
        shutil.copytree(photographs / "0", val / "in")
    rows = manifest.scan_dataset([photographs], [val])
    assert [row["split"] for row in rows].count("val") == (1 if kind == "none" else 9)
    line = "8 of 9 validation pictures are training pictures as well, by content or link: "
    assert (line in capsys.readouterr().err) == (kind != "none")


def test_pictures_that_are_gone_are_one_line(tmp_path, capsys, photographs):
    gone = r"none of the pictures can be read any more; .*0\.jpg: no longer decodes"
    with pytest.raises(OSError, match=gone):
        Batches([f"{tmp_path}/gone/{i}.jpg" for i in range(2000)], 64, 64)[0]
    assert capsys.readouterr().out == ""
    files = [*(tmp_path / f"{i}.png" for i in range(20)), min(photographs.rglob("*.png"))]
    batch = Batches(files, 64, 21)[0][0]
    assert all(np.array_equal(rgb, batch[-1]) for rgb in batch)
    capsys.readouterr()
    Batches(files, 64, 1)[0]
    assert len(capsys.readouterr().out.splitlines()) == NAMED


@pytest.mark.slow
def test_a_missing_folder_and_too_few_pictures_are_one_line(photographs, tmp_path):
    """A refused run does not block its folder."""
    few, folder, run = tmp_path / "few", tmp_path / "data", tmp_path / "run"
    few.mkdir()
    shutil.copy(photographs / "0/00.png", few)
    shutil.copytree(photographs, folder)
    options = ("--run", run, *SMALL, "--steps", 1)
    assert "too few pictures" in refused("--data", few, *options) and not run.exists()
    words = [str(word) for word in ("--data", folder, *options, "--batch", 3)]
    with pytest.raises(runs.RunError, match="--batch 3: not divisible by 2 devices"):
        runs.prepare(configs.parse_training(words), Devices(["cpu:0", "cpu:1"]))
    assert train("--data", folder, *options).status == 0
    folder.rename(tmp_path / "new")
    assert f"{folder}: no such folder" in refused("--run", run, "--resume")
    folder.symlink_to(tmp_path / "new")
    done = train("--run", run, "--resume")
    assert done.status == 0 and "resumed after step 1" in done.out
