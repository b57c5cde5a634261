"""test.py from the command line to the files, with a tiny network of strong colours."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage import color, data

import test as script
from data import preprocess
from data.preprocess import lightness_of
from inference import folder, view
from inference import sheet as sheets
from inference.jobs import find_jobs, share_of
from inference.options import parse
from models import aciids2020
from models import file as model_file
from pictures import reader, writer
from tests.test_line_art import page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ARGUMENTS = {"width": 1 / 16, "global_size": 64}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of two untrained networks: one of strong colours, one of none."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    model = aciids2020.build(**ARGUMENTS)
    *rest, last, _ = model.get_weights()
    for name, (kernel, bias) in {
        "strong": (8 * last, (0.3, -0.4)),
        "none": (0 * last, (0, 0)),
    }.items():
        card = {"arguments": ARGUMENTS, "size": 64}
        model_file.save(
            folder / f"{name}.keras",
            "aciids2020",
            [*rest, kernel, np.array(bias, np.float32)],
            card,
        )
    return folder


@pytest.fixture
def run(networks, capsys):
    """Runs test.py in this process -> (exit status, stdout, stderr)."""

    def run(*arguments, network="strong"):
        status = script.main(
            *parse([*map(str, arguments), "--model", str(networks / f"{network}.keras")])
        )
        return status, *capsys.readouterr()

    return run


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def results(folder):
    """The names in a folder of results, beside the record of its settings."""
    return sorted(name for name in os.listdir(folder) if name != ".colorized.json")


def lightness_error(before, after):
    """The largest difference of L between two pictures; the second by scikit-image, in float64."""
    return np.abs(lightness_of(before) - color.rgb2lab(after)[..., 0]).max()


def chroma(pixels):
    return np.hypot(*np.moveaxis(color.rgb2lab(pixels)[..., 1:], -1, 0))


PICTURES = {
    "camera": data.camera()[::2, ::2].copy(),
    "ramp": np.tile(np.arange(256, dtype=np.uint8), (40, 1)),
    "tall": np.asarray(Image.fromarray(data.astronaut()[:300, 100:137]).convert("L")),
    "colour": data.coffee()[:120, :160].copy(),
}


@pytest.mark.parametrize("options", [(), ("--guided",), ("--saturation", "3")], ids=" ".join)
def test_lightness_is_the_inputs_everywhere(tmp_path, run, options):
    for name, pixels in PICTURES.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    status, out, _ = run(tmp_path / "in", tmp_path / "out", *options)
    assert status == 0 and out.startswith("4 done, 0 skipped, 0 failed, 0 passed over; ")
    for name, pixels in PICTURES.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            result = np.asarray(image)
        assert result.shape == (*pixels.shape[:2], 3) and result.dtype == np.uint8
        assert lightness_error(pixels, result) < 1
    assert np.median(chroma(np.asarray(Image.open(tmp_path / "out/camera.png")))) > 5


def test_plain_clipping_moves_the_lightness(tmp_path, run):
    source = save(tmp_path / "a.png", PICTURES["ramp"])
    run(source, tmp_path / "clip.png", "--gamut", "clip", "--saturation", "3")
    assert lightness_error(PICTURES["ramp"], np.asarray(Image.open(tmp_path / "clip.png"))) > 2


def test_colours_are_those_of_the_network(tmp_path, run, networks):
    """The plain way through the recipe, spelled out, gives the same pixels."""
    pixels = PICTURES["camera"]
    run(save(tmp_path / "a.png", pixels), tmp_path / "out.png", "--precision", "float32")
    model, _ = model_file.load(networks / "strong.keras")
    small = lightness_of(preprocess.resize(pixels, 64, 64))[None, ..., None]
    ab = model.predict(preprocess.network_inputs(small), verbose=0)[
        0, ::2, ::2
    ]  # before the nearest doubling
    difference = np.asarray(Image.open(tmp_path / "out.png")).astype(int) - preprocess.colorize(
        pixels, ab
    )
    assert np.abs(difference).max() <= 1


def test_pictures_do_not_depend_on_their_company(tmp_path, run):
    """Padding of the last batch and neighbours in it leave no trace; nor do strips."""
    for i, pixels in enumerate(PICTURES.values()):
        save(tmp_path / "in" / f"{i}.png", pixels)
    run(tmp_path / "in", tmp_path / "three", "--batch", "3")
    run(tmp_path / "in", tmp_path / "one", "--batch", "1")
    for i in range(len(PICTURES)):
        one, three = (
            np.asarray(Image.open(tmp_path / folder / f"{i}.png")).astype(int)
            for folder in ("one", "three")
        )
        assert np.abs(one - three).max() <= 1


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch runs it without compiling")
def test_network_is_compiled_once_for_all_sizes(tmp_path, run, monkeypatch):
    traces = []
    inputs = view.network_inputs

    def traced(lightness, *others, **names):
        traces.append(tuple(lightness.shape))
        return inputs(lightness, *others, **names)

    monkeypatch.setattr(view, "network_inputs", traced)
    for i in range(7):
        save(tmp_path / "in" / f"{i}.png", PICTURES["camera"][: 50 + 9 * i, : 90 - 9 * i])
    assert run(tmp_path / "in", tmp_path / "out", "--batch", "3")[0] == 0
    assert len(traces) <= 2 and set(traces) == {
        (3, 64, 64, 1)
    }  # Keras traces a second time to build the model


def test_size_of_the_network(tmp_path, run):
    source = save(tmp_path / "a.png", PICTURES["camera"])
    results = []
    for size in (64, 128):
        run(source, tmp_path / f"{size}.png", "--size", size)
        results.append((tmp_path / f"{size}.png").read_bytes())
    run(source, tmp_path / "default.png")
    assert (tmp_path / "default.png").read_bytes() == results[0] != results[1]


def test_sixteen_bits_alpha_and_the_rest_are_kept(tmp_path, run):
    deep = np.random.default_rng(0).integers(3000, 60000, (64, 64), np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/deep.tif", deep)
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "Maker"
    alpha = np.tile(np.arange(60, dtype=np.uint8), (40, 1))
    save(
        tmp_path / "in/la.png",
        np.dstack([PICTURES["camera"][:40, :60], alpha]),
        exif=exif,
        dpi=(300, 300),
        icc_profile=SRGB,
    )
    status, _, _ = run(tmp_path / "in", tmp_path / "out")
    assert status == 0
    result = reader.read_picture(tmp_path / "out/deep.tif")
    assert result.pixels.dtype == np.uint16 and result.pixels.shape == (64, 64, 3)
    assert lightness_error(deep, result.pixels) < 0.1
    with Image.open(tmp_path / "out/la.png") as image:
        assert image.mode == "RGBA" and image.size == (40, 60)  # turned upright, once
        np.testing.assert_array_equal(np.asarray(image)[..., 3], np.rot90(alpha, -1))
        assert image.getexif()[271] == "Maker" and image.getexif().get(0x0112, 1) == 1
        assert image.info["icc_profile"] == SRGB and image.info["dpi"] == pytest.approx(
            (300, 300), abs=0.1
        )


def test_side_by_side(tmp_path, run):
    pixels = PICTURES["camera"]
    source = save(tmp_path / "a.png", np.dstack([pixels, pixels]))  # with alpha
    run(source, tmp_path / "out.png", "--side-by-side")
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert result.shape == (256, 512, 4)
    np.testing.assert_array_equal(result[:, :256, :3], np.dstack([pixels] * 3))
    np.testing.assert_array_equal(result[..., 3], np.hstack([pixels, pixels]))
    assert np.median(chroma(result[:, 256:, :3])) > 5


def test_saturation(tmp_path, run):
    source = save(tmp_path / "a.png", np.full((64, 64), 120, np.uint8))
    means = []
    for factor in (0.2, 0.4):  # small enough for all to fit into sRGB
        run(source, tmp_path / f"{factor}.png", "--saturation", factor)
        means.append(chroma(np.asarray(Image.open(tmp_path / f"{factor}.png"))).mean())
    assert means[0] == pytest.approx(means[1] / 2, rel=0.1)


def test_guided(tmp_path, run):
    """Across a hard edge of the lightness the colour changes faster than the network's 32 x 32 places allow."""
    pixels = np.full((256, 256), 60, np.uint8)
    pixels[:, 131:] = 190
    source = save(tmp_path / "a.png", pixels)
    steps = []
    for options in ((), ("--guided",)):
        run(source, tmp_path / "out.png", "--overwrite", *options)
        ab = color.rgb2lab(np.asarray(Image.open(tmp_path / "out.png")))[64:192, :, 1:]
        change = np.linalg.norm(np.diff(ab, axis=1), axis=-1).mean(axis=0)
        steps.append(change[130] / change[115:150].sum())
    assert steps[1] > steps[0] + 0.15


