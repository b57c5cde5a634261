"""Prepared folders: the same batches as from the folder, and nothing damaged or unfinished passes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from data import manifest, prepare, shards
from data.batches import Batches, Order

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(photographs, tmp_path):
    """Beside the small photographs: large ones, a gray and a broken one, one turned by EXIF, an odd name."""
    folder = tmp_path / "folder"
    (folder / "large").mkdir(parents=True)
    shutil.copytree(photographs, folder / "small")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.coffee()).resize((900, 600)).save(folder / "large/a.jpg", quality=95, exif=exif)
    Image.fromarray(data.astronaut()).save(folder / 'large/b\n,"\u2028\udcff.png')
    Image.fromarray(data.camera()).save(folder / "large/gray.png")
    (folder / "large/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "PICTURES", 10)


def batches_of(folder, size=64, crop=1.0, **order):
    """All that a training of two epochs and its validation see, one array."""
    rows = manifest.scan_dataset([folder], progress=False, size=size, crop=crop)
    orders = [Order(3, epoch, crop, **order) for epoch in (0, 1)]
    made = [Batches(manifest.paths(rows, "train"), size, 5, order) for order in orders]
    made.append(Batches(manifest.paths(rows, "val"), size, 5))
    return np.concatenate([batches[i][0] for batches in made for i in range(len(batches))]), rows


@pytest.mark.parametrize("natural", [False, True])
def test_batches_are_those_of_the_folder(folder, tmp_path, capsys, natural):
    flags = []
    if natural:
        (folder / "small").rename(folder / "beach")
        flags.append("--places2-natural")
    assert prepare.main([str(folder), str(tmp_path / "out"), "--size", "64", *flags]) == 0
    said = capsys.readouterr().out
    assert ("24 pictures, 0 gray, 0 broken" if natural else "26 pictures, 1 gray, 1 broken") in said
    if natural:
        shutil.rmtree(folder / "large")
    plain, rows = batches_of(folder, mirror=True)
    found, prepared_rows = batches_of(tmp_path / "out", mirror=True)
    assert np.array_equal(found, plain) and len(np.unique(plain, axis=0)) > 24
    assert [(row["path"], row["split"]) for row in prepared_rows] == [(row["path"], row["split"]) for row in rows]


def test_random_crops_too_where_pictures_are_kept_as_decoded(folder, tmp_path, capsys):
    prepare.main([str(folder), str(tmp_path / "squashed"), "--size", "64"])
    with pytest.raises(ValueError, match="squashed to 64 x 64"):
        batches_of(tmp_path / "squashed", crop=0.5)
    prepare.main([str(folder), str(tmp_path / "out"), "--size", "64", "--as-decoded"])
    plain, found = (batches_of(f, crop=0.5, mirror=True)[0] for f in (folder, tmp_path / "out"))
    assert np.array_equal(found, plain)
    with pytest.raises(ValueError, match="was prepared for --size 64, not 32"):
        batches_of(tmp_path / "out", size=32)
    assert manifest.scan_dataset([tmp_path / "out"], progress=False) == []  # measuring wants the pictures' own size


def test_pictures_of_the_very_size_can_be_cropped(tmp_path):
    """Places2's small pictures: nothing was lost."""
    (tmp_path / "in").mkdir()
    for i in range(20):
        Image.fromarray(data.coffee()[10 * i : 10 * i + 64, 50:114]).save(tmp_path / f"in/{i}.jpg", quality=95)
    prepare.main([str(tmp_path / "in"), str(tmp_path / "out"), "--size", "64"])
    plain, found = (batches_of(f, crop=0.5)[0] for f in (tmp_path / "in", tmp_path / "out"))
    assert np.array_equal(found, plain)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_preparation_goes_on(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = [str(folder), str(out), "--size", "64"]
    assert prepare.main(command) == 0
    whole, description = content(out), json.loads((out / "prepared.json").read_text())
    (out / "prepared.json").write_text(json.dumps(description | {"shards": None}))  # as it stands before the end
    (out / "00001.csv").unlink()
    (out / "00001.bin").write_bytes(b"half")
    (out / "00002.partial").write_bytes(b"half" * 100_000)
    with pytest.raises(ValueError, match="not finished"):
        batches_of(out)
    stamp = (out / "00000.bin").stat().st_mtime_ns
    capsys.readouterr()
    assert prepare.main(command) == 0
    assert "28 files, 10 of them to do" in capsys.readouterr().out
    (out / "00002.partial").unlink()
    assert content(out) == whole and (out / "00000.bin").stat().st_mtime_ns == stamp
    assert prepare.main(command) == 0 and content(out) == whole  # nothing is left to do
    for arguments, word in (([*command, "--as-decoded"], "as_decoded"), ([*command[:3], "96"], "size")):
        assert prepare.main(arguments) == 2 and f"begun with other {word};" in capsys.readouterr().err
    Image.fromarray(data.coffee()).save(folder / "new.png")
    assert prepare.main(command) == 2 and "begun with other files;" in capsys.readouterr().err


def test_damage_is_found(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = [str(folder), str(out), "--size", "64"]
    prepare.main(command)
    whole = content(out)
    assert prepare.main([str(out), "--check"]) == 0
    for name in ("00000.csv", "00002.csv", "00001.bin"):  # one byte less
        (out / name).write_bytes(whole[name][:-1])
        with pytest.raises(ValueError, match=name):
            shards.Prepared(out)
        (out / name).write_bytes(whole[name])
    changed = bytearray(whole["00000.csv"])
    changed[-3] ^= 1  # in the last checksum
    (out / "00000.csv").write_bytes(changed)
    with pytest.raises(ValueError, match=r"00000.csv.*checksum"):
        shards.Prepared(out)
    (out / "00000.csv").write_bytes(whole["00000.csv"])
    (out / "prepared.json").write_text("{}")
    with pytest.raises(ValueError, match=r"prepared.json is damaged"):
        shards.Prepared(out)
    (out / "prepared.json").write_bytes(whole["prepared.json"])

    changed = bytearray(whole["00001.bin"])
    changed[64 * 64 * 3 + 5] ^= 1  # the second picture
    (out / "00001.bin").write_bytes(changed)
    prepared = shards.Prepared(out)
    name = prepared.paths[11]
    with pytest.raises(ValueError, match=f"00001.bin: damaged at {name}"):
        prepared.read(11)
    assert prepared.read(10).shape == prepared.read(12).shape == (64, 64, 3)
    capsys.readouterr()
    assert prepare.main([str(out), "--check"]) == 1
    said = capsys.readouterr()
    assert f"00001.bin: damaged at {name}" in said.err and "26 pictures, 1 damaged; delete" in said.out
    batch = Batches([shards.Stored(prepared, i) for i in (10, 11, 12)], 64, 3)[0][0]  # in training, the next in its place
    assert np.array_equal(batch[1], batch[2]) and name in capsys.readouterr().out
    (out / "00001.bin").unlink()
    assert prepare.main(command) == 0 and content(out) == whole


def test_disk_use_is_said_and_checked(folder, tmp_path, capsys, monkeypatch):
    command = [str(folder), str(tmp_path / "out"), "--size", "64"]
    assert prepare.main([*command, "--dry-run"]) == 0
    assert f"28 files, 28 of them to do: at most {28 * 64 * 64 * 3 / 1e9:.2f} GB" in capsys.readouterr().out
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 28 * 64 * 64 * 3 - 1))
    assert prepare.main(command) == 2 and "not enough space" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    prepare.main([*command, "--as-decoded", "--dry-run"])
    small = sum(np.asarray(Image.open(path)).size for path in (folder / "small").rglob("*.png"))
    large = 256 * 256 * 3 + 225 * 150 * 3  # neither is decoded smaller than 128 x 128: PNG never, JPEG by halves
    assert f"about {(small + large) / 1e9:.2f} GB" in capsys.readouterr().out or small < large


