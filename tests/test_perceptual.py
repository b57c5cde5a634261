"""FID and LPIPS give what the packages give that define them, with the same weights, and read those weights safely.

The expected numbers were computed by lpips 0.1.4, pytorch-fid 0.3.0 and torchvision 0.29 with the weights of `drawn`.
"""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch_files
from keras import layers
from PIL import Image
from skimage import data

import evaluate
from evaluation import perceptual, torchfile
from inference import model_file
from models import aciids2020

FIRST, SECOND = data.astronaut()[100:196, 150:246], data.chelsea()[100:196, 150:246]


def drawn(shapes, seed):
    """Numbers for tensors of PyTorch's names and shapes, the same for the same names."""
    rng, found = np.random.default_rng(seed), {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) == 4:
            found[name] = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith(("running_var", "bn.weight")):
            found[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            found[name] = 0.1 * rng.standard_normal(shape, np.float32)
    return found


def turned(shape):
    """Keras' shape of a kernel -> PyTorch's."""
    return (shape[3], shape[2], shape[0], shape[1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of drawn weights: {"inception", "alexnet", "linear"}, of both kinds that torch writes."""
    folder = tmp_path_factory.mktemp("weights")
    convolutions = [layer for layer in perceptual._inception().layers if isinstance(layer, layers.Conv2D)]
    shapes = {}
    for layer in convolutions:
        name, kernel = layer.name.replace("-", "."), layer.get_weights()[0]
        shapes[f"{name}.conv.weight"] = turned(kernel.shape)
        shapes |= {f"{name}.bn.{part}": (layer.filters,) for part in ("weight", "bias", "running_mean", "running_var")}
    torch_files.write(folder / "inception.pth", drawn(shapes, 3), old=True)
    shapes = {}
    for i, *_ in perceptual.ALEXNET:
        kernel, bias = perceptual._alexnet().get_layer(f"features_{i}").get_weights()
        shapes |= {f"features.{i}.weight": turned(kernel.shape), f"features.{i}.bias": bias.shape}
    torch_files.write(folder / "alexnet.pth", drawn(shapes, 1))
    linear = {
        f"lin{i}.model.1.weight": np.random.default_rng(2 + i).uniform(0, 1, (1, filters, 1, 1)).astype(np.float32)
        for i, (_, filters, *_) in enumerate(perceptual.ALEXNET)
    }
    torch_files.write(folder / "linear.pth", linear, old=True)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def fid(weights):
    return perceptual.Fid(weights["inception"])


def test_lpips_is_that_of_its_package(weights):
    lpips = perceptual.Lpips(weights["alexnet"], weights["linear"])
    found = lpips(np.stack([FIRST, FIRST, FIRST]), np.stack([SECOND, FIRST[:, ::-1], FIRST]))
    assert found == pytest.approx([1.8100114, 1.2740427, 0], rel=1e-4)


def test_the_features_of_fid_are_those_of_its_package(fid):
    found = fid.features(np.stack([FIRST, SECOND]))
    assert found.shape == (2, 2048)
    assert found.mean() == pytest.approx(2.5789833, rel=1e-4) and found.std() == pytest.approx(3.777991, rel=1e-4)
    assert found[0, :3] == pytest.approx([0, 0.5481054, 11.319613], rel=1e-3)
    assert found[1, -3:] == pytest.approx([6.2465854, 4.801344, 5.0289717], rel=1e-3)


def test_the_frechet_distance_is_that_of_its_package():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((40, 6)), rng.standard_normal((50, 6)) @ rng.standard_normal((6, 6)) + 1
    normal = [perceptual.gaussian(len(x), x.sum(axis=0), x.T @ x) for x in (first, second)]
    assert np.allclose(normal[1][1], np.cov(second, rowvar=False))
    assert perceptual.frechet(*normal) == pytest.approx(19.137284382895366)
    assert perceptual.frechet(normal[0], normal[0]) == pytest.approx(0, abs=1e-9)


def test_fid_is_of_whole_sets_of_equal_size(fid):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, 64, 64, 3), np.uint8)
    fid.add("all", pictures)
    for part in (pictures[:1], pictures[1:]):
        fid.add("in parts", part)
    fid.add("darker", pictures // 2)
    fid.add("fewer", pictures[:3])
    assert fid.distance("in parts", "all") == pytest.approx(0, abs=0.01) and fid.distance("darker", "all") > 1
    assert all(np.isnan(fid.distance(name, "all")) for name in ("fewer", "absent"))


@pytest.mark.parametrize("old", [False, True])
def test_files_as_torch_writes_them(old, tmp_path):
    """The same from torch, where it is installed, as from the writer of these tests; a view shares its storage."""
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array([[7]], "i8"), "c": np.float64(0.5).reshape(1)}
    torch_files.write(tmp_path / "own.pth", arrays, old)
    found = torchfile.read(tmp_path / "own.pth")
    assert all(np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items())
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors |= {"turned": tensors["a"].T, "part": tensors["a"][:, 1:], "learned": torch.nn.Parameter(tensors["a"])}
    torch.save(tensors, tmp_path / "torch.pth", _use_new_zipfile_serialization=not old)
    found = torchfile.read(tmp_path / "torch.pth")
    assert all(np.array_equal(found[name], tensor.detach().numpy()) for name, tensor in tensors.items())


class Harm:
    def __reduce__(self):
        return print, ("harm",)


@pytest.mark.parametrize("old", [False, True])
def test_code_in_a_file_is_not_run(old, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    if old:
        path.write_bytes(torch_files.pickled(torchfile.MAGIC) + pickle.dumps(Harm(), 2))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights/data.pkl", pickle.dumps(Harm(), 2))
    with pytest.raises(model_file.BadModel, match="bad.pth: it asks for .*print, which holds no numbers"):
        torchfile.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("left", [0, 10, 0.5, 0.98])
def test_a_file_cut_short_is_one_line(left, old, tmp_path):
    path = tmp_path / "cut.pth"
    torch_files.write(path, {"a": np.zeros((50, 50), "f4"), "b": np.zeros((50, 50), "f4")}, old)
    content = path.read_bytes()
    path.write_bytes(content[: left if left in (0, 10) else int(left * len(content))])
    with pytest.raises(model_file.BadModel) as error:
        torchfile.read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda x: x.pop("features.3.bias"), r"features.3.bias is not there, expected \(192,\)"),
        (lambda x: x.update({"features.3.bias": np.zeros(5, "f4")}), r"features.3.bias is of shape \(5,\), expected"),
        (lambda x: x["features.8.weight"].fill(np.nan), "features.8.weight holds numbers that are not finite"),
    ],
)
def test_other_weights_are_refused(change, reason, weights, tmp_path):
    arrays = torchfile.read(weights["alexnet"])
    change(arrays)
    torch_files.write(tmp_path / "other.pth", arrays)
    with pytest.raises(model_file.BadModel, match=reason):
        perceptual.Lpips(tmp_path / "other.pth", weights["linear"])


def test_in_the_table_of_evaluate(weights, broken_gives_no_numbers, tmp_path):
    """The photographs are at 0, gray is not, and a network that gives no numbers has none."""
    for i in range(3):
        Image.fromarray(data.coffee()[100 * i : 100 * i + 64, 200:264]).save(tmp_path / f"{i}.png")
    arguments = {"width": 1 / 16, "global_size": 64}
    network = aciids2020.build(**arguments).get_weights()
    model_file.save(tmp_path / "broken.keras", "aciids2020", network, {"arguments": arguments, "size": 64})
    judges = ["--fid", weights["inception"], "--lpips", weights["alexnet"], weights["linear"]]
    command = ["--data", tmp_path, "--model", tmp_path / "broken.keras", "--size", 64, "--out", tmp_path / "out", *judges]
    evaluate.main([*map(str, command)])
    result = json.loads((tmp_path / "out/statistics.json").read_text())
    table = result["protocols"]["squashed"]
    broken = table[f"{tmp_path.name}/broken"]
    assert table["photograph"]["lpips"]["mean"] == 0 and table["photograph"]["fid"]["mean"] == pytest.approx(0, abs=0.01)
    assert table["all-gray"]["lpips"]["low"] > 0.01 and table["all-gray"]["fid"]["mean"] > 1
    assert table["all-gray"]["fid"]["low"] is None
    assert broken["lpips"]["mean"] == broken["fid"]["mean"] == "nan"
    assert "lpips" not in result["protocols"]["own"]["all-gray"]
    page = (tmp_path / "out/report.html").read_text()
    assert "FID" in page and "LPIPS" in page and "None" not in page


def test_too_small_for_lpips(weights, tmp_path, capsys):
    files = [str(weights[name]) for name in ("alexnet", "linear")]
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--size", "24", "--lpips", *files])
    assert stopped.value.code == 2 and "AlexNet needs a --size of 32 or more" in capsys.readouterr().err