def test_formats(tmp_path, run):
    save(tmp_path / "in/a.png", PICTURES["camera"])
    for format, kind in (("jpg", "JPEG"), ("tiff", "TIFF")):
        assert run(tmp_path / "in", tmp_path / format, "--format", format)[0] == 0
        with Image.open(tmp_path / format / f"a.{format}") as image:
            assert image.format == kind and image.mode == "RGB"
    with Image.open(tmp_path / "jpg/a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4
    run(tmp_path / "in/a.png", tmp_path / "low.jpeg", "--quality", "20")
    assert (tmp_path / "low.jpeg").stat().st_size < (tmp_path / "jpg/a.jpg").stat().st_size


def test_mixed_folder(tmp_path, run):
    source, out = tmp_path / "in", tmp_path / "in" / "out"  # OUT inside IN
    save(source / "a.jpg", PICTURES["camera"])
    save(source / "a.png", PICTURES["camera"])
    save(source / "deep/er/b.bmp", PICTURES["tall"])
    save(source / "deep/nameless", PICTURES["tall"], format="PNG")
    (source / "deep/loop").symlink_to(source)
    (source / "notes.txt").write_text("no picture")
    (source / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (source / "text.jpg").write_text("no picture")
    (source / "cut.jpg").write_bytes((source / "a.jpg").read_bytes()[:5000])
    (source / "empty.png").touch()
    os.mkfifo(source / "pipe.png")
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    status, printed, err = run(source, out)
    assert status == 1 and printed.startswith("4 done, 0 skipped, 4 failed, 2 passed over; ")
    for name in ("text.jpg", "cut.jpg", "empty.png", "pipe.png"):
        assert sum(f"{name}: " in line for line in err.splitlines()) == 1
    made = sorted(str(path.relative_to(out)) for path in out.rglob("[!.]*") if path.is_file())
    assert made == ["a.jpg", "a.png", "deep/er/b.png", "deep/nameless.png"]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert run(source, out)[1].startswith("0 done, 4 skipped, 4 failed, 2 passed over; ")
    assert run(source, out, "--overwrite")[1].startswith(
        "4 done, 0 skipped, 4 failed, 2 passed over; "
    )


def test_a_stopped_run_goes_on(tmp_path, run):
    for i in range(4):
        save(tmp_path / "in" / f"{i}.png", PICTURES["tall"])
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/2.png").unlink()
    stamp = (tmp_path / "out/1.png").stat().st_mtime_ns
    assert run(tmp_path / "in", tmp_path / "out")[1].startswith("1 done, 3 skipped, 0 failed")
    assert (tmp_path / "out/1.png").stat().st_mtime_ns == stamp and (
        tmp_path / "out/2.png"
    ).exists()


def test_shards_make_what_one_run_makes(tmp_path, run):
    """Byte for byte, though they see the pictures in other company; and again after some were lost."""
    for i in range(22):
        save(
            tmp_path / "in" / f"{i % 3}" / f"{i}.png",
            PICTURES["camera"][i : 90 + 2 * i, i : 150 - 3 * i],
        )
    run(tmp_path / "in", tmp_path / "all")
    whole = {
        p.relative_to(tmp_path / "all"): p.read_bytes() for p in (tmp_path / "all").rglob("*.png")
    }
    assert len(whole) == 22 and len(set(whole.values())) == 22
    done = []
    for i in range(4):
        status, out, _ = run(tmp_path / "in", tmp_path / "out", "--shard", f"{i}/4")
        done.append(int(out.split()[0]))
        assert status == 0 and out.split()[1:4] == ["done,", "0", "skipped,"]
    assert sum(done) == 22 and max(done) < 22
    assert {
        p.relative_to(tmp_path / "out"): p.read_bytes() for p in (tmp_path / "out").rglob("*.png")
    } == whole
    lost = tmp_path / "out" / sorted(whole)[5]
    lost.unlink()
    again = [
        run(tmp_path / "in", tmp_path / "out", "--shard", f"{i}/4")[1].split()[0] for i in range(4)
    ]
    assert (
        sorted(again) == ["0", "0", "0", "1"]
        and lost.read_bytes() == whole[lost.relative_to(tmp_path / "out")]
    )


def test_shards_are_stable(tmp_path):
    """Other files in the folder move no picture, nor does the folder's place; the shares are about equal."""

    def shares(root):
        found = {}
        for i in range(3):
            jobs = find_jobs([root], tmp_path / "out", share=(i, 3))
            found |= {str(source.relative_to(root)): i for source, _ in jobs.pairs}
        return found

    for root, count in ((tmp_path / "few", 150), (tmp_path / "elsewhere/many", 300)):
        for i in range(count):
            path = root / f"{i % 7}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    os.mkdir(os.path.join(os.fsencode(tmp_path / "few"), b"\xff"))
    (tmp_path / "few/\udcff/a.png").touch()
    few, many = shares(tmp_path / "few"), shares(tmp_path / "elsewhere/many")
    assert len(few) == 151 and len(many) == 300 and few.pop("\udcff/a.png") in range(3)
    assert few.items() <= many.items()
    assert all(70 < list(many.values()).count(i) < 130 for i in range(3))
    assert [share_of(f"a/{i}.jpg", 1000) for i in range(3)] == [
        21,
        780,
        2,
    ]  # the same in every release


def test_one_file_to_a_folder_or_to_a_name(tmp_path, run):
    source = save(tmp_path / "a.jpg", PICTURES["tall"])
    run(source, tmp_path / "folder")
    run(source, tmp_path / "name.webp")
    assert Image.open(tmp_path / "folder/a.jpg").format == "JPEG"
    assert Image.open(tmp_path / "name.webp").format == "WEBP"


def test_other_settings_do_not_skip_in_silence(tmp_path, run, networks):
    for i in range(3):
        save(tmp_path / "in" / f"{i}.png", PICTURES["tall"])
    run(tmp_path / "in", tmp_path / "out")
    first = (tmp_path / "out/0.png").read_bytes()
    for options, word in (
        (("--saturation", 0.5), "saturation 1.0, now 0.5"),
        (("--size", 128), "size [64], now [128]"),
    ):
        status, _, err = run(tmp_path / "in", tmp_path / "out", *options)
        assert status == 2 and word in err and "--overwrite makes them again" in err
    status, _, err = run(tmp_path / "in", tmp_path / "out", network="none")
    assert status == 2 and "model_sha256 " in err and (tmp_path / "out/0.png").read_bytes() == first
    assert run(tmp_path / "in", tmp_path / "out", "--saturation", 0.5, "--overwrite")[1].startswith(
        "3 done"
    )
    assert run(tmp_path / "in", tmp_path / "out", "--saturation", 0.5)[1].startswith(
        "0 done, 3 skipped"
    )
    (tmp_path / "out/.colorized.json").unlink()  # results of an earlier version
    status, out, err = run(tmp_path / "in", tmp_path / "out")
    assert (
        status == 0
        and out.startswith("0 done, 3 skipped")
        and "with what settings is not known" in err
    )
    source, target = tmp_path / "in/0.png", tmp_path / "alone.png"
    run(source, target)
    assert "with what settings is not known" in run(source, target, "--saturation", 0.5)[2]


def test_json_of_colorizing(tmp_path, run):
    save(tmp_path / "in/a.png", PICTURES["tall"])
    (tmp_path / "in/b.jpg").write_text("no picture")
    status, out, _ = run(tmp_path / "in", tmp_path / "out", "--json")
    found = json.loads(out)
    assert (
        status == 1
        and (found["done"], found["failed"]) == (1, 1)
        and found["message"].startswith("1 done")
    )
    assert {entry["status"] for entry in found["files"]} == {"done", "failed"}
    status, out, _ = run(tmp_path / "in", tmp_path / "out", "--json", "--saturation", 2)
    assert status == 2 and json.loads(out)["skipped"] == 1


@pytest.mark.parametrize("options", [(), ("--size", "128")], ids=str)
def test_hidden_colours_do_not_reach_the_network(tmp_path, run, options):
    """Four pictures that look the same: their visible parts get the same colours, the hidden lightness is kept."""
    gray, (rows, columns) = PICTURES["camera"], np.mgrid[:256, :256]
    seen = ((columns - 115) / 95) ** 2 + ((rows - 130) / 125) ** 2 < 1
    for name, under in (("photo", gray), ("black", 0), ("white", 255), ("gray", 128)):
        pixels = np.dstack([np.where(seen, gray, under), seen * 255]).astype(np.uint8)
        save(tmp_path / "in" / f"{name}.png", pixels)
    assert run(tmp_path / "in", tmp_path / "out", *options)[0] == 0
    found = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "out").glob("*.png")}
    assert len(found) == 4
    for result in found.values():
        np.testing.assert_array_equal(result[seen], found["photo"][seen])
        assert (result[~seen][:, 3] == 0).all()
    assert found["black"][~seen][:, :3].max() < 40 and found["white"][~seen][:, :3].min() > 215


