"""figures.py from the command line to the files, on small crops and with tiny networks"""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data, metrics

import evaluate
import figures
from data import preprocess
from evaluation import figures as paper
from evaluation import page
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

SIZE = 64


@pytest.fixture(scope="module")
def networks(tmp_path_factory, broken_gives_no_numbers):
    """LABEL=FILE of untrained networks with strong colours: of T = 2, of T = 1 without edges, of another size, and NaN."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    kinds = {
        "late": (2.0, True, SIZE),
        "early": (1.0, False, SIZE),
        "small": (1.8, True, 32),
        "broken": (1.8, True, SIZE),
    }
    for name, (saturation, edges, size) in kinds.items():
        arguments = {"width": 1 / 16, "global_size": size, "edges": edges}
        *rest, last, _ = aciids2020.build(**arguments).get_weights()
        bias = np.array([0.1, 0.2], np.float32)
        metadata = {
            "arguments": arguments,
            "size": size,
            "saturation": saturation,
            "training": {"pictures": 1234},
        }
        model_file.save(folder / f"{name}.keras", "aciids2020", [*rest, 20 * last, bias], metadata)
    return {name: f"{name}={folder / name}.keras" for name in kinds}


MODELS = {
    "saturation": ("late", "early"), "edges": ("late", "early"), "results": ("late",), "comparison": ("late", "early"),
    "ink": ("late",),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(networks, photographs, tmp_path_factory):
    """The folder of a figure by its name: measured on six photographs, of which four are shown. Made once each."""
    folders = {}

    def make(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name) / "new"
            source = [] if name == "ink" else ["--data", str(photographs), "--limit", "6"]
            chosen = [networks[model] for model in MODELS[name]]
            figures.main([name, *source, "--model", *chosen, "--out", str(folders[name])])
        return folders[name]

    return make


def numbers(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def rows(folder, name, column):
    with open(folder / f"{name}.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["method"] == column]


# --- the files


@pytest.mark.parametrize(
    "name, panels",
    {"saturation": 36, "edges": 20, "results": 12, "comparison": 16, "ink": 2}.items(),
    ids=str,
)
def test_each_figure_is_a_print_with_its_numbers_beside_it(made, name, panels):
    folder = made(name)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}.csv",
        f"{name}.json",
        f"{name}.png",
    ]
    with Image.open(folder / f"{name}.png") as image:
        image.load()
        assert (
            round(min(image.info["dpi"])) >= 300
            and image.width == page.WIDTH
            and image.mode == "RGB"
        )
    found = numbers(folder, name)
    assert found["panels"] == panels and found["pictures"] == (1 if name == "ink" else 6)
    assert str(found["pictures"]) in found["title"]
    assert {network["target"] for network in found["networks"].values()} <= {"T = 1", "T = 2"}


@pytest.mark.parametrize(
    "name, column", [("saturation", "target, T = 1.6"), ("comparison", "late"), ("ink", "late")]
)
def test_the_means_are_those_of_the_rows(made, name, column):
    measured, means = rows(made(name), name, column), numbers(made(name), name)["means"][column]
    for metric in ("cf",) if name == "ink" else ("cf", "psnr", "bleed"):
        values = [float(row[metric]) for row in measured]
        assert means[metric]["mean"] == pytest.approx(np.mean(values))
        assert means[metric]["low"] <= np.mean(values) <= means[metric]["high"]
        assert (means[metric]["low"] < means[metric]["high"]) == (len(values) > 1)


def test_the_rows_are_those_of_the_pictures(made, photographs):
    for row in rows(made("saturation"), "saturation", "target, T = 1.6"):
        small = preprocess.resize(np.asarray(Image.open(photographs / row["picture"])), SIZE, SIZE)
        result = preprocess.colorize(
            small, keras.ops.convert_to_numpy(preprocess.target(small[None], 1.6))[0]
        )
        assert float(row["psnr"]) == pytest.approx(
            metrics.peak_signal_noise_ratio(small, result), abs=1e-6
        )
        red, green, blue = np.moveaxis(result.astype(float), -1, 0)
        opponents = red - green, (red + green) / 2 - blue
        cf = np.hypot(*(x.std() for x in opponents)) + 0.3 * np.hypot(
            *(x.mean() for x in opponents)
        )
        assert float(row["cf"]) == pytest.approx(cf, abs=1e-3)


def test_networks_score_as_in_evaluate(made, networks, photographs, tmp_path):
    file = networks["late"].partition("=")[2]
    arguments = [
        "--data",
        photographs,
        "--limit",
        6,
        "--model",
        file,
        "--out",
        tmp_path,
        "--size",
        SIZE,
    ]
    evaluate.main(evaluate.parse([str(argument) for argument in arguments]))
    table = json.loads((tmp_path / "summary.json").read_text())["protocols"]["squashed"]
    expected = next(found for name, found in table.items() if name.endswith("late"))
    assert numbers(made("comparison"), "comparison")["means"]["late"] == expected


def test_colourfulness_rises_with_t(made):
    found = numbers(made("saturation"), "saturation")
    assert [name for name in found["means"] if "T" in name] == [
        "early, T = 1", "late, T = 2", *(f"target, T = {t}" for t in (1, 1.4, 1.6, 1.8, 2))
    ]  # fmt: skip
    targets = [step for step in found["rise"] if step["first"].startswith("target")]
    assert (
        len(targets) == 4
        and targets[0]["low"] > 0
        and all(step["difference"] > 0 for step in targets)
    )
    for step in found["rise"]:
        means = (
            found["means"][step["second"]]["cf"]["mean"]
            - found["means"][step["first"]]["cf"]["mean"]
        )
        assert step["low"] <= step["difference"] <= step["high"] and step[
            "difference"
        ] == pytest.approx(means)


def test_targets_need_no_network_and_no_data(tmp_path, monkeypatch):
    crops = {"a": data.coffee()[:90, 100:200], "b": data.astronaut()[100:180, :120]}
    monkeypatch.setattr(paper.demo, "photographs", lambda: crops)
    figures.main(["saturation", "--out", str(tmp_path)])
    found = numbers(tmp_path, "saturation")
    assert (
        found["panels"] == 2 * 6 and found["shown"] == ["a.png", "b.png"] and found["data"] is None
    )


def test_the_difference_that_edges_make(made):
    found = numbers(made("edges"), "edges")
    bleed = [
        [float(row["bleed"]) for row in rows(made("edges"), "edges", name)]
        for name in ("with EDN", "without EDN")
    ]
    assert found["difference"]["bleed"]["difference"] == pytest.approx(np.mean(np.subtract(*bleed)))
    assert (
        found["networks"]["without EDN"]["target"] == "T = 1"
        and found["networks"]["with EDN"]["target"] == "T = 2"
    )
    assert found["enlarged"]["picture"] in found["shown"]


def test_the_window_in_which_two_pictures_differ_most():
    plain = data.chelsea()[:120, :200]
    slightly, strongly = plain.copy(), plain.copy()
    slightly[10:20, 10:20] = (255, 0, 0)
    strongly[70:100, 140:190] = (255, 0, 0)
    assert paper.where_they_differ([(plain, plain), (plain, slightly), (plain, strongly)]) == (
        2,
        (70, 140, 30, 50),
    )


# --- what is shown


def test_the_pictures_shown_are_drawn_by_the_seed():
    draws = [paper.drawn(range(50), seed, 4) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2] and draws[0] == sorted(draws[0]) and len(draws[0]) == 4
    assert paper.drawn("ab", 0, 4) == ["a", "b"]


@pytest.mark.parametrize("columns", [1, 3, 7])
def test_nothing_on_a_page_overlaps(columns):
    tiles = [np.zeros((80, width, 3), np.uint8) for width in (40, 80, 160)]
    captions = [
        [name, "", "AuC, rebalanced 100.0 [99.9, 100.0]"]
        for name in ("$short", "a name of WIDE LETTERS/" * 3)
    ]
    block = page.Block(
        [[tile] * columns for tile in tiles], [captions[i % 2] for i in range(columns)]
    )
    sheet = page.draw("A title that is longer than one line of a page can be, " * 4, [block, block])
    renderer = page.FigureCanvasAgg(sheet).get_renderer()
    boxes = [text.get_window_extent(renderer).extents for text in sheet.texts]
    assert len(sheet.images) == 2 * 3 * columns and len(boxes) > 2 * columns
    for image in sheet.images:
        height, width = image.get_array().shape[:2]
        boxes.append((image.ox, image.oy, image.ox + width, image.oy + height))
        assert width / height == pytest.approx(np.divide(*image.get_array().shape[1::-1]))
    width, height = sheet.bbox.size
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 and bottom >= 0 and right <= width and top <= height
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom


@pytest.mark.parametrize("shape", [(40, 80), (300, 100), (100, 100)])
def test_panels_keep_their_shape(shape):
    height, width = page.scaled(np.zeros((*shape, 3), np.uint8), 500).shape[:2]
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.01)
    assert width == 500 or height == 500 * page.TALLEST


def test_paintings_may_be_gray_or_not_and_become_gray(networks, tmp_path, capsys):
    folder = tmp_path / "paintings"
    folder.mkdir()
    Image.fromarray(data.camera()[:90, :120]).save(folder / "gray.png")
    Image.fromarray(data.coffee()[:90, :120]).save(folder / "tinted.png")
    (folder / "torn.png").write_bytes((folder / "gray.png").read_bytes()[:500])
    arguments = figures.parse(
        ["ink", "--data", str(folder), "--model", networks["late"], "--out", str(tmp_path)]
    )
    found = dict(paper.paintings(arguments))
    assert (
        list(found) == ["paintings/gray.png", "paintings/tinted.png"]
        and "torn.png" in capsys.readouterr().err
    )
    assert all(np.ptp(painting.astype(int), axis=-1).max() <= 1 for painting in found.values())
    assert (
        np.abs(found["paintings/gray.png"][..., 0].astype(int) - data.camera()[:90, :120]).max()
        <= 1
    )


# --- what is refused


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("results", "results needs networks"),
        ("ink", "ink needs networks"),
        ("results --model late.keras", "--model late.keras: must be LABEL=FILE"),
        ("results --model x=nothing.keras", "nothing.keras: no such file"),
        ("results --model {late} x=nothing.keras", "nothing.keras: no such file"),
        ("results --model {late} {early}", "results shows one network"),
        ("comparison --model {late} {late}", "--model late=...: this label is taken"),
        ("comparison --model gray=nothing.keras", "--model gray=...: this label is taken"),
        ("comparison --model {late} {small}", "see sizes 32, 64"),
        (
            "edges --model {late}",
            "takes a network without edge detection and one with it, not 0 and 1",
        ),
        (
            "results --runs nowhere",
            "nowhere/t1.8/best.keras: no such file; make figures-train makes it",
        ),
        ("results --model {late} --data nowhere", "nowhere: no such folder"),
        ("results --model {late} --data empty", "empty: no colour photographs in it"),
        ("ink --model {late} --data empty", "empty: no pictures in it"),
        ("ink --model {broken}", "broken: the network gives no finite colours"),
        ("results --model {late} --out file", "file: File exists"),
    ],
)
def test_refused(networks, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    name, *rest = arguments.format(**networks).split()
    with pytest.raises(SystemExit) as stopped:
        figures.main([name, "--out", "out", *rest])
    error = capsys.readouterr().err
    assert stopped.value.code == (1 if "broken" in arguments else 2)
    assert error.startswith("figures.py: ") and said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("portrait --out out", "portrait"),
        ("results --out out --mod x=y", "--mod"),
        ("results --out out --model x=y --runs z", "not allowed with"),
    ],
)
def test_misspelt(capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        figures.main(arguments.split())
    assert stopped.value.code == 2 and said in capsys.readouterr().err
