"""A published network: smaller, the same for anyone who loads it, refused when a byte changed."""

import subprocess

import keras
import numpy as np
import pytest

from inference import publish
from models import aciids2020
from models import file as model_file
from models.properties import factor_of, mirror_of, sizes_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(the file of a network, the published one)."""
    source = tmp_path_factory.mktemp("published") / "own.keras"
    arguments = {"width": 1 / 4, "global_size": 64}
    training = {"init_from": "/home/me/b/x.keras", "pictures": 7}
    training["before"] = {"init_from": "/home/me/a/start.keras"}
    metadata = {"arguments": arguments, "size": 64, "training": training}
    weights = aciids2020.build(**arguments).get_weights()
    model_file.save(source, "aciids2020", weights, metadata)
    path = source.with_name("out.keras")
    options = ["--saturation", "0.25", "0.5", "1", "--mirror", "--size", "72"]
    publish.main([str(source), str(path), *options])
    return source, path


def test_the_published_file_is_small_and_loads_anywhere(published):
    source, path = published
    assert path.stat().st_size < 0.7 * source.stat().st_size
    weights = model_file.load(source)[0].get_weights()
    for network in (model_file.load(path)[0], keras.saving.load_model(path)):
        for found, exact in zip(network.get_weights(), weights, strict=True):
            assert np.array_equal(found, exact.astype("float16").astype("float32"))


def test_metadata_of_the_published_file(published, tmp_path):
    metadata = model_file.load(published[1])[1]
    assert metadata["size"] == 64 and sizes_of(metadata) == [72] and mirror_of(metadata) is True
    factors = [factor_of(name, metadata) for name in (None, "muted", "natural", "vivid", 3)]
    assert factors == [0.5, 0.25, 0.5, 1, 3]
    before = {"init_from": "start.keras"}  # no folders
    assert metadata["training"] == {"init_from": "x.keras", "pictures": 7, "before": before}
    for saturation in ("strong", 11, float("nan")):
        with pytest.raises(ValueError, match="saturation"):
            factor_of(saturation, metadata)
    with pytest.raises(ValueError, match="size 60: this network takes multiples of 8"):
        sizes_of(metadata, [60])
    with pytest.raises(SystemExit, match="sizes \\[60\\], expected multiples of 8"):
        publish.main([str(published[0]), str(tmp_path / "x.keras"), "--size", "60"])
    assert not [*tmp_path.iterdir()]


def test_a_changed_byte_is_found(published, tmp_path):
    _, path = published
    checksum = model_file.checksum_of(path)
    subprocess.run(["sha256sum", "-c", checksum.name], cwd=path.parent, check=True)
    (tmp_path / checksum.name).write_text(checksum.read_text())
    content = path.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / path.name).write_bytes(changed)
        with pytest.raises(model_file.BadModel, match="SHA-256 is not that in out.keras.sha256"):
            model_file.load(tmp_path / path.name)