def test_uncoloured_results_never_pass(tmp_path, run, monkeypatch):
    source = save(tmp_path / "a.png", PICTURES["camera"])
    with monkeypatch.context() as context:
        context.setattr(
            view.Predictor,
            "ab",
            lambda self, views, mirror: np.full((len(views), 32, 32, 2), np.nan, "f4"),
        )
        status, out, err = run(source, tmp_path / "nan")
    assert status == 1 and "1 failed" in out and "a.png: the network gave no finite colours" in err
    assert not (tmp_path / "nan").exists()
    status, out, err = run(source, tmp_path / "none", network="none")
    assert status == 0 and "1 done with almost no colour" in out
    assert "a.png: the result has almost no colour" in err and (tmp_path / "none/a.png").exists()


def test_memory_is_bounded_by_pixels(tmp_path, run, monkeypatch):
    """However many and however large: three groups at most are held, a group is at most GROUP_PIXELS or one picture."""
    monkeypatch.setattr(folder, "GROUP_PIXELS", 30_000)
    held, most, lock = {}, [0], threading.Lock()
    read_picture, write_picture = reader.read_picture, writer.write_picture

    def read(path):
        with lock:
            held[Path(path).name] = picture = read_picture(path)
            most[0] = max(most[0], sum(p.pixels.size for p in held.values()))
        return picture

    def write(path, *arguments):
        time.sleep(0.02)  # slower than reading, which must wait
        with lock:
            del held[Path(path).name]
        return write_picture(path, *arguments)

    monkeypatch.setattr(folder, "read_picture", read)
    monkeypatch.setattr(folder, "write_picture", write)
    for i in range(16):
        save(tmp_path / "in" / f"{i:02}.png", PICTURES["camera"][: 200 if i == 8 else 100, :100])
    assert run(tmp_path / "in", tmp_path / "out", "--batch", "16")[0] == 0
    assert 30_000 < most[0] <= 90_000 and not held


