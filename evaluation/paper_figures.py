"""The figures of the paper: what each measures, on squashed pictures, and shows in their shape."""

import os
import textwrap

import numpy as np
from matplotlib.figure import Figure

from configs import Config
from data import demo
from data.preprocess import colorize, shrink
from evaluation import Refused, measure, statistics
from evaluation.methods import Method, Target, ceiling, constant, load, predict, trained
from models.properties import sizes_of
from utils import atomic, printable

FIGURES = {  # name: (title, metrics below the columns)
    "saturation": ("Networks trained at several T and, below, their targets", ["cf"]),
    "edges": ("With and without the edge detection network (EDN)", ["bleed"]),
    "results": ("Gray, colorized, photograph", ["psnr", "ciede2000", "cf"]),
    "comparison": ("Networks compared", ["psnr", "ssim", "ciede2000", "auc", "bleed", "cf"]),
}
SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T
SHOWN = 4  # pictures on a page, at most
VIEW = 1080  # px, the longer side of a picture that is shown: half the page
DPI, WIDTH = 300, 7.2  # of a page: px per inch, inches
TALLEST = 1.25  # of a row of panels: times their width


def make(args, files):
    """Write one figure of the networks in files {label: path}, by the options of figures.py."""
    networks = named(args.figure, {label: load(path) for label, path in files.items()})
    sizes = {max(sizes_of(own.metadata)) for own in networks.values()} or {Config.size}
    if len(sizes) > 1:
        listed = ", ".join(map(str, sorted(sizes)))
        raise Refused(f"the networks see sizes {listed}: one figure takes one size")
    (size,) = sizes
    columns = [Method("gray", constant((0, 0))), *(trained(*item) for item in networks.items())]
    below = [Method("photograph", None)]
    if args.figure == "saturation":
        below += [ceiling(Target(t), "target") for t in SATURATIONS]
        blocks = [columns, below] if networks else [below]
    else:
        blocks = [columns + below]
    rows, shown = measure_pictures(columns + below, size, args)
    means = {column: statistics.summarise(own, args.seed) for column, own in rows.items()}

    title, metrics = FIGURES[args.figure]
    count = len(rows["gray"])
    title += (
        f": mean [95 % interval] of {count} photograph{'s' * (count > 1)} at {size} x {size} px"
    )
    if len(shown) < count:
        title += f"; {len(shown)} of them drawn by seed {args.seed} are shown"
    found = {
        "options": vars(args),
        "pictures": count,
        "size": size,
        "shown": list(shown),
        "networks": {
            column: {"file": own.path, "target": str(own.target), "pictures": own.pictures}
            for column, own in networks.items()
        },
        "means": means,
    }
    if args.figure == "edges":
        found["difference"] = statistics.compare(*(rows[name] for name in networks), args.seed)
        interval = "{mean:+.2f} [{low:+.2f}, {high:+.2f}]".format(**found["difference"]["bleed"])
        title += f". Bleed with minus without, % points: {interval}"
    captions = {}
    for column, values in means.items():
        captions[column] = [column]
        if network := networks.get(column):
            seen = f"trained on {network.pictures or '?'} pictures"
            captions[column].append(f"{network.target}; {seen}")
        for name in ["cf"] if column == "photograph" else metrics:
            mean = "{mean:.3g} [{low:.3g}, {high:.3g}]".format(**values[name])
            captions[column].append(f"{statistics.METRICS[name].title} {mean}")
    target = args.out / args.figure
    blocks = [[column.name for column in block] for block in blocks]
    with atomic(target.with_suffix(".png")) as temporary:
        draw(title, blocks, captions, shown).savefig(temporary)
    statistics.write_json(target.with_suffix(".json"), found)
    measure.write_rows(target.with_suffix(".csv"), sum(rows.values(), []))
    print(f"{printable(target)}.png: {title}")


def named(figure, networks):
    """Networks by their columns, in order. Raises Refused where they do not suit the figure."""
    if figure == "saturation":
        return dict(sorted(networks.items(), key=lambda item: item[1].target.saturation))
    if figure == "edges":
        of_paper = [own for own in networks.values() if own.metadata["network"] == "aciids2020"]
        found = {own.metadata["arguments"].get("edges", True): own for own in of_paper}
        if not len(of_paper) == len(found) == 2:
            raise Refused("edges takes a network without edge detection and one with it")
        return {"without EDN": found[False], "with EDN": found[True]}
    if figure == "results" and len(networks) > 1:
        raise Refused("results shows one network; comparison takes several")
    return networks


def measure_pictures(methods, size, args):
    """({method: [metrics of each picture]}, {picture that is shown: {method: uint8 (h, w, 3)}})."""
    if not (folder := args.data):
        folder = args.out / "photographs"
        demo.write(folder, demo.photographs())
    files = measure.scan([folder], args.limit, args.seed)[1]
    chosen = [
        files[i] for i in np.random.default_rng([args.seed, 5]).permutation(len(files))[:SHOWN]
    ]
    rows, shown = {method.name: [] for method in methods}, {}
    for batch in measure.read_batches(files, size):
        for row in measure.measure(batch, methods, ["squashed"]):
            rows[row["method"]].append(row | {"picture": os.path.relpath(row["picture"], folder)})
        for picture in (picture for picture in batch if picture.path in chosen):
            pixels, panels = shrink(picture.own, VIEW), {}
            for method, ab in zip(methods, predict(methods, picture.squashed[None])[1]):
                if ab is not None and not np.isfinite(ab).all():
                    raise Refused(f"{method.name}: the network gives no finite colours", 1)
                panels[method.name] = pixels if ab is None else colorize(pixels, ab[0])
            shown[os.path.relpath(picture.path, folder)] = panels
    return rows, shown


def draw(title, blocks, captions, shown):
    """A page of blocks of panels, one below the other, as a matplotlib Figure.

    blocks: lists of columns; below a column stands its caption, a list of lines.
    shown: {picture: {column: uint8 (h, w, 3)}}, a row for each in every block.
    """
    count = max(map(len, blocks))
    cell = WIDTH / count
    texts = {
        column: "\n".join(textwrap.fill(line, int(17 * cell)) for line in lines)
        for column, lines in captions.items()
    }
    rows = [[own[column] for column in block] for block in blocks for own in shown.values()]
    heights = [cell * min(TALLEST, max(len(x) / x.shape[1] for x in row)) for row in rows]
    title = textwrap.fill(title, 110)
    lines = [max(texts[column].count("\n") + 2 for column in block) for block in blocks]
    height = sum(heights) + 0.12 * (title.count("\n") + 2 + sum(lines))
    page = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    page.suptitle(title, x=0.01, ha="left", fontsize=8, parse_math=False)
    axes = page.subplots(len(rows), count, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, panels in zip(axes, rows):
        for axis, panel in zip(row, panels):
            axis.imshow(panel)
    for row, block in zip(axes[len(shown) - 1 :: len(shown)], blocks):
        for axis, column in zip(row, block):
            axis.set_xlabel(texts[column], x=0, ha="left", fontsize=6.5, parse_math=False)
    return page
