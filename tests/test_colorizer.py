"""The public API: types, shapes, errors, threads; the code of docs/api.md runs."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

import colorizer
import test as script
from data.preprocess import resize
from inference.view import Predictor
from models import aciids2020
from models import file as model_file
from tests.test_line_art import page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network with random weights; the file brings sizes, mirror images and names."""
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 8, "global_size": 64}
    path = tmp_path_factory.mktemp("model") / "small.keras"
    metadata = {
        "arguments": arguments,
        "size": 64,
        "colorize_saturation": 1.2,
        "saturations": {"muted": 0.5, "vivid": 2},
    }
    metadata |= {"sizes": [64, 48], "mirror": True}
    model_file.save(path, "aciids2020", aciids2020.build(**arguments).get_weights(), metadata)
    return path


@pytest.fixture(scope="module")
def colorize(model):
    return colorizer.Colorizer(model, batch=2, precision="float32")


GRAY = resize(data.camera(), 70, 90)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3)])
def test_the_type_and_the_size_are_kept(colorize, dtype, shape):
    values = np.broadcast_to(GRAY if len(shape) == 2 else GRAY[..., None], shape)
    picture = (
        (values / 255).astype(dtype)
        if "f" in dtype
        else values.astype(dtype) * (257 if np.dtype(dtype).itemsize == 2 else 1)
    )
    before = picture.copy()
    result = colorize(picture)
    assert (
        result.shape == (70, 90, 3) and result.dtype == picture.dtype and (picture == before).all()
    )
    scale = 1 if result.dtype.kind == "f" else np.iinfo(result.dtype).max
    assert np.abs(result / scale - colorize(GRAY) / 255).mean() < 2 / 255


def test_several_pictures_give_what_each_gives(colorize):
    pictures = [
        GRAY,
        GRAY[:30, :20],
        GRAY[:1, :1],
        np.ascontiguousarray(GRAY.T)[::-1],
        np.asfortranarray(GRAY),
    ]
    alone = [colorize(picture) for picture in pictures]
    for several in (colorize(pictures), colorize(tuple(pictures)), list(colorize(iter(pictures)))):
        assert len(several) == 5
        for one, other in zip(alone, several):
            assert np.abs(one.astype(int) - other).max() <= 1
    assert colorize([]) == [] and isinstance(colorize(pictures), list)


def test_a_generator_is_read_a_batch_at_a_time(colorize):
    taken = []
    results = colorize(taken.append(i) or GRAY for i in range(100))
    next(results)
    assert len(taken) == 2


def test_an_image_of_pillow_is_an_array(colorize):
    assert (colorize(Image.fromarray(GRAY)) == colorize(GRAY)).all()


def test_saturation(colorize):
    assert (colorize(GRAY) == colorize(GRAY, 1.2)).all() and (
        colorize(GRAY, "vivid") == colorize(GRAY, 2)
    ).all()
    assert np.ptp(colorize(GRAY, 0), axis=-1).max() <= 1
    assert np.allclose(colorize.ab(GRAY, "muted"), 0.5 * colorize.ab(GRAY, 1))
    assert colorize.ab(GRAY).shape == (70, 90, 2) and colorize.ab(GRAY).dtype == np.float32


@pytest.mark.parametrize("saturation", [-1, 11, np.nan, np.inf, "natural"])
def test_a_wrong_saturation_is_refused(colorize, saturation):
    with pytest.raises(
        ValueError, match="muted, vivid" if saturation == "natural" else "from 0 to 10"
    ):
        colorize(GRAY, saturation)


