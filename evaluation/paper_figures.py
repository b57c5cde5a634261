"""The figures of the paper: what each measures and shows.

Measured are the pictures squashed to the size of training, as in the paper's test; they are shown in their own shape.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from data import color, demo, manifest
from data.as_published import colorize_as_published, repeated, resize_nearest
from data.preprocess import colorize, resize, to_float
from evaluation import page, statistics
from evaluation.measure import common_colors, measure, read
from evaluation.methods import Method, Target, ceiling, constant, predict, trained
from evaluation.metrics import colorfulness
from pictures import formats, reader
from utils import find_files, printable

SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T
SHOWN = 4  # pictures on a page, at most
PAINTING = (
    Path(__file__).parent.parent / "docs" / "figures" / "ink_painting.png"
)  # drawn by a program, no painter
VIEW = 1080  # px, the longer side of a picture that is shown: half the page
WINDOW = 4  # the enlarged window is one in so many of each side
GRAY = Method("gray", constant((0, 0)), Target())
PHOTOGRAPH = Method("photograph", None, Target())
MAIN = ("psnr", "ssim", "ciede2000", "auc", "auc_rebalanced", "bleed", "cf")
# figure -> label -> run of `make figures-train`
USED = {
    "saturation": {f"T = {t:g}": f"t{t:g}" for t in SATURATIONS},
    "edges": {"without": "no-edges", "with": "t1.8"},
    "results": {"colorized": "t1.8"},
    "comparison": {
        "Iizuka et al. 2016": "iizuka2016",
        "Zhang et al. 2016": "zhang2016",
        "this network": "t1.8",
    },
    "ink": {"colorized": "t1.8"},
}


class FigureError(Exception):
    """A figure that cannot be made: a message of one line, the exit status."""


def refuse(message, status=2):
    raise FigureError(message, status)


def saturation(networks, size, args):
    """Networks trained at several T, and the targets themselves."""
    ordered = sorted(networks.items(), key=lambda item: item[1].target.saturation)
    named = {label if str(n.target) in label else f"{label}, {n.target}": n for label, n in ordered}
    targets = [ceiling(Target(t), "target") for t in SATURATIONS]
    study = of_photographs(named, size, args, targets)
    blocks = [study.block(["photograph", *(target.name for target in targets)], ["cf"])]
    study.numbers["rise"] = rises(study, [target.name for target in targets], args.seed)
    if named:
        blocks.insert(0, study.block(["gray", *named], ["cf"]))
        study.numbers["rise"] += rises(study, list(named), args.seed)
    rows = (
        "Networks trained at several T and, below, their targets"
        if named
        else "Targets at several T"
    )
    return f"{rows}: colourfulness CF, {study.counted}", blocks, study


def rises(study, columns, seed):
    """How much CF grows from each column to the next, the mean of the pictures' own differences with its interval."""
    cf = np.array([[row["cf"] for row in study.rows[column]] for column in columns])
    if len(cf) < 2:
        return []
    found = [statistics.interval([difference], seed=seed) for difference in np.diff(cf, axis=0)]
    names = ("first", "second", "difference", "low", "high")
    return [dict(zip(names, (a, b, *values))) for a, b, values in zip(columns, columns[1:], found)]


def edges(networks, size, args):
    """The network with and without edge detection, and the window where that matters most."""
    ours = [n for n in networks.values() if n.metadata["network"] == "aciids2020"]
    pair = [
        [n for n in ours if n.metadata["arguments"].get("edges", True) == has]
        for has in (False, True)
    ]
    if [len(found) for found in pair] != [1, 1]:
        refuse(
            f"edges takes a network without edge detection and one with it, not {len(pair[0])} and {len(pair[1])}"
        )
    named = dict(zip(("without EDN", "with EDN"), sum(pair, [])))
    study = of_photographs(named, size, args)
    found = statistics.compare(*(study.rows[name] for name in named), args.seed)["bleed"]
    block = study.block(["gray", *named, "photograph"], ["bleed"])
    index, window = where_they_differ([row[1:3] for row in block.rows])
    study.numbers["difference"] = {"first": "without EDN", "second": "with EDN", "bleed": found}
    study.numbers["enlarged"] = {"picture": list(study.shown)[index], "window": window}
    block.rows.append([tile[_inside(window)] for tile in block.rows[index]])
    block.rows[index] = [page.outlined(tile, window) for tile in block.rows[index]]
    title = (
        f"With and without the edge detection network (EDN): bleed in % points, {study.counted}. With minus without: "
        f"{found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]. The last row enlarges the window in "
        "which the two differ most, of the pictures shown"
    )
    return title, [block], study


