"""evaluate.py from the command line to the files, on small crops and with tiny networks."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import color, data, metrics

import evaluate
from data import preprocess
from data.batches import Batches
from evaluation.options import parse
from inference.view import Predictor
from models import aciids2020
from models import file as model_file
from training.model import TrainingModel

pytestmark = pytest.mark.slow

SIZE = 64
ARGUMENTS = {"width": 1 / 16, "global_size": SIZE}


def run(arguments):
    """evaluate.py with these arguments, in this process."""
    evaluate.main(parse([*map(str, arguments)]))


@pytest.fixture(scope="module")
def networks(tmp_path_factory, broken_gives_no_numbers):
    """Files of untrained networks: two of strong colours with targets of their own, and one that gives no numbers."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    *rest, last, _ = aciids2020.build(**ARGUMENTS).get_weights()
    kinds = {
        "strong": {"saturation": 1.4, "training": {"clip_saturation": True}},
        "other": {"saturation": 1.8},
        "broken": {},
    }
    ends = {
        "strong": (20 * last, (0.1, 0.2)),
        "other": (-10 * last, (0, 0.1)),
        "broken": (last, (0, 0)),
    }
    for name, (kernel, bias) in ends.items():
        metadata = {"arguments": ARGUMENTS, "size": SIZE} | kinds[name]
        model_file.save(
            folder / f"{name}.keras",
            "aciids2020",
            [*rest, kernel, np.array(bias, np.float32)],
            metadata,
        )
    return folder


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
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    names = [networks / f"{name}.keras" for name in ("strong", "other", "broken")]
    run(
        [
            "--data",
            str(folder),
            "--model",
            *map(str, names),
            "--out",
            str(out),
            "--size",
            str(SIZE),
            "--paired",
        ]
    )
    return out


@pytest.fixture(scope="module")
def summary(out):
    return json.loads(
        (out / "summary.json").read_text(),
        parse_constant=lambda text: pytest.fail(f"not JSON: {text}"),
    )


