"""The page: what its functions make of files and hints, against test.py; once in a browser."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from skimage import color, data

import app
import test as script
from colorizer import Colorizer
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a small network, with names of saturations."""
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 16, "global_size": 64}
    *rest, kernel, _ = aciids2020.build(**arguments).get_weights()
    path = tmp_path_factory.mktemp("model") / "small.keras"
    metadata = {"arguments": arguments, "size": 64, "colorize_saturation": 0.8}
    metadata["saturations"] = {"muted": 0.4, "natural": 0.8, "vivid": 1.5}
    model_file.save(path, "aciids2020", [*rest, kernel, np.float32([0.05, 0.1])], metadata)
    return path


@pytest.fixture(scope="module")
def colorizer(model):
    return Colorizer(model)


@pytest.fixture
def job(colorizer, tmp_path):
    """Makes a Job of files."""

    def make(*files, **settings):
        return app.Job(files, tmp_path, colorizer, colorizer.settings(**settings))

    return make


def silent(*_, **__):
    pass


def save(folder, *names, pixels=None):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        picture = data.camera()[i : i + 96, i : i + 80] if pixels is None else pixels
        Image.fromarray(picture).save(folder / name)
    return [folder / name for name in names]


def test_results_are_those_of_the_command(job, tmp_path, model):
    own = job(*save(tmp_path / "in", "a.png", "b.jpg", "c.tif"), saturation="vivid", old=True)
    assert own.work(silent).count("<td>done</td>") == 3
    words = (tmp_path / "in", tmp_path / "out", "--model", model, "--saturation", "vivid")
    assert script.main([*map(str, words), "--old"]) == 0
    with zipfile.ZipFile(own.archive()) as archive:
        assert sorted(archive.namelist()) == ["a.png", "b.jpg", "c.tif"]
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
    folder = own.folder
    del own, archive
    assert not folder.exists()


def test_odd_files_are_answered_in_words(job, tmp_path):
    names = ["good.png", "<img src=x onerror=alert(1)>.png", "broken.png"]
    files = save(tmp_path / "in", *names) + save(tmp_path / "more", "good.png")
    files[2].write_bytes(files[2].read_bytes()[:500])
    (tmp_path / "notes.txt").write_text("words")
    table = job(*files, tmp_path / "notes.txt").work(silent)
    assert "<img" not in table and "<td>good (2).png</td><td>done</td>" in table
    assert "<td>notes.txt</td><td>passed over: not a picture</td>" in table
    assert re.search("<td>broken.png</td><td>failed: .*broken", table)
    assert table.count("done") == 3 and table.rindex("failed") < table.index("done")


def test_a_click_turns_the_jacket_orange(job, tmp_path, model):
    rgb = data.astronaut()
    a, b = np.moveaxis(color.rgb2lab(rgb)[..., 1:], -1, 0)
    sleeve = (a > 30) & (b > 30)
    sleeve[:, :50], sleeve[:, 130:], sleeve[:260], sleeve[400:] = (False,) * 4
    face = cv2.ellipse(np.zeros((512, 512)), (222, 110), (40, 55), 0, 0, 360, 1, -1) > 0
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    own = job(*save(tmp_path / "in", "astronaut.png", pixels=gray))
    own.work(silent)
    before = own.picture("astronaut.png")
    held = own.click("astronaut.png", 100, 330)
    assert np.abs(held.astype(int) - before)[face].max() < 5  # "keep"
    after = own.pick("astronaut.png", "rgba(225.4, 100, 20.0, 1)")
    assert own.labels("astronaut.png") == ["1: #e16414 at 0.19629, 0.64551"]

    def distance(one, other):
        return np.linalg.norm(color.rgb2lab(one)[..., 1:] - color.rgb2lab(other)[..., 1:], axis=-1)

    orange = np.uint8([[[225, 100, 20]]])
    assert distance(after, orange)[sleeve].mean() < 0.5 * distance(before, orange)[sleeve].mean()
    assert distance(after, before)[face].mean() < 2
    # the file of hints gives test.py the same; so does the page at full size, once asked to
    words = (tmp_path / "in", tmp_path / "out", "--model", model, "--hints", own.save())
    assert script.main([*map(str, words)]) == 0
    own.work(silent)
    made = own.pairs["astronaut.png"][1]
    assert made.read_bytes() == (tmp_path / "out" / "astronaut.png").read_bytes()
    assert np.abs(np.asarray(Image.open(made)) - after.astype(int)).max() < 9
    # others add up; a list keeps and removes
    own.click("astronaut.png", 0, 0)
    own.keep("astronaut.png", own.labels("astronaut.png")[1:])
    assert own.labels("astronaut.png") == ["1: keep at 0.00098, 0.00098"]
    assert (own.picture("astronaut.png", []) == before).all()
    assert json.loads(Path(own.save()).read_text()) == {}


def test_files_of_hints(job, tmp_path):
    own = job(*save(tmp_path / "in", "a.jpg", "b.bmp"))
    own.work(silent)
    path = tmp_path / "hints.json"
    path.write_text('{"b.bmp": [[10, 0.5, "gray", 3]]}')
    own.load("a.jpg", path)
    assert own.labels("b.png") == ["1: gray at 10, 0.5"] and not own.labels("a.jpg")
    path.write_text('{"c.png": []}')
    with pytest.raises(ValueError, match="no picture"):
        own.load("a.jpg", path)


def test_work_stops_when_the_page_is_closed(job, tmp_path, monkeypatch):
    def slow(*args):
        time.sleep(0.3)
        return infer(*args)

    infer = Colorizer.infer
    monkeypatch.setattr(Colorizer, "infer", slow)
    own = job(*save(tmp_path / "in", *(f"{i:02}.png" for i in range(16))))

    def close(done, unit):
        own.closed |= done[0] > 0

    own.work(close)
    assert 0 < len(own.pairs) < 16


def test_the_page_is_built(colorizer, tmp_path):
    pytest.importorskip("gradio", reason="no Gradio: `make app` installs it")
    assert len(app.page(colorizer, tmp_path).fns) == 11  # events


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_in_a_browser(model, tmp_path):
    """Upload, colorize, click, download: no dialog opens, and no other server is asked."""
    pytest.importorskip("gradio", reason="no Gradio: `make app` installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (ROOT / "app.py", "--model", model, "--port", port, "--no-browser")
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    server = subprocess.Popen([sys.executable, *map(str, words)], env=environment)
    (source,) = save(tmp_path / "in", "a.png")
    asked, address = [], f"http://127.0.0.1:{port}"
    try:
        with playwright.sync_playwright() as found:
            browser = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(accept_downloads=True)
            page.on("request", lambda request: asked.append(request.url))
            for _ in range(120):
                try:
                    page.goto(address)
                    break
                except playwright.Error:
                    page.wait_for_timeout(500)
            page.set_input_files("input[type=file] >> nth=0", str(source))
            page.get_by_role("button", name="Colorize").click()
            page.locator("#report td").first.wait_for(timeout=120_000)
            page.get_by_role("tab", name="Put colours right").click()
            page.locator("#canvas img").click()
            page.get_by_text("1: keep at").first.wait_for(timeout=60_000)
            with page.expect_download() as started:
                page.get_by_role("button", name="Save hints").click()
            started.value.save_as(tmp_path / "hints.json")
            browser.close()
    finally:
        server.terminate()
        server.wait(30)
    assert json.loads((tmp_path / "hints.json").read_text())["a.png"][0][2] == "keep"
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert not list((tmp_path / "temporary").glob("colorized-*")), "uploads and results stay behind"