def where_they_differ(pairs):
    """Of pairs of pictures: the number of one and its window (top, left, height, width) in which ab differs most."""
    best = (-1, 0, None)
    for index, pair in enumerate(pairs):
        first, second = (color.lab_from_srgb(to_float(picture))[..., 1:] for picture in pair)
        height, width = (max(1, n // WINDOW) for n in first.shape[:2])
        sums = cv2.integral(np.sqrt(np.square(first - second).sum(axis=-1)))
        windows = (
            sums[height:, width:]
            - sums[:-height, width:]
            - sums[height:, :-width]
            + sums[:-height, :-width]
        )
        top, left = (int(n) for n in np.unravel_index(windows.argmax(), windows.shape))
        best = max(best, (windows[top, left] / (height * width), index, (top, left, height, width)))
    return best[1:]


def _inside(window):
    top, left, height, width = window
    return slice(top, top + height), slice(left, left + width)


def results(networks, size, args):
    """Gray, colorized, photograph."""
    if len(networks) > 1:
        refuse("results shows one network; comparison takes several")
    study = of_photographs(networks, size, args)
    block = study.block(["gray", *networks, "photograph"], ["psnr", "ciede2000", "cf"])
    return f"Gray, colorized, photograph: {study.counted}", [block], study


def comparison(networks, size, args):
    """Several networks on the same photographs."""
    study = of_photographs(networks, size, args)
    training = {
        label: f"{n.target}; trained on {n.pictures or '?'} pictures"
        for label, n in networks.items()
    }
    title = f"Networks compared: {study.counted}"
    return title, [study.block(["gray", *networks, "photograph"], MAIN, training)], study


def ink(networks, size, args):
    """A grayscale painting. There is no reference to measure against, only how colourful it becomes."""
    columns = [
        trained(name, network, size, args.as_published, own_sizes=True)
        for name, network in networks.items()
    ]
    squash = resize_nearest if args.as_published else resize
    rows, panels = {name: [] for name in networks}, {}
    for picture, painting in paintings(args):
        panels[picture] = {"painting": painting}
        for method in columns:
            ab = finite(method.ab(squash(painting, size, size)[None], {})[0], method.name)
            result = panels[picture][method.name] = joined(painting, ab, args.as_published)
            rows[method.name].append(
                {"picture": picture, "method": method.name, "cf": colorfulness(result)}
            )
    study = Study(rows, panels, "painting" + "s" * (len(panels) > 1), networks, size, args)
    title = f"Ink wash painting, colorized: colourfulness CF, {study.counted}"
    return title, [study.block(["painting", *networks], ["cf"])], study


FIGURES = {
    "saturation": saturation,
    "edges": edges,
    "results": results,
    "comparison": comparison,
    "ink": ink,
}


class Study:
    """What was measured: the metrics of every picture by column, their means, the panels of those that are shown."""

    def __init__(self, rows, panels, kind, networks, size, args):
        """
        Args:
            rows: {column: [metrics of a picture]}, see `evaluation.statistics`.
            panels: {picture: {column: uint8 (h, w, 3)}}, of SHOWN pictures.
            kind: what the pictures are called.
            networks: {column: Network}.
        """
        self.rows, self.shown = rows, panels
        self.means = {column: statistics.summarise(own, args.seed) for column, own in rows.items()}
        count = len(next(iter(rows.values())))
        self.counted = f"mean [95 % interval] of {count} {kind}" if count > 1 else f"1 {kind}"
        if len(panels) < count:
            self.counted += f"; {len(panels)} of them drawn by seed {args.seed} are shown"
        described = {
            c: {"file": str(n.path), "target": str(n.target), "pictures": n.pictures}
            for c, n in networks.items()
        }
        self.numbers = {
            "data": str(args.data) if args.data else None, "pictures": count, "limit": args.limit, "seed": args.seed,
            "size": size, "as_published": args.as_published, "shown": list(panels), "networks": described,
            "means": self.means,
        }  # fmt: skip

    def block(self, columns, metrics, notes=None):
        """The panels of some columns; under each its name, its note and its means, of the photograph CF alone."""
        captions = []
        for column in columns:
            shown = {"cf"} if column == PHOTOGRAPH.name else self.means.get(column, ())
            means = [
                spoken(metric, self.means[column]) if metric in shown else "" for metric in metrics
            ]
            captions.append([column, (notes or {}).get(column, ""), *means])
        return page.Block(
            [[panels[column] for column in columns] for panels in self.shown.values()], captions
        )


def spoken(metric, means):
    """A mean with its interval, where it has one, in words."""
    mean, low, high = (
        f"{value:.{3 if metric == 'ssim' else 1}f}" for value in means[metric].values()
    )
    return f"{statistics.METRICS[metric].title} {mean}" + f" [{low}, {high}]" * (low != high)


def of_photographs(networks, size, args, further=()):
    """Gray, networks {column: Network}, the photograph and further methods, measured on the colour photographs given."""
    used = [
        trained(name, network, size, args.as_published, own_sizes=True)
        for name, network in networks.items()
    ]
    columns = [GRAY, *used, PHOTOGRAPH, *further]
    with photographs(args.data) as folder:
        files = manifest.paths(
            manifest.scan_dataset([folder], share=0, seed=args.seed, limit=args.limit), "train"
        )
        if not files:
            refuse(f"{printable(folder)}: no colour photographs in it")
        prior = common_colors(files, size, args.as_published)[1]
        rows = measure(files, columns, prior, size, ["squashed"], as_published=args.as_published)
        if not rows:
            refuse("none of the pictures can be read any more", 1)
        measured = drawn(
            [row["picture"] for row in rows if row["method"] == PHOTOGRAPH.name], args.seed, SHOWN
        )
        panels = {
            str(Path(path).relative_to(folder)): panels_of(path, columns, size, args.as_published)
            for path in measured
        }
        for row in rows:
            row["picture"] = str(Path(row["picture"]).relative_to(folder))
    by_column = {
        column.name: [row for row in rows if row["method"] == column.name] for column in columns
    }
    kind = "photograph" + "s" * (len(files) > 1)
    return Study(by_column, panels, f"{kind} at {size} x {size} px", networks, size, args)


def panels_of(path, columns, size, as_published):
    """A photograph in every column: {column: uint8 (h, w, 3)}; all size x size if `as_published`."""
    picture = read(path, size, as_published=as_published)
    own = picture.squashed if as_published else view(picture.own)
    _, predicted = predict(columns, picture.squashed[None])
    given = {
        c.name: ab if ab is None else finite(ab[0], c.name) for c, ab in zip(columns, predicted)
    }
    return {
        name: own if ab is None else joined(own, ab, as_published) for name, ab in given.items()
    }


def joined(pixels, ab, as_published):
    return (
        colorize_as_published(pixels, repeated(ab, len(pixels)))
        if as_published
        else colorize(pixels, ab)
    )


def view(pixels):
    """A picture no larger than it is shown."""
    shrink = min(1, VIEW / max(pixels.shape[:2]))
    return resize(pixels, *(max(1, round(n * shrink)) for n in pixels.shape[:2]))


def finite(ab, name):
    if not np.isfinite(ab).all():
        refuse(f"{name}: the network gives no finite colours", 1)
    return ab


def drawn(items, seed, count):
    """At most `count` of the items, chosen at random, in their own order."""
    chosen = np.random.default_rng([seed, 5]).permutation(len(items))[:count]
    return [items[i] for i in sorted(chosen)]


@contextlib.contextmanager
def photographs(folder):
    """A folder of photographs: the one given, or one with those of scikit-image."""
    if folder:
        yield folder
    else:
        with tempfile.TemporaryDirectory() as temporary:
            demo.write(Path(temporary), demo.photographs())
            yield temporary


def paintings(args):
    """(name, neutral uint8 (h, w, 3)) of the pictures given, gray or not; of PAINTING if none are."""
    data = args.data or PAINTING
    paths = [data]
    if data.is_dir():
        paths = [path for path in find_files(data) if formats.looks_like_picture(path)]
    found = []
    for path in drawn(paths, args.seed, min(args.limit or SHOWN, SHOWN)):
        try:
            painting = neutral(view(reader.eight_bits(reader.read_picture(path).pixels)))
            found.append((os.path.relpath(path, data.parent), painting))
        except reader.BadPicture as error:
            print(f"{printable(path)}: {error}", file=sys.stderr)
    return found or refuse(f"{printable(data)}: no pictures in it")


def neutral(pixels):
    return colorize(pixels, np.zeros((2, 2, 2), np.float32))