@pytest.fixture(scope="module")
def rows(out):
    with open(out / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def model_name(networks, name):
    return f"{networks.name}/{name}"


def of(rows, method, protocol="squashed"):
    return [row for row in rows if row["method"] == method and row["protocol"] == protocol]


def colour_files(folder):
    return [folder / name for name in ("0.png", "2.png", "4.png", "sub/1.png", "sub/3.png")]


def test_every_picture_method_and_protocol_has_its_row(rows, summary, folder, networks):
    assert summary["pictures"] == {"measured": 5, "gray": 1, "broken": 1, "without_ssim": 0}
    references = [
        "all-gray",
        "mean ab",
        "photograph",
        "ceiling, T = 1.4, clipped",
        "ceiling, T = 1.8",
    ]
    names = references + [model_name(networks, name) for name in ("strong", "other", "broken")]
    for protocol in ("squashed", "own"):
        assert list(summary["protocols"][protocol]) == names
        for name in names:
            assert [folder / row["picture"] for row in of(rows, name, protocol)] == colour_files(
                folder
            )
    assert len(rows) == 2 * 8 * 5


def test_the_photograph_is_perfect(summary):
    for protocol in ("squashed", "own"):
        found = {
            name: value["mean"]
            for name, value in summary["protocols"][protocol]["photograph"].items()
        }
        assert found["psnr"] == "inf" and found["ssim"] == 1 and found["ciede2000"] == 0
        assert [found["auc"], found["auc_rebalanced"]] == pytest.approx([100, 100], abs=1e-9)
        assert (
            found["bleed"] == found["delta_cf"] == found["out_of_gamut"] == 0 and found["cf"] > 10
        )


def test_all_gray_is_the_unit_of_the_relative_mse(summary, rows):
    found = summary["protocols"]["squashed"]["all-gray"]
    assert found["relative_mse"] == {"mean": 1, "low": 1, "high": 1}
    assert found["bleed"]["mean"] == 0 and found["cf"]["mean"] < 1
    assert all(row["relative_mse"] == "1.0" for row in of(rows, "all-gray"))
    assert "relative_mse" not in summary["protocols"]["own"]["all-gray"]


def test_the_ceiling_is_the_target_on_the_true_lightness(summary, rows, folder):
    found = summary["protocols"]["squashed"]["ceiling, T = 1.8"]
    assert (
        found["relative_mse"]["mean"] == 0
        and found["delta_cf"]["mean"] > 5
        and found["out_of_gamut"]["mean"] > 0
    )
    for path, row in zip(colour_files(folder), of(rows, "ceiling, T = 1.8", "own")):
        rgb = np.asarray(Image.open(path))
        small = preprocess.resize(rgb, SIZE, SIZE)
        target = keras.ops.convert_to_numpy(preprocess.target(small[None], 1.8))[0]
        result = preprocess.colorize(rgb, target)
        assert float(row["psnr"]) == pytest.approx(
            metrics.peak_signal_noise_ratio(rgb, result), abs=1e-6
        )
        difference = color.deltaE_ciede2000(color.rgb2lab(rgb), color.rgb2lab(result))
        assert float(row["ciede2000"]) == pytest.approx(difference.mean(), abs=1e-3)


def test_the_mean_ab_is_that_of_the_pictures(summary, folder):
    small = [
        preprocess.resize(np.asarray(Image.open(path)), SIZE, SIZE) for path in colour_files(folder)
    ]
    mean = np.mean([color.rgb2lab(rgb)[..., 1:].mean(axis=(0, 1)) for rgb in small], axis=0)
    assert np.allclose(summary["common_colors"]["mean_ab"], mean, atol=1e-3)
    assert summary["common_colors"]["data"] == [str(folder)]


@pytest.mark.parametrize("name", ["strong", "other"])
def test_the_relative_mse_is_that_of_training(networks, folder, summary, name):
    network, metadata = model_file.load(networks / f"{name}.keras")
    model = TrainingModel(
        network,
        aciids2020.make_loss(),
        metadata["saturation"],
        metadata.get("training", {}).get("clip_saturation", False),
    )
    model.compile(optimizer="sgd", jit_compile=False)
    found = model.evaluate(Batches(colour_files(folder), SIZE, 2), verbose=0, return_dict=True)
    table = summary["protocols"]["squashed"][model_name(networks, name)]
    assert table["relative_mse"]["mean"] == pytest.approx(found["relative_mse"], rel=1e-4)
    assert table["ab_mse"]["mean"] == pytest.approx(found["loss"], rel=1e-4)


def test_the_means_are_those_of_the_rows(summary, rows, networks):
    for protocol in ("squashed", "own"):
        for name in ("all-gray", model_name(networks, "strong")):
            own = of(rows, name, protocol)
            found = summary["protocols"][protocol][name]
            for metric in (
                "psnr",
                "ssim",
                "ciede2000",
                "auc",
                "bleed",
                "cf",
                "cf_abs",
                "out_of_gamut",
            ):
                assert found[metric]["mean"] == pytest.approx(
                    np.mean([float(row[metric]) for row in own])
                )
                assert found[metric]["low"] <= found[metric]["mean"] <= found[metric]["high"]
            photographs = np.mean([float(row["cf"]) for row in of(rows, "photograph", protocol)])
            assert found["delta_cf"]["mean"] == pytest.approx(
                abs(found["cf"]["mean"] - photographs)
            )
            rarity, auc = (
                np.array([float(row[column]) for row in own])
                for column in ("rarity", "auc_rebalanced")
            )
            assert found["auc_rebalanced"]["mean"] == pytest.approx(
                (rarity * auc).sum() / rarity.sum()
            )


def test_protocols_differ(rows, networks):
    squashed, own = (
        of(rows, model_name(networks, "strong"), protocol) for protocol in ("squashed", "own")
    )
    assert all(a["psnr"] != b["psnr"] for a, b in zip(squashed, own))
    assert all(row["relative_mse"] == "" for row in own)


def test_the_own_size_can_be_left_out(summary, networks, folder, tmp_path):
    run(
        [
            "--data",
            folder,
            "--model",
            networks / "strong.keras",
            "--out",
            tmp_path,
            "--size",
            SIZE,
            "--squashed-only",
        ]
    )
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["protocols"].keys() == {"squashed"} and found["pictures"] == summary["pictures"]
    name = model_name(networks, "strong")
    assert found["protocols"]["squashed"][name] == summary["protocols"]["squashed"][name]
    assert (tmp_path / "report.html").stat().st_size


def test_a_network_without_numbers_is_reported_as_such(summary, out, networks):
    found = summary["protocols"]["squashed"][model_name(networks, "broken")]
    assert found["psnr"]["mean"] == found["relative_mse"]["mean"] == "nan"
    assert "no finite colours" in (out / "report.html").read_text()


def test_pairs(summary, rows, networks):
    strong, other, broken = (model_name(networks, name) for name in ("strong", "other", "broken"))
    found = summary["paired"]["squashed"]
    assert [(pair["first"], pair["second"]) for pair in found] == [
        (strong, other),
        (strong, broken),
        (other, broken),
    ]
    difference = [
        float(b["psnr"]) - float(a["psnr"]) for a, b in zip(of(rows, strong), of(rows, other))
    ]
    assert found[0]["psnr"]["difference"] == pytest.approx(np.mean(difference))
    assert found[0]["psnr"]["low"] <= np.mean(difference) <= found[0]["psnr"]["high"]
    assert set(found[0]) == {"first", "second", "ab_mse", "psnr", "bleed", "ciede2000"}
    assert found[1]["psnr"] == {"difference": "nan", "low": "nan", "high": "nan", "differs": False}


def test_the_page_needs_nothing_beside_it(out):
    page = (out / "report.html").read_text()
    sources = re.findall(r"""(?:src|href)=['"]([^'"]{0,30})""", page)
    assert len(sources) == 2 * 2 + 2 * 3 * 4 and all(
        source.startswith("data:image/") for source in sources
    )
    assert "http" not in re.sub(r"base64,[^']*", "", page)
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.csv",
        "report.html",
        "summary.csv",
        "summary.json",
    ]


