"""evaluate.py from its options to its files, on small crops and with tiny networks."""

import builtins
import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import color, data, metrics

import evaluate
from configs import Config
from data import preprocess
from data.batches import Batches
from inference.view import Predictor
from models import NETWORKS, aciids2020
from models import file as model_file
from training.model import TrainingModel

pytestmark = pytest.mark.slow

SIZE = 64
ARGUMENTS = {"width": 1 / 16, "global_size": SIZE}
PHOTOGRAPHS = ("0.png", "2.png", "4.png", "sub/1.png", "sub/3.png")
REFERENCES = ["all-gray", "photograph", "ceiling, T = 1.4, clipped", "ceiling, T = 1.8"]


def run(out, folder, *options):
    """summary.json of evaluate.py with these options, run in this process."""
    options = ["--data", folder, "--out", out, "--size", SIZE, *options]
    evaluate.main([*map(str, options)])
    text = (out / "summary.json").read_text()
    return json.loads(text, parse_constant=lambda text: pytest.fail(f"not JSON: {text}"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory, broken_gives_no_numbers):
    """Files by name: two of strong colours, one that gives NaN, one blank, one of two sizes."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    *rest, last, _ = aciids2020.build(**ARGUMENTS).get_weights()
    strong = {"saturation": 1.4, "training": {"clip_saturation": True}}
    for name, factor, more in (
        ("strong", 20, strong),
        ("other", -10, {"saturation": 1.8}),
        ("broken", 1, {"saturation": 1.8}),
        ("blank", 0, {"saturation": 1.8}),
        ("two", 20, strong | {"sizes": [SIZE, SIZE // 2]}),
    ):
        weights = [*rest, factor * last, np.array([0.1, 0.2], np.float32)]
        metadata = {"arguments": ARGUMENTS, "size": SIZE} | more
        model_file.save(folder / f"{name}.keras", "aciids2020", weights, metadata)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five colour photographs, a gray and a broken one."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "sub").mkdir()
    crops = ("astronaut", 20), ("chelsea", 60), ("coffee", 100), ("rocket", 150), ("coffee", 200)
    for i, (name, top) in enumerate(crops):
        crop = getattr(data, name)()[top : top + 72 + i, 150:230]
        Image.fromarray(crop).save(folder / ("sub" if i % 2 else ".") / f"{i}.png")
    Image.fromarray(data.camera()[:80, :80]).save(folder / "gray.png")
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def out(networks, folder, tmp_path_factory):
    """The folder of one run with two networks."""
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    run(out, folder, "--model", networks["strong"], networks["other"], "--paired")
    return out


@pytest.fixture(scope="module")
def summary(out):
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def rows(out):
    return read_rows(out / "metrics.csv")


def read_rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def of(rows, method):
    return [row for row in rows if row["method"] == str(method)]


def means(summary, method, table="squashed"):
    return {name: own["mean"] for name, own in summary["tables"][table][str(method)].items()}


# --- the files


def test_every_picture_and_method_has_its_row(rows, summary, out, networks, folder):
    assert summary["pictures"] == {"measured": 5, "gray": 1, "broken": 1}
    names = REFERENCES + [str(networks[name]) for name in ("strong", "other")]
    assert list(summary["tables"]["squashed"]) == names and len(rows) == 5 * len(names)
    for name in names:
        assert [row["picture"] for row in of(rows, name)] == [str(folder / x) for x in PHOTOGRAPHS]
    files = ["examples.png", "metrics.csv", "report.md", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    report, strong = (out / "report.md").read_text(encoding="utf-8"), str(networks["strong"])
    assert all(f"## {title}\n" in report for title in summary["tables"])
    psnr = summary["tables"]["squashed"][strong]["psnr"]
    assert "{mean:.4g} [{low:.4g}, {high:.4g}]".format(**psnr) in report
    # gray, colorized, photograph: best, median and worst of the two networks
    examples = np.asarray(Image.open(out / "examples.png")).reshape(2, SIZE, 9, SIZE, 3)
    best, *_, worst = sorted(of(rows, strong), key=lambda row: -float(row["psnr"]))
    for row, place in (best, 2), (worst, 8):
        rgb = preprocess.resize(np.asarray(Image.open(row["picture"])), SIZE, SIZE)
        assert np.array_equal(examples[0, :, place], rgb)
        assert not np.array_equal(examples[0, :, place - 1], rgb)
    assert report.splitlines()[-2].split("|")[2].strip().startswith(f"{best['picture']}, ")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_any_name_in_any_code_page(networks, folder, tmp_path, monkeypatch):
    """Names that are not UTF-8, or not of the code page, are written and printed."""
    names = [b"M\xfcller.png", "写真.png".encode()]
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(folder / "0.png", os.path.join(os.fsencode(tmp_path / "in"), name))
    model = tmp_path / "走る" / "best.keras"
    model.parent.mkdir()
    shutil.copy(networks["strong"], model)
    opened, screen = builtins.open, io.TextIOWrapper(io.BytesIO(), encoding="cp1252")

    def in_cp1252(file, mode="r", buffering=-1, encoding=None, *rest, **options):
        if encoding is None and "b" not in mode and not isinstance(file, int):
            encoding = "cp1252"
        return opened(file, mode, buffering, encoding, *rest, **options)

    monkeypatch.setattr(builtins, "open", in_cp1252)
    monkeypatch.setattr(sys, "stdout", screen)
    run(tmp_path / "out", tmp_path / "in", "--model", model)
    screen.flush()
    assert r"\u8d70\u308b/best" in screen.buffer.getvalue().decode("cp1252")
    rows = read_rows(tmp_path / "out" / "metrics.csv")
    found = {os.path.basename(os.fsencode(row["picture"])) for row in rows}
    assert found == set(names)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert r"M\udcfcller.png" in report and "写真.png" in report


# --- the numbers


def test_photograph_and_gray_are_the_ends_of_each_scale(summary, rows):
    best, gray = (means(summary, name) for name in ("photograph", "all-gray"))
    assert best["psnr"] == "Infinity" and best["ssim"] == 1 and best["ciede2000"] == 0
    assert best["r"] == pytest.approx(1, abs=1e-9)
    assert best["bleed"] == gray["bleed"] == 0
    assert gray["cf"] < 1 and best["cf"] > 10 and gray["r"] == "NaN"
    unit = {"mean": 1, "low": 1, "high": 1}
    assert summary["tables"]["squashed"]["all-gray"]["relative_mse"] == unit


def test_the_ceiling_is_the_target_on_the_true_lightness(summary, rows, folder):
    found = means(summary, "ceiling, T = 1.8")
    assert found["relative_mse"] == 0 and found["cf"] > means(summary, "photograph")["cf"] + 5
    for row in of(rows, "ceiling, T = 1.8"):
        rgb = preprocess.resize(np.asarray(Image.open(row["picture"])), SIZE, SIZE)
        target = keras.ops.convert_to_numpy(preprocess.target(rgb[None], 1.8))[0]
        result = preprocess.colorize(rgb, target)
        psnr = metrics.peak_signal_noise_ratio(rgb, result)
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-6)
        lab = color.rgb2lab(rgb)
        difference = color.deltaE_ciede2000(lab, color.rgb2lab(result))
        assert float(row["ciede2000"]) == pytest.approx(difference.mean(), abs=1e-3)
        power = (target * lab[..., 1:]).sum(axis=-1).mean()
        assert float(row["common_power"]) == pytest.approx(power, rel=1e-3)


@pytest.mark.parametrize("name", ["strong", "other"])
def test_the_relative_mse_is_that_of_training(networks, folder, summary, name):
    network, metadata = model_file.load(networks[name])
    clip = metadata.get("training", {}).get("clip_saturation", False)
    config = Config(saturation=metadata["saturation"], clip_saturation=clip)
    model = TrainingModel(network, config)
    model.compile(optimizer="sgd", jit_compile=False)
    batches = Batches([folder / name for name in PHOTOGRAPHS], SIZE, 2)
    found = model.evaluate(batches, verbose=0, return_dict=True)
    expected = pytest.approx(found["relative_mse"], rel=1e-4)
    assert means(summary, networks[name])["relative_mse"] == expected


def test_means_and_pairs_are_those_of_the_rows(summary, rows, networks):
    values = {}
    for name in ("all-gray", networks["strong"], networks["other"]):
        for metric in ("psnr", "ssim", "ciede2000", "bleed", "saturation", "cf"):
            own = values[name, metric] = [float(row[metric]) for row in of(rows, name)]
            assert means(summary, name)[metric] == pytest.approx(np.mean(own))
    gray, strong, other = (
        values[name, "psnr"] for name in list(dict.fromkeys(x for x, _ in values))
    )
    found = summary["tables"]["picture by picture"]
    names = [f"{networks['other']} minus {networks['strong']}"]
    names += [f"{networks[name]} minus all-gray" for name in ("strong", "other")]
    assert list(found) == names
    for name, differences in zip(names, np.subtract([other, strong, other], [strong, gray, gray])):
        psnr = found[name]["psnr"]
        assert psnr["mean"] == pytest.approx(differences.mean())
        assert psnr["low"] <= psnr["mean"] <= psnr["high"]


# --- options


def test_saturation_and_limit(networks, folder, tmp_path, monkeypatch):
    """A row for each factor by one run of the network."""
    seen, views = [], Predictor.views
    monkeypatch.setattr(Predictor, "views", lambda self, x: seen.append(1) or views(self, x))
    model = networks["strong"]
    options = ["--limit", 4, "--saturation", 0, 0.5, 1, 0.5, "--model", model, model, "--paired"]
    found = run(tmp_path / "out", folder, *options)
    counts, table = found["pictures"], found["tables"]["squashed"]
    assert sum(counts.values()) == 4 and len(table) == 2 + 2 * 3
    assert len(seen) == counts["measured"] + 3 * 3  # once, and the examples
    names = "all-gray", f"{model}, x 0", f"{model}, x 0.5", model
    gray, none, half, full = (means(found, name)["psnr"] for name in names)
    assert gray == none and len({none, half, full}) == 3
    assert found["methods"][f"{model}, x 0.5"] == {"target": "T = 1.4, clipped", "factor": 0.5}
    assert len(found["tables"]["picture by picture"]) == 3  # with gray


def test_networks_see_the_sizes_of_their_files_and_robustness(networks, folder, tmp_path):
    """A blank network sees no faults and no borders."""
    strong, two, blank = models = [networks[name] for name in ("strong", "two", "blank")]
    options = ["--model", *models, "--degraded", "--borders", "--seed"]
    first, other = (run(tmp_path, folder, *options, seed) for seed in (0, 1))
    error, degraded, again = (
        {name: means(found, name, table)["relative_mse"] for name in models}
        for found, table in ((first, "squashed"), (first, "degraded"), (other, "degraded"))
    )
    assert error[strong] != error[two] and degraded[strong] != again[strong]
    for name in (strong, blank):
        assert (abs(degraded[name] / error[name] - 1) < 1e-5) == (name == blank)
    shifts = {
        name: means(first, name, "borders")["ab_shift"] for name in first["tables"]["borders"]
    }
    kinds = [f"{tone}, {width}" for tone in ("white", "black") for width in ("1%", "4%")]
    assert set(shifts) == {f"{name}, {kind}" for name in models for kind in kinds}
    assert all(shifts[f"{blank}, {kind}"] < 1e-3 < shifts[f"{strong}, {kind}"] for kind in kinds)
    rows = read_rows(tmp_path / "metrics.csv")
    assert len(rows) == 5 * (len(first["methods"]) + 3 * (1 + 4))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("--data nowhere", "nowhere: no such folder, or no colour photographs in it"),
        ("--model nothing.keras", "nothing.keras: no such file"),
        ("--model gray.png", "gray.png: not a network that train.py saved"),
        ("--model {broken}", "broken.keras: the network gives no finite colours"),
        ("--film gray.png", "--film: goes with one --model"),
        ("--out gray.png", "gray.png: File exists"),
        ("--data empty", "empty: no such folder, or no colour photographs in it"),
        ("--data . empty", "empty is inside .: its pictures would count twice"),
        ("--degraded", "--degraded, --borders: need networks"),
        ("--size 100", "100 is not divisible by 8"),
    ],
)
def test_refused(networks, folder, tmp_path, monkeypatch, capsys, wrong, said):
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "gray.png", "gray.png")
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--data", str(folder), "--out", "out", *wrong.format(**networks).split()])
    error = capsys.readouterr().err.rpartition("\r")[2]  # after the progress of the scan
    assert stopped.value.code == 1 + ("--out" not in wrong) and error.startswith("evaluate.py: ")
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_measured_by_the_target_of_its_file(name, folder, tmp_path):
    arguments = {"width": 1 / 16}
    weights = NETWORKS[name].build(**arguments).get_weights()
    metadata = {"arguments": arguments, "size": SIZE, "saturation": 1.0}
    model_file.save(tmp_path / "best.keras", name, weights, metadata)
    found = run(tmp_path, folder, "--model", tmp_path / "best.keras", "--limit", 2)
    name = str(tmp_path / "best.keras")
    assert found["methods"][name] == {"target": "T = 1", "factor": 1}
    assert np.isfinite([means(found, name)[x] for x in ("relative_mse", "psnr")]).all()
