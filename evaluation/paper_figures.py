"""The figures of the paper: what each measures, on squashed pictures, and shows in their shape."""

import itertools
import json
import os
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from configs import Config
from data import demo
from data.preprocess import colorize, resize, shrink
from evaluation import Refused, measure, statistics
from evaluation.methods import Method, Target, ceiling, constant, load, predict, trained
from evaluation.metrics import colorfulness
from models.properties import sizes_of
from pictures import formats
from utils import atomic, find_files, printable

SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T
SHOWN = 4  # pictures on a page, at most
ROOT = Path(__file__).parent.parent
PAINTING = ROOT / "docs" / "figures" / "ink_painting.png"  # drawn by a program, no painter
VIEW = 1080  # px, the longer side of a picture that is shown: half the page
GRAY, PHOTOGRAPH = Method("gray", constant((0, 0))), Method("photograph", None)
MAIN = ("psnr", "ssim", "ciede2000", "auc", "auc_rebalanced", "bleed", "cf")
DPI, WIDTH = 300, 7.2  # of a page: px per inch, inches
TALLEST = 1.25  # of a row of panels: times their width


def make(args, files):
    """Write one figure of the networks in files {label: path}, by the options of figures.py."""
    networks = {label: load(path) for label, path in files.items()}
    sizes = sorted({max(sizes_of(own.metadata)) for own in networks.values()} or {Config.size})
    if len(sizes) > 1:
        listed = ", ".join(map(str, sizes))
        raise Refused(f"the networks see sizes {listed}: one figure takes one size")
    title, blocks, study = FIGURES[args.figure](networks, sizes[0], args)
    panels = sum(len(row) for rows, _ in blocks for row in rows)
    found = {"figure": args.figure, "title": title, "panels": panels} | study.numbers
    target = args.out / args.figure
    with atomic(target.with_suffix(".png")) as temporary:
        draw(title, blocks).savefig(temporary)
    with atomic(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(statistics.plain(found), indent=1, allow_nan=False))
    measure.write_rows(target.with_suffix(".csv"), sum(study.rows.values(), []))
    print(f"{printable(target)}.png: {panels} panels. {title}")


def saturation(networks, size, args):
    """Networks trained at several T, and the targets themselves."""
    ordered = sorted(networks.items(), key=lambda item: item[1].target.saturation)
    named = {label if str(n.target) in label else f"{label}, {n.target}": n for label, n in ordered}
    targets = [ceiling(Target(t), "target") for t in SATURATIONS]
    study = of_photographs(named, size, args, targets)
    blocks = [study.block(["photograph", *(target.name for target in targets)], ["cf"])]
    title = "Targets at several T"
    if named:
        title = "Networks trained at several T and, below, their targets"
        blocks.insert(0, study.block(["gray", *named], ["cf"]))
    return f"{title}: colourfulness CF, {study.counted}", blocks, study


def edges(networks, size, args):
    """The network with and without edge detection."""
    of_paper = [n for n in networks.values() if n.metadata["network"] == "aciids2020"]
    of_paper.sort(key=lambda network: network.metadata["arguments"].get("edges", True))
    if [n.metadata["arguments"].get("edges", True) for n in of_paper] != [False, True]:
        raise Refused("edges takes a network without edge detection and one with it")
    named = dict(zip(("without EDN", "with EDN"), of_paper))
    study = of_photographs(named, size, args)
    found = statistics.compare(*(study.rows[name] for name in named), args.seed)["bleed"]
    study.numbers["difference"] = {"first": "without EDN", "second": "with EDN", "bleed": found}
    interval = f"{found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
    title = f"With and without the edge detection network (EDN): bleed in % points, {study.counted}"
    block = study.block(["gray", *named, "photograph"], ["bleed"])
    return f"{title}. With minus without: {interval}", [block], study


def results(networks, size, args):
    """Gray, colorized, photograph."""
    if len(networks) > 1:
        raise Refused("results shows one network; comparison takes several")
    study = of_photographs(networks, size, args)
    block = study.block(["gray", *networks, "photograph"], ["psnr", "ciede2000", "cf"])
    return f"Gray, colorized, photograph: {study.counted}", [block], study


def comparison(networks, size, args):
    """Several networks on the same photographs."""
    study = of_photographs(networks, size, args)
    block = study.block(["gray", *networks, "photograph"], MAIN)
    for network, lines in zip(networks.values(), block[1][1:]):
        lines.insert(1, f"{network.target}; trained on {network.pictures or '?'} pictures")
    return f"Networks compared: {study.counted}", [block], study


def ink(networks, size, args):
    """A grayscale painting. It has no reference to measure against, only its colourfulness."""
    data = args.data or PAINTING
    paths = [path for path in find_files(data) if formats.looks_like_picture(path)]
    files = drawn(paths if data.is_dir() else [data], args.seed, min(args.limit or SHOWN, SHOWN))
    methods, panels = [trained(*item) for item in networks.items()], {}
    for picture in itertools.chain.from_iterable(measure.read_batches(files, size)):
        painting = colorize(shrink(picture.own, VIEW), np.zeros((2, 2, 2), np.float32))
        own = colorized(methods, resize(painting, size, size), painting)
        panels[os.path.relpath(picture.path, data.parent)] = own | {"painting": painting}
    rows = {
        name: [
            {"picture": picture, "method": name, "cf": colorfulness(own[name])}
            for picture, own in panels.items()
        ]
        for name in networks
    }
    study = Study(rows, panels, "painting" + "s" * (len(panels) > 1), networks, size, args)
    title = f"Ink wash painting, colorized: colourfulness CF, {study.counted}"
    return title, [study.block(["painting", *networks], ["cf"])], study


