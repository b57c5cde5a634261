"""The figures of the paper: what each measures, on squashed pictures, and shows in their shape."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from data.preprocess import shrink
from evaluation import Refused, measure, statistics
from evaluation.methods import Method, Network, Target, gray, own_ab, predict
from utils import atomic, printable

FIGURES = {  # name: (title, metrics below the columns)
    "saturation": ("Networks trained at several T and, below, their targets", ["cf"]),
    "edges": ("With and without the edge detection network (EDN)", ["bleed"]),
    "results": ("Gray, colorized, photograph", ["psnr", "ciede2000", "cf"]),
    "comparison": ("Networks compared", ["psnr", "ssim", "ciede2000", "bleed", "cf"]),
}
SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T
SHOWN = 4  # pictures on a page, at most
VIEW = 1080  # px, the longer side of a picture that is shown: half the page
DPI, WIDTH = 300, 7.2  # of a page: px per inch, inches
TALLEST = 1.25  # of a row of panels: times their width


def make(args):
    """Write one figure by the options of figures.py."""
    networks = {label: Network(path) for label, path in args.model.items()}
    if args.figure == "edges" and len(networks) != 2:
        raise Refused("edges takes two networks: without edge detection and with it")
    columns = [Method(label, own.ab, own.target) for label, own in networks.items()]
    columns, photograph = [Method("gray", gray), *columns], Method("photograph", own_ab)
    blocks = [[*columns, photograph]]
    if args.figure == "saturation":
        blocks = [columns, [photograph]]
        blocks[1] += [Method(f"target, {t}", t.ab, t) for t in map(Target, SATURATIONS)]
    methods = sum(blocks, [])

    paths = measure.scan([args.data], args.limit, args.seed)[1]
    rows = {method.name: [] for method in methods}
    for batch in measure.read_batches(paths, args.size):
        for row in measure.measure(batch, methods):
            rows[row["method"]].append(row)
    means = {name: statistics.summarise(own, seed=args.seed) for name, own in rows.items()}
    drawn = sorted(np.random.default_rng([args.seed, 5]).permutation(len(paths))[:SHOWN])
    shown = [panels(methods, paths[i], args.size) for i in drawn]

    title, metrics = FIGURES[args.figure]
    count = len(rows["gray"])
    title += f": mean [95 % interval] of {count} photographs at {args.size} x {args.size} px"
    if len(shown) < count:
        title += f"; {len(shown)} of them drawn by seed {args.seed} are shown"
    if args.figure == "edges":
        without, with_edges = (rows[name] for name in networks)
        bleed = statistics.summarise(with_edges, without, args.seed)["bleed"]
        interval = "{mean:+.2f} [{low:+.2f}, {high:+.2f}]".format(**bleed)
        title += f". Bleed with minus without, % points: {interval}"
    captions = {name: [name] for name in means}
    for label, own in networks.items():
        captions[label].append(f"{own.target}; trained on {own.pictures or '?'} pictures")
    for name, values in means.items():
        for metric in ["cf"] if name == "photograph" else metrics:
            mean = "{mean:.3g} [{low:.3g}, {high:.3g}]".format(**values[metric])
            captions[name].append(f"{statistics.METRICS[metric][0]} {mean}")
    target = args.out / args.figure
    with atomic(target.with_suffix(".png")) as temporary:
        names = [[method.name for method in block] for block in blocks]
        draw(title, names, captions, shown).savefig(temporary)
    with atomic(target.with_suffix(".md")) as temporary:
        temporary.write_text(f"{title}\n\n{statistics.shown(means)}\n", encoding="utf-8")
    print(f"{printable(target)}.png: {title}")


def panels(methods, path, size):
    """What each method makes of a picture: {its name: uint8 (h, w, 3)}."""
    photograph = measure.read(path, size)
    pixels, found = shrink(photograph.own, VIEW), predict(methods, photograph.squashed[None])
    return {method.name: method.join(pixels, found[method.ab][0]) for method in methods}


def draw(title, blocks, captions, shown):
    """A page of blocks of panels, one below the other, as a matplotlib Figure.

    blocks: lists of columns; below a column stands its caption, a list of lines.
    shown: {column: uint8 (h, w, 3)} of each picture, which is a row in every block.
    """
    count = max(map(len, blocks))
    cell = WIDTH / count
    texts = {
        column: "\n".join(textwrap.fill(line, int(17 * cell)) for line in lines)
        for column, lines in captions.items()
    }
    rows = [[own[column] for column in block] for block in blocks for own in shown]
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
    for row, pictures in zip(axes, rows):
        for axis, picture in zip(row, pictures):
            axis.imshow(picture)
    for row, block in zip(axes[len(shown) - 1 :: len(shown)], blocks):
        for axis, column in zip(row, block):
            axis.set_xlabel(texts[column], x=0, ha="left", fontsize=6.5, parse_math=False)
    return page