@pytest.mark.parametrize(
    "picture, error, words",
    [
        (GRAY.astype(int), TypeError, "expected uint8, uint16 or float, got int64"),
        (GRAY > 9, TypeError, "got bool"),
        ("a.png", TypeError, "got str"),
        (5, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        ([[1, 2], [3, 4]], TypeError, "expected an array, got list"),
        (GRAY / 1.0, ValueError, "0..1"),
        (GRAY / 255 - np.nan, ValueError, "0..1"),
        (GRAY[0], ValueError, "expected"),
        (GRAY[None], ValueError, "expected"),
        (np.dstack([GRAY] * 4), ValueError, "expected"),
        (GRAY[:0], ValueError, "expected"),
    ],
)
def test_what_is_no_picture_is_refused(colorize, picture, error, words):
    with pytest.raises(error, match=re.escape(words)):
        colorize(picture)


def test_threads_share_one(colorize):
    pictures = [np.ascontiguousarray(np.roll(GRAY, 7 * i, axis=1)) for i in range(12)]
    expected = [colorize(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(colorize, pictures), expected):
            assert (found == one).all()


def test_the_colours_of_several_sizes_are_averaged(model):
    network, metadata = model_file.load(model)
    both, first, second = (Predictor(network, sizes, 1) for sizes in ([64, 48], [64], [48]))
    view = both.views(GRAY)
    large, small = (one.ab([view])[0] for one in (first, second))
    mean = (large + cv2.resize(small, large.shape[1::-1], interpolation=cv2.INTER_LINEAR)) / 2
    assert np.allclose(both.ab([view])[0], mean, atol=1e-3) and not np.allclose(
        large, mean, atol=0.1
    )


def test_what_is_no_network_is_refused(tmp_path):
    for name in ("a.keras", "a.onnx", "a.h5"):
        with pytest.raises(colorizer.BadModel, match=name):
            colorizer.Colorizer(tmp_path / name)
        (tmp_path / name).write_bytes(b"no network")
        with pytest.raises(colorizer.BadModel, match=name):
            colorizer.Colorizer(tmp_path / name)


@pytest.mark.slow
def test_the_page():
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        exec(block, names)
    assert "ab" in names


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The bare network of `model` as .onnx."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf2onnx converts graphs of TensorFlow")
    from inference.export import write_onnx

    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    write_onnx(model, path, bare=True)
    return path


@pytest.mark.slow
def test_an_onnx_file_gives_what_keras_gives(colorize, exported, tmp_path):
    own = colorizer.Colorizer(exported, batch=2)
    assert own.saturations == colorize.saturations and own.saturation == colorize.saturation
    assert own.sizes == colorize.sizes == (64, 48)
    pictures = [GRAY, resize(data.astronaut(), 91, 33)]
    for how in ({}, {"mirror": False}, {"old": True}):
        for one, other in zip(own(pictures, **how), colorize(pictures, **how)):
            assert np.abs(one.astype(int) - other).max() <= 2
    with ThreadPoolExecutor(4) as pool:
        assert all((found == own(GRAY)).all() for found in pool.map(own, [GRAY] * 8))
    Image.fromarray(GRAY).save(tmp_path / "gray.png")
    words = [tmp_path / "gray.png", tmp_path / "out.png", "--model", exported]
    assert script.main([*map(str, words)]) == 0
    assert (np.asarray(Image.open(tmp_path / "out.png")) == own(GRAY)).all()


@pytest.mark.slow
def test_as_published_by_an_onnx_file(model, exported, tmp_path):
    how = {"saturation": 1.0, "gamut": "clip", "mirror": False, "as_published": True}
    found = [
        colorizer.Colorizer(path, size=256, precision="float32")(data.coffee(), **how).astype(int)
        for path in (model, exported)
    ]
    assert found[0].shape == (256, 256, 3) and np.abs(found[0] - found[1]).max() <= 1


@pytest.mark.slow
def test_an_onnx_file_has_one_precision_and_needs_no_keras(exported, tmp_path, capsys):
    Image.fromarray(GRAY).save(tmp_path / "gray.png")
    words = [*map(str, (tmp_path / "gray.png", tmp_path / "out.png", "--model", exported))]
    assert script.main([*words, "--precision", "mixed_bfloat16"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "computes in float32; mixed_bfloat16 needs a .keras" in line
    code = f"import sys, test\nstatus = test.main({words!r})\n"
    code += "print(status, {'keras', 'tensorflow', 'h5py', 'scipy', 'skimage'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("0 set()\n"), done.stdout + done.stderr


def test_hints(colorize):
    """Several add up; "gray", "keep"; pixels and shares; only `area` of framed pictures."""
    plain, area = colorize.ab(GRAY), np.s_[30:36, 40:46]
    for hint in ((43, 33, "gray", 5), (43.0, 33 / 70 + 1e-9, "gray", 5 / 90)):
        found = colorize.ab(GRAY, hints=[hint])
        assert np.abs(found[area]).mean() < 0.2 * np.abs(plain[area]).mean()
    assert np.abs(colorize.ab(GRAY, hints=[(43, 33, "keep")]) - plain).max() < 5
    ((view, ab),) = colorize.predict([GRAY], hints=[(3, 4, "#ff0000"), (80, 60, "#0000ff")])
    joined = colorize.join(GRAY, view, ab, colorize.settings())
    assert (joined == colorize(GRAY, hints=[(3, 4, "#ff0000"), (80, 60, "#0000ff")])).all()
    assert ab[4, 3, 0] > 40 and ab[60, 80, 1] < -40 and ab.shape == (70, 90, 2)
    framed = np.pad(data.camera(), 20, constant_values=250)
    assert np.ptp(colorize(framed, hints=[(250, 300, "#ff0000")])[:15], axis=-1).max() <= 1
    for wrong, words in (
        ([(90, 1, "gray")], "columns 0 to 89 and rows 0 to 69"),
        ([(1, -1, "gray")], "outside of the picture"),
        ([(1, np.nan, "gray")], "outside of the picture"),
        ([(1, 1, "gray", 100)], "outside of the picture"),
        ([(1, 1, "#12")], "expected"),
        ([(1, "1", "gray")], "expected"),
        ([[(1, 1, "gray")]], "expected"),
    ):
        with pytest.raises(ValueError, match=words):
            colorize(GRAY, hints=wrong)
    with pytest.raises(ValueError, match="outside of the picture: columns"):
        colorize(framed, hints=[(2, 2, "gray")])


def test_the_steps_are_public(colorize):
    """`predict` and `small_ab` give what the call joins: without and with borders left out."""
    framed = np.pad(GRAY, 6, constant_values=250)
    (view, ab), (own_view, own) = colorize.predict([framed, GRAY], mirror=False)
    assert view.area[0].start >= 6 and own_view.area[0].start == 0
    joined = colorize.join(framed, view, ab, colorize.settings())
    assert np.abs(joined - colorize([framed, GRAY], mirror=False)[0].astype(int)).max() <= 1
    small = colorize.small_ab([framed, GRAY])
    assert small.dtype == np.float32 and small.shape == (2, *ab.shape)
    assert np.abs(small[0] - ab).max() > 0.1


def test_other_sizes(model):
    assert colorizer.Colorizer(model, size=96).sizes == (96,)
    assert colorizer.Colorizer(model, size=[64, 96]).sizes == (64, 96)


def test_a_forked_process_says_so(colorize, monkeypatch):
    """Neither a Colorizer of before the fork nor a new one hangs."""
    monkeypatch.setattr(colorizer.os, "getpid", lambda: 1)
    for use in (lambda: colorize(GRAY), lambda: colorizer.Colorizer(colorize.model)):
        with pytest.raises(RuntimeError, match="forked"):
            use()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_borders_stay_neutral_and_documents_gray(colorize, kind):
    framed = np.pad(data.camera()[:300], 8, constant_values=250)
    framed = {
        "uint8": framed,
        "uint16": framed.astype(np.uint16) * 257,
        "float32": np.float32(framed / 255),
    }[kind]
    result = colorize(framed) / (1 if kind == "float32" else np.iinfo(kind).max)
    assert np.ptp(result[:8], axis=-1).max() < 0.01 < np.ptp(result[20:-20, 20:-20], axis=-1).max()
    assert not colorize.ab(framed)[:8].any() and colorize.ab(framed)[20:-20].any()
    drawn = page(0, "text")
    assert not colorize.ab(drawn).any() and colorize.ab(drawn, force=True).any()


def test_old_photographs_and_mirror_images(colorize):
    gray = data.camera()
    mirrored = colorize.ab(gray[:, ::-1])[:, ::-1]
    assert np.abs(colorize.ab(gray) - mirrored).max() < 0.5
    one, other = colorize.ab(gray, mirror=False), colorize.ab(gray[:, ::-1], mirror=False)[:, ::-1]
    assert np.abs((one + other) / 2 - mirrored).max() < 0.5 < np.abs(one - other).max()
    assert np.abs(colorize.ab(gray, old=True) - colorize.ab(gray)).max() > 0.01
