"""test.py from the command line to the files, with a tiny network of strong colours."""

import errno
import functools
import json
import os
import shlex
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
from PIL import Image
from skimage import color, data

import colorizer
import test as script
from data import preprocess
from data.preprocess import lightness_of
from inference import folder, view
from inference.report import say
from models import aciids2020
from models import file as model_file
from pictures import reader, writer
from tests.samples import SRGB
from tests.test_line_art import page
from utils import native_precision

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ARGUMENTS = {"width": 1 / 16, "global_size": 64}
RECORD = ".colorized.json"


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of two untrained networks: one of strong colours, one of none."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    *rest, last, _ = aciids2020.build(**ARGUMENTS).get_weights()
    metadata = {"arguments": ARGUMENTS, "size": 64}
    for name, kernel, bias in (("strong", 8 * last, (0.3, -0.4)), ("none", 0 * last, (0, 0))):
        weights = [*rest, kernel, np.array(bias, np.float32)]
        model_file.save(folder / f"{name}.keras", "aciids2020", weights, metadata)
    return folder


cache = functools.cache(colorizer.Colorizer)  # a network is compiled once for all tests


@pytest.fixture
def run(networks, capsys, monkeypatch):
    """Runs test.py in this process -> (exit status, stdout, stderr)."""

    def cached(model, size, *others):
        return cache(model, size and tuple(size), *others)

    monkeypatch.setattr(colorizer, "Colorizer", cached)

    def run(*arguments, network="strong"):
        try:
            model = ["--model", str(networks / f"{network}.keras")]
            status = script.main([*model, *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def several(folder, count, pixels=None):
    """A folder of so many different pictures."""
    for i in range(count):
        shifted = np.roll(PICTURES["tall"] if pixels is None else pixels, 7 * i, axis=0)
        save(folder / f"{i:02}.png", shifted)
    return folder


def results(folder):
    """The files below a folder of results, beside the record of its settings."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def pixels_of(path):
    return reader.read_picture(path).pixels.astype(int)


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


# ---- colours


@pytest.mark.parametrize("options", [(), ("--no-guided",), ("--saturation", "3")], ids=" ".join)
def test_lightness_is_the_inputs_everywhere(tmp_path, run, options):
    for name, pixels in PICTURES.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    status, out, _ = run(tmp_path / "in", tmp_path / "out", *options)
    assert status == 0 and out.startswith("4 done, 0 skipped, 0 failed, 0 passed over; ")
    for name, pixels in PICTURES.items():
        result = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert result.shape == (*pixels.shape[:2], 3) and result.dtype == np.uint8
        assert lightness_error(pixels, result) < 1
    assert np.median(chroma(np.asarray(Image.open(tmp_path / "out/camera.png")))) > 5


def test_colours_are_those_of_the_network(tmp_path, run, networks):
    """The plain way through the recipe, spelled out, gives the same pixels."""
    pixels = PICTURES["camera"]
    run(
        save(tmp_path / "a.png", pixels),
        tmp_path / "out.png",
        "--precision",
        "float32",
        "--no-guided",
    )
    model, _ = model_file.load(networks / "strong.keras")
    small = lightness_of(preprocess.resize(pixels, 64, 64))[None, ..., None]
    ab = model.predict(preprocess.network_inputs(small), verbose=0)[0, ::2, ::2]  # not yet doubled
    assert np.abs(pixels_of(tmp_path / "out.png") - preprocess.colorize(pixels, ab)).max() <= 1


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch runs it without compiling")
def test_network_is_compiled_once_for_all_sizes(tmp_path, run, monkeypatch):
    cache.cache_clear()
    traces, inputs = [], view.network_inputs

    def traced(lightness, *others, **names):
        traces.append(tuple(lightness.shape))
        return inputs(lightness, *others, **names)

    monkeypatch.setattr(view, "network_inputs", traced)
    for i in range(7):
        save(tmp_path / "in" / f"{i}.png", PICTURES["camera"][: 50 + 9 * i, : 90 - 9 * i])
    assert run(tmp_path / "in", tmp_path / "out", "--batch", "3")[0] == 0
    assert len(traces) <= 2 and set(traces) == {(3, 64, 64, 1)}  # Keras traces twice


def test_options_that_change_the_colours(tmp_path, run):
    source = save(tmp_path / "a.png", PICTURES["camera"])
    made = {}
    for options in ("", "--size 64", "--size 128", "--size 64 --size 128", "--mirror",
                    "--saturation 0.5", "--saturation 3", "--saturation 3 --gamut clip", "--no-guided", "--precision float32",
                    "--precision mixed_bfloat16"):  # fmt: skip
        assert run(source, tmp_path / "out.png", "--overwrite", *options.split())[0] == 0
        made[options] = (tmp_path / "out.png").read_bytes()
    assert made[""] == made["--size 64"] == made[f"--precision {native_precision()}"]
    assert len(set(made.values())) == len(made) - 2


def test_guided(tmp_path, run):
    """Across a hard edge of L the colour changes faster than the network's 32 x 32 places allow."""
    pixels = np.full((256, 256), 60, np.uint8)
    pixels[:, 131:] = 190
    source, steps = save(tmp_path / "a.png", pixels), []
    for options in ((), ("--no-guided",)):
        run(source, tmp_path / "out.png", "--overwrite", *options)
        ab = color.rgb2lab(np.asarray(Image.open(tmp_path / "out.png")))[64:192, :, 1:]
        change = np.linalg.norm(np.diff(ab, axis=1), axis=-1).mean(axis=0)
        steps.append(change[130] / change[115:150].sum())
    assert steps[0] > steps[1] + 0.15


@pytest.mark.parametrize("options", [(), ("--size", "128")], ids=str)
def test_hidden_colours_do_not_reach_the_network(tmp_path, run, options):
    """Pictures that look the same get the same colours; the hidden lightness is kept."""
    gray, (rows, columns) = PICTURES["camera"], np.mgrid[:256, :256]
    seen = ((columns - 115) / 95) ** 2 + ((rows - 130) / 125) ** 2 < 1
    for name, under in (("photo", gray), ("black", 0), ("white", 255), ("gray", 128)):
        pixels = np.dstack([np.where(seen, gray, under), seen * 255]).astype(np.uint8)
        save(tmp_path / "in" / f"{name}.png", pixels)
    assert run(tmp_path / "in", tmp_path / "out", *options)[0] == 0
    found = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "out").glob("*.png")}
    for result in found.values():
        np.testing.assert_array_equal(result[seen], found["photo"][seen])
        assert (result[~seen][:, 3] == 0).all()
    assert found["black"][~seen][:, :3].max() < 40 and found["white"][~seen][:, :3].min() > 215


