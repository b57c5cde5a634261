"""The figures of the paper: what each measures and shows.

Measured are the pictures squashed to the size of training, as in the paper's test; they are shown
in their own shape.
"""

import os
import textwrap
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from data import color, demo, manifest
from data.as_published import resize_nearest
from data.preprocess import colorize, resize, to_float
from evaluation import measure, statistics
from evaluation.measure import Refused
from evaluation.methods import Method, Target, ceiling, constant, predict, trained
from evaluation.metrics import colorfulness
from pictures import formats
from utils import find_files, printable

SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T
SHOWN = 4  # pictures on a page, at most
ROOT = Path(__file__).parent.parent
PAINTING = ROOT / "docs" / "figures" / "ink_painting.png"  # drawn by a program, no painter
VIEW = 1080  # px, the longer side of a picture that is shown: half the page
WINDOW = 4  # the enlarged window is one in so many of each side
GRAY = Method("gray", constant((0, 0)), Target())
PHOTOGRAPH = Method("photograph", None, Target())
MAIN = ("psnr", "ssim", "ciede2000", "auc", "auc_rebalanced", "bleed", "cf")
DPI, WIDTH = 300, 7.2  # of a page: px per inch, inches
TALLEST = 1.25  # of a row of panels: times their width


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
    """The network with and without edge detection, and the window where that matters most."""
    named = {"without EDN": [], "with EDN": []}
    for network in networks.values():
        if network.metadata["network"] == "aciids2020":
            has = network.metadata["arguments"].get("edges", True)
            named["with EDN" if has else "without EDN"].append(network)
    counts = [len(found) for found in named.values()]
    if counts != [1, 1]:
        wanted = "a network without edge detection and one with it"
        raise Refused(f"edges takes {wanted}, not {counts[0]} and {counts[1]}")
    named = {name: network for name, (network,) in named.items()}
    study = of_photographs(named, size, args)
    found = statistics.compare(*(study.rows[name] for name in named), args.seed)["bleed"]
    rows, captions = study.block(["gray", *named, "photograph"], ["bleed"])
    index, window = where_they_differ([row[1:3] for row in rows])
    top, left, height, width = window
    study.numbers["difference"] = {"first": "without EDN", "second": "with EDN", "bleed": found}
    study.numbers["enlarged"] = {"picture": list(study.shown)[index], "window": window}
    rows.append([panel[top : top + height, left : left + width] for panel in rows[index]])
    rows[index] = [outlined(panel, window) for panel in rows[index]]
    interval = f"{found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
    title = (
        f"With and without the edge detection network (EDN): bleed in % points, {study.counted}. "
        f"With minus without: {interval}. The last row enlarges the window in which the two differ "
        "most, of the pictures shown"
    )
    return title, [(rows, captions)], study