def test_sheet(tmp_path, run, monkeypatch):
    for i in range(7):
        save(tmp_path / "in" / f"{i}.png", PICTURES["camera"][: 100 + i])
    _, _, err = run(tmp_path / "in", tmp_path / "out", "--sheet", tmp_path / "sheet.png")
    assert "7 of 7 results" in err
    tile = sheets.THUMBNAIL
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (4 * tile, 4 * tile, 3)  # seven in two columns
    middle = sheet[tile // 2]
    assert np.ptp(middle[:tile].astype(int), axis=-1).max() == 0  # the input
    assert np.median(chroma(middle[None, tile : 2 * tile])) > 5  # the result
    assert (sheet[3 * tile :, 2 * tile :] == 255).all() and not (
        sheet[3 * tile :, :tile] == 255
    ).all()  # one in the last row
    monkeypatch.setattr(
        sheets, "SHEET_PICTURES", 3
    )  # of thousands, some; those of earlier runs as well
    _, out, err = run(tmp_path / "in", tmp_path / "out", "--sheet", tmp_path / "sheet.jpg")
    assert "0 done, 7 skipped" in out and "3 of 7 results" in err
    assert Image.open(tmp_path / "sheet.jpg").size == (4 * tile, 2 * tile)


def test_precision(tmp_path, run):
    source = save(tmp_path / "a.png", PICTURES["camera"])
    run(source, tmp_path / "auto.png")
    run(source, tmp_path / "32.png", "--precision", "float32")
    run(source, tmp_path / "16.png", "--precision", "mixed_bfloat16")
    names = {"float32": "32.png", "mixed_bfloat16": "16.png"}
    same = tmp_path / names[view.native_precision()]
    assert (tmp_path / "auto.png").read_bytes() == same.read_bytes()
    single, half = (
        np.asarray(Image.open(tmp_path / f"{bits}.png")).astype(int) for bits in (32, 16)
    )
    assert 0 < np.abs(single - half).mean() < 4


def test_strange_names(tmp_path, run):
    (tmp_path / "in").mkdir()
    good = os.path.join(os.fsencode(tmp_path), b"in", b"\xff\n.png")
    with open(good, "wb") as file:
        Image.fromarray(PICTURES["tall"]).save(file, "PNG")
    with open(good.replace(b"\n", b"\x1b[2J"), "wb") as file:
        file.write(b"no picture")
    status, out, err = run(tmp_path / "in", tmp_path / "out")
    assert status == 1 and out.startswith("1 done, 0 skipped, 1 failed")
    assert r"\udcff\x1b[2J.png: not a picture" in err and "\x1b" not in err
    assert set(os.listdir(os.path.join(os.fsencode(tmp_path), b"out"))) == {
        b"\xff\n.png",
        b".colorized.json",
    }


def full_disk(monkeypatch, number=28):
    """From the second picture on, writing fails in its middle."""
    write = Path.write_bytes

    def full(path, content):
        if not path.name.endswith("-0.png"):
            write(path, content[:100])
            raise OSError(number, os.strerror(number))
        write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)


