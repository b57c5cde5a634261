"""models/keras2.py: files in Keras 2's own layout give the same colours; anything else is refused in one line.

The files are written here with h5py, as `model.save("x.h5")` of Keras 2 (tf_keras 2.21) lays them out.
"""

import base64
import json
import marshal
import random
import shutil
import types

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from models import aciids2020, keras2
from models import file as model_file

pytestmark = pytest.mark.slow

WIDTH = 1 / 4


def units(count):
    return max(1, round(count * WIDTH))


def literal_network(usual=True, with_edges=True):
    """The paper's table, word for word: the CN vector repeated at 32 x 32 places, the fusion one 1x1 convolution.

    Inputs L, L, edges; output ab / 128. Layers are named by Keras' counters, biases drawn so that each of them matters.
    If not `usual`, the vector is repeated by other layers and joined last, to a join of the other two.
    """

    def conv(x, filters, stride=1, kernel=3, activation="relu"):
        bias = keras.initializers.RandomUniform(0, 0.2)
        return layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            activation=activation,
            bias_initializer=bias,
        )(x)

    def features(x):
        for filters, stride in ((64, 2), (128, 1), (128, 2), (256, 2), (512, 1), (256, 1)):
            x = conv(x, units(filters), stride)
        return x

    local, whole, edges = (layers.Input((256, 256, 1)) for _ in range(3))
    vector = features(whole)
    for filters in (units(128), units(32), units(8), 1):
        vector = conv(vector, filters)
    vector = layers.Dense(units(1500))(layers.Flatten()(vector))
    vector = layers.Dense(units(1000))(vector)
    lfn, edn = features(local), edges
    for _ in range(3):
        edn = conv(edn, units(8), 2)
    if usual:
        repeated = layers.Reshape((32, 32, units(1000)))(layers.RepeatVector(32 * 32)(vector))
        joined = layers.Concatenate(axis=3)([lfn, repeated, edn] if with_edges else [lfn, repeated])
    else:
        repeated = layers.UpSampling2D((32, 32))(layers.Reshape((1, 1, units(1000)))(vector))
        joined = layers.Concatenate()([layers.Concatenate()([edn, lfn]), repeated])
    x = conv(joined, units(256), kernel=1)
    x = layers.UpSampling2D(2)(conv(x, units(128)))
    x = layers.UpSampling2D(2)(conv(x, units(64)))
    x = conv(conv(conv(x, units(32)), units(16)), 2, activation="tanh")
    return keras.Model(
        [local, whole, edges] if with_edges else [local, whole], layers.UpSampling2D(2)(x)
    )


def write_keras2(model, path, seed=None):
    """Save a functional model as Keras 2 would; a seed shuffles the layers."""

    def entry(layer):
        config = layer.get_config() | {"dtype": "float32"}
        if isinstance(layer, layers.InputLayer):
            config["batch_input_shape"] = config.pop("batch_shape")
            sources = []
        else:
            sources = [
                [
                    [t._keras_history.operation.name, 0, 0, {}]
                    for t in keras.tree.flatten(layer.input)
                ]
            ]
        return {
            "class_name": type(layer).__name__,
            "config": config,
            "name": layer.name,
            "inbound_nodes": sources,
        }

    members = list(model.layers)
    if seed is not None:
        random.Random(seed).shuffle(members)
    ends = {
        "input_layers": [[tensor._keras_history.operation.name, 0, 0] for tensor in model.inputs],
        "output_layers": [[tensor._keras_history.operation.name, 0, 0] for tensor in model.outputs],
    }
    config = {
        "name": "model_1",
        "trainable": True,
        "layers": [entry(layer) for layer in members],
    } | ends
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        for node in file, group:
            node.attrs["backend"] = b"tensorflow"
            node.attrs["keras_version"] = b"2.3.1"
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config}).encode()
        group.attrs["layer_names"] = [layer.name.encode() for layer in members]
        for layer in members:
            names = [f"{layer.name}/{name}:0" for name in ("kernel", "bias")[: len(layer.weights)]]
            group.create_group(layer.name).attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.get_weights()):
                group[layer.name][name] = array


def edit_config(path, change):
    """Let `change` alter the layers in the file's graph, {name: entry}."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        entries = {entry["name"]: entry for entry in config["config"]["layers"]}
        change(entries)
        config["config"]["layers"] = list(entries.values())
        file.attrs["model_config"] = json.dumps(config).encode()


def first(kind, entries):
    return next(entry for entry in entries.values() if entry["class_name"] == kind)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(the literal network, its file)."""
    keras.utils.set_random_seed(1)
    model = literal_network()
    path = tmp_path_factory.mktemp("keras2") / "model.hdf5"
    write_keras2(model, path)
    return model, path


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copy(saved[1], tmp_path / "copy.h5")


