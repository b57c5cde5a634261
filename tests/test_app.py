"""The page in a real browser, against test.py."""

import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytest.importorskip("gradio", reason="no Gradio: `make app` installs it")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: `make test` installs it"
)
if not CHROMIUM:
    pytest.skip("no Chromium on this machine", allow_module_level=True)


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
def address(model, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(ROOT / "app.py"),
        "--model",
        str(model),
        "--port",
        str(port),
        "--no-browser",
    ]
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as app:
        yield f"http://127.0.0.1:{port}"
        app.terminate()
    left = [
        path for path in temporary.rglob("*") if path.suffix in (".png", ".jpg", ".zip", ".txt")
    ]
    assert not left, "uploads and results stay behind"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as found:
        chromium = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The opened page. Afterwards: no dialog opened, and no other server was asked for anything."""
    page = browser.new_page(accept_downloads=True)
    asked, dialogs = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for _ in range(120):
        try:
            page.goto(address)
            break
        except playwright.Error:
            page.wait_for_timeout(500)
    page.get_by_role("button", name="Colorize").wait_for()
    yield page
    page.close()
    assert not dialogs and all(url.startswith((address, "data:", "blob:")) for url in asked)


def upload(page, files):
    page.set_input_files("input[type=file]", [str(file) for file in files])
    page.get_by_role("button", name="Colorize").click()


def wait_for(page, text, seconds=120):
    page.wait_for_function(
        "text => document.body.innerText.includes(text)", arg=text, timeout=1000 * seconds
    )


def rows(page):
    """{file: (result, note)} of the table."""
    script = "() => [...document.querySelectorAll('#report tr')].map(row => [...row.cells].map(cell => cell.innerText))"
    return {name: (result, note) for name, result, note in page.evaluate(script)}


def download(page, button, path):
    with page.expect_download() as started:
        button.click()
    started.value.save_as(path)
    return path


def save(folder, names, size=(96, 80)):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(data.camera()[i : i + size[0], i : i + size[1]]).save(folder / name)
    return sorted(folder.iterdir())


def test_results_are_those_of_the_command(page, tmp_path, model):
    files = save(tmp_path / "in", ["a.png", "b.jpg", "c.tif"])
    page.get_by_label("vivid").click()
    page.wait_for_function(
        "() => document.querySelector('#saturation input[type=number]').value == 1.5"
    )
    page.get_by_label("Guided").click()
    upload(page, files)
    wait_for(page, "colorized")
    page.get_by_text("Before and after").wait_for()
    page.wait_for_function(
        "() => document.querySelectorAll('.slider-wrap img, [data-testid] img').length >= 2"
    )
    together = download(
        page, page.get_by_role("button", name="Download all as ZIP"), tmp_path / "all.zip"
    )
    command = [
        sys.executable,
        ROOT / "test.py",
        tmp_path / "in",
        tmp_path / "out",
        "--model",
        model,
        "--saturation",
        "vivid",
    ]
    assert subprocess.run([*command, "--guided"], capture_output=True).returncode == 0
    with zipfile.ZipFile(together) as archive:
        assert sorted(archive.namelist()) == ["a.png", "b.jpg", "c.tif"]
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
    one = download(page, page.get_by_role("link", name=re.compile("KB|B")).last, tmp_path / "one")
    assert one.read_bytes() == (tmp_path / "out" / "c.tif").read_bytes()


def test_odd_files_are_answered_in_words(page, tmp_path):
    files = save(tmp_path / "in", ["good.png", "<img src=x onerror=alert(1)>'.png", "broken.png"])
    (tmp_path / "in" / "broken.png").write_bytes(
        (tmp_path / "in" / "broken.png").read_bytes()[:500]
    )
    (tmp_path / "in" / "notes.txt").write_text("words")
    (tmp_path / "in" / "empty.jpg").touch()
    upload(page, sorted((tmp_path / "in").iterdir()))
    wait_for(page, "colorized")
    found = rows(page)
    assert len(found) == len(files) + 2 and found["good.png"] == ("colorized", "")
    assert found["notes.txt"][0] == "not a picture"
    assert found["broken.png"][0] == "failed" and "broken" in found["broken.png"][1]
    assert found["empty.jpg"][0] in ("failed", "not a picture")
    assert sum(result == "colorized" for result, _ in found.values()) == 2  # the hostile name too


def test_no_picture_at_all(page, tmp_path):
    page.get_by_role("button", name="Colorize").click()
    wait_for(page, "Choose pictures first")
    (tmp_path / "notes.txt").write_text("words")
    upload(page, [tmp_path / "notes.txt"])
    wait_for(page, "not a picture")


def test_many_files_and_two_people(browser, page, address, tmp_path):
    other = browser.new_page()
    other.goto(address)
    other.get_by_role("button", name="Colorize").wait_for()
    many = save(tmp_path / "many", [f"{i:03}.png" for i in range(200)], size=(24, 24))
    upload(page, many)
    upload(other, save(tmp_path / "few", ["own.png"]))
    wait_for(other, "own.png")
    wait_for(other, "colorized")
    wait_for(page, "colorized")
    with zipfile.ZipFile(
        download(page, page.get_by_role("button", name="Download all as ZIP"), tmp_path / "z")
    ) as archive:
        assert len(archive.namelist()) == 200
    other.close()


def test_another_saturation_shows_another_result(page, tmp_path):
    upload(page, save(tmp_path / "in", ["a.png"]))
    wait_for(page, "colorized")
    shown = "() => [...document.querySelectorAll('img')].map(image => image.src).join()"
    page.wait_for_function(f"({shown})().includes('http')")
    before = page.evaluate(shown)
    page.get_by_label("muted").click()
    page.wait_for_function(
        "() => document.querySelector('#saturation input[type=number]').value == 0.4"
    )
    page.get_by_role("button", name="Colorize").click()
    page.wait_for_function(
        f"before => ({shown})() != before && ({shown})().includes('http')", arg=before
    )


def test_files_of_one_name_keep_both(page, tmp_path):
    first, second = save(tmp_path / "a", ["x.png"]), save(tmp_path / "b", ["x.png"], size=(50, 60))
    upload(page, [*first, *second])
    wait_for(page, "x (2).png")
    assert all(result == "colorized" for result, _ in rows(page).values())