def test_a_full_disk_is_one_line_and_leaves_no_halves(tmp_path, run, monkeypatch):
    for i in range(9):
        save(tmp_path / "in" / f"{i}.png", PICTURES["tall"])
    with monkeypatch.context() as context:
        full_disk(context)
        status, _, err = run(tmp_path / "in", tmp_path / "out", "--batch", "3")
    assert status == 1 and [
        line for line in err.splitlines() if "almost no colour" not in line
    ] == [
        f"1 done, 0 skipped, 0 failed, 0 passed over; {tmp_path / 'out'}: No space left on device; "
        "the same command goes on from here"
    ]
    assert results(tmp_path / "out") == ["0.png"]
    assert run(tmp_path / "in", tmp_path / "out")[1].startswith("8 done, 1 skipped, 0 failed")


def test_a_result_that_is_refused_alone_fails_alone(tmp_path, run, monkeypatch):
    """A name that is too long, or a folder in its place, says nothing of the other pictures."""
    for name in ("0", "n" * 250, "2"):
        save(tmp_path / "in" / f"{name}.bmp", PICTURES["tall"])
    (tmp_path / "out" / "2.png" / "x").mkdir(parents=True)
    full_disk(monkeypatch, 36)  # "File name too long" itself, as test machines differ
    status, out, err = run(tmp_path / "in", tmp_path / "out", "--overwrite")
    assert (
        status == 1
        and out.startswith("1 done, 0 skipped, 2 failed")
        and "File name too long" in err
    )
    assert results(tmp_path / "out") == ["0.png", "2.png"]


