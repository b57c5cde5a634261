"""A published network: smaller, the same to anyone who loads it, refused when a byte of it changed."""

import subprocess
import sys
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


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A network of strong colours, published with half its saturation: (its file, the published file)."""
    folder = tmp_path_factory.mktemp("published")
    keras.utils.set_random_seed(0)
    arguments = {"width": 1 / 4, "global_size": 64, "input_scale": 0.01, "input_offset": -0.5}
    *rest, kernel, bias = aciids2020.build(**arguments).get_weights()
    weights = [*rest, 8 * kernel, bias + (0.3, -0.4)]
    training = {
        "init_from": "/home/me/a/start.keras",
        "pictures": 7,
        "before": {"init_from": "/home/me/b/start.keras"},
    }
    card = {"arguments": arguments, "size": 64, "training": training}
    model_file.save(folder / "own.keras", "aciids2020", weights, card)
    command = [
        sys.executable,
        "-m",
        "inference.publish",
        folder / "own.keras",
        folder / "out.keras",
        "--size",
        "72",
    ]
    command += ["--saturation", "0.25", "0.5", "1", "--mirror"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "out.keras" in done.stdout, done.stderr
    return folder / "own.keras", folder / "out.keras"


def test_the_published_file_is_small_and_loads_anywhere(published):
    source, path = published
    assert path.stat().st_size < 0.7 * source.stat().st_size
    weights = model_file.load(source)[0].get_weights()
    for network in (model_file.load(path)[0], keras.saving.load_model(path)):
        assert network.dtype == "float32"
        found = network.get_weights()
        assert all(
            np.allclose(a, b, rtol=2**-11, atol=1e-7) for a, b in zip(found, weights, strict=True)
        )
        assert any(not np.array_equal(a, b) for a, b in zip(found, weights))  # they were rounded


def test_it_tells_how_it_was_trained_and_no_folder(published):
    metadata = model_file.load(published[1])[1]
    assert metadata["size"] == 64 and metadata["sizes"] == [72] and metadata["mirror"] is True
    training = metadata["training"]
    assert training == {
        "init_from": "start.keras",
        "pictures": 7,
        "before": {"init_from": "start.keras"},
    }


def test_the_checksum_is_what_sha256sum_checks(published):
    _, path = published
    done = subprocess.run(
        ["sha256sum", "-c", f"{path.name}.sha256"], cwd=path.parent, capture_output=True, text=True
    )
    assert done.returncode == 0 and "out.keras: OK" in done.stdout


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_changed_byte_is_found_out(place, published, tmp_path):
    _, path = published
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if place > 0 else place] ^= 1
    (tmp_path / path.name).write_bytes(content)
    model_file.checksum_of(tmp_path / path.name).write_text(
        model_file.checksum_of(path).read_text()
    )
    with pytest.raises(model_file.BadModel, match="its SHA-256 is not that in out.keras.sha256"):
        model_file.load(tmp_path / path.name)


def test_it_brings_its_own_saturation(published, tmp_path):
    _, path = published
    Image.fromarray(data.camera()[::8, ::8]).save(tmp_path / "gray.png")
    results = {}
    for options in ((), ("--saturation", "natural"), ("--saturation", "vivid")):
        command = [
            sys.executable,
            ROOT / "test.py",
            tmp_path / "gray.png",
            tmp_path / "out.png",
            "--overwrite",
            *options,
        ]
        done = subprocess.run([*command, "--model", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results[options] = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    own, half, whole = results.values()
    assert np.array_equal(own, half)
    assert np.ptp(whole, axis=-1).mean() > 1.5 * np.ptp(half, axis=-1).mean() > 5