def test_hints(tmp_path, run):
    """Of a folder: by name and path, in pixels and shares; they count as settings."""
    for name in ("a.png", "b.png", "sub/a.png", "page.png"):
        save(tmp_path / "in" / name, page(0, "text") if name == "page.png" else PICTURES["camera"])
    path = tmp_path / "hints.json"
    given = {"a.png": [[64, 0.25, "#88a070", 20]], "sub/a.png": [[64, 64, "#88a070", 20]]}
    path.write_text(json.dumps(given | {"page.png": [[0.5, 0.5, "#e16414", 40]]}))
    plain, out = tmp_path / "plain", tmp_path / "out"
    run(tmp_path / "in", plain)
    status, _, err = run(tmp_path / "in", out, "--hints", path)
    assert status == 0 and "--force" not in err
    assert (out / "b.png").read_bytes() == (plain / "b.png").read_bytes()
    assert (out / "a.png").read_bytes() == (out / "sub/a.png").read_bytes()
    wanted = color.rgb2lab(np.uint8([[[0x88, 0xA0, 0x70]]]))[0, 0, 1:]
    for made, low, high in ((plain, 30, 200), (out, 0, 8)):
        found = color.rgb2lab(np.asarray(Image.open(made / "a.png")))[60:69, 60:69, 1:]
        assert low <= np.linalg.norm(found.mean(axis=(0, 1)) - wanted) < high
    assert np.ptp(pixels_of(out / "page.png"), axis=-1).max() > 20
    path.write_text("{}")
    status, _, err = run(tmp_path / "in", out, "--hints", path)
    assert status == 2 and "hints " in err


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"c.png": []}', "c.png: no picture of this name"),
        ('{"x.png": []}', "x.png: 2 pictures of this name"),
        ('{"a.png": [[256, 0, "gray"]]}', "columns 0 to 255 and rows 0 to 255"),
        ('{"a.png": [[0.1, 1, "gray", 0]]}', "outside of the picture"),
        ('{"a.png": [[1, 2, "reddish"]]}', "expected [x, y, colour]"),
        ('{"a.png": [[1, 2, "#12345g"]]}', "expected [x, y, colour]"),
        ('{"a.png": [[1, 2]]}', "expected [x, y, colour]"),
        ('{"a.png": 3}', "expected {"),
        ("[]", "expected {"),
        ("{", "Expecting property name"),
        (None, "No such file"),
    ],
)
def test_wrong_hints_are_refused(tmp_path, run, content, words):
    for name in ("a.png", "1/x.png", "2/x.png"):
        save(tmp_path / "in" / name, PICTURES["camera"])
    path = tmp_path / "hints.json"
    if content:
        path.write_text(content)
    status, _, err = run(tmp_path / "in", tmp_path / "out", "--hints", path)
    assert status == 2 and words in err.strip().splitlines()[-1] and not (tmp_path / "out").exists()