def test_a_folder_that_changes_while_it_is_read(tmp_path, run, monkeypatch):
    """Files go, turn into pipes, folders and text, and come anew, between being found and being read."""
    source, read = tmp_path / "in", reader.picture_size
    for i in range(8):
        save(source / f"{i}.png", PICTURES["tall"])

    def change_first(path):
        if path.name == "0.png":
            for name in ("1.png", "2.png", "3.png", "4.png"):
                (source / name).unlink()
            os.mkfifo(source / "2.png")
            (source / "3.png").mkdir()
            (source / "4.png").write_text("no picture")
            save(source / "9.png", PICTURES["tall"])
        return read(path)

    monkeypatch.setattr(folder, "picture_size", change_first)
    status, out, err = run(source, tmp_path / "out")
    assert status == 1 and out.startswith("4 done, 0 skipped, 4 failed")
    for line in (
        "1.png: No such file",
        "2.png: not a regular",
        "3.png: not a regular",
        "4.png: not a picture",
    ):
        assert line in err
    assert results(tmp_path / "out") == ["0.png", "5.png", "6.png", "7.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 2)], ids=str)
def test_sizes_at_the_edge(tmp_path, run, size):
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    assert run(save(tmp_path / "a.png", pixels), tmp_path / "out.png", "--guided")[0] == 0
    assert np.asarray(Image.open(tmp_path / "out.png")).shape == (*size, 3)


@pytest.mark.parametrize("arguments, words", [
    (["{}/in", "{}/in"], "among the inputs"),
    (["{}/in/a.png", "{}/in/a.png"], "overwrite the input"),
    (["{}/nothing", "{}/out"], "no such file or folder"),
    (["{}/in", "{}/out", "--size", "100"], "100 is not divisible by 8"),
    (["{}/in", "{}/out", "--size", "big"], "'big' is no whole number"),
    (["{}/in", "{}/out", "--saturation", "nan"], "'nan' is no number from 0 to 10"),
    (["{}/in", "{}/out", "--batch", "0"], "from 1 to 1024"),
    (["{}/in", "{}/out", "--gamut", "none"], "invalid choice"),
    (["{}/in", "{}/out", "--satur", "1"], "unrecognized arguments"),
    (["{}/in", "{}/out", "--sheet", "{}/s.gif"], "must end in"),
    (["{}/in", "{}/out", "--sheet", "{}/in/a.png"], "is a folder, an input or a result"),
    (["{}/in", "{}/out", "--sheet", "{}/out/a.png"], "is a folder, an input or a result"),
    (["{}/in", "{}/out", "--model", "{}/no.keras"], "no such network"),
    (["{}/in", "{}/out", "--shard", "4/4"], "'4/4' is no I/N with I from 0 to N - 1"),
    (["{}/in", "{}/out", "--shard=-1/4"], "'-1/4' is no I/N"),
    (["{}/in", "{}/out", "--shard", "1"], "'1' is no I/N"),
    (["{}/in", "{}/out", "--shard", "0/4/2"], "'0/4/2' is no I/N"),
    (["{}/in", "{}/out", "--shard", "0/2", "--sheet", "{}/s.png"], "the shards would overwrite it"),
    (["{}/in", "{}/out", "--model", "{}/in/a.png"], "not a network"),
])  # fmt: skip
def test_refusals(tmp_path, networks, capsys, arguments, words):
    save(tmp_path / "in/a.png", PICTURES["tall"])
    before = (tmp_path / "in/a.png").read_bytes()
    arguments = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    try:
        status = script.main(*parse(["--model", str(networks / "strong.keras"), *arguments]))
    except SystemExit as end:
        status = end.code
    assert status == 2 and words in capsys.readouterr().err.strip().splitlines()[-1]
    assert os.listdir(tmp_path) == ["in"] and (tmp_path / "in/a.png").read_bytes() == before


def out_of_memory_above(batch, monkeypatch):
    predict = view.Predictor.predict_on_batch

    def exhausted(self, views):
        if len(views["64"]) > batch:
            raise RuntimeError("RESOURCE_EXHAUSTED: OOM when allocating tensor")
        return predict(self, views)

    monkeypatch.setattr(view.Predictor, "predict_on_batch", exhausted)


def test_out_of_memory_halves_the_batch(tmp_path, run, monkeypatch):
    for i in range(11):
        save(tmp_path / "in" / f"{i}.png", np.roll(PICTURES["tall"], i, axis=0))
    run(tmp_path / "in", tmp_path / "out")
    out_of_memory_above(3, monkeypatch)
    status, out, err = run(tmp_path / "in", tmp_path / "less", "--batch", "8")
    assert status == 0 and out.startswith("11 done, 0 skipped, 0 failed")
    assert err.count("out of memory: from here on 2 pictures at a time, not 8") == 1
    for path in (tmp_path / "out").glob("*.png"):  # each picture got its own colours
        both = (
            np.asarray(Image.open(folder / path.name)).astype(int)
            for folder in (tmp_path / "out", tmp_path / "less")
        )
        assert np.abs(np.subtract(*both)).max() <= 2


def test_out_of_memory_says_what_to_try(tmp_path, run, monkeypatch):
    out_of_memory_above(0, monkeypatch)
    status, _, err = run(save(tmp_path / "a.png", PICTURES["tall"]), tmp_path / "out")
    assert status == 1 and "even with one picture at a time: try a smaller --size (now 64)" in err
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_said_beforehand(tmp_path, run, monkeypatch):
    for i in range(9):
        save(tmp_path / "in" / f"{i}.png", PICTURES["tall"])
    one = folder.PICTURE_BYTES / 16  # of 64 x 64
    monkeypatch.setattr(script, "memory_left", lambda: folder.RESERVE + 3.5 * one)
    status, out, err = run(tmp_path / "in", tmp_path / "out", "--batch", "8")
    assert status == 0 and out.startswith("9 done, 0 skipped, 0 failed")
    assert "too little memory for 8 pictures at a time: 2 are taken" in err
    monkeypatch.setattr(script, "memory_left", lambda: folder.RESERVE + 0.5 * one)
    status, _, err = run(tmp_path / "in", tmp_path / "none")
    assert status == 1 and "too little memory: 301 MB are left for one picture at a time" in err
    assert not (tmp_path / "none").exists()


def test_interrupt_leaves_what_has_not_begun(tmp_path, run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    read, looked = reader.read_picture, []
    monkeypatch.setattr(view.Predictor, "ab", interrupted)
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda threads: ThreadPoolExecutor(1))
    monkeypatch.setattr(
        folder, "read_picture", lambda path: looked.append(path) or time.sleep(0.05) or read(path)
    )
    for i in range(20):
        save(tmp_path / "in" / f"{i}.png", PICTURES["tall"])
    status, out, err = run(tmp_path / "in", tmp_path / "out", "--batch", "10", "--overwrite")
    assert status == 130 and "the same command without --overwrite goes on from here" in err
    assert len(looked) <= 12  # the first ten, and of the next ten what was under way


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_interrupt_says_how_to_go_on(tmp_path, networks, number):
    """The command in a process of its own: Ctrl-C, whole files, status 130; then the same command finishes."""
    source = save(tmp_path / "in/0.png", PICTURES["camera"])
    for i in range(1, 400):
        os.link(source, source.with_stem(str(i)))
    command = [sys.executable, str(ROOT / "test.py"), str(tmp_path / "in"), str(tmp_path / "out")]
    command += ["--model", str(networks / "strong.keras")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 150
    while (
        not list((tmp_path / "out").glob("[!.]*.png"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert (
        "stopped: " in err.splitlines()[-1]
        and "the same command goes on from here" in err.splitlines()[-1]
    )
    made = sorted((tmp_path / "out").glob("[!.]*"))
    assert 0 < len(made) < 400 and f"stopped: {len(made)} done, " in err
    assert all(
        reader.read_picture(path).pixels.shape == (256, 256, 3) for path in made
    )  # all whole, none begun


def test_documents_stay_gray_unless_forced(tmp_path, run):
    save(tmp_path / "in" / "page.png", page(0, "text"))
    status, out, error = run(tmp_path / "in", tmp_path / "out")
    assert status == 0 and "--force" in error and "no colour" not in out + error
    with Image.open(tmp_path / "out" / "page.png") as page_made:
        assert np.ptp(np.asarray(page_made.convert("RGB")).astype(int), axis=-1).max() <= 1
    assert run(tmp_path / "in", tmp_path / "out", "--force", "--overwrite")[0] == 0
    assert (
        np.ptp(reader.read_picture(tmp_path / "out" / "page.png").pixels.astype(int), axis=-1).max()
        > 9
    )


def test_old_photographs_and_mirror_images_in_batches(tmp_path, run):
    """What a picture comes out as does not depend on those beside it; the mirror of the picture gives the mirror."""
    picture = data.camera()[:, :400]
    for name, pixels in {"a": picture, "b": picture[:, ::-1], "c": data.coins()}.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    assert run(tmp_path / "in", tmp_path / "three", "--old", "--batch", 8)[0] == 0
    assert run(tmp_path / "in" / "b.png", tmp_path / "b.png", "--old", "--batch", 8)[0] == 0
    first, second = (
        reader.read_picture(tmp_path / "three" / f"{name}.png").pixels.astype(int) for name in "ab"
    )
    assert np.abs(first - second[:, ::-1]).max() <= 2
    assert np.abs(reader.read_picture(tmp_path / "b.png").pixels.astype(int) - second).max() <= 1
