"""Files of networks: a hostile or damaged one runs nothing and is refused in one line; Keras 2."""

import base64
import json
import marshal
import pickle
import random
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

ARGUMENTS = {"width": 1 / 16, "global_size": 64}
KERNEL = "layers/conv2d/vars/0"
ZERO = [("/dev/zero", 0, h5py.h5f.UNLIMITED)]
WIDTH = 1 / 4  # of the networks of Keras 2


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "good.keras"
    network = aciids2020.build(**ARGUMENTS)
    model_file.save(path, "aciids2020", network.get_weights(), {"arguments": ARGUMENTS, "size": 64})
    return path


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copy(saved, tmp_path / "copy.keras")


def exchange(path, name, content, **options):
    """Put `content` in place of a member of the archive, or add it; None removes the member."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for other in members.keys() - {name}:
            archive.writestr(other, members[other])
        if content is not None:
            archive.writestr(name, content, **options)


def edit_metadata(path, change):
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read(model_file.METADATA))
    content["arguments"] |= change.pop("arguments", {})
    exchange(path, model_file.METADATA, json.dumps(content | change))


def refusal(path):
    with pytest.raises(model_file.BadModel) as caught:
        model_file.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert message.count(str(path)) == 1 and len(message) <= len(str(path)) + 302
    return message


def test_code_in_a_file_is_not_run(copy, saved, tmp_path):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()"
    content = pickle.dumps(type("Trap", (), {"__reduce__": lambda self: (exec, (code,))})())
    pickle.loads(content)
    ran.unlink()  # the trap works
    function = compile(f"lambda x: {code} or x", "trap", "eval").co_consts[0]
    function = {"code": base64.b64encode(marshal.dumps(function)).decode()}
    function = {"class_name": "__lambda__", "config": function}
    config = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": function}}
    exchange(copy, "config.json", json.dumps(config))
    exchange(copy, "../outside.py", "print('in')")
    exchange(copy, "assets/../../outside.py", "print('in')")
    expected, found = (model_file.load(path)[0].get_weights() for path in (saved, copy))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    exchange(copy, model_file.WEIGHTS, content)
    refusal(copy)
    names = ("pickle.keras", "pickle.h5")
    for name in names:
        (tmp_path / name).write_bytes(content)
        refusal(tmp_path / name)
    assert {*map(str, tmp_path.iterdir())} == {str(copy), *(f"{tmp_path}/{n}" for n in names)}
    assert not [*tmp_path.parent.glob("outside.py")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arguments": {"width": 1e9}}, "width 1000000000.0"),
        ({"arguments": {"width": float("nan")}}, "width nan"),
        ({"arguments": {"width": 1 / 8}}, "shape"),  # another shape than the weights'
        ({"arguments": {"global_size": 10**9}}, "global_size 1000000000"),
        ({"arguments": {"input_scale": float("inf")}}, "input_scale inf"),
        ({"arguments": {"edges": "no"}}, "edges 'no'"),
        ({"arguments": {"initializer": "os.system"}}, "not a network"),
        ({"arguments": {"precision": "float64"}}, "precision 'float64'"),
        ({"arguments": {"initializer": {"module": "os"}}}, "initializer {'module': 'os'}"),
        ({"arguments": {"x" * 10_000: 1}}, "its metadata says xxxxx"),
        ({"size": 10**9}, "size 1000000000, expected multiples of 8"),
        ({"size": True}, "size True"),
        ({"network": "os.system"}, "not a network"),
        ({"network": "zhang2016"}, "global_size 64, which the network does not take"),
        ({"colorize_saturation": float("nan")}, "colorize_saturation nan, expected a number"),
        ({"saturations": {"vivid": "1"}}, "saturations {'vivid': '1'}, expected"),
        ({"sizes": [64, 10**9]}, "sizes [64, 1000000000], expected multiples of 8"),
        ({"sizes": []}, "sizes [], expected"),
        ({"mirror": 2}, "mirror 2, expected true or false"),
        ({"training": [2]}, "expected what train.py writes"),
    ],
)
def test_metadata_out_of_range(copy, change, words):
    edit_metadata(copy, dict(change))
    assert words in refusal(copy)


def test_metadata_missing_or_of_another_kind_and_zip_bombs(saved, copy):
    for content in (None, b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000):
        exchange(copy, model_file.METADATA, content)
        assert "not a network that train.py saved" in refusal(copy)
    for name in (model_file.METADATA, model_file.WEIGHTS):
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
            shutil.copy(saved, copy)
            exchange(copy, name, b" " * 60_000_000, compress_type=method)
            assert f"{name} would take 60,000,000 bytes" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file, x: file.create_dataset(KERNEL, data=np.nan * x), "not all of its weights"),
        (lambda file, x: file.create_dataset(KERNEL, data=x.T), "shape"),
        (lambda file, x: None, "not a network"),
        (lambda file, x: file.update({KERNEL: h5py.ExternalLink("/x.h5", "x")}), "ExternalLink"),
        (lambda file, x: file.create_dataset(KERNEL, x.shape, "f4", external=ZERO), "external"),
    ],
)
def test_weights_that_are_not_just_numbers_in_the_file(copy, tmp_path, change, words):
    with zipfile.ZipFile(copy) as archive:
        archive.extract(model_file.WEIGHTS, tmp_path)
    with h5py.File(tmp_path / model_file.WEIGHTS, "r+") as file:
        values = file[KERNEL][()]
        del file[KERNEL]
        change(file, values)
    exchange(copy, model_file.WEIGHTS, (tmp_path / model_file.WEIGHTS).read_bytes())
    assert words in refusal(copy)


def test_damaged_files(saved, tmp_path):
    content, rng, path = saved.read_bytes(), random.Random(0), tmp_path / "x.keras"
    assert refusal(path).endswith("no such file")
    for damaged in (b"", b"no network", content[: len(content) // 2]):
        path.write_bytes(damaged)
        refusal(path)
    expected = model_file.load(saved)[0].get_weights()
    for _ in range(8):  # a changed bit is found, or in what is not read
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = model_file.load(path)[0].get_weights()
        except model_file.BadModel as error:
            assert "\n" not in str(error)
        else:
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def literal_network(edges=True, activation="tanh", first_stride=2):
    """The paper's table, word for word: the CN vector is repeated at all places, one 1x1 fusion."""

    def conv(x, filters, stride=1, kernel=3, activation="relu"):
        options = {"padding": "same", "activation": activation}
        options["bias_initializer"] = keras.initializers.RandomUniform(0, 0.2)
        filters = filters if filters < 3 else round(filters * WIDTH)
        return layers.Conv2D(filters, kernel, strides=stride, **options)(x)

    def stack(x, filters, strides):
        for count, stride in zip(filters, strides):
            x = conv(x, count, stride)
        return x

    inputs = [layers.Input((256, 256, 1)) for _ in range(2 + edges)]
    table = (64, 128, 128, 256, 512, 256)
    lfn = stack(inputs[0], table, (2, 1, 2, 2, 1, 1))
    cn = stack(inputs[1], (*table, 128, 32, 8, 1), (first_stride, 1, 2, 2, *[1] * 6))
    cn = layers.Dense(round(1500 * WIDTH))(layers.Flatten()(cn))
    cn = layers.RepeatVector(32 * 32)(layers.Dense(round(1000 * WIDTH))(cn))
    joined = [lfn, layers.Reshape((32, 32, cn.shape[-1]))(cn)]
    joined += [stack(inputs[2], [8] * 3, [2] * 3)] if edges else []
    x = conv(layers.Concatenate()(joined), 256, kernel=1)
    x = layers.UpSampling2D(2)(conv(x, 128))
    x = layers.UpSampling2D(2)(conv(x, 64))
    x = conv(conv(conv(x, 32), 16), 2, activation=activation)
    return keras.Model(inputs, layers.UpSampling2D(2)(x))