def test_documents_stay_gray_unless_forced(tmp_path, run):
    save(tmp_path / "in" / "page.png", page(0, "text"))
    status, out, error = run(tmp_path / "in", tmp_path / "out")
    assert status == 0 and "--force" in error and "no colour" not in out + error
    with Image.open(tmp_path / "out" / "page.png") as made:
        assert np.ptp(np.asarray(made.convert("RGB")).astype(int), axis=-1).max() <= 1
    assert run(tmp_path / "in", tmp_path / "out", "--force", "--overwrite")[0] == 0
    assert np.ptp(pixels_of(tmp_path / "out" / "page.png"), axis=-1).max() > 9


def test_company_leaves_no_trace(tmp_path, run):
    """Neighbours in a batch, its padding, --old; the mirror of a picture gives the mirror."""
    picture = data.camera()[:, :400]
    for name, pixels in {"a": picture, "b": picture[:, ::-1], "c": data.coins()}.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    assert run(tmp_path / "in", tmp_path / "three", "--mirror", "--batch", 8)[0] == 0
    one = ("--mirror", "--batch", 1)
    assert run(tmp_path / "in" / "b.png", tmp_path / "b.png", *one)[0] == 0
    first, second = (pixels_of(tmp_path / "three" / f"{name}.png") for name in "ab")
    assert np.abs(first - second[:, ::-1]).max() <= 2
    assert np.abs(pixels_of(tmp_path / "b.png") - second).max() <= 1


def test_uncoloured_results_never_pass(tmp_path, run, monkeypatch):
    source = save(tmp_path / "a.png", PICTURES["camera"])
    with monkeypatch.context() as context:
        nothing = np.full((1, 32, 32, 2), np.nan, "f4")
        context.setattr(view.Predictor, "ab", lambda self, views, mirror: nothing)
        status, out, err = run(source, tmp_path / "nan")
    assert status == 1 and "1 failed" in out and "a.png: the network gave no finite colours" in err
    assert not (tmp_path / "nan").exists()
    status, out, err = run(source, tmp_path / "none", network="none")
    assert status == 0 and "1 done with almost no colour" in out
    assert "a.png: the result has almost no colour" in err and (tmp_path / "none/a.png").exists()


