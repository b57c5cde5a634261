"""From folders to batches."""

import itertools
import os
from collections import Counter

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

from configs import Config
from data import batches, manifest
from data.batches import Batches, Order, Validation
from data.preprocess import resize
from models import aciids2020
from pictures import reader
from training.model import TrainingModel


def splits(rows):
    return Counter(row["split"] for row in rows)


@pytest.fixture
def mixed(photographs, tmp_path):
    """Beside the photographs: a gray one, a broken one, text, a picture without a suffix."""
    folder = tmp_path / "mixed"
    (folder / "a").mkdir(parents=True)
    (folder / "good").symlink_to(photographs, target_is_directory=True)
    Image.fromarray(data.camera()).save(folder / "a" / "gray.png")
    Image.fromarray(data.camera()).convert("RGB").save(folder / "a" / "gray.jpg", quality=80)
    Image.fromarray(data.coffee()).save(folder / "a" / "no_suffix", format="webp")
    whole = (folder / "a" / "no_suffix").read_bytes()
    (folder / "a" / "cut.webp").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "notes.txt").write_text("not a picture")
    return folder


def test_scan(mixed):
    rows = manifest.scan_dataset([mixed])
    assert splits(rows) == {"train": 23, "val": 2, "gray": 2, "broken": 1}
    left_out = {row["path"] for row in rows if row["split"] in ("gray", "broken")}
    assert left_out == {"a/gray.png", "a/gray.jpg", "a/cut.webp"}
    assert rows == manifest.scan_dataset([mixed])
    other = manifest.scan_dataset([mixed], seed=1)
    assert splits(other) == splits(rows) and other != rows
    assert splits(manifest.scan_dataset([mixed], limit=10)).total() == 10


def test_pipes_devices_and_loops_do_not_hang_the_scan(photographs, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "good").symlink_to(photographs, target_is_directory=True)
    rows = manifest.scan_dataset([tmp_path])
    assert splits(rows) == {"train": 22, "val": 2, "broken": 3}


def test_scan_with_folders_for_validation(mixed, photographs):
    rows = manifest.scan_dataset([mixed / "a"], [photographs])
    assert splits(rows) == {"train": 1, "val": 24, "gray": 2, "broken": 1}
    with pytest.raises(ValueError, match="inside"):
        manifest.scan_dataset([mixed], [mixed / "a"])
    with pytest.raises(ValueError, match="inside"):
        manifest.scan_dataset([mixed, mixed])


def test_manifest_round_trip(mixed, tmp_path):
    rows = manifest.scan_dataset([mixed])
    rows[0]["path"] = 'a\nb,"c\udcff.jpg'  # a name that is not UTF-8, with a line break
    manifest.write_manifest(tmp_path / "manifest.csv", rows)
    assert manifest.read_manifest(tmp_path / "manifest.csv") == rows
    (tmp_path / "manifest.csv").write_text("folder,path,split\nx,y,other\n")
    with pytest.raises(ValueError, match="manifest"):
        manifest.read_manifest(tmp_path / "manifest.csv")


def test_every_picture_once_and_uncropped(photographs):
    """In validation, and in the order of an epoch of the paper."""
    files = sorted(photographs.rglob("*.png"))
    expected = np.stack([resize(np.asarray(Image.open(file)), 32, 32) for file in files])
    for order, sizes in (
        (None, [10, 10, 4]),
        (Order(0, 0, short_batch=True), [10, 10, 4]),
        (Order(0, 0), [10, 10]),
    ):
        batches = Batches(files, 32, 10, order)
        found = [batches[i][0] for i in range(len(batches))]
        assert [len(batch) for batch in found] == sizes
        found = np.concatenate(found)
        assert found.dtype == np.uint8 and np.array_equal(found, expected) == (order is None)
        if len(found) == 24:
            assert sorted(x.tobytes() for x in found) == sorted(x.tobytes() for x in expected)


def test_the_order_depends_on_seed_and_epoch_alone(photographs):
    files = sorted(photographs.rglob("*.png"))

    def pictures(seed, epoch, steps=None):
        batches = Batches(files, 32, 5, Order(seed, epoch, crop=0.5, mirror=True), steps)
        return np.stack([batches[i][0] for i in range(len(batches))])

    assert np.array_equal(pictures(0, 1), pictures(0, 1))
    resumed = pictures(0, 1, range(2, 4))
    assert np.array_equal(resumed, pictures(0, 1)[2:4])
    assert not np.array_equal(pictures(0, 1), pictures(0, 2))
    assert not np.array_equal(pictures(0, 1), pictures(1, 1))


