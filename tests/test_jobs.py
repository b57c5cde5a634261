"""Inputs, outputs and the command `python -m data.gray`."""

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data.gray import gray
from data.gray import main as gray_main
from PIL import Image

from inference.jobs import output_names
from tests.samples import COLOUR, GRAY, same, save
from utils import find_files

ROOT = Path(__file__).parent.parent


def test_output_names_never_collide():
    assert output_names(["a.jpg", "b.tif", "c"], ".png") == {
        "a.jpg": "a.png",
        "b.tif": "b.png",
        "c": "c.png",
    }
    assert output_names(["a.jpg", "a.png"], ".png") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}
    assert output_names(["A.jpg", "a.png"], ".png") == {"A.jpg": "A.jpg.png", "a.png": "a.png.png"}
    rng = random.Random(0)
    for _ in range(300):
        names = {
            "".join(rng.choice(["a", ".jpg", ".png"]) for _ in range(rng.randrange(1, 4)))
            for _ in range(6)
        }
        outputs = output_names(sorted(names), ".png")
        assert len(set(outputs.values())) == len(names)
        assert output_names(sorted(names, reverse=True), ".png") == outputs


def test_results_keep_the_format_where_it_can_be_written():
    names = ["a.JPG", "b.jpeg", "c.tif", "d.webp", "e.png", "f.gif", "g.heic", "h.nef", "nameless"]
    kept = [
        "a.JPG",
        "b.jpeg",
        "c.tif",
        "d.webp",
        "e.png",
        "f.png",
        "g.png",
        "h.png",
        "nameless.png",
    ]
    assert list(output_names(names).values()) == kept
    assert output_names(["a.jpg", "a.png", "a.tif"]) == {
        "a.jpg": "a.jpg",
        "a.png": "a.png",
        "a.tif": "a.tif",
    }
    assert output_names(["a.bmp", "a.png"]) == {"a.bmp": "a.bmp.png", "a.png": "a.png.png"}


def test_several_inputs(tmp_path, capsys):
    for name in ("a.jpg", "x/b.png", "x/deep/c.tif", "y/a.jpg", "y/b.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / name, COLOUR)
    out = tmp_path / "out"

    def run(*names):
        status = gray_main([*(str(tmp_path / name) for name in names), str(out)])
        return status, capsys.readouterr()

    assert run("a.jpg", "x", "y", "y/b.bmp")[0] == 0
    made = sorted(str(path.relative_to(out)) for path in find_files(out))
    assert made == ["a.jpg", "b.png", "x/b.png", "x/deep/c.tif", "y/a.jpg", "y/b.png"]
    assert (
        run("a.jpg", "x", "y", "y/b.bmp")[1].out == "0 done, 6 skipped, 0 failed, 0 passed over\n"
    )
    for names, words in (
        (("a.jpg", "y/a.jpg"), "would both become"),
        (("a.jpg", "gone"), "no such file or folder"),
        (("a.jpg", "-"), "no such file or folder"),
    ):
        with pytest.raises(SystemExit) as end:
            run(*names)
        assert end.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        gray_main([str(tmp_path / "a.jpg"), "-", str(out)])
    assert "does not go with other inputs" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # OUT was forgotten
        gray_main([str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "a.jpg")])
    assert "several inputs need a folder" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_stdin_and_stdout(tmp_path, format):
    path = save(tmp_path / "a", COLOUR, format=format)
    command = [sys.executable, "-m", "data.gray"]

    def run(*arguments, **options):
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, **options)

    done = run("-", "-", input=path.read_bytes())
    assert (
        done.returncode == 0
        and done.stderr.decode() == "1 done, 0 skipped, 0 failed, 0 passed over\n"
    )
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == ("PNG" if format == "BMP" else format) and image.size == (60, 40)
    done = run(path, "-", "--format", "tiff")
    assert done.returncode == 0 and done.stdout.startswith(b"II*\0")
    done = run("-", tmp_path / "b.png", input=path.read_bytes())
    assert (
        done.returncode == 0 and done.stdout.startswith(b"1 done") and (tmp_path / "b.png").exists()
    )
    done = run("-", "-", input=b"no picture")
    assert done.returncode == 1 and not done.stdout and b"not a picture" in done.stderr
    for wrong in (["-", "-", "--json"], [tmp_path, "-"]):
        assert run(*wrong, input=b"").returncode == 2


def test_json_and_verbose(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/a.png", COLOUR)
    frames = [Image.fromarray(np.roll(COLOUR, i)) for i in range(2)]
    save(tmp_path / "in/b.tif", frames[0], save_all=True, append_images=frames[1:])
    (tmp_path / "in/c.jpg").write_text("no picture")
    (tmp_path / "in/notes.txt").write_text("no picture")
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    assert gray_main([source, out, "--json", "--verbose"]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [found[kind] for kind in ("done", "skipped", "failed", "passed_over")] == [2, 0, 1, 1]
    files = {os.path.basename(entry["input"]): entry for entry in found["files"]}
    assert files["a.png"] == {
        "input": f"{source}/a.png",
        "status": "done",
        "note": "",
        "result": f"{out}/a.png",
    }
    assert (
        files["b.tif"]["note"] == "first of 2 frames" and files["b.tif"]["result"] == f"{out}/b.tif"
    )
    assert files["c.jpg"]["status"] == "failed" and "not a picture" in files["c.jpg"]["note"]
    assert files["c.jpg"]["result"] is None and files["notes.txt"]["status"] == "passed over"
    assert "notes.txt: not a picture, passed over" in printed.err
    gray_main([source, out, "--json"])
    printed = capsys.readouterr()
    assert {entry["status"] for entry in json.loads(printed.out)["files"]} == {
        "skipped",
        "failed",
        "passed over",
    }
    assert "notes.txt" not in printed.err


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
    assert files == ["a.jpg", "a.png", "sub/b.png"]
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