# ---- files


def test_sixteen_bits_alpha_and_the_rest_are_kept(tmp_path, run):
    deep = np.random.default_rng(0).integers(3000, 60000, (64, 64), np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/deep.tif", deep)
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "Maker"
    alpha = np.tile(np.arange(60, dtype=np.uint8), (40, 1))
    both = np.dstack([PICTURES["camera"][:40, :60], alpha])
    save(tmp_path / "in/la.png", both, exif=exif, dpi=(300, 300), icc_profile=SRGB)
    assert run(tmp_path / "in", tmp_path / "out")[0] == 0
    result = reader.read_picture(tmp_path / "out/deep.tif").pixels
    assert result.dtype == np.uint16 and result.shape == (64, 64, 3)
    assert lightness_error(deep, result) < 0.1
    with Image.open(tmp_path / "out/la.png") as image:
        assert image.mode == "RGBA" and image.size == (40, 60)  # turned upright, once
        np.testing.assert_array_equal(np.asarray(image)[..., 3], np.rot90(alpha, -1))
        assert image.getexif()[271] == "Maker" and image.getexif().get(0x0112, 1) == 1
        assert image.info["icc_profile"] == SRGB
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_formats(tmp_path, run):
    source = save(tmp_path / "in/a.png", PICTURES["camera"])
    for format, kind in (("jpg", "JPEG"), ("tiff", "TIFF")):
        assert run(tmp_path / "in", tmp_path / format, "--format", format)[0] == 0
        with Image.open(tmp_path / format / f"a.{format}") as image:
            assert image.format == kind and image.mode == "RGB"
    run(source, tmp_path / "low.jpeg", "--quality", "20")
    assert (tmp_path / "low.jpeg").stat().st_size < (tmp_path / "jpg/a.jpg").stat().st_size
    run(source, tmp_path / "name.webp")
    assert Image.open(tmp_path / "name.webp").format == "WEBP"


SIZES = [(1, 1), (1, 10_000), (10_000, 1), (3, 2), (2, 40_000), (33_000, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes_at_the_edge(tmp_path, run, size):
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    source = save(tmp_path / "a.png", pixels)
    for options in ((), ("--no-guided",)):
        assert run(source, tmp_path / "out.png", "--overwrite", *options)[0] == 0
        result = pixels_of(tmp_path / "out.png")
        assert result.shape == (*size, 3)
        assert lightness_error(pixels, result / 255) < 1


def test_mixed_folder(tmp_path, run):
    source, out = tmp_path / "in", tmp_path / "in" / "out"  # OUT inside IN
    for name in ("a.jpg", "a.png", "deep/er/b.bmp", "@eaDir/a.jpg/thumb.jpg", ".hidden/a.png"):
        save(source / name, PICTURES["camera"])
    save(source / "deep/nameless", PICTURES["tall"], format="PNG")
    (source / "deep/loop").symlink_to(source)
    (source / "notes.txt").write_text("no picture")
    (source / "text.jpg").write_text("no picture")
    (source / "cut.jpg").write_bytes((source / "a.jpg").read_bytes()[:3000])
    (source / "empty.png").touch()
    os.mkfifo(source / "pipe.png")
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    status, printed, err = run(source, out)
    assert status == 1 and printed.startswith("4 done, 0 skipped, 4 failed, 3 passed over; ")
    for name in ("text.jpg", "cut.jpg", "empty.png", "pipe.png"):
        assert sum(f"{name}: " in line for line in err.splitlines()) == 1, name
    assert results(out) == ["a.jpg", "a.png", "deep/er/b.png", "deep/nameless.png"]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert run(source, out)[1].startswith("0 done, 4 skipped, 4 failed, 3 passed over; ")
    again = run(source, out, "--overwrite")[1]
    assert again.startswith("4 done, 0 skipped, 4 failed, 3 passed over; ")
    # into another folder: the earlier results are no photographs
    again = run(source, tmp_path / "other")[1]
    assert again.startswith("4 done, 0 skipped, 4 failed, 4 passed over; ")


def test_several_inputs(tmp_path, run):
    for name in ("a.jpg", "x/b.png", "x/deep/c.tif", "y/a.jpg", "y/b.bmp"):
        save(tmp_path / name, PICTURES["tall"])
    inputs = [tmp_path / name for name in ("a.jpg", "x", "y", "y/b.bmp")]
    made = ["a.jpg", "b.png", "x/b.png", "x/deep/c.tif", "y/a.jpg", "y/b.png"]
    assert run(*inputs, tmp_path / "out")[0] == 0 and results(tmp_path / "out") == made


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
    out = os.path.join(os.fsencode(tmp_path), b"out")
    assert set(os.listdir(out)) == {b"\xff\n.png", RECORD.encode()}


NAMES = ["at 9.41\u202fAM.png", "v\u00a013.05.png", "\u0645\u06cc\u200c\u062e.png", "\udcff\n.png"]


def test_json(tmp_path, run):
    for name in NAMES:
        (tmp_path / "in").mkdir(exist_ok=True)
        with open(tmp_path / "in" / name, "wb") as file:
            Image.fromarray(PICTURES["tall"]).save(file, "PNG")
    (tmp_path / "in/b.jpg").write_text("no picture")
    (tmp_path / "in/notes.txt").write_text("no picture")
    status, out, _ = run(tmp_path / "in", tmp_path / "out", "--json")
    found = json.loads(out)
    kinds = [found[kind] for kind in ("done", "skipped", "failed", "passed_over")]
    assert status == 1 and kinds == [4, 0, 1, 1] and found["message"].startswith("4 done")
    for entry in found["files"]:
        assert os.path.exists(entry["input"])
        assert (entry["result"] is not None) == (entry["status"] == "done")
        assert not entry["result"] or os.path.exists(entry["result"])
    assert any("not a picture" in entry["note"] for entry in found["files"])
    status, out, _ = run(tmp_path / "in", tmp_path / "out", "--json", "--saturation", 2)
    assert status == 2 and json.loads(out)["skipped"] == 4


# ---- what is done already


def test_a_stopped_run_goes_on(tmp_path, run):
    """What is missing, empty or cut short is made; what is newer than its result is named."""
    source, out = several(tmp_path / "in", 6), tmp_path / "out"
    for format in ("tiff", "webp", "jpg", "png"):
        run(source, out, "--format", format, "--overwrite")
    made = sorted(out.glob("*.png"))
    whole = [path.read_bytes() for path in made]
    made[1].unlink()
    made[2].write_bytes(b"")
    made[3].write_bytes(whole[3][:-40])
    made[4].write_bytes(whole[4][:100])
    os.utime(source / "05.png", (2e9, 2e9))
    status, printed, err = run(source, out, "--format", "png")
    assert status == 0 and printed.startswith("4 done, 2 skipped, 0 failed")
    assert [path.read_bytes() for path in made] == whole
    assert "05.png: newer than its result" in err and err.count("newer") == 1
    for path in sorted(out.glob("00.*")):
        assert folder.is_readable(path)
        path.write_bytes(path.read_bytes()[:-99])
        assert not folder.is_readable(path)


def test_other_settings_do_not_skip_in_silence(tmp_path, run):
    source, out = several(tmp_path / "in", 3), tmp_path / "out"
    run(source, out)
    first = (out / "00.png").read_bytes()
    for options, words in (
        (("--saturation", 0.5), "saturation 1.0, now 0.5"),
        (("--size", 128), "size [64], now [128]"),
    ):
        status, _, err = run(source, out, *options)
        assert status == 2 and words in err and "--overwrite makes them again" in err
    status, _, err = run(source, out, network="none")
    assert status == 2 and "model_sha256 " in err and (out / "00.png").read_bytes() == first
    changed = ("--saturation", 0.5)
    assert run(source, out, *changed, "--overwrite")[1].startswith("3 done")
    assert run(source, out, *changed)[1].startswith("0 done, 3 skipped")
    (out / RECORD).unlink()  # results of another program
    status, printed, err = run(source, out)
    assert status == 0 and printed.startswith("0 done, 3 skipped")
    assert "with what settings is not known" in err
    single = source / "00.png", tmp_path / "single.png"
    run(*single)
    assert "with what settings is not known" in run(*single, *changed)[2]


def test_shards_make_what_one_run_makes(tmp_path, run):
    """Byte for byte, though in other company; again after a loss; and their settings are known."""
    for i in range(22):
        pixels = PICTURES["camera"][i : 90 + 2 * i, i : 150 - 3 * i]
        save(tmp_path / "in" / f"{i % 3}" / f"{i}.png", pixels)
    source, out = tmp_path / "in", tmp_path / "out"
    run(source, tmp_path / "all")
    names = results(tmp_path / "all")

    def shards():
        found = [run(source, out, "--shard", f"{i}/4")[1].split() for i in range(4)]
        return [int(words[0]) for words in found]

    done = shards()
    assert sum(done) == 22 and max(done) < 22 and results(out) == names
    assert all((out / n).read_bytes() == (tmp_path / "all" / n).read_bytes() for n in names)
    (out / names[5]).unlink()
    assert sorted(shards()) == [0, 0, 0, 1] and results(out) == names
    assert run(source, out, "--saturation", 2)[0] == 2


# ---- refusals and faults


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("{}/in {}/in", "among the inputs"),
        ("{}/in/sub {}/in", "among the inputs"),
        ("{}/in/a.png {}/in", "overwrite the input"),
        ("{}/in/a.png {}/in/a.png", "overwrite the input"),
        ("{}/in/a.png {}/in/link.png", "overwrite the input"),
        ("{}/nothing {}/out", "no such file or folder"),
        ("{}/in/a.png {}/in/sub/a.png {}/out", "would both become"),
        ("{}/in/a.png {}/gone {}/out", "no such file or folder"),
        ("{}/in/sub {}/in {}/in/a.png", "need a folder"),
        ("{}/in {}/in/a.png", "need a folder"),
        ("{}/in/a.png {}/file", "need a folder"),
        ("{}/in {}/file/out", "need a folder"),
        ("{}/in/a.png {}/dangling/x.png", "need a folder"),
        ("'' {}/out", "an empty path"),
        ("{}/in ''", "an empty path"),
        ("{}/none {}/out", "no pictures"),
        ("{}/in/a.png {}/x.gif", "cannot be written"),
        ("{}/in/a.png {}/x.jpg --format png", "contradicts"),
        ("{}/in {}/out --quality 0", "from 1 to 100"),
        ("{}/in {}/out --size 100", "100 is not divisible by 8"),
        ("{}/in {}/out --size big", "'big' is no whole number"),
        ("{}/in {}/out --saturation nan", "'nan' is no number from 0 to 10"),
        ("{}/in {}/out --saturation vivid", "'vivid'"),
        ("{}/in {}/out --batch 0", "from 1 to 1024"),
        ("{}/in {}/out --gamut none", "invalid choice"),
        ("{}/in {}/out --satur 1", "unrecognized arguments"),
        ("{}/in {}/out --model {}/no.keras", "no such network"),
        ("{}/in {}/out --model {}/in/a.png", "not a network"),
        ("{}/in {}/out --shard 4/4", "'4/4' is no I/N with I from 0 to N - 1"),
        ("{}/in {}/out --shard=-1/4", "'-1/4' is no I/N"),
        ("{}/in {}/out --shard 1", "'1' is no I/N"),
    ],
)
def test_refusals(tmp_path, run, arguments, words):
    source = save(tmp_path / "in/a.png", PICTURES["tall"])
    save(tmp_path / "in/sub/a.png", PICTURES["tall"])
    (tmp_path / "in/link.png").symlink_to(source)
    (tmp_path / "none").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    before = source.read_bytes()
    status, _, err = run(*shlex.split(arguments.replace("{}", str(tmp_path))))
    assert status == 2 and words in err.strip().splitlines()[-1]
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file", "in", "none"]
    assert source.read_bytes() == before


def test_memory_is_bounded_by_pixels(tmp_path, run, monkeypatch):
    """At most three groups are held; a group is at most GROUP_PIXELS or one picture."""
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


def out_of_memory_above(batch, monkeypatch):
    predict = view.Predictor.predict_on_batch

    def exhausted(self, views):
        if len(views["64"]) > batch:
            raise RuntimeError("RESOURCE_EXHAUSTED: OOM when allocating tensor")
        return predict(self, views)

    monkeypatch.setattr(view.Predictor, "predict_on_batch", exhausted)


def test_out_of_memory_halves_the_batch(tmp_path, run, monkeypatch):
    source = several(tmp_path / "in", 11)
    run(source, tmp_path / "out")
    out_of_memory_above(3, monkeypatch)
    status, out, err = run(source, tmp_path / "less", "--batch", "8")
    assert status == 0 and out.startswith("11 done, 0 skipped, 0 failed")
    assert err.count("out of memory: from here on 2 pictures at a time, not 8") == 1
    for path in (tmp_path / "out").glob("*.png"):  # each picture got its own colours
        assert np.abs(pixels_of(path) - pixels_of(tmp_path / "less" / path.name)).max() <= 2
    out_of_memory_above(0, monkeypatch)
    status, _, err = run(source, tmp_path / "none")
    assert status == 1 and "even with one picture at a time: try a smaller --size (now 64)" in err
    assert not (tmp_path / "none").exists()


def test_too_little_memory_is_said_beforehand(tmp_path, run, monkeypatch):
    source, picture = several(tmp_path / "in", 9), folder.PICTURE_BYTES / 16  # of 64 x 64
    monkeypatch.setattr("utils.memory_left", lambda: folder.RESERVE + 3.5 * picture)
    status, out, err = run(source, tmp_path / "out", "--batch", "8")
    assert status == 0 and out.startswith("9 done, 0 skipped, 0 failed")
    assert "too little memory for 8 pictures at a time: 2 are taken" in err
    monkeypatch.setattr("utils.memory_left", lambda: folder.RESERVE + 0.5 * picture)
    status, _, err = run(source, tmp_path / "none")
    assert status == 1 and "too little memory: 301 MB are left for one picture at a time" in err
    assert not (tmp_path / "none").exists()


def failing_disk(monkeypatch, number):
    """From the second picture on, writing fails in its middle."""
    write = Path.write_bytes

    def fail(path, content):
        if not path.name.endswith("-00.png"):
            write(path, content[:100])
            raise OSError(number, os.strerror(number))
        write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail)


