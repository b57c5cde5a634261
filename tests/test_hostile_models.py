"""model_file.load: a file is data. Whatever else is in it is refused in one line, runs nothing and takes no memory.

Files of Keras 2 are in test_keras2.py.
"""

import base64
import functools
import io
import json
import marshal
import os
import pickle
import random
import shutil
import struct
import tracemalloc
import types
import zipfile

import h5py
import numpy as np
import pytest

import configs
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

ARGUMENTS = {"width": 1 / 16, "global_size": 64}
WEIGHTS = "model.weights.h5"
KERNEL = "layers/conv2d/vars/0"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "sound.keras"
    network = aciids2020.build(**ARGUMENTS)
    model_file.save(path, "aciids2020", network.get_weights(), {"arguments": ARGUMENTS, "size": 64})
    return path


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copy(saved, tmp_path / "copy.keras")


@pytest.fixture
def nothing_is_built(monkeypatch):
    """For files that must be refused before a network is made of them."""

    @functools.wraps(aciids2020.build)  # its arguments are looked at
    def never(**_):
        pytest.fail("a network was built")

    monkeypatch.setattr(aciids2020, "build", never)


def exchange(path, name, content, **options):
    """Put `content` in place of a member, or beside the others."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for kept in members.keys() - {name}:
            archive.writestr(kept, members[kept])
        archive.writestr(name, content, **options)


def edit(path, name, change):
    """Let `change` alter a JSON member, given as a dict."""
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read(name))
    change(content)
    exchange(path, name, json.dumps(content))


def edit_weights(path, change):
    """Let `change` alter the HDF5 file of the weights."""
    with zipfile.ZipFile(path) as archive:
        stored = io.BytesIO(archive.read(WEIGHTS))
    with h5py.File(stored, "r+") as file:
        change(file)
    exchange(path, WEIGHTS, stored.getvalue())


def refusal(path):
    """The message of the refusal; what it cost is bounded."""
    tracemalloc.start()
    try:
        with pytest.raises(model_file.BadModel) as caught:
            model_file.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.count(str(path)) == 1 and "\n" not in message
    assert len(message) <= len(str(path)) + 302 and peak < 30e6
    return message


def test_a_sound_file_is_read(saved, copy):
    exchange(copy, "notes.txt", "of no interest")
    with zipfile.ZipFile(saved) as archive:
        exchange(copy, WEIGHTS, archive.read(WEIGHTS), compress_type=zipfile.ZIP_DEFLATED)
    expected, found = (model_file.load(path)[0].get_weights() for path in (saved, copy))
    assert len(found) == 55 and all(
        np.array_equal(a, b) for a, b in zip(found, expected, strict=True)
    )


def test_weights_in_half_precision_are_read(copy):
    def halve(file):
        values = file[KERNEL][()].astype("f2")
        del file[KERNEL]
        file[KERNEL] = values

    edit_weights(copy, halve)
    kernel = model_file.load(copy)[0].get_layer("cn_conv1").get_weights()[0]
    assert (
        kernel.dtype == "float32" and kernel.any() and np.array_equal(kernel, kernel.astype("f2"))
    )


# ---- code


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_pickle_is_not_unpickled(tmp_path, suffix):
    content = pickle.dumps(Trap(tmp_path / "ran"))
    pickle.loads(content)
    os.remove(tmp_path / "ran")  # the trap works
    (tmp_path / f"model.{suffix}").write_bytes(content)
    assert "not a network that train.py saved" in refusal(tmp_path / f"model.{suffix}")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_the_archive_is_not_unpickled(copy, tmp_path):
    exchange(copy, WEIGHTS, pickle.dumps(Trap(tmp_path / "ran")))
    assert (
        "damaged, or not weights that Keras wrote" in refusal(copy)
        and not (tmp_path / "ran").exists()
    )


def test_pickled_objects_among_the_weights_are_not_unpickled(copy, tmp_path):
    def objects(file):
        del file[KERNEL]
        file[KERNEL] = np.void(pickle.dumps(Trap(tmp_path / "ran")))

    edit_weights(copy, objects)
    assert "shapes" in refusal(copy) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["Lambda", "__lambda__", "module"])
def test_a_layer_of_code_is_refused_and_not_run(copy, tmp_path, kind, nothing_is_built):
    code = compile(
        f"lambda x: open({str(tmp_path / 'ran')!r}, 'w').close() or x", "trap", "eval"
    ).co_consts[0]
    types.FunctionType(code, {"__builtins__": __builtins__})(None)
    os.remove(tmp_path / "ran")  # the trap works
    entry = {
        "Lambda": {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": {"class_name": "__lambda__"}},
        },
        "__lambda__": {
            "class_name": "__lambda__",
            "config": {"code": base64.b64encode(marshal.dumps(code)).decode()},
        },
        "module": {"module": "os", "class_name": "system", "config": f"touch {tmp_path / 'ran'}"},
    }[kind]
    edit(copy, "config.json", lambda config: config["config"]["layers"].append(entry))
    assert "asks to run code of its own" in refusal(copy) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../out.py", "/tmp/out.py", "assets/../../out.py"])
def test_a_member_that_climbs_out_is_refused(copy, name, nothing_is_built):
    exchange(copy, name, "print('in')")
    assert "leads out of the archive" in refusal(copy)
    assert [path.name for path in copy.parent.rglob("*")] == [copy.name]


# ---- bombs


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (WEIGHTS, zipfile.ZIP_DEFLATED),
        (model_file.METADATA, zipfile.ZIP_DEFLATED),
        ("config.json", zipfile.ZIP_DEFLATED),
        (model_file.METADATA, zipfile.ZIP_BZIP2),
        (WEIGHTS, zipfile.ZIP_LZMA),
    ],
)
def test_zip_bombs(copy, name, method, nothing_is_built):
    exchange(copy, name, b" " * 60_000_000, compress_type=method)
    assert os.path.getsize(copy) < 1e6
    assert (
        "would unpack to 60,000,000 bytes"
        if method == zipfile.ZIP_DEFLATED
        else "is packed by method"
    ) in refusal(copy)


@pytest.mark.parametrize("declared", [100, 270_000])
def test_a_bomb_that_lies_about_its_size(copy, declared, nothing_is_built):
    """The sizes in the archive's directory are the attacker's as well: reading ends there."""
    exchange(copy, model_file.METADATA, b" " * 60_000_000, compress_type=zipfile.ZIP_DEFLATED)
    content = bytearray(copy.read_bytes())
    for place in (
        i for i in range(len(content)) if content[i : i + 4] == struct.pack("<I", 60_000_000)
    ):
        content[place : place + 4] = struct.pack("<I", declared)
    copy.write_bytes(content)
    assert "CRC" in refusal(copy)


def huge(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 10**9, 4), "f4", chunks=(3, 3, 1000, 4))


def huge_packed(file):
    del file[KERNEL]
    file.create_dataset(
        KERNEL, data=np.zeros((3, 3, 1, 4), "f4"), chunks=(3, 3, 1, 4), compression="gzip"
    )


def filtered(file):
    """As large as it declares, but through a filter, for which HDF5 may load a library."""
    values = file[KERNEL][()]
    del file[KERNEL]
    file.create_dataset(KERNEL, data=values, chunks=values.shape, fletcher32=True)


def external_storage(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 1, 4), "f4", external=[("/dev/zero", 0, 144)])


def virtual(file):
    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 3, 1, 4), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "kernel", (3, 3, 1, 4))
    file.create_virtual_dataset(KERNEL, layout)


def external_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/tmp/other.h5", "kernel")


def soft_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/layers/conv2d_1/vars/0")


def linked_layer(file):
    file["layers/conv2d_99"] = h5py.SoftLink("/layers/conv2d")


def external_layer(file):
    file["layers/conv2d_99"] = h5py.ExternalLink("/tmp/other.h5", "/")


def cycle_with_a_link(file):
    file["layers/again"] = file["layers"]
    file["layers/link"] = h5py.SoftLink("/")


def transposed(file):
    values = file[KERNEL][()]
    del file[KERNEL]
    file[KERNEL] = values.T


def no_bias(file):
    del file["layers/conv2d/vars/1"]


def no_layer(file):
    del file["layers/conv2d"]


def one_more_layer(file):
    file.copy("layers/conv2d", "layers/extra")
    file["layers/extra/vars"].attrs["name"] = "backdoor"


def integers(file):
    values = file[KERNEL][()]
    del file[KERNEL]
    file[KERNEL] = values.astype("i4")


def text_instead(file):
    del file[KERNEL]
    file[KERNEL] = np.full((3, 3, 1, 4), b"hello")


def not_a_number(file):
    file[KERNEL][0, 0, 0, 0] = np.nan


def infinite(file):
    file[KERNEL][0, 0, 0, 0] = np.inf


def group_instead(file):
    del file[KERNEL]
    file.create_group(KERNEL)


def no_name(file):
    del file["layers/conv2d/vars"].attrs["name"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (huge, "layer cn_conv1: the weights have the shapes"),
        (huge_packed, "not in the file, or not in one piece"),
        (filtered, "not in the file, or not in one piece"),
        (external_storage, "not in the file, or not in one piece"),
        (virtual, "not in the file, or not in one piece"),
        (external_link, "is a link, which is not followed"),
        (soft_link, "is a link, which is not followed"),
        (linked_layer, "is a link, which is not followed"),
        (external_layer, "is a link, which is not followed"),
        (cycle_with_a_link, "is a link, which is not followed"),
        (transposed, "layer cn_conv1: the weights have the shapes"),
        (no_bias, "layer cn_conv1: the weights have the shapes"),
        (no_layer, "layer cn_conv1 is not in both"),
        (one_more_layer, "layer backdoor is not in both"),
        (integers, "no floating-point numbers"),
        (text_instead, "no floating-point numbers"),
        (not_a_number, "not all of its values are finite"),
        (infinite, "not all of its values are finite"),
        (group_instead, "is no dataset"),
        (no_name, "damaged, or not weights that Keras wrote"),
    ],
)
def test_weights_that_are_not_just_numbers_in_the_file(copy, change, words):
    edit_weights(copy, change)
    assert words in refusal(copy)


def test_groups_that_hold_themselves_are_walked_once(copy, saved):
    def cycle(file):
        for i in range(50):
            file[f"layers/again{i}"] = file["layers"]

    edit_weights(copy, cycle)
    expected, found = (model_file.load(path)[0].get_weights() for path in (saved, copy))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))


# ---- the card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 1e9}, "width 1000000000.0, expected up to 2"),
        ({"width": 2.1}, "width 2.1, expected"),
        ({"width": -1}, "width -1, expected"),
        ({"width": float("nan")}, "width nan"),
        ({"width": "0.0625"}, "width '0.0625'"),
        ({"width": [1, 2]}, "width [1, 2]"),
        ({"width": None}, "width None"),
        ({"global_size": 10**9}, "global_size 1000000000, expected a multiple of 8 up to 1024"),
        ({"global_size": 60}, "global_size 60, expected a multiple of 8"),
        ({"global_size": 64.0}, "global_size 64.0"),
        ({"input_scale": float("inf")}, "input_scale inf"),
        ({"input_scale": [0.1] * 1000}, "input_scale"),
        ({"edges": "no"}, "edges 'no'"),
        ({"precision": "float64"}, "precision 'float64'"),
        ({"name": "x"}, "name 'x'"),
        ({"x" * 10_000: 1}, "its metadata says xxxxx"),
    ],
)
def test_absurd_arguments(copy, change, words, nothing_is_built):
    edit(copy, model_file.METADATA, lambda card: card["arguments"].update(change))
    assert words in refusal(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 10**9}, "size 1000000000, expected a multiple of 8"),
        ({"size": 0}, "size 0"),
        ({"size": 65}, "size 65"),
        ({"size": "64"}, "size '64'"),
        ({"size": True}, "size True"),
        ({"network": "os.system"}, "not a network that train.py saved"),
        ({"network": ["aciids2020"]}, "not a network that train.py saved"),
        ({"network": "zhang2016"}, "global_size 64, which the network does not take"),
        ({"arguments": [1, 2]}, "not a network that train.py saved"),
        ({"saturation": "1.8"}, "saturation '1.8', expected a number"),
        ({"colorize_saturation": float("nan")}, "colorize_saturation nan, expected a number"),
        ({"colorize_saturation": -1}, "colorize_saturation -1, expected a number"),
        ({"sizes": [64, 10**9]}, "sizes [64, 1000000000], expected multiples of 8"),
        ({"sizes": []}, "sizes [], expected multiples of 8"),
        ({"mirror": 2}, "mirror 2, expected true or false"),
        ({"training": "long"}, "says of the training"),
        ({"training": {"pictures": "many"}}, "says of the training"),
        ({"training": {"before": {"before": {"clip_saturation": 2}}}}, "says of the training"),
    ],
)
def test_absurd_cards(copy, change, words, nothing_is_built):
    edit(copy, model_file.METADATA, lambda card: card.update(change))
    assert words in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100_000])
def test_cards_that_are_none(copy, content, nothing_is_built):
    exchange(copy, model_file.METADATA, content)
    assert "not a network that train.py saved" in refusal(copy)


def test_another_width_than_the_weights(copy):
    edit(copy, model_file.METADATA, lambda card: card["arguments"].update(width=1 / 8))
    assert "the weights have the shapes" in refusal(copy)


@pytest.mark.parametrize("member", [model_file.METADATA, WEIGHTS, "config.json"])
def test_a_missing_member(copy, member, nothing_is_built):
    with zipfile.ZipFile(copy) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(copy, "w") as archive:
        for name in members.keys() - {member}:
            archive.writestr(name, members[name])
    assert member in refusal(copy)


def test_what_train_may_make_can_be_loaded():
    for name, top in (("width", model_file.MAX_WIDTH), ("size", model_file.MAX_SIDE)):
        configs.make("paper", {name: top})
        with pytest.raises(ValueError, match=f"--{name}"):
            configs.make("paper", {name: 2 * top})


# ---- damage


@pytest.mark.parametrize("count", [12, pytest.param(3000, marks=pytest.mark.soak)])
def test_a_byte_changed_anywhere_is_refused_or_changes_nothing(saved, tmp_path, count):
    sound = saved.read_bytes()
    expected, rng, refused = model_file.load(saved)[0].get_weights(), random.Random(0), 0
    path = tmp_path / "changed.keras"
    for _ in range(count):
        content = bytearray(sound)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            found = model_file.load(path)[0].get_weights()
        except model_file.BadModel as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert refused > 0.8 * count


@pytest.mark.parametrize("count", [12, pytest.param(3000, marks=pytest.mark.soak)])
def test_weights_changed_on_purpose_are_refused_or_numbers(saved, tmp_path, count):
    """Bytes of the HDF5 file's structure changed, its checksum in the archive made right again."""
    rng, path = random.Random(1), tmp_path / "changed.keras"
    with zipfile.ZipFile(saved) as archive:
        weights = archive.read(WEIGHTS)
    structure = [
        i
        for i in range(len(weights))
        if i < 4096 or weights[i : i + 4] in (b"TREE", b"HEAP", b"SNOD")
    ]
    for _ in range(count):
        content = bytearray(weights)
        for _ in range(rng.randrange(1, 4)):
            content[min(rng.choice(structure) + rng.randrange(64), len(content) - 1)] = (
                rng.randrange(256)
            )
        shutil.copy(saved, path)
        exchange(path, WEIGHTS, content)
        try:
            found = model_file.load(path)[0].get_weights()
        except model_file.BadModel as error:
            assert "\n" not in str(error)
            continue
        assert all(np.isfinite(array).all() for array in found)
