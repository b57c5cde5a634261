"""Inputs, outputs and the command `python -m data.gray`."""

import os
import random

import numpy as np
import pytest
from PIL import Image

from data.gray import gray
from data.gray import main as gray_main
from data.jobs import output_names
from tests.samples import COLOUR, GRAY, same, save
from utils import find_files


def test_output_names_never_collide():
    assert output_names(["a.jpg", "b.tif", "c"], ".png") == {"a.jpg": "a.png", "b.tif": "b.png", "c": "c.png"}
    assert output_names(["a.jpg", "a.png"], ".png") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}
    assert output_names(["A.jpg", "a.png"], ".png") == {"A.jpg": "A.jpg.png", "a.png": "a.png.png"}
    rng = random.Random(0)
    for _ in range(300):
        names = {"".join(rng.choice(["a", ".jpg", ".png"]) for _ in range(rng.randrange(1, 4))) for _ in range(6)}
        outputs = output_names(sorted(names), ".png")
        assert len(set(outputs.values())) == len(names)
        assert output_names(sorted(names, reverse=True), ".png") == outputs


def test_gray_is_pillows_luma():
    same(gray(COLOUR), np.asarray(Image.fromarray(COLOUR).convert("L")))
    deep = gray(COLOUR.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - gray(COLOUR)).max() <= 0.5


def test_gray_command(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    save(source / "a.jpg", COLOUR)
    save(source / "a.png", COLOUR)
    save(source / "sub/b.png", COLOUR)
    (source / "notes.txt").write_text("no picture")
    (source / "broken.png").write_text("nor this")
    assert gray_main([str(source), str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == "3 done, 0 skipped, 1 failed, 1 passed over"
    assert printed.err.count("broken.png: not a picture") == 1
    files = sorted(str(path.relative_to(out)) for path in find_files(out))
    assert files == ["a.jpg.png", "a.png.png", "sub/b.png"]
    with Image.open(out / "sub/b.png") as image:
        same(np.asarray(image), gray(COLOUR))
    assert gray_main([str(source), str(out)]) == 1
    assert capsys.readouterr().out.strip() == "0 done, 3 skipped, 1 failed, 1 passed over"
    assert gray_main([str(source / "a.jpg"), str(tmp_path / "one.tif")]) == 0
    with Image.open(tmp_path / "one.tif") as image:
        assert (image.format, image.mode) == ("TIFF", "L")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{in}", "{in}"], "among the inputs"),
        (["{in}/sub", "{in}"], "among the inputs"),
        (["{in}/a.png", "{in}"], "overwrite the input"),
        (["{in}/a.png", "{in}/a.png"], "overwrite the input"),
        (["{in}/a.png", "{in}/link.png"], "overwrite the input"),
        (["{in}/missing", "{in}/out"], "no such file"),
        (["{in}", "{in}/a.png"], "needs a folder"),
        (["{in}/sub", "{in}/out"], "no pictures"),
        (["{in}/a.png", "{in}/x.gif"], "cannot be written"),
        (["{in}/a.png", "{in}/x.jpg", "--format", "png"], "contradicts"),
        (["{in}/a.png", "{in}/o", "--quality", "0"], "from 1 to 100"),
        (["{in}/a.png", "{in}/o", "--qual", "10"], "unrecognized"),
    ],
)
def test_refusals_are_one_line(tmp_path, capsys, arguments, words):
    (tmp_path / "sub").mkdir()
    save(tmp_path / "a.png", GRAY)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(SystemExit) as end:
        gray_main([*(argument.replace("{in}", str(tmp_path)) for argument in arguments)])
    assert end.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "a.png").read_bytes() == before


def test_out_inside_in_is_no_input(tmp_path, capsys):
    save(tmp_path / "a.png", COLOUR)
    for _ in range(2):
        assert gray_main([str(tmp_path), str(tmp_path / "out"), "--overwrite"]) == 0
        assert capsys.readouterr().out.startswith("1 done, 0 skipped, 0 failed, 0 passed over")


def test_strange_names_are_printed(tmp_path, capsys):
    name = os.fsencode(str(tmp_path)) + b"/a\xff\nb\x1b[1m.jpg"
    with open(name, "wb") as file:
        file.write(b"no picture")
    assert gray_main([str(tmp_path), str(tmp_path / "out")]) == 1
    line = capsys.readouterr().err.strip()
    assert line.encode().count(b"\n") == 0 and r"a\udcff\nb\x1b[1m.jpg: not a picture" in line