def test_a_full_disk_is_one_line_and_leaves_no_halves(tmp_path, run, monkeypatch):
    source, out = several(tmp_path / "in", 9), tmp_path / "out"
    with monkeypatch.context() as context:
        failing_disk(context, errno.ENOSPC)
        status, _, err = run(source, out, "--batch", "3")
    lines = [line for line in err.splitlines() if "almost no colour" not in line]
    assert status == 1 and lines == [
        f"1 done, 0 skipped, 0 failed, 0 passed over; {out}: No space left on device; "
        "the same command goes on from here"
    ]
    assert results(out) == ["00.png"]
    assert run(source, out)[1].startswith("8 done, 1 skipped, 0 failed")


def test_a_result_that_is_refused_alone_fails_alone(tmp_path, run, monkeypatch):
    """A name that is too long, or a folder in its place, says nothing of the other pictures."""
    for name in ("00", "n" * 250, "2"):
        save(tmp_path / "in" / f"{name}.bmp", PICTURES["tall"])
    (tmp_path / "out" / "2.png" / "x").mkdir(parents=True)
    failing_disk(monkeypatch, errno.ENAMETOOLONG)
    status, out, err = run(tmp_path / "in", tmp_path / "out", "--overwrite")
    assert status == 1 and out.startswith("1 done, 0 skipped, 2 failed")
    assert "File name too long" in err and results(tmp_path / "out") == ["00.png"]