def assert_same_colors(model, path):
    generator = np.random.default_rng(0)
    lightness = generator.uniform(0, 100, (2, 256, 256, 1)).astype("float32")
    edges = (generator.random((2, 256, 256, 1)) < 0.25).astype("float32")
    inputs = {"lightness": lightness, "global_lightness": lightness, "edges": edges}
    expected = model.predict([*inputs.values()][: len(model.inputs)], verbose=0)
    network, _ = model_file.load(path)
    found = network.predict({name: inputs[name] for name in network.input}, verbose=0) / 128
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_keras2_file_gives_the_same_colors(saved):
    assert keras2.is_keras2(saved[1])
    assert_same_colors(*saved)


def test_the_order_of_layers_and_of_branches_and_the_way_of_repeating_do_not_matter(tmp_path):
    keras.utils.set_random_seed(2)
    model = literal_network(usual=False)
    write_keras2(model, tmp_path / "model.h5", seed=3)
    assert_same_colors(model, tmp_path / "model.h5")


def test_the_network_without_edges_is_read(tmp_path):
    """The authors' ablation, of commit d1f7494 of their scripts."""
    keras.utils.set_random_seed(3)
    model = literal_network(with_edges=False)
    write_keras2(model, tmp_path / "model.h5")
    assert_same_colors(model, tmp_path / "model.h5")
    network, metadata = model_file.load(tmp_path / "model.h5")
    assert metadata["arguments"]["edges"] is False and "edges" not in network.input
    assert aciids2020.build(edges=False).count_params() == 9_841_447


def test_a_lambda_layer_is_not_executed(saved, copy, tmp_path):
    trace = tmp_path / "executed"
    code = compile(f"lambda x: open({str(trace)!r}, 'w').close() or x", "trap", "eval").co_consts[0]
    types.FunctionType(code, {"__builtins__": __builtins__})(None)
    trace.unlink()  # the trap works: FileNotFoundError otherwise

    def trap(entries):
        entry = first("RepeatVector", entries)
        entry["class_name"] = "Lambda"
        entry["config"] = {
            "name": entry["name"],
            "function_type": "lambda",
            "arguments": {},
            "function": [base64.b64encode(marshal.dumps(code)).decode(), None, None],
        }

    edit_config(copy, trap)
    expected, found = keras2.read_keras2(saved[1]), keras2.read_keras2(copy)
    assert not trace.exists()
    assert found.keys() == expected.keys()
    for name in expected:
        for a, b in zip(found[name], expected[name], strict=True):
            np.testing.assert_array_equal(a, b)


def set_config(kind, **values):
    return lambda path: edit_config(
        path, lambda entries: first(kind, entries)["config"].update(values)
    )


def drop_convolution(path):
    """Leave out the last convolution of the first branch."""

    def drop(entries):
        joined = first("Concatenate", entries)["inbound_nodes"][0]
        joined[0] = entries.pop(joined[0][0])["inbound_nodes"][0][0]

    edit_config(path, drop)


def drop_branch(path):
    edit_config(path, lambda entries: first("Concatenate", entries)["inbound_nodes"][0].pop(0))


def make_loop(path):
    def loop(entries):
        dense = first("Dense", entries)
        dense["inbound_nodes"] = [[[dense["name"], 0, 0, {}]]]

    edit_config(path, loop)


def lambda_in_decoder(path):
    edit_config(path, lambda entries: first("UpSampling2D", entries).update(class_name="Lambda"))


def use_twice(path):
    def twice(entries):
        first("Dense", entries)["inbound_nodes"] *= 2

    edit_config(path, twice)


def set_attribute(name, value):
    def change(path):
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value

    return change


def weights_only(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]


def replace_kernel(make):
    """Put what make(file, path, name, array) makes in place of the kernel of the first Dense, of any number of rows."""

    def change(path):
        with h5py.File(path, "r+") as file:
            entries = json.loads(file.attrs["model_config"])["config"]["layers"]
            layer = next(entry["name"] for entry in entries if entry["class_name"] == "Dense")
            name = f"model_weights/{layer}/{layer}/kernel:0"
            array = file[name][()]
            del file[name]
            make(file, path, name, array)

    return change