def test_summary_csv_is_the_json(out, summary):
    with open(out / "summary.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(
        len(own) for table in summary["protocols"].values() for own in table.values()
    )
    for line in lines:
        found = summary["protocols"][line["table"]][line["method"]][line["metric"]]
        assert [str(found[key]) for key in ("mean", "low", "high")] == [
            line[key] for key in ("mean", "low", "high")
        ]


def test_options(networks, folder, tmp_path, capsys):
    """--limit, --saturation and --prior-data; a second network of the same name goes by its path."""
    twin = tmp_path / networks.name / "strong.keras"
    twin.parent.mkdir()
    shutil.copy(networks / "strong.keras", twin)
    prior = tmp_path / "prior"
    prior.mkdir()
    Image.fromarray(np.full((20, 20, 3), (200, 60, 60), np.uint8)).save(prior / "red.png")
    out = tmp_path / "out"
    arguments = [
        "--data",
        folder,
        "--out",
        out,
        "--size",
        SIZE,
        "--limit",
        4,
        "--saturation",
        0,
        "--prior-data",
        prior,
    ]
    run([*arguments, "--model", str(twin), "--model", str(networks / "strong.keras")])
    found = json.loads((out / "summary.json").read_text())
    assert sum(found["pictures"].values()) == 4 and "paired" not in found
    table = found["protocols"]["squashed"]
    assert table[str(twin)] == table[str(networks / "strong.keras")]
    assert (
        table[str(twin)]["psnr"] == table["all-gray"]["psnr"]
        and table[str(twin)]["relative_mse"] != table["all-gray"]["relative_mse"]
    )
    assert np.allclose(
        found["common_colors"]["mean_ab"],
        color.rgb2lab(np.uint8([[[200, 60, 60]]]))[0, 0, 1:],
        atol=1e-3,
    )
    assert "all-gray" in capsys.readouterr().out


