"""The page without a browser: what its button does, and what is served. Against test.py."""

import zipfile

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

import app
import test as script
from colorizer import Colorizer
from models import aciids2020
from models import file as model_file

gradio = pytest.importorskip("gradio", reason="no Gradio: `make app` installs it")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a small network of strong colours, with names of saturations."""
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 16, "global_size": 64}
    *rest, kernel, _ = aciids2020.build(**arguments).get_weights()
    path = tmp_path_factory.mktemp("model") / "small.keras"
    metadata = {"arguments": arguments, "size": 64, "colorize_saturation": 0.8}
    metadata["saturations"] = {"muted": 0.4, "natural": 0.8, "vivid": 1.5}
    model_file.save(path, "aciids2020", [*rest, 8 * kernel, np.float32([0.3, -0.4])], metadata)
    return path


@pytest.fixture(scope="module")
def blocks(model, tmp_path_factory):
    return app.page(Colorizer(model), tmp_path_factory.mktemp("root"))


@pytest.fixture
def colorize(blocks):
    """What the button does: (files, factor, old, guided, pairs of before) -> the outputs."""
    (function,) = (f.fn for f in blocks.fns.values() if f.name == "colorize")

    def colorize(files, factor=0.8, old=False, guided=False, before=()):
        files = [str(file) for file in files]
        return function(files, factor, old, guided, dict(before), lambda *_, **__: None)

    return colorize


def save(folder, names, size=(96, 80)):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(data.camera()[i : i + size[0], i : i + size[1]]).save(folder / name)
    return sorted(folder.iterdir())


def test_results_are_those_of_the_command(colorize, tmp_path, model):
    files = save(tmp_path / "in", ["a.png", "b.jpg", "c.tif"])
    pairs, _, _, single, together, _ = colorize(files, 1.5, guided=True)
    words = [tmp_path / "in", tmp_path / "out", "--model", model, "--saturation", "vivid"]
    assert script.main([*map(str, words), "--guided"]) == 0
    with zipfile.ZipFile(together) as archive:
        assert sorted(archive.namelist()) == ["a.png", "b.jpg", "c.tif"]
        for name, path in zip(archive.namelist(), single):
            expected = (tmp_path / "out" / name).read_bytes()
            assert archive.read(name) == expected
            with open(path, "rb") as file:
                assert file.read() == expected
    before, after = (app.preview(path) for path in pairs["c.tif"])
    assert before.shape == after.shape == (96, 80, 3)
    pale = colorize(files, 0.4, before=pairs)[0]  # removes the files of the request before
    assert app.preview(pairs["a.png"][1]) is None
    assert not np.array_equal(app.preview(pale["c.tif"][1]), after)


def test_odd_files_are_answered_in_words(colorize, tmp_path):
    hostile = "<img src=x onerror=alert(1)>'.png"
    save(tmp_path / "in", ["good.png", hostile, "broken.png"])
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in" / "notes.txt").write_text("words")
    pairs, table, *_ = colorize(sorted((tmp_path / "in").iterdir()))
    assert set(pairs) == {"good.png", hostile}
    assert "<img" not in table and table.count("<td>colorized</td>") == 2
    first = table.partition("</tr>")[0]
    assert "broken.png</td><td>failed</td>" in first
    assert "notes.txt</td><td>not a picture</td>" in table


def test_files_of_one_name_keep_both(colorize, tmp_path):
    first, second = save(tmp_path / "a", ["x.png"]), save(tmp_path / "b", ["x.png"], size=(50, 60))
    assert set(colorize([*first, *second])[0]) == {"x.png", "x (2).png"}


def test_what_the_page_refuses(colorize, tmp_path):
    for files in ([], ["a.png"] * (app.FILES + 1)):
        with pytest.raises(gradio.Error):
            colorize(files)
    (tmp_path / "notes.txt").write_text("words")
    pairs, _, _, single, together, _ = colorize([tmp_path / "notes.txt"])
    assert not pairs and not single and together is None


@pytest.mark.parametrize("words", [["--port", "0"], ["--hos", "::1"], ["--model", "no.keras"]])
def test_wrong_options_are_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        app.main(words)
    assert end.value.code == 2 or "no.keras" in end.value.code