FIGURES = {own.__name__: own for own in (saturation, edges, results, comparison, ink)}


class Study:
    """What was measured: the metrics of every picture by column, their means, some panels."""

    def __init__(self, rows, panels, kind, networks, size, args):
        """Of rows {column: [metrics of a picture]} and panels {picture: {column: uint8 (h, w, 3)}};
        `kind` is what the pictures are called."""
        self.rows, self.shown = rows, panels
        self.means = {column: statistics.summarise(own, args.seed) for column, own in rows.items()}
        count = len(next(iter(rows.values())))
        self.counted = f"mean [95 % interval] of {count} {kind}" if count > 1 else f"1 {kind}"
        if len(panels) < count:
            self.counted += f"; {len(panels)} of them drawn by seed {args.seed} are shown"
        self.numbers = {
            "data": str(args.data) if args.data else None,
            "limit": args.limit,
            "seed": args.seed,
            "pictures": count,
            "size": size,
            "shown": list(panels),
            "networks": {
                column: {"file": str(own.path), "target": str(own.target), "pictures": own.pictures}
                for column, own in networks.items()
            },
            "means": self.means,
        }

    def block(self, columns, metrics):
        """(rows of panels, captions) of some columns, for `draw`.

        Under each column stand its name and its means, of the photograph CF alone.
        """
        captions = [[column] for column in columns]
        for lines in captions:
            means = self.means.get(lines[0], {})
            shown = ["cf"] if lines[0] == "photograph" else filter(means.get, metrics)
            for name in shown:
                text = "{} {mean:.3g} [{low:.3g}, {high:.3g}]"
                lines.append(text.format(statistics.METRICS[name].title, **means[name]))
        return [[panels[column] for column in columns] for panels in self.shown.values()], captions


def of_photographs(networks, size, args, further=()):
    """The Study of gray, networks {column: Network}, the photograph and further methods."""
    columns = [GRAY, *(trained(*item) for item in networks.items()), PHOTOGRAPH, *further]
    if not (folder := args.data):
        folder = args.out / "photographs"
        demo.write(folder, demo.photographs())
    files = measure.scan([folder], args.limit, args.seed)[1]
    prior = measure.common_colors(files, size)[1]
    chosen, panels, rows = drawn(files, args.seed, SHOWN), {}, {own.name: [] for own in columns}
    for batch in measure.read_batches(files, size):
        for row in measure.measure(batch, columns, prior, ["squashed"]):
            row["picture"] = str(Path(row["picture"]).relative_to(folder))
            rows[row["method"]].append(row)
        for picture in (picture for picture in batch if picture.path in chosen):
            name = str(Path(picture.path).relative_to(folder))
            panels[name] = colorized(columns, picture.squashed, shrink(picture.own, VIEW))
    kind = "photograph" + "s" * (len(files) > 1)
    return Study(rows, panels, f"{kind} at {size} x {size} px", networks, size, args)


def colorized(columns, squashed, pixels):
    """A picture by every method, {column: uint8 (h, w, 3)}: ab of `squashed` joined to `pixels`."""
    panels = {}
    for column, ab in zip(columns, predict(columns, squashed[None])[1]):
        if ab is not None and not np.isfinite(ab).all():
            raise Refused(f"{column.name}: the network gives no finite colours", 1)
        panels[column.name] = pixels if ab is None else colorize(pixels, ab[0])
    return panels


def drawn(items, seed, count):
    """At most `count` of the items, chosen at random, in their own order."""
    chosen = np.random.default_rng([seed, 5]).permutation(len(items))[:count]
    return [items[i] for i in sorted(chosen)]


def draw(title, blocks):
    """A page of blocks, one below the other, as a matplotlib Figure.

    Args:
        blocks: (rows, captions). A row has a panel, uint8 (h, w, 3), for each column; a caption its
            lines of text.
    """
    columns = max(len(captions) for _, captions in blocks)
    cell, rows, texts = WIDTH / columns, [], {}
    for panels, captions in blocks:
        rows += panels
        for i, lines in enumerate(captions):
            wrapped = (textwrap.fill(line, int(17 * cell)) for line in lines)
            texts[len(rows) - 1, i] = "\n".join(wrapped)
    heights = [cell * min(TALLEST, max(len(x) / x.shape[1] for x in row)) for row in rows]
    title = textwrap.fill(title, 130)
    lines = title.count("\n") + 1 + sum(max(map(len, own)) + 2 for _, own in blocks)
    page = Figure(figsize=(WIDTH, sum(heights) + 0.14 * lines), dpi=DPI, layout="constrained")
    page.suptitle(title, x=0.01, ha="left", fontsize=8, parse_math=False)
    axes = page.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for i, row in enumerate(rows):
        for axis, panel in zip(axes[i], row):
            axis.imshow(panel)
    for place, text in texts.items():
        axes[place].set_xlabel(text, x=0, ha="left", fontsize=6.5, parse_math=False)
    return page