def test_ablation(networks, folder, tmp_path):
    """Without CN, a further row; on pictures that are all the same it is that of the whole network."""
    path, name = networks / "strong.keras", model_name(networks, "strong")
    (tmp_path / "same").mkdir()
    for i in range(3):
        shutil.copy(folder / "0.png", tmp_path / "same" / f"{i}.png")
    ratios = {}
    for data_folder in (folder, tmp_path / "same"):
        arguments = [
            "--data",
            data_folder,
            "--model",
            path,
            "--size",
            SIZE,
            "--out",
            tmp_path,
            "--ablate",
            "CN",
            "EDN",
        ]
        run(arguments)
        table = json.loads((tmp_path / "summary.json").read_text())["protocols"]["squashed"]
        assert list(table)[-3:] == [name, f"{name} without CN", f"{name} without EDN"]
        ratios[data_folder] = [table[row]["relative_mse"]["mean"] for row in list(table)[-3:]]
    (whole, no_cn, no_edn), (whole_same, no_cn_same, no_edn_same) = ratios.values()
    assert no_cn_same == pytest.approx(whole_same, rel=1e-5)
    assert (
        abs(no_cn - whole) > 1e-4
        and abs(no_edn - whole) > 1e-4
        and abs(no_edn_same - whole_same) > 1e-4
    )


def test_a_branch_that_a_network_lacks_cannot_be_ablated(folder, tmp_path, capsys):
    arguments = ARGUMENTS | {"edges": False}
    weights = aciids2020.build(**arguments).get_weights()
    model_file.save(
        tmp_path / "plain.keras", "aciids2020", weights, {"arguments": arguments, "size": SIZE}
    )
    command = [
        "--data",
        folder,
        "--model",
        tmp_path / "plain.keras",
        "--size",
        SIZE,
        "--out",
        tmp_path,
        "--ablate",
        "EDN",
    ]
    with pytest.raises(SystemExit) as stopped:
        run(command)
    assert (
        stopped.value.code == 2 and "plain.keras: the network has no EDN" in capsys.readouterr().err
    )


def test_several_saturations(networks, folder, tmp_path):
    """A row of networks and ceiling for each; networks are compared at the same one."""
    files = [networks / "strong.keras", networks / "other.keras"]
    strong, other = (model_name(networks, path.stem) for path in files)
    arguments = [
        "--data",
        folder,
        "--model",
        *files,
        "--size",
        SIZE,
        "--out",
        tmp_path,
        "--paired",
        "--saturation",
    ]
    run([*arguments, "0.5", "1", "0.5"])
    several = json.loads((tmp_path / "summary.json").read_text())
    run([*arguments, "0.5"])
    table, single = (
        several["protocols"]["squashed"],
        json.loads((tmp_path / "summary.json").read_text())["protocols"]["squashed"],
    )
    assert len(table) == 3 + 2 * 4 and len(single) == 3 + 4
    for name in (strong, other, "ceiling, T = 1.8"):
        assert (
            table[f"{name}, x 0.5"] == single[name]
            and table[f"{name}, x 1"]["cf"]["mean"] > 1.2 * single[name]["cf"]["mean"]
        )
    assert several["methods"][f"{strong}, x 0.5"]["factor"] == 0.5
    pairs = [(pair["first"], pair["second"]) for pair in several["paired"]["own"]]
    assert pairs == [(f"{strong}, x {factor}", f"{other}, x {factor}") for factor in ("0.5", "1")]


def test_the_saturation_curve_takes_one_run_of_the_network(networks, folder, tmp_path, monkeypatch):
    """One table holds every factor and all-gray; the network sees each picture once, and once for each example shown."""
    seen = []
    look = Predictor.views
    monkeypatch.setattr(
        Predictor, "views", lambda self, pixels: seen.append(1) or look(self, pixels)
    )
    arguments = [
        "--data",
        folder,
        "--model",
        networks / "strong.keras",
        "--size",
        SIZE,
        "--out",
        tmp_path,
        "--saturation",
    ]
    run([*arguments, 0, 0.5, 1])
    table = json.loads((tmp_path / "summary.json").read_text())["protocols"]["squashed"]
    name = model_name(networks, "strong")
    curve = [{metric: table[row][metric]["mean"] for metric in ("psnr", "ciede2000", "delta_cf")}
             for row in ("all-gray", *(f"{name}, x {factor}" for factor in ("0", "0.5", "1")))]  # fmt: skip
    assert curve[0] == curve[1] and len({point["psnr"] for point in curve}) == 3
    assert len(seen) == 5 + 3 * 3