def external_link(file, path, name, array):
    with h5py.File(f"{path}.other", "w") as other:
        other["kernel"] = array
    file[name] = h5py.ExternalLink(f"{path}.other", "kernel")


def soft_link(file, path, name, array):
    file["elsewhere"] = array
    file[name] = h5py.SoftLink("/elsewhere")


def external_storage(file, path, name, array):
    array.tofile(f"{path}.raw")
    file.create_dataset(name, array.shape, array.dtype, external=[(f"{path}.raw", 0, array.nbytes)])


def virtual(file, path, name, array):
    with h5py.File(f"{path}.other", "w") as other:
        other["kernel"] = array
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[:] = h5py.VirtualSource(f"{path}.other", "kernel", array.shape)
    file.create_virtual_dataset(name, layout)


def unallocated(file, path, name, array):
    file.create_dataset(name, (10**9, array.shape[1]), array.dtype, chunks=(1024, array.shape[1]))


def transposed(file, path, name, array):
    file[name] = array.T


def not_a_number(file, path, name, array):
    file[name] = np.full_like(array, np.nan)


def absent(file, path, name, array):
    pass


def group_instead(file, path, name, array):
    file.create_group(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_convolution, "does not end a branch of 6, of 10 or of 3 convolutions"),
        (drop_branch, "the fusion joins cn, edn; expected lfn, cn and"),
        (make_loop, "feeds itself"),
        (use_twice, "used more than once"),
        (lambda_in_decoder, "color: the layers are .*Lambda"),
        (set_config("Conv2D", strides=[4, 4]), "strides"),
        (set_config("Conv2D", padding="valid"), "padding"),
        (set_config("Conv2D", data_format="channels_first"), "data_format"),
        (set_config("Conv2D", activation="elu"), "activation"),
        (set_config("Dense", activation="relu"), "activation"),
        (set_config("Dense", units=7), "shapes"),
        (set_config("UpSampling2D", interpolation="bilinear"), "interpolation"),
        (set_config("Concatenate", axis=1), "concatenation on channels"),
        (set_attribute("keras_version", "3.15.0"), r"Keras 3\.15\.0"),
        (set_attribute("backend", "theano"), "theano"),
        (set_attribute("model_config", "{"), "JSON"),
        (set_attribute("model_config", "[" * 100_000), "Recursion"),
        (set_attribute("model_config", "[]"), "not a Keras 2 model"),
        (weights_only, "weights alone"),
        (replace_kernel(external_link), "is a link"),
        (replace_kernel(soft_link), "is a link"),
        (replace_kernel(external_storage), "not in the file"),
        (replace_kernel(virtual), "not in the file"),
        (replace_kernel(unallocated), "not in the file"),
        (replace_kernel(transposed), "shapes"),
        (replace_kernel(not_a_number), "finite"),
        (replace_kernel(absent), "has no 'kernel:0'"),
        (replace_kernel(group_instead), "is no dataset"),
    ],
)
def test_what_is_not_the_papers_network_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(model_file.BadModel, match=message) as caught:
        keras2.read_keras2(copy)
    assert str(caught.value).startswith(f"{copy}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    content = saved[1].read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(model_file.BadModel, match="damaged"):
        keras2.read_keras2(path)


def test_other_files_are_not_keras2(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    assert not keras2.is_keras2(path)
    with pytest.raises(model_file.BadModel):
        keras2.read_keras2(path)
    with pytest.raises(FileNotFoundError):
        keras2.read_keras2(tmp_path / "missing.h5")


def test_a_network_wider_than_the_limit_is_refused_before_it_is_built(copy, monkeypatch):
    monkeypatch.setattr(model_file, "MAX_WIDTH", 0.2)
    with pytest.raises(
        model_file.BadModel, match="0.25 times as wide as the paper's, the limit is 0.2"
    ) as caught:
        model_file.load(copy)
    assert str(caught.value).count(str(copy)) == 1


def integers(file, path, name, array):
    file[name] = array.astype("i4")


def packed(file, path, name, array):
    file.create_dataset(name, data=array, chunks=True, compression="gzip")


@pytest.mark.parametrize(
    ("make", "message"), [(integers, "floating-point"), (packed, "not in one piece")]
)
def test_only_plain_numbers_are_read(copy, make, message):
    replace_kernel(make)(copy)
    with pytest.raises(model_file.BadModel, match=message):
        keras2.read_keras2(copy)