def test_a_folder_that_changes_while_it_is_read(tmp_path, run, monkeypatch):
    """Files go, turn into pipes, folders and text, and come anew, between finding and reading."""
    source, size = several(tmp_path / "in", 8), reader.picture_size

    def change_first(path):
        if path.name == "00.png":
            for i in range(1, 5):
                (source / f"0{i}.png").unlink()
            os.mkfifo(source / "02.png")
            (source / "03.png").mkdir()
            (source / "04.png").write_text("no picture")
            save(source / "09.png", PICTURES["tall"])
        return size(path)

    monkeypatch.setattr(folder, "picture_size", change_first)
    status, out, err = run(source, tmp_path / "out")
    assert status == 1 and out.startswith("4 done, 0 skipped, 4 failed")
    for i, words in enumerate(("No such file", "not a regular", "not a regular", "not a picture")):
        assert f"0{i + 1}.png: {words}" in err
    assert results(tmp_path / "out") == [f"0{i}.png" for i in (0, 5, 6, 7)]


def test_interrupt_leaves_what_has_not_begun(tmp_path, run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    read, seen = reader.read_picture, []

    def slow(path):
        seen.append(path)
        time.sleep(0.05)
        return read(path)

    monkeypatch.setattr(view.Predictor, "ab", interrupted)
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda threads: ThreadPoolExecutor(1))
    monkeypatch.setattr(folder, "read_picture", slow)
    source = several(tmp_path / "in", 20)
    status, out, err = run(source, tmp_path / "out", "--batch", "10", "--overwrite")
    assert status == 130 and "the same command begins anew" in err
    assert len(seen) <= 12  # the first ten, and of the next ten what was under way