def test_crop_and_mirror():
    picture = np.dstack(np.indices((60, 90), np.uint8))[..., [0, 1, 1]]  # places of the pixels
    turned, rng = [], np.random.default_rng(0)
    for draws in rng.random((200, batches.DRAWS)):
        out = Order(0, 0, crop=0.5, mirror=True).crop_and_mirror(picture, 60, draws).astype(int)
        rows, columns = out[..., 0], out[..., 1]
        turned.append(columns[0, -1] < columns[0, 0])
        assert 28 <= np.ptp(rows) <= 59 and 42 <= np.ptp(columns) <= 89
    assert 60 < sum(turned) < 140
    whole = Order(0, 0).crop_and_mirror(picture, 60, rng.random(batches.DRAWS))
    assert np.array_equal(whole, resize(picture, 60, 60))


def test_nearest_resizing_is_that_of_keras(tmp_path):
    """The authors' scripts read pictures by `load_img(path, target_size=(256, 256))`."""
    for name in ("coffee", "chelsea"):
        path = tmp_path / f"{name}.jpg"
        Image.fromarray(getattr(data, name)()).save(path, quality=95)
        expected = np.asarray(keras.utils.load_img(path, target_size=(256, 256)))
        (batch,) = Batches([path], 256, 1, Order(0, 0), nearest=True)[0]
        assert np.array_equal(batch[0], expected)


def test_a_window_of_the_loaded_picture(photographs):
    """Pictures of 48 x 48, of which windows of 32 are cut: no resizing after that."""
    files = sorted(photographs.rglob("*.png"))[:8]
    (windows,) = Batches(files, 32, 8, Order(1, 0, mirror=True, load_size=48))[0]
    whole = {path: resize(reader.read_rgb(path, 48), 48, 48) for path in files}
    order = Batches(files, 32, 8, Order(1, 0)).paths(0)
    places = set()
    for window, path in zip(windows, order):
        for top, left, step in itertools.product(range(17), range(17), (1, -1)):
            cut = whole[path][top : top + 32, left : left + 32]
            if np.array_equal(cut[:, ::step], window):
                places.add((top, left, step))
                break
        else:
            raise AssertionError(f"no window of {path}")
    assert len({top for top, *_ in places}) > 3 and {step for *_, step in places} == {1, -1}


def test_validation_is_over_all_pictures(photographs):
    """Whatever the batch: the same means as those of batches with an uneven end."""
    files = sorted(photographs.rglob("*.png"))[:11]
    keras.utils.set_random_seed(0)
    network = aciids2020.build(width=1 / 16, global_size=64, input_scale=0.01)
    model = TrainingModel(network, Config())
    model.compile(jit_compile=False)
    plain = model.evaluate(Batches(files, 64, 11), verbose=0, return_dict=True)
    for batch in (4, 16):
        found = model.evaluate(Validation(files, 64, batch), verbose=0, return_dict=True)
        assert found == pytest.approx(plain, rel=1e-5)
    all_at_once = Batches(files, 64, 11, labels=np.arange(11))[0]
    parts = [Validation(files, 64, 4, labels=np.arange(11))[i] for i in range(3)]
    for i in range(2):
        assert np.array_equal(np.concatenate([part[i] for part in parts])[:11], all_at_once[i])
    weights = np.concatenate([part[2] for part in parts])
    assert weights.mean() == pytest.approx(1) and (weights[:11] > 0).all() and weights[11] == 0


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_make_the_batch(photographs, processes):
    files, options = sorted(photographs.rglob("*.png")), {"labels": np.arange(24)}
    for kind, order in ((Batches, Order(1, 2, crop=0.5, mirror=True)), (Validation, None)):
        full = kind(files, 64, 6, order=order, **options)
        parts = [(i, processes) for i in range(processes)]
        shares = [kind(files, 64, 6, order=order, share=part, **options) for part in parts]
        for i in range(len(full)):
            for j, array in enumerate(full[i]):
                assert np.array_equal(np.concatenate([share[i][j] for share in shares]), array)
