"""Where the pictures of a run come from: run folders in the data, moved folders, one file in both splits."""

import json
import os
import shutil

import pytest
from PIL import Image
from skimage import data
from test_train import SMALL, train

from data import manifest
from data.batches import NAMED, Batches


def splits(rows, split):
    return [row["path"] for row in rows if row["split"] == split]


def test_folders_of_runs_are_left_out(photographs, tmp_path, capsys):
    folder = shutil.copytree(photographs, tmp_path / "data")
    plain = manifest.scan_dataset([folder], progress=False)
    for name in ("run1", "deep/run2"):
        (folder / name / "samples").mkdir(parents=True)
        for file in ("config.json", "manifest.csv"):
            (folder / name / file).write_text("{}")
        shutil.copy(folder / "0/00.png", folder / name / "samples/epoch-001.png")
    assert manifest.scan_dataset([folder]) == plain
    assert "run2 and 1 more, the folder of a training run" in capsys.readouterr().err
    for file in ("config.json", "manifest.csv"):  # the folder of the pictures is that of the run
        (folder / file).write_text("{}")
    (folder / "samples").mkdir()
    shutil.copy(folder / "0/00.png", folder / "samples/epoch-001.png")
    assert manifest.scan_dataset([folder], progress=False) == plain


@pytest.mark.parametrize(
    "kind", ["link to a picture", "link to a folder", "copy", "hard link", "none"]
)
def test_one_file_in_both_splits_is_said(photographs, tmp_path, kind, capsys):
    val = tmp_path / "val"
    val.mkdir()
    Image.fromarray(data.coffee()).save(val / "other.png")
    if kind == "link to a folder":
        (val / "in").symlink_to(photographs / "0")
    elif kind != "none":
        for path in sorted((photographs / "0").iterdir()):
            {"link to a picture": os.symlink, "copy": shutil.copy, "hard link": os.link}[kind](
                path, val / path.name
            )
    rows = manifest.scan_dataset([photographs], [val])
    assert len(splits(rows, "val")) == (1 if kind == "none" else 9)
    found = capsys.readouterr().err
    assert (
        "8 of 9 validation pictures are training pictures as well, by content or link: " in found
    ) == (kind != "none")


def test_pictures_that_are_gone_are_one_line(tmp_path, capsys, photographs):
    with pytest.raises(
        OSError, match=r"none of the pictures can be read any more; .*0\.jpg: no longer decodes"
    ):
        Batches([f"{tmp_path}/gone/{i}.jpg" for i in range(2000)], 64, 64)[0]
    assert capsys.readouterr().out == ""
    good = sorted(photographs.rglob("*.png"))[0]
    Batches([*(tmp_path / f"{i}.png" for i in range(20)), good], 64, 1)[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == NAMED + 1 and lines[-1] == "... and 17 more"


@pytest.mark.slow
def test_a_moved_folder_is_named_on_resume(photographs, tmp_path):
    """One line where it is gone; --data NEW goes on there, and afterwards the run knows"""
    old, new, run = tmp_path / "old", tmp_path / "new", tmp_path / "run"
    shutil.copytree(photographs, old)
    options = [*SMALL, "--epochs", 2, "--run", run]
    assert train("--data", old, *options, "--steps", 3).returncode == 0
    config = json.loads((run / "config.json").read_text())
    config["config"]["steps"] = 0  # as if it had been stopped
    (run / "config.json").write_text(json.dumps(config))
    old.rename(new)
    done = train("--run", run, "--resume")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert (
        f"{old}: no such folder" in done.stderr and "--data NEW names the new place" in done.stderr
    )
    few = tmp_path / "few"
    shutil.copytree(new / "0", few / "0")
    done = train("--run", run, "--resume", "--data", few)
    assert done.returncode == 2 and "of 24 pictures are not there, such as" in done.stderr
    done = train("--run", run, "--resume", "--data", new, "--dry-run")
    assert done.returncode == 0 and json.loads((run / "config.json").read_text())["data"] == [
        str(old)
    ]
    done = train("--run", run, "--resume", "--data", new)
    assert done.returncode == 0 and "resumed after step 3" in done.stdout, done.stderr
    assert json.loads((run / "config.json").read_text())["data"] == [str(new)]
    done = train("--run", run, "--resume")
    assert done.returncode == 0 and "done: " in done.stdout, done.stderr


@pytest.mark.slow
def test_a_refused_run_does_not_block_its_folder(tmp_path):
    folder, run = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    options = ["--data", folder, "--run", run, *SMALL, "--batch", 1, "--steps", 1]
    Image.fromarray(data.coffee()[:96, :96]).save(folder / "0.png")
    done = train(*options)
    assert done.returncode == 2 and "too few pictures" in done.stderr and not run.exists()
    for i in range(1, 12):
        Image.fromarray(data.coffee()[10 * i : 10 * i + 96, :96]).save(folder / f"{i}.png")
    assert train(*options).returncode == 0
