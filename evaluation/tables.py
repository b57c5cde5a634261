"""What evaluate.py does: networks and photographs -> rows of every picture -> tables, files."""

import os
from itertools import combinations, product
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from data import manifest
from data.batches import Batches
from data.preprocess import colorize
from evaluation import measure, methods, robustness, statistics
from utils import atomic, printable

PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean


def run(args):
    networks = load_all(args.model)
    scanned, files = measure.scan(args.data, args.limit, args.seed)
    for branch, (name, network) in product(args.ablate, [*networks.items()]):
        pictures = (batch for (batch,) in Batches(files, args.size, methods.BATCH))
        networks[f"{name} without {branch}"] = methods.ablated(network, branch, pictures)
    common = files
    if args.prior_data:
        common = measure.scan(args.prior_data, PRIOR_PICTURES, args.seed)[1]
    mean = measure.mean_ab(common, args.size)
    network_of = {
        method: network
        for name, network in networks.items()
        for method in methods.at_each(args.saturation, methods.trained(name, network))
    }
    measured = [*references(networks, mean, args.saturation), *network_of]

    rows = []
    for photographs in measure.read_batches(files, args.size):
        rows += measure.measure(photographs, measured)
        if args.degraded:
            rows += robustness.degraded_rows(photographs, networks, args.seed)
        if args.borders:
            rows += robustness.bordered_rows(photographs, networks)
    places = {os.path.join(row["folder"], row["path"]): row for row in scanned}
    for row in rows:
        place = places[row["picture"]]
        row |= {"folder": place["folder"], "picture": Path(place["path"]).as_posix()}
    rows_of = by_table(rows)

    tables = summarise(rows_of, args.seed)
    if args.groups:
        grouped = [row | {"protocol": f"{top_folder(row)}, {row['protocol']}"} for row in rows]
        tables |= dict(sorted(summarise(by_table(grouped), args.seed).items()))
    if args.paired:
        pairs = [(a.name, b.name) for a, b in combinations(network_of, 2) if a.factor == b.factor]
        pairs += [("all-gray", method.name) for method in network_of]
        for protocol in measure.PROTOCOLS:
            own = rows_of[protocol]
            tables[f"picture by picture, {protocol}"] = {
                f"{b} minus {a}": statistics.compare(own[a], own[b], args.seed) for a, b in pairs
            }
    photographs = rows_of["own"]["photograph"]
    result = {
        "options": vars(args),
        "pictures": {
            "measured": len(photographs),
            "gray": len(manifest.paths(scanned, "gray")),
            "broken": len(manifest.paths(scanned, "broken")) + len(files) - len(photographs),
            "without_ssim": sum("ssim" not in row for row in photographs),  # at their own size
        },
        "mean_ab": mean.tolist(),
        "methods": {
            own.name: {
                "file": network_of[own].path if own in network_of else None,
                "target": str(own.target),
                "factor": own.factor,
            }
            for own in measured
        },
        "tables": tables,
    }
    counts = (f"{n} {kind.replace('_', ' ')}" for kind, n in result["pictures"].items())
    text = f"{', '.join(counts)}; squashed to {args.size} x {args.size}\n\n"
    text += "\n\n".join(f"## {printable(title)}\n\n{shown(own)}" for title, own in tables.items())
    print(text)
    text += examples(args, {own: rows_of["squashed"][own.name] for own in network_of})
    measure.write_rows(args.out / "metrics.csv", rows)
    statistics.write_json(args.out / "summary.json", result)
    with atomic(args.out / "report.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(f"\n{printable(args.out / 'report.md')}")


def load_all(paths):
    """The networks by the names of their rows: {name: Network}."""
    paths = list(dict.fromkeys(paths))
    short = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    names = [name if short.count(name) == 1 else str(path) for path, name in zip(paths, short)]
    return dict(zip(names, map(methods.load, paths)))


def references(networks, mean, factors):
    """What needs no training. Each target has its ceiling; the rest is compared with the first."""
    targets = list(dict.fromkeys(network.target for network in networks.values()))
    targets = targets or [methods.Target()]
    given = {"all-gray": methods.constant((0, 0)), "mean ab": methods.constant(mean)}
    given["photograph"] = None
    found = [methods.Method(name, ab, targets[0]) for name, ab in given.items()]
    for target in targets:
        found += methods.at_each(factors, methods.ceiling(target))
    return found


def by_table(rows):
    """{protocol: {method: its rows}}."""
    found = {}
    for row in rows:
        found.setdefault(row["protocol"], {}).setdefault(row["method"], []).append(row)
    return found


def top_folder(row):
    top, below, _ = row["picture"].partition("/")
    return top if below else Path(row["folder"]).resolve().name


def summarise(tables, seed):
    """`by_table` with means in place of the rows."""
    return {
        title: {method: statistics.summarise(rows, seed) for method, rows in own.items()}
        for title, own in tables.items()
    }


def shown(table):
    """A table {row: {metric: mean and interval}} in Markdown."""

    def cell(mean, low, high, differs=False):
        return f"{mean:.4g} [{low:.4g}, {high:.4g}]" + ", differs" * differs

    titles = {name: metric.title for name, metric in statistics.METRICS.items()}
    return statistics.markdown(
        {
            printable(row): {titles[name]: cell(**own) for name, own in found.items()}
            for row, found in table.items()
        }
    )


def examples(args, rows_of):
    """Draw three pictures of each network, {Method: rows}. What they are, in Markdown."""
    table, strips = {}, []
    for method, rows in rows_of.items():
        rows = sorted((row for row in rows if np.isfinite(row["psnr"])), key=itemgetter("psnr"))
        if not rows:
            continue
        chosen = {"best": rows[-1], "median": rows[len(rows) // 2], "worst": rows[0]}
        tiles = []
        for row in chosen.values():
            rgb = measure.read(Path(row["folder"], row["picture"]), args.size).squashed
            _, (ab,) = methods.predict([method], rgb[None])
            tiles += [*(colorize(rgb, ab[0], factor) for factor in (0, method.factor)), rgb]
        strips.append(np.hstack(tiles))
        table[printable(method.name)] = {
            rank: f"{printable(row['picture'])}, {row['psnr']:.4g}" for rank, row in chosen.items()
        }
    if not table:
        return ""
    with atomic(args.out / "examples.png") as temporary:
        Image.fromarray(np.vstack(strips)).save(temporary)
    title = "examples.png: gray, colorized, photograph of three pictures by PSNR, squashed"
    return f"\n\n## {title}\n\n{statistics.markdown(table)}"