@pytest.mark.parametrize("arguments, words", [
    (["{}/folder", "{}/folder/out"], "is inside"),
    (["{}/none", "{}/out"], "no such folder"),
    (["{}/folder"], "OUT is needed"),
    (["{}/folder", "{}/out", "--check"], "--check takes the prepared folder alone"),
    (["{}/empty", "{}/out"], "no pictures in it"),
    (["{}/folder", "{}/full"], "holds other things"),
    (["{}/folder", "{}/out", "--size", "0"], "'0' is no whole number"),
])  # fmt: skip
def test_refusals(folder, tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").touch()
    try:
        status = prepare.main([argument.replace("{}", str(tmp_path)) for argument in arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2 and words in capsys.readouterr().err.splitlines()[-1] and not (tmp_path / "out").exists()


def test_ctrl_c(folder, tmp_path):
    """The command in a process of its own."""
    small = next((folder / "small").rglob("*.png"))
    for i in range(8000):
        os.link(small, folder / f"{i}.png")
    command = [sys.executable, "-m", "data.prepare", str(folder), str(tmp_path / "out"), "--size", "64"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out/00000.csv").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.splitlines()[-1] == "data.prepare: stopped; the same command goes on"
    assert shards.read_shard(tmp_path / "out", 0) and not (tmp_path / "out/00007.csv").exists()
