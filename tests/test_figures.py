"""figures.py from the command line to the files, on small crops and with tiny networks."""

import csv
import functools
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
}


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

    @functools.cache
    def make(name):
        out = tmp_path_factory.mktemp(name) / "new"
        options = ["--data", str(photographs), "--limit", "6", "--out", str(out)]
        figures.main([name, *options, "--model", *(networks[model] for model in MODELS[name])])
        return out, json.loads((out / f"{name}.json").read_text())

    return make


@pytest.mark.parametrize("name", MODELS)
def test_each_figure_is_a_print_with_its_numbers_beside_it(made, name):
    folder, found = made(name)
    files = [f"{name}.csv", f"{name}.json", f"{name}.png"]
    assert sorted(path.name for path in folder.iterdir()) == files
    with Image.open(folder / f"{name}.png") as image:
        assert round(min(image.info["dpi"])) >= 300 and image.width == 2160
    assert found["pictures"] == 6 and len(found["shown"]) == 4
    with open(folder / f"{name}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] in found["networks"]]
    assert len(rows) == 6 * len(MODELS[name]) and {row["picture"] for row in rows} > {
        *found["shown"]
    }


def test_networks_score_as_in_evaluate(made, networks, photographs, tmp_path):
    file = networks["late"].partition("=")[2]
    options = ["--data", photographs, "--limit", 6, "--model", file, "--size", SIZE]
    evaluate.main([*map(str, options), "--out", str(tmp_path)])
    table = json.loads((tmp_path / "summary.json").read_text())["tables"]["squashed"]
    expected = next(found for name, found in table.items() if name.endswith("late"))
    assert made("comparison")[1]["means"]["late"] == expected


def test_targets_need_no_network_and_no_data(tmp_path, monkeypatch):
    crops = {"a": data.coffee()[:90, 100:200], "b": data.astronaut()[100:180, :120]}
    pages, draw = [], paper.draw
    monkeypatch.setattr(paper.demo, "photographs", lambda: crops)
    monkeypatch.setattr(paper, "draw", lambda *page: pages.append(page) or draw(*page))
    figures.main(["saturation", "--out", str(tmp_path)])
    _, blocks, captions, shown = pages[0]
    targets = [f"target, T = {t}" for t in (1, 1.4, 1.6, 1.8, 2)]
    assert blocks == [["photograph", *targets]] and list(shown) == ["a.png", "b.png"]
    assert np.array_equal(shown["a.png"]["photograph"], crops["a"])
    assert captions[targets[0]][1].startswith("CF ")


def test_the_differences_that_edges_and_t_make(made):
    _, found = made("edges")
    bleed = [found["means"][name]["bleed"]["mean"] for name in ("without EDN", "with EDN")]
    assert found["difference"]["bleed"]["mean"] == pytest.approx(bleed[1] - bleed[0])
    assert found["networks"]["without EDN"]["target"] == "T = 1"
    means = made("saturation")[1]["means"]
    cf = [means[f"target, T = {t}"]["cf"]["mean"] for t in (1, 1.4, 1.6, 1.8, 2)]
    assert cf == sorted(cf) and cf[0] < cf[-1]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_nothing_on_a_page_overlaps(count):
    columns = [("$x", "a name of words " * 3)[i % 2] + str(i) for i in range(count)]
    captions = {name: [name, "", "AuC, rebalanced 100.0 [99.9, 100.0]"] for name in columns}
    shown = {
        width: dict.fromkeys(columns, np.zeros((80, width, 3), np.uint8)) for width in (40, 80, 160)
    }
    title = "A title that is longer than one line of a page can be, " * 4
    page = paper.draw(title, [columns] * 2, captions, shown)
    FigureCanvasAgg(page).draw()
    texts = [page._suptitle, *(axis.xaxis.label for axis in page.axes if axis.get_xlabel())]
    images = [axis.images[0] for axis in page.axes]
    assert len(images) == 2 * 3 * count and len(texts) == 1 + 2 * count
    boxes = [own.get_window_extent().extents for own in (*texts, *images)]
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 and bottom >= 0 and right <= page.bbox.width and top <= page.bbox.height
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom


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
        ("results --model {broken} --data one", "broken: the network gives no finite colours"),
        ("results --model {late} --out file", "file: File exists"),
    ],
)
def test_refused(networks, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    Path("one").mkdir()
    Image.fromarray(data.coffee()[:90, 100:200]).save("one/a.png")
    name, *rest = arguments.format(**networks).split()
    with pytest.raises(SystemExit) as stopped:
        figures.main([name, "--out", "out", *rest])
    error = capsys.readouterr().err
    assert stopped.value.code == (1 if "broken" in arguments else 2)
    error = error.rpartition("\r")[2]  # after the progress of the scan
    assert error.startswith("figures.py: ") and said in error and error.count("\n") == 1