def test_several_folders(networks, folder, tmp_path):
    """Pictures of the same name in two folders are two pictures; each is found again by folder and picture."""
    second = tmp_path / "second"
    second.mkdir()
    shutil.copy(folder / "2.png", second / "0.png")
    run(
        [
            "--data",
            folder,
            second,
            "--model",
            networks / "strong.keras",
            "--size",
            SIZE,
            "--out",
            tmp_path / "out",
        ]
    )
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        rows = of(list(csv.DictReader(file)), "all-gray")
    assert [Path(row["folder"], row["picture"]) for row in rows] == [
        *colour_files(folder),
        second / "0.png",
    ]
    by_place = {(row["folder"], row["picture"]): row["psnr"] for row in rows}
    assert (
        by_place[str(second), "0.png"]
        == by_place[str(folder), "2.png"]
        != by_place[str(folder), "0.png"]
    )


@pytest.mark.parametrize("option", ["--fid", "--lpips"])
def test_without_torchmetrics_nothing_slow_begins(folder, tmp_path, monkeypatch, capsys, option):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setattr(
        evaluate, "scan_dataset", lambda *rest: pytest.fail("pictures were looked at")
    )
    with pytest.raises(SystemExit) as stopped:
        run(["--data", folder, "--out", tmp_path, option])
    error = capsys.readouterr().err
    assert (
        stopped.value.code == 2
        and "pip install -r requirements-metrics.txt" in error
        and error.count("\n") == 1
    )


