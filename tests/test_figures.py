"""figures.py from the command line to the files, on small crops and with tiny networks."""

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
KINDS = {"late": (2.0, True), "early": (1.0, False), "broken": (1.8, True)}  # T, edges
MODELS = {
    "saturation": ("late", "early"),
    "edges": ("early", "late"),
    "results": ("late",),
    "comparison": ("late", "early"),
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory, broken_gives_no_numbers):
    """{label: LABEL=FILE} of untrained networks with strong colours; one gives NaN."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    for name, (saturation, edges) in KINDS.items():
        arguments = {"width": 1 / 16, "global_size": SIZE, "edges": edges}
        *rest, last, _ = aciids2020.build(**arguments).get_weights()
        weights = [*rest, 20 * last, np.array([0.1, 0.2], np.float32)]
        metadata = {"arguments": arguments, "size": SIZE, "saturation": saturation}
        metadata["training"] = {"pictures": 1234}
        model_file.save(folder / f"{name}.keras", "aciids2020", weights, metadata)
    return {name: f"{name}={folder / name}.keras" for name in KINDS}


@pytest.fixture(scope="module")
def made(networks, photographs, tmp_path_factory):
    """(folder, {column: {title: cell}}, what was drawn) of a figure of six photographs, made once."""

    @functools.cache
    def make(name):
        out, pages = tmp_path_factory.mktemp(name) / "new", []
        options = ["--data", photographs, "--limit", 6, "--out", out, "--size", SIZE, "--model"]
        with pytest.MonkeyPatch.context() as patch:
            draw = paper.draw
            patch.setattr(paper, "draw", lambda *page: pages.append(page) or draw(*page))
            models = [networks[model] for model in MODELS[name]]
            figures.main([name, *map(str, options), *models])
        lines = (out / f"{name}.md").read_text().splitlines()[2:]
        (_, *heads), _, *rows = ([x.strip() for x in line.split("|")[1:-1]] for line in lines)
        return out, {column: dict(zip(heads, own)) for column, *own in rows}, pages[0]

    return make


@pytest.mark.parametrize("name", MODELS)
def test_each_figure_is_a_print_with_its_numbers_beside_it(made, name):
    folder, means, (_, blocks, captions, shown) = made(name)
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.md", f"{name}.png"]
    with Image.open(folder / f"{name}.png") as image:
        assert round(min(image.info["dpi"])) >= 300 and image.width == 2160
    columns = sum(blocks, [])
    assert list(means) == list(captions) == columns and len(shown) == 4
    assert set(MODELS[name]) < set(columns) and all(set(own) == set(columns) for own in shown)


def test_networks_score_as_in_evaluate(made, networks, photographs, tmp_path):
    file = networks["late"].partition("=")[2]
    options = ["--data", photographs, "--limit", 6, "--model", file, "--size", SIZE]
    evaluate.main([*map(str, options), "--out", str(tmp_path)])
    table = json.loads((tmp_path / "summary.json").read_text())["tables"]["squashed"]
    _, means, (_, _, captions, _) = made("comparison")
    psnr = table[file]["psnr"]
    assert means["late"]["PSNR"] == "{mean:.4g} [{low:.4g}, {high:.4g}]".format(**psnr)
    assert "PSNR {mean:.3g} [{low:.3g}, {high:.3g}]".format(**psnr) in captions["late"]
    assert captions["late"][1] == "T = 2; trained on 1234 pictures"


def test_the_differences_that_edges_and_t_make(made):
    _, means, (title, *_) = made("edges")
    bleed = [float(means[name]["bleed"].split()[0]) for name in MODELS["edges"]]
    difference = title.partition("points: ")[2].split()[0]
    assert float(difference) == pytest.approx(bleed[1] - bleed[0], abs=0.02)
    means = made("saturation")[1]
    cf = [float(means[f"target, T = {t}"]["CF"].split()[0]) for t in (1, 1.4, 1.6, 1.8, 2)]
    assert cf == sorted(cf) and cf[0] < cf[-1]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_nothing_on_a_page_overlaps(count):
    columns = [("$x", "a name of words " * 3)[i % 2] + str(i) for i in range(count)]
    captions = {name: [name, "", "AuC, rebalanced 100.0 [99.9, 100.0]"] for name in columns}
    sizes = ((80, width, 3) for width in (40, 80, 160))
    shown = [dict.fromkeys(columns, np.zeros(size, np.uint8)) for size in sizes]
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
        ("results --model late.keras", "late.keras: must be LABEL=FILE"),
        ("results --model {late} x=nothing.keras", "nothing.keras: no such file"),
        ("comparison --model {late} {late}", "--model late=...: this label is taken"),
        ("comparison --model gray=nothing.keras", "--model gray=...: this label is taken"),
        ("edges --model {late}", "without edge detection and with it"),
        (
            "results --model {late} --data nowhere",
            "nowhere: no such folder, or no colour photographs in it",
        ),
        (
            "results --model {late} --data empty",
            "empty: no such folder, or no colour photographs in it",
        ),
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
        figures.main([name, "--out", "out", "--data", "one", *rest])
    assert stopped.value.code == 1 + ("--out" not in arguments)
    error = capsys.readouterr().err.splitlines()[-1].rpartition("\r")[2]
    assert error.startswith("figures.py: ") and said in error
