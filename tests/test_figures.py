"""figures.py from the command line to the files, on small crops and with tiny networks."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from skimage import data

import evaluate
import figures
from evaluation import paper_figures as paper
from models import aciids2020
from models import file as model_file

pytestmark = pytest.mark.slow

SIZE = 64
KINDS = {  # T, edges, size
    "late": (2.0, True, SIZE),
    "early": (1.0, False, SIZE),
    "small": (1.8, True, 32),
    "broken": (1.8, True, SIZE),
}
MODELS = {
    "saturation": ("late", "early"),
    "edges": ("late", "early"),
    "results": ("late",),
    "comparison": ("late", "early"),
    "ink": ("late",),
}
PANELS = {"saturation": 36, "edges": 16, "results": 12, "comparison": 16, "ink": 2}


@pytest.fixture(scope="module")
def networks(tmp_path_factory, broken_gives_no_numbers):
    """{label: LABEL=FILE} of untrained networks with strong colours; one gives NaN."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    for name, (saturation, edges, size) in KINDS.items():
        arguments = {"width": 1 / 16, "global_size": size, "edges": edges}
        *rest, last, _ = aciids2020.build(**arguments).get_weights()
        weights = [*rest, 20 * last, np.array([0.1, 0.2], np.float32)]
        metadata = {"arguments": arguments, "size": size, "saturation": saturation}
        metadata["training"] = {"pictures": 1234}
        model_file.save(folder / f"{name}.keras", "aciids2020", weights, metadata)
    return {name: f"{name}={folder / name}.keras" for name in KINDS}


@pytest.fixture(scope="module")
def made(networks, photographs, tmp_path_factory):
    """(folder, JSON) of a figure by its name: of six photographs, four are shown. Made once."""
    found = {}

    def make(name):
        if name not in found:
            out = tmp_path_factory.mktemp(name) / "new"
            source = [] if name == "ink" else ["--data", str(photographs), "--limit", "6"]
            chosen = [networks[model] for model in MODELS[name]]
            figures.main([name, *source, "--model", *chosen, "--out", str(out)])
            found[name] = out, json.loads((out / f"{name}.json").read_text())
        return found[name]

    return make


@pytest.mark.parametrize("name", MODELS)
def test_each_figure_is_a_print_with_its_numbers_beside_it(made, name):
    folder, found = made(name)
    files = [f"{name}.csv", f"{name}.json", f"{name}.png"]
    assert sorted(path.name for path in folder.iterdir()) == files
    with Image.open(folder / f"{name}.png") as image:
        assert round(min(image.info["dpi"])) >= 300 and image.width == 2160
    assert found["panels"] == PANELS[name] and found["pictures"] == (1 if name == "ink" else 6)
    assert str(found["pictures"]) in found["title"]
    with open(folder / f"{name}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] in found["networks"]]
    assert len(rows) == found["pictures"] * len(found["networks"])


def test_networks_score_as_in_evaluate(made, networks, photographs, tmp_path):
    file = networks["late"].partition("=")[2]
    options = ["--data", photographs, "--limit", 6, "--model", file, "--size", SIZE]
    evaluate.main([*map(str, options), "--out", str(tmp_path)])
    table = json.loads((tmp_path / "summary.json").read_text())["protocols"]["squashed"]
    expected = next(found for name, found in table.items() if name.endswith("late"))
    assert made("comparison")[1]["means"]["late"] == expected


def test_targets_need_no_network_and_no_data(tmp_path, monkeypatch):
    crops = {"a": data.coffee()[:90, 100:200], "b": data.astronaut()[100:180, :120]}
    monkeypatch.setattr(paper.demo, "photographs", lambda: crops)
    figures.main(["saturation", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "saturation.json").read_text())
    assert found["panels"] == 2 * 6 and found["shown"] == ["a.png", "b.png"]


def test_the_differences_that_edges_and_t_make(made):
    _, found = made("edges")
    bleed = [found["means"][name]["bleed"]["mean"] for name in ("without EDN", "with EDN")]
    assert found["difference"]["bleed"]["difference"] == pytest.approx(bleed[1] - bleed[0])
    assert found["networks"]["without EDN"]["target"] == "T = 1"
    means = made("saturation")[1]["means"]
    cf = [means[f"target, T = {t}"]["cf"]["mean"] for t in (1, 1.4, 1.6, 1.8, 2)]
    assert cf == sorted(cf) and cf[0] < cf[-1]


@pytest.mark.parametrize("columns", [1, 3, 7])
def test_nothing_on_a_page_overlaps(columns):
    panels = [np.zeros((80, width, 3), np.uint8) for width in (40, 80, 160)]
    captions = [
        [name, "", "AuC, rebalanced 100.0 [99.9, 100.0]"] for name in ("$x", "a name of words " * 3)
    ]
    block = [[panel] * columns for panel in panels], [captions[i % 2] for i in range(columns)]
    page = paper.draw("A title that is longer than one line of a page can be, " * 4, [block] * 2)
    FigureCanvasAgg(page).draw()
    texts = [page._suptitle, *(axis.xaxis.label for axis in page.axes if axis.get_xlabel())]
    images = [axis.images[0] for axis in page.axes]
    assert len(images) == 2 * 3 * columns and len(texts) == 1 + 2 * columns
    boxes = [own.get_window_extent().extents for own in (*texts, *images)]
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 and bottom >= 0 and right <= page.bbox.width and top <= page.bbox.height
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom


def test_paintings_may_be_gray_or_not_and_become_gray(networks, tmp_path, monkeypatch, capsys):
    folder, pages, draw = tmp_path / "paintings", [], paper.draw
    monkeypatch.setattr(paper, "draw", lambda *page: pages.append(page) or draw(*page))
    folder.mkdir()
    Image.fromarray(data.camera()[:90, :120]).save(folder / "gray.png")
    Image.fromarray(data.coffee()[:90, :120]).save(folder / "tinted.png")
    (folder / "torn.png").write_bytes((folder / "gray.png").read_bytes()[:500])
    options = ["ink", "--data", str(folder), "--model", networks["late"], "--out", str(tmp_path)]
    figures.main(options)
    shown = json.loads((tmp_path / "ink.json").read_text())["shown"]
    assert shown == ["paintings/gray.png", "paintings/tinted.png"]
    assert "torn.png" in capsys.readouterr().err
    paintings = [row[0].astype(int) for row in pages[0][1][0][0]]
    assert all(np.ptp(painting, axis=-1).max() <= 1 for painting in paintings)
    assert np.abs(paintings[0][..., 0] - data.camera()[:90, :120]).max() <= 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("results", "results needs networks"),
        ("results --model late.keras", "--model late.keras: must be LABEL=FILE"),
        ("results --model {late} x=nothing.keras", "nothing.keras: no such file"),
        ("results --model {late} {early}", "results shows one network"),
        ("comparison --model {late} {late}", "--model late=...: this label is taken"),
        ("comparison --model gray=nothing.keras", "--model gray=...: this label is taken"),
        ("comparison --model {late} {small}", "see sizes 32, 64"),
        ("edges --model {late}", "without edge detection and one with it"),
        ("results --runs nowhere", "best.keras: no such file"),
        ("results --model {late} --data nowhere", "nowhere: no such folder"),
        ("results --model {late} --data empty", "empty: no colour photographs in it"),
        ("ink --model {late} --data empty", "none of the pictures can be read"),
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
    assert stopped.value.code == (1 if arguments.startswith("ink") else 2)
    assert error.startswith("figures.py: ") and said in error and error.count("\n") == 1