@pytest.mark.parametrize(
    "wrong, said",
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--prior-data", "nowhere"], "nowhere: no such folder"),
        (["--model", "nothing.keras"], "nothing.keras: no such file"),
        (["--model", "gray.png"], "gray.png: not a network that train.py saved"),
        (["--out", "gray.png"], "gray.png: File exists"),
        (["--data", "empty"], "empty: no colour photographs in it"),
        (["--groups", "gray.png"], "--groups gray.png: must have two columns"),
        (["--groups", "groups.csv"], "--groups groups.csv: has none of the folders"),
        (["--data", ".", "empty"], "empty is inside .: its pictures would count twice"),
        (["--degraded"], "--degraded, --borders: need networks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(folder, tmp_path, monkeypatch, capsys, wrong, said):
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "gray.png", "gray.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "groups.csv").write_text("folder,group\nelsewhere,people\n")
    with pytest.raises(SystemExit) as stopped:
        run(["--data", str(folder), "--out", "out", *wrong])
    error = capsys.readouterr().err.rpartition("\r")[2]  # after the progress of the scan
    assert (
        stopped.value.code == 2
        and error.startswith("evaluate.py: ")
        and said in error
        and error.count("\n") == 1
    )


def test_a_size_that_the_strides_do_not_divide_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["--data", folder, "--out", "out", "--size", "100"])
    assert stopped.value.code == 2 and "100 is not divisible by 8" in capsys.readouterr().err


def test_groups(networks, folder, tmp_path, capsys):
    """By top folder, or by a table that maps top folders to groups; the rows of a group make its means."""
    arguments = [
        "--data",
        folder,
        "--model",
        networks / "strong.keras",
        "--size",
        SIZE,
        "--out",
        tmp_path,
    ]
    run([*arguments, "--groups"])
    by_folder = json.loads((tmp_path / "summary.json").read_text())["groups"]
    assert set(by_folder) == {"sub", folder.name}
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = of(list(csv.DictReader(file)), model_name(networks, "strong"))
    assert {row["group"]: 0 for row in rows}.keys() == by_folder.keys()
    for group, protocols in by_folder.items():
        own = [row for row in rows if row["group"] == group]
        found = protocols["squashed"][model_name(networks, "strong")]
        error, gray = (sum(float(row[name]) for row in own) for name in ("ab_mse", "gray_mse"))
        assert found["relative_mse"]["mean"] == pytest.approx(error / gray)
        assert found["psnr"]["mean"] == pytest.approx(np.mean([float(row["psnr"]) for row in own]))
    (tmp_path / "groups.csv").write_text("folder,group\nsub,people\n")
    run([*arguments, "--groups", tmp_path / "groups.csv"])
    renamed = json.loads((tmp_path / "summary.json").read_text())["groups"]
    assert renamed == {"people": by_folder["sub"], "other": by_folder[folder.name]}
    assert (
        "people, squashed" in capsys.readouterr().out
        and "people, squashed" in (tmp_path / "report.html").read_text()
    )


def test_the_correlation_is_that_of_all_pixels(networks, folder, summary):
    targets, given = [], []
    network, metadata = model_file.load(networks / "other.keras")
    for path in colour_files(folder):
        rgb = preprocess.resize(np.asarray(Image.open(path)), SIZE, SIZE)[None]
        targets.append(keras.ops.convert_to_numpy(preprocess.target(rgb, 1.8)))
        inputs = preprocess.training_inputs(rgb, network.input)
        given.append(keras.ops.convert_to_numpy(network(inputs)))
    expected = np.corrcoef(np.ravel(targets), np.ravel(given))[0, 1]
    assert summary["protocols"]["squashed"][model_name(networks, "other")]["r"][
        "mean"
    ] == pytest.approx(expected, abs=1e-3)


def test_networks_see_the_sizes_of_their_files(networks, folder, tmp_path):
    """Of a file that names one size it is the measure at that size, up to how ab is enlarged to --size."""
    network, metadata = model_file.load(networks / "strong.keras")
    for name, sizes in (("one", [SIZE]), ("two", [SIZE, SIZE // 2])):
        model_file.save(
            tmp_path / f"{name}.keras",
            network.name,
            network.get_weights(),
            metadata | {"sizes": sizes},
        )
    files = [tmp_path / "one.keras", tmp_path / "two.keras"]
    tables = []
    for options in (["--size", SIZE], ["--size", SIZE, "--own-sizes"]):
        run(["--data", folder, "--model", *files, "--out", tmp_path / "out", *options])
        table = json.loads((tmp_path / "out" / "summary.json").read_text())["protocols"]["squashed"]
        tables.append(
            [table[f"{tmp_path.name}/{name}"]["ab_mse"]["mean"] for name in ("one", "two")]
        )
    (one, same), (own, other) = tables
    assert one == same == own != other


def test_degraded_views_and_borders(networks, folder, tmp_path):
    """Both by the seed; the view of a blank network does not matter, that of another does."""
    *rest, last, _ = aciids2020.build(**ARGUMENTS).get_weights()
    blank = [*rest, 0 * last, np.array((0.1, 0.2), np.float32)]  # says the same of every picture
    model_file.save(
        tmp_path / "blank.keras", "aciids2020", blank, {"arguments": ARGUMENTS, "size": SIZE}
    )
    files = [networks / "strong.keras", tmp_path / "blank.keras"]
    arguments = [
        "--data",
        folder,
        "--model",
        *files,
        "--size",
        SIZE,
        "--out",
        tmp_path / "out",
        "--degraded",
        "--borders",
    ]
    found = []
    for seed in (0, 0, 1):
        run([*arguments, "--seed", seed])
        found.append(json.loads((tmp_path / "out" / "summary.json").read_text()))
    first, again, other = (result["degraded"] for result in found)
    strong, blank = (f"{path.parent.name}/{path.stem}" for path in files)
    assert first == again and first[strong]["ab_mse"]["mean"] != other[strong]["ab_mse"]["mean"]
    clean = found[0]["protocols"]["squashed"]
    assert first[blank]["degraded_over_clean"]["mean"] == pytest.approx(1, abs=1e-5)
    assert first[blank]["relative_mse"]["mean"] == pytest.approx(
        clean[blank]["relative_mse"]["mean"], rel=1e-4
    )
    quotient = first[strong]["ab_mse"]["mean"] / clean[strong]["ab_mse"]["mean"]
    assert first[strong]["degraded_over_clean"]["mean"] == pytest.approx(quotient, rel=1e-3) != 1
    shifts = {name: values["ab_shift"]["mean"] for name, values in found[0]["borders"].items()}
    kinds = [f"{tone}, {width}" for tone in ("white", "black") for width in ("1%", "4%")]
    assert list(shifts) and set(shifts) == {
        f"{name}, {kind}" for name in (strong, blank) for kind in kinds
    }
    assert all(shifts[f"{blank}, {kind}"] < 1e-3 < shifts[f"{strong}, {kind}"] for kind in kinds)
    with open(tmp_path / "out" / "robustness.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5 * 2 * (1 + 4)


def test_options_are_not_abbreviated(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["--data", str(folder), "--out", "out", "--pair"])
    assert stopped.value.code == 2 and "--pair" in capsys.readouterr().err