def where_they_differ(pairs):
    """Of pairs of pictures: the number of one and its window in which ab differs most.

    The window is (top, left, height, width), px.
    """
    best = (-1, 0, None)
    for index, pair in enumerate(pairs):
        first, second = (color.lab_from_srgb(to_float(picture))[..., 1:] for picture in pair)
        height, width = (max(1, n // WINDOW) for n in first.shape[:2])
        sums = cv2.integral(np.sqrt(np.square(first - second).sum(axis=-1)))
        below, above = sums[height:], sums[:-height]
        windows = below[:, width:] - above[:, width:] - below[:, :-width] + above[:, :-width]
        top, left = (int(n) for n in np.unravel_index(windows.argmax(), windows.shape))
        best = max(best, (windows[top, left] / (height * width), index, (top, left, height, width)))
    return best[1:]


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
    notes = {
        label: f"{network.target}; trained on {network.pictures or '?'} pictures"
        for label, network in networks.items()
    }
    block = study.block(["gray", *networks, "photograph"], MAIN, notes)
    return f"Networks compared: {study.counted}", [block], study


def ink(networks, size, args):
    """A grayscale painting. It has no reference to measure against, only its colourfulness."""
    columns = [trained(name, own, args.as_published) for name, own in networks.items()]
    rows, panels = {name: [] for name in networks}, {}
    for picture, painting in paintings(args, size):
        squash = resize_nearest if args.as_published else resize
        squashed = squash(painting, size, size)
        panels[picture] = colorized(columns, squashed, painting, args.as_published)
        panels[picture]["painting"] = painting
        for name in networks:
            cf = colorfulness(panels[picture][name])
            rows[name].append({"picture": picture, "method": name, "cf": cf})
    study = Study(rows, panels, "painting" + "s" * (len(panels) > 1), networks, size, args)
    title = f"Ink wash painting, colorized: colourfulness CF, {study.counted}"
    return title, [study.block(["painting", *networks], ["cf"])], study


class Study:
    """What was measured: the metrics of every picture by column, their means, some panels."""

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
        self.numbers = {
            "data": str(args.data) if args.data else None,
            **{name: getattr(args, name) for name in ("limit", "seed", "as_published")},
            "pictures": count,
            "size": size,
            "shown": list(panels),
            "networks": {
                column: {"file": str(own.path), "target": str(own.target), "pictures": own.pictures}
                for column, own in networks.items()
            },
            "means": self.means,
        }

    def block(self, columns, metrics, notes=None):
        """(rows of panels, captions) of some columns, for `draw`.

        Under each column stand its name, its note and its means, of the photograph CF alone.
        """
        captions = []
        for column in columns:
            shown = {"cf"} if column == PHOTOGRAPH.name else self.means.get(column, ())
            means = [format_mean(m, self.means[column]) if m in shown else "" for m in metrics]
            captions.append([column, (notes or {}).get(column, ""), *means])
        return [[panels[column] for column in columns] for panels in self.shown.values()], captions


def format_mean(metric, means):
    """A mean with its interval, where it has one."""
    digits = 3 if metric == "ssim" else 1
    mean, low, high = (f"{value:.{digits}f}" for value in means[metric].values())
    return f"{statistics.METRICS[metric].title} {mean}" + f" [{low}, {high}]" * (low != high)


def of_photographs(networks, size, args, further=()):
    """The Study of gray, networks {column: Network}, the photograph and further methods."""
    used = [trained(name, network, args.as_published) for name, network in networks.items()]
    columns, as_published = [GRAY, *used, PHOTOGRAPH, *further], args.as_published
    if not (folder := args.data):
        folder = args.out / "photographs"
        demo.write(folder, demo.photographs())
    scanned = manifest.scan_dataset([folder], share=0, seed=args.seed, limit=args.limit)
    files = manifest.paths(scanned, "train")
    if not files:
        raise Refused(f"{printable(folder)}: no colour photographs in it")
    prior = measure.common_colors(files, size, as_published)[1]
    chosen, panels, rows = drawn(files, args.seed, SHOWN), {}, {own.name: [] for own in columns}
    for batch in measure.read_batches(files, size, as_published):
        for row in measure.measure(batch, columns, prior, ["squashed"], as_published):
            row["picture"] = str(Path(row["picture"]).relative_to(folder))
            rows[row["method"]].append(row)
        for picture in batch:
            if picture.path in chosen:
                own = picture.squashed if as_published else view(picture.own)
                name = str(Path(picture.path).relative_to(folder))
                panels[name] = colorized(columns, picture.squashed, own, as_published)
    if not panels:
        raise Refused("none of the pictures can be read any more", 1)
    kind = "photograph" + "s" * (len(files) > 1)
    return Study(rows, panels, f"{kind} at {size} x {size} px", networks, size, args)


def colorized(columns, squashed, pixels, as_published):
    """A picture by every method, {column: uint8 (h, w, 3)}: ab of `squashed` joined to `pixels`."""
    panels = {}
    for column, ab in zip(columns, predict(columns, squashed[None])[1]):
        panels[column.name] = pixels
        if ab is not None:
            if not np.isfinite(ab).all():
                raise Refused(f"{column.name}: the network gives no finite colours", 1)
            panels[column.name] = measure.join(pixels, ab[0], as_published)[0]
    return panels


def view(pixels):
    """A picture no larger than it is shown."""
    shrink = min(1, VIEW / max(pixels.shape[:2]))
    return resize(pixels, *(max(1, round(n * shrink)) for n in pixels.shape[:2]))


def drawn(items, seed, count):
    """At most `count` of the items, chosen at random, in their own order."""
    chosen = np.random.default_rng([seed, 5]).permutation(len(items))[:count]
    return [items[i] for i in sorted(chosen)]


def paintings(args, size):
    """(name, neutral uint8 (h, w, 3)) of the pictures given, gray or not; of PAINTING if none."""
    data = args.data or PAINTING
    paths = [data]
    if data.is_dir():
        paths = [path for path in find_files(data) if formats.looks_like_picture(path)]
    found = []
    for path in drawn(paths, args.seed, min(args.limit or SHOWN, SHOWN)):
        if photograph := measure.read(path, size):
            neutral = colorize(view(photograph.own), np.zeros((2, 2, 2), np.float32))
            found.append((os.path.relpath(path, data.parent), neutral))
    if not found:
        raise Refused(f"{printable(data)}: no pictures in it")
    return found


# --- the page


def draw(title, blocks):
    """A page of blocks, one below the other, as a matplotlib Figure.

    Args:
        blocks: (rows, captions). A row has a panel, uint8 (h, w, 3), for each column; a caption its
            lines of text, as many as every other of the block.
    """
    columns = max(len(captions) for _, captions in blocks)
    cell, rows, texts = WIDTH / columns, [], {}
    for panels, captions in blocks:
        rows += panels
        texts |= {(len(rows) - 1, i): own for i, own in enumerate(level(captions, 17 * cell))}
    heights = [cell * min(TALLEST, max(len(x) / x.shape[1] for x in row)) for row in rows]
    title = textwrap.wrap(title, 130)
    lines = sum(len(captions[0]) + 2 for _, captions in blocks) + len(title)
    page = Figure(figsize=(WIDTH, sum(heights) + 0.14 * lines), dpi=DPI, layout="constrained")
    page.suptitle("\n".join(title), x=0.01, ha="left", fontsize=8, parse_math=False)
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


def level(captions, letters):
    """The text of each caption in lines of so many letters; those of one kind stand level."""
    wrapped = [[textwrap.wrap(line, int(letters)) for line in caption] for caption in captions]
    tall = [max(map(len, kind)) for kind in zip(*wrapped)]
    padded = [[own + [""] * (n - len(own)) for own, n in zip(c, tall)] for c in wrapped]
    return ["\n".join(sum(caption, [])) for caption in padded]


def outlined(panel, window):
    """A picture with a frame, white between black, around a window (top, left, height, width)."""
    top, left, height, width = window
    thick = max(1, panel.shape[1] // 150)
    result, corners = panel.copy(), ((left, top), (left + width - 1, top + height - 1))
    for code, times in ((0, 3), (255, 1)):
        cv2.rectangle(result, *corners, (code,) * 3, times * thick)
    return result