# ---- the process itself


def command(networks, *arguments):
    model = ["--model", networks / "strong.keras"]
    return [sys.executable, *map(str, [ROOT / "test.py", *arguments, *model])]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_interrupt_says_how_to_go_on(tmp_path, networks, number):
    """Ctrl-C: whole files, status 130, one line."""
    source, out = save(tmp_path / "in/0.png", PICTURES["camera"]), tmp_path / "out"
    for i in range(1, 400):
        os.link(source, source.with_stem(str(i)))
    words = command(networks, tmp_path / "in", out)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 150
    while not list(out.glob("[!.]*.png")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    made, last = results(out), err.splitlines()[-1]
    assert "stopped: " in last and "the same command goes on from here" in last
    assert 0 < len(made) < 400 and f"stopped: {len(made)} done, " in err
    assert all(pixels_of(out / name).shape == (256, 256, 3) for name in made)


def test_without_stderr(tmp_path, networks):
    """As of a program without a window: the pictures are made, and stdout says so."""
    source = save(tmp_path / "a.png", PICTURES["tall"])
    words = command(networks, source, tmp_path / "out.png")
    shell = ["bash", "-c", '"$@" 2>&-', "bash", *words]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("1 done")
    assert (tmp_path / "out.png").exists()


def test_wrong_options_are_refused_before_slow_imports():
    code = "import sys, test\ntry: test.main(['a', 'b', '--size', '9'])\n"
    code += "except SystemExit as end: print(end.code, {'keras', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "2 set()"


def test_a_reader_that_has_gone_ends_nothing():
    """As of `--json | head -1`: what follows is written nowhere, also at the end of the program."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        for _ in range(3):
            say("x" * 100_000, stream)
