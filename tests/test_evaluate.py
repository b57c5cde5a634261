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
REFERENCES = ["all-gray", "mean ab", "photograph", "ceiling, T = 1.4, clipped", "ceiling, T = 1.8"]
PROTOCOLS = ("squashed", "own")
NETWORKS_OF_ALL = ("strong", "other", "broken")  # of the run of all tables


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
    files = {}
    for name, factor, more in (
        ("strong", 20, strong),
        ("other", -10, {"saturation": 1.8}),
        ("broken", 1, {"saturation": 1.8}),
        ("blank", 0, {"saturation": 1.8}),
        ("two", 20, strong | {"sizes": [SIZE, SIZE // 2]}),
    ):
        files[name] = folder / f"{name}.keras"
        weights = [*rest, factor * last, np.array([0.1, 0.2], np.float32)]
        metadata = {"arguments": ARGUMENTS, "size": SIZE} | more
        model_file.save(files[name], "aciids2020", weights, metadata)
    return files


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
    """The folder of one run of all tables, with three networks."""
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    models = [networks[name] for name in NETWORKS_OF_ALL]
    run(out, folder, "--model", *models, "--paired", "--groups")
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


def of(rows, method, protocol="squashed"):
    return [row for row in rows if row["method"] == method and row["protocol"] == protocol]


def row_name(path):
    return f"{path.parent.name}/{path.stem}"


def means(summary, method, protocol="squashed"):
    return {name: own["mean"] for name, own in summary["tables"][protocol][method].items()}


def target_of(rgb, saturation):
    return keras.ops.convert_to_numpy(preprocess.target(rgb[None], saturation))[0]


# --- the files


def test_every_picture_method_and_protocol_has_its_row(rows, summary, out, networks, folder):
    assert summary["pictures"] == {"measured": 5, "gray": 1, "broken": 1, "without_ssim": 0}
    names = REFERENCES + [row_name(networks[name]) for name in NETWORKS_OF_ALL]
    for protocol in PROTOCOLS:
        assert list(summary["tables"][protocol]) == names
        for name in names:
            assert [row["picture"] for row in of(rows, name, protocol)] == list(PHOTOGRAPHS)
    assert len(rows) == 2 * 8 * 5
    files = ["examples.png", "metrics.csv", "report.md", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    report, strong = (out / "report.md").read_text(encoding="utf-8"), row_name(networks["strong"])
    assert all(f"## {title}\n" in report for title in summary["tables"])
    psnr = summary["tables"]["own"][strong]["psnr"]
    assert "{mean:.4g} [{low:.4g}, {high:.4g}]".format(**psnr) in report
    # gray, colorized, photograph: best, median and worst of the two networks that give colours
    examples = np.asarray(Image.open(out / "examples.png")).reshape(2, SIZE, 9, SIZE, 3)
    best = max(of(rows, strong), key=lambda row: float(row["psnr"]))["picture"]
    rgb = preprocess.resize(np.asarray(Image.open(folder / best)), SIZE, SIZE)
    assert np.array_equal(examples[0, :, 2], rgb) and not np.array_equal(examples[0, :, 1], rgb)
    assert report.splitlines()[-2].split("|")[2].strip().startswith(f"{best}, ")


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
    found = {os.fsencode(row["picture"]) for row in read_rows(tmp_path / "out" / "metrics.csv")}
    assert found == set(names)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert r"M\udcfcller.png" in report and "写真.png" in report


# --- the numbers


def test_photograph_and_gray_are_the_ends_of_each_scale(summary, rows):
    for protocol in PROTOCOLS:
        best, gray = (means(summary, name, protocol) for name in ("photograph", "all-gray"))
        assert best["psnr"] == "inf" and best["ssim"] == 1 and best["ciede2000"] == 0
        assert [best["r"], best["auc"] / 100] == pytest.approx([1, 1], abs=1e-9)
        assert best["bleed"] == best["delta_cf"] == gray["bleed"] == 0
        assert gray["cf"] < 1 and best["cf"] > 10 and gray["r"] == "nan"
        assert ("relative_mse" in gray) == (protocol == "squashed")
    unit = {"mean": 1, "low": 1, "high": 1}
    assert summary["tables"]["squashed"]["all-gray"]["relative_mse"] == unit
    assert all(row["relative_mse"] == "1.0" for row in of(rows, "all-gray"))


def test_the_ceiling_is_the_target_on_the_true_lightness(summary, rows, folder):
    found = means(summary, "ceiling, T = 1.8")
    assert found["relative_mse"] == 0 and found["delta_cf"] > 5
    for name, row in zip(PHOTOGRAPHS, of(rows, "ceiling, T = 1.8", "own")):
        rgb = np.asarray(Image.open(folder / name))
        target = target_of(preprocess.resize(rgb, SIZE, SIZE), 1.8)
        result = preprocess.colorize(rgb, target)
        psnr = metrics.peak_signal_noise_ratio(rgb, result)
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-6)
        lab = color.rgb2lab(rgb)
        difference = color.deltaE_ciede2000(lab, color.rgb2lab(result))
        assert float(row["ciede2000"]) == pytest.approx(difference.mean(), abs=1e-3)
        ab = np.dstack(preprocess.enlarged(target, slice(0, len(rgb)), *rgb.shape[:2]))
        power = (ab * lab[..., 1:]).sum(axis=-1).mean()
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
    table = means(summary, row_name(networks[name]))
    assert table["relative_mse"] == pytest.approx(found["relative_mse"], rel=1e-4)
    assert table["ab_mse"] == pytest.approx(found["loss"], rel=1e-4)


def test_the_means_are_those_of_the_rows(summary, rows, networks):
    name = row_name(networks["strong"])
    for protocol in PROTOCOLS:
        own, table = of(rows, name, protocol), means(summary, name, protocol)
        for metric in ("psnr", "ssim", "ciede2000", "auc", "bleed", "saturation", "cf"):
            assert table[metric] == pytest.approx(np.mean([float(row[metric]) for row in own]))
        cf = means(summary, "photograph", protocol)["cf"]
        assert table["delta_cf"] == pytest.approx(abs(table["cf"] - cf))
    assert all(a["psnr"] != b["psnr"] for a, b in zip(of(rows, name), of(rows, name, "own")))


def test_pairs(summary, rows, networks):
    strong, other, broken = (row_name(networks[name]) for name in NETWORKS_OF_ALL)
    found = summary["tables"]["picture by picture, squashed"]
    pairs = [(strong, other), (strong, broken), (other, broken)]
    pairs += [("all-gray", name) for name in (strong, other, broken)]
    assert list(found) == [f"{second} minus {first}" for first, second in pairs]
    for first in (strong, "all-gray"):
        a, b = ([float(row["psnr"]) for row in of(rows, name)] for name in (first, other))
        psnr, mean = found[f"{other} minus {first}"]["psnr"], np.subtract(b, a).mean()
        assert psnr["mean"] == pytest.approx(mean) and psnr["low"] <= mean <= psnr["high"]
    assert set(found[f"{other} minus {strong}"]) == {"ab_mse", "psnr", "bleed", "ciede2000"}
    assert means(summary, broken)["relative_mse"] == means(summary, broken)["r"] == "nan"
    nothing = {"mean": "nan", "low": "nan", "high": "nan", "differs": False}
    assert found[f"{broken} minus {strong}"]["psnr"] == nothing


# --- options


def test_groups(rows, summary, networks, folder):
    """By top folder; the rows of a group make its means."""
    name = row_name(networks["strong"])
    for group in ("sub", folder.name):
        own = [
            row for row in of(rows, name) if row["picture"].startswith("sub") == (group == "sub")
        ]
        error, gray = (sum(float(row[column]) for row in own) for column in ("ab_mse", "gray_mse"))
        mean = means(summary, name, f"{group}, squashed")["relative_mse"]
        assert mean == pytest.approx(error / gray)


def test_saturation_limit_and_prior(networks, folder, tmp_path, monkeypatch):
    """A row for each factor by one run of the network; a namesake goes by its path."""
    seen, views = [], Predictor.views
    monkeypatch.setattr(Predictor, "views", lambda self, x: seen.append(1) or views(self, x))
    twin = tmp_path / networks["strong"].parent.name / "strong.keras"
    (tmp_path / "prior").mkdir()
    twin.parent.mkdir()
    shutil.copy(networks["strong"], twin)
    Image.new("RGB", (20, 20), (200, 60, 60)).save(tmp_path / "prior" / "red.png")
    options = ["--limit", 4, "--prior-data", tmp_path / "prior", "--saturation", 0, 0.5, 1, 0.5]
    models = ["--model", networks["strong"], "--model", twin]
    found = run(tmp_path / "out", folder, *options, "--paired", *models)
    counts, table = found["pictures"], found["tables"]["squashed"]
    assert sum(counts.values()) == 4 and len(table) == 3 + 3 * 3
    assert len(seen) == 2 * counts["measured"] + 2 * 3 * 3  # once, and the examples
    for factor in ("0", "0.5", "1"):
        rows = [table[f"{path}, x {factor}"] for path in (networks["strong"], twin)]
        assert rows[0] == rows[1]
    names = ("all-gray", *(f"{twin}, x {factor}" for factor in ("0", "0.5", "1")))
    gray, none, half, full = (means(found, name)["psnr"] for name in names)
    assert gray == none and len({none, half, full}) == 3
    assert found["methods"][f"{twin}, x 0.5"]["factor"] == 0.5
    pairs = found["tables"]["picture by picture, own"]
    assert len(pairs) == 3 + 6  # at the same factor, and with gray
    red = color.rgb2lab(np.uint8([[[200, 60, 60]]]))[0, 0, 1:]
    assert np.allclose(found["mean_ab"], red, atol=1e-3)


def test_ablation(networks, folder, tmp_path):
    """Without CN, a further row; on pictures that are all the same it changes nothing."""
    (tmp_path / "same").mkdir()
    for i in range(3):
        shutil.copy(folder / "0.png", tmp_path / "same" / f"{i}.png")
    name, errors = row_name(networks["strong"]), []
    for source in (folder, tmp_path / "same"):
        found = run(tmp_path, source, "--model", networks["strong"], "--ablate", "CN", "EDN")
        names = [name, f"{name} without CN", f"{name} without EDN"]
        assert list(found["tables"]["squashed"])[-3:] == names
        errors.append([means(found, row)["relative_mse"] for row in names])
    (plain, no_cn, no_edn), (plain_same, no_cn_same, no_edn_same) = errors
    assert no_cn_same == pytest.approx(plain_same, rel=1e-5)
    assert min(abs(plain - no_cn), abs(plain - no_edn), abs(plain_same - no_edn_same)) > 1e-4


def test_networks_see_the_sizes_of_their_files_and_robustness(networks, folder, tmp_path):
    """A second size is another view. Faults, by --seed, do not matter to a blank network."""
    models = [networks[name] for name in ("strong", "two", "blank")]
    strong, two, blank = map(row_name, models)
    options = ["--model", *models, "--degraded", "--borders", "--seed"]
    first, other = (run(tmp_path, folder, *options, seed) for seed in (0, 1))
    error = {name: means(first, name)["ab_mse"] for name in (strong, two, blank)}
    assert error[strong] != error[two]
    assert means(first, strong, "degraded")["ab_mse"] != means(other, strong, "degraded")["ab_mse"]
    for name in (strong, blank):
        found = means(first, name, "degraded")
        quotient = found["degraded_over_clean"]
        assert quotient == pytest.approx(found["ab_mse"] / error[name], rel=1e-3)
        assert (abs(quotient - 1) < 1e-5) == (name == blank)
    shifts = {
        name: means(first, name, "borders")["ab_shift"] for name in first["tables"]["borders"]
    }
    kinds = [f"{tone}, {width}" for tone in ("white", "black") for width in ("1%", "4%")]
    assert set(shifts) == {f"{name}, {kind}" for name in (strong, two, blank) for kind in kinds}
    assert all(shifts[f"{blank}, {kind}"] < 1e-3 < shifts[f"{strong}, {kind}"] for kind in kinds)
    rows = read_rows(tmp_path / "metrics.csv")
    assert len(rows) == 5 * (2 * len(first["methods"]) + 3 * (1 + 4))


def test_pictures_of_one_name_in_two_folders(folder, tmp_path):
    (tmp_path / "second").mkdir()
    shutil.copy(folder / "2.png", tmp_path / "second" / "0.png")
    run(tmp_path / "out", folder, "--data", folder, tmp_path / "second")
    rows = of(read_rows(tmp_path / "out" / "metrics.csv"), "all-gray")
    places = [folder / name for name in PHOTOGRAPHS] + [tmp_path / "second" / "0.png"]
    assert [Path(row["folder"], row["picture"]) for row in rows] == places
    assert rows[-1]["psnr"] == rows[1]["psnr"] != rows[0]["psnr"]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("--data nowhere", "nowhere: no such folder"),
        ("--prior-data nowhere", "nowhere: no such folder"),
        ("--model nothing.keras", "nothing.keras: no such file"),
        ("--model gray.png", "gray.png: not a network that train.py saved"),
        ("--model plain.keras --ablate EDN", "plain.keras: the network has no EDN"),
        ("--out gray.png", "gray.png: File exists"),
        ("--data empty", "empty: no colour photographs in it"),
        ("--data . empty", "empty is inside .: its pictures would count twice"),
        ("--degraded", "--degraded, --borders: need networks"),
        ("--size 100", "100 is not divisible by 8"),
    ],
)
def test_refused(folder, tmp_path, monkeypatch, capsys, wrong, said):
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "gray.png", "gray.png")
    Path("empty").mkdir()
    if "plain" in wrong:
        arguments = ARGUMENTS | {"edges": False}
        weights = aciids2020.build(**arguments).get_weights()
        metadata = {"arguments": arguments, "size": SIZE}
        model_file.save(Path("plain.keras"), "aciids2020", weights, metadata)
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["--data", str(folder), "--out", "out", *wrong.split()])
    error = capsys.readouterr().err.rpartition("\r")[2]  # after the progress of the scan
    assert stopped.value.code == 2 and error.startswith("evaluate.py: ")
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_measured_by_the_target_of_its_file(name, folder, tmp_path):
    arguments = {"width": 1 / 16}
    weights = NETWORKS[name].build(**arguments).get_weights()
    metadata = {"arguments": arguments, "size": SIZE, "saturation": 1.0}
    model_file.save(tmp_path / "best.keras", name, weights, metadata)
    found = run(tmp_path, folder, "--model", tmp_path / "best.keras", "--limit", 2)
    row = row_name(tmp_path / "best.keras")
    assert found["methods"][row]["target"] == "T = 1"
    assert np.isfinite([means(found, row)[name] for name in ("relative_mse", "psnr")]).all()