def write_keras2(model, path):
    """Save a functional model in the layout of `model.save("x.h5")` of Keras 2.3."""

    def reference(tensor):
        return [tensor._keras_history.operation.name, 0, 0]

    def describe(layer):
        config, nodes = layer.get_config() | {"dtype": "float32"}, []
        if isinstance(layer, layers.InputLayer):
            config["batch_input_shape"] = config.pop("batch_shape")
        else:
            nodes = [[[*reference(t), {}] for t in keras.tree.flatten(layer.input)]]
        kind = {"class_name": type(layer).__name__, "name": layer.name}
        return kind | {"config": config, "inbound_nodes": nodes}

    config = {"name": "model_1", "layers": [describe(layer) for layer in model.layers]}
    config["input_layers"] = [reference(tensor) for tensor in model.inputs]
    config["output_layers"] = [reference(tensor) for tensor in model.outputs]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config}).encode()
        group = file.create_group("model_weights")
        for node in file, group:
            node.attrs["backend"], node.attrs["keras_version"] = b"tensorflow", b"2.3.1"
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            names = [f"{layer.name}/{name}:0" for name in ("kernel", "bias")[: len(layer.weights)]]
            part = group.create_group(layer.name)
            part.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.get_weights()):
                part[name] = array


@pytest.mark.parametrize("edges", [True, False])
def test_a_file_of_keras_2_gives_the_same_colours(tmp_path, edges):
    keras.utils.set_random_seed(1)
    model = literal_network(edges)
    write_keras2(model, tmp_path / "model.h5")
    network, metadata = model_file.load(tmp_path / "model.h5")
    assert metadata["arguments"]["edges"] is edges and metadata["arguments"]["width"] == WIDTH
    lightness = np.random.default_rng(0).uniform(0, 100, (2, 256, 256, 1)).astype("float32")
    views = [lightness, lightness[::-1], (lightness > 75).astype("float32")][: 2 + edges]
    named = dict(zip(("lightness", "global_lightness", "edges"), views))
    expected, found = model.predict(views, verbose=0), network.predict(named, verbose=0) / 128
    assert expected.std() > 0.01 and np.abs(found - expected).max() < 1e-4


def in_config(old, new):
    def change(file):
        file.attrs["model_config"] = file.attrs["model_config"].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("arguments", "change", "words"),
    [
        ({"activation": "sigmoid"}, None, "not those of the paper's network"),
        ({"first_stride": 4}, None, "shape (256, 375)"),
        ({}, in_config("RepeatVector", "Lambda"), "it asks for 'Lambda'"),
        ({}, in_config('"units": 375', '"units": 99999'), "says 99999, the limit is"),
        ({}, lambda file: file.attrs.pop("model_config"), "weights alone"),
        ({}, lambda file: file.attrs.update(model_config="[" * 100_000), "ecursion"),
        ({}, lambda file: file["model_weights"].pop("dense"), "not a network"),
    ],
)
def test_another_network_of_keras_2_is_refused(tmp_path, arguments, change, words):
    keras.backend.clear_session()  # names begin at dense
    path = tmp_path / "model.h5"
    write_keras2(literal_network(**arguments), path)
    if change:
        with h5py.File(path, "r+") as file:
            change(file)
    assert words in refusal(path)
