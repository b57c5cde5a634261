"""`python -m data.prepare`: a folder of reduced pictures that trains as its source does."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from data import manifest, prepare
from data.batches import Batches


@pytest.fixture
def source(photographs, tmp_path):
    """Photographs of several sizes and kinds in a tree, one gray, one broken, two of one name, a text."""
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "small").symlink_to(photographs, target_is_directory=True)
    Image.fromarray(data.coffee()).save(folder / "coffee.jpg", quality=95)
    Image.fromarray(data.chelsea()).save(folder / "coffee.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.astronaut()).save(folder / "sub" / "turned.jpg", quality=95, exif=exif)
    Image.fromarray(data.camera()).save(folder / "gray.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "notes.txt").write_text("no picture")
    return folder


def made(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*.*")}


def test_it_holds_the_colour_photographs_reduced_and_upright(source, tmp_path, capsys):
    assert prepare.main([str(source), str(tmp_path / "out"), "--short-side", "100"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "27 done, 0 skipped, 1 gray, 1 broken\n"
    assert "gray.png: gray" in printed.err and "broken.jpg: not a picture" in printed.err
    small = {f"small/{i % 3}/{i:02d}.webp" for i in range(24)}
    assert made(tmp_path / "out") == small | {"coffee.jpg.webp", "coffee.png.webp", "sub/turned.webp"}
    assert Image.open(tmp_path / "out/coffee.jpg.webp").size == (150, 100)
    turned = np.asarray(Image.open(tmp_path / "out/sub/turned.webp")).astype(int)
    expected = Image.fromarray(np.rot90(data.astronaut(), -1)).resize((100, 100), Image.BOX)
    assert np.abs(turned - np.asarray(expected)).mean() < 6
    assert Image.open(tmp_path / "out/small/0/00.webp").size == Image.open(source / "small/0/00.png").size  # not enlarged


def test_it_trains_as_its_source(source, tmp_path):
    prepare.main([str(source), str(tmp_path / "out"), "--short-side", "96", "--quality", "95"])
    rows = [manifest.scan_dataset([folder], share=0, progress=False) for folder in (source, tmp_path / "out")]
    files = [manifest.paths(found, "train") for found in rows]
    assert len(files[0]) == len(files[1]) == 27
    ours, theirs = (np.stack([b[0] for b in Batches(sorted(map(str, f)), 32, 1)]) for f in files)
    assert np.abs(ours.astype(int) - theirs).mean() < 4


def test_the_short_side_suits_the_crops_of_the_size(source, tmp_path, capsys):
    assert prepare.main([str(source / "sub"), str(tmp_path / "out"), "--size", "64", "--format", "png"]) == 0
    assert made(tmp_path / "out") == {"turned.png"}
    assert Image.open(tmp_path / "out/turned.png").size == (107, 107)


def test_a_dry_run_writes_nothing(source, tmp_path, capsys):
    assert prepare.main([str(source), str(tmp_path / "out"), "--dry-run"]) == 0
    assert "29 pictures, short side at most 427: about" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_webp_cannot_hold_is_named(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 17_000, 3), np.uint8)).save(tmp_path / "in/long.png")
    assert prepare.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "1 broken" in printed.out and "long.png: 17000 x 4 cannot be written as webp" in printed.err


def test_it_goes_on_and_repeats_nothing(source, tmp_path, capsys):
    arguments = [str(source), str(tmp_path / "out")]
    assert prepare.main(arguments) == 0
    (tmp_path / "out/coffee.png.webp").unlink()
    kept = (tmp_path / "out/coffee.jpg.webp").stat().st_mtime_ns
    (tmp_path / "out/.partial-00000000-x.webp").write_bytes(b"")
    assert prepare.main(arguments) == 0
    assert "1 done, 26 skipped, 1 gray, 1 broken" in capsys.readouterr().out
    assert (tmp_path / "out/coffee.jpg.webp").stat().st_mtime_ns == kept
    assert not list((tmp_path / "out").glob(".partial*"))


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["nothing", "out"], "nothing: no such folder"),
        (["{source}", "{source}/out"], "choose another folder"),
        (["{source}/sub", "out", "--places2-natural"], "no pictures in it"),
        (["{source}", "out", "--short-side", "8"], "no whole number from 16"),
    ],
)
def test_refusals_are_one_clear_line(arguments, reason, source, capsys):
    with pytest.raises(SystemExit) as end:
        prepare.main([a.replace("{source}", str(source)) for a in arguments])
    assert end.value.code == 2 and reason in capsys.readouterr().err.splitlines()[-1]
