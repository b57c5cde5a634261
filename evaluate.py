"""Measure networks on photographs, beside references that need no training.

    python evaluate.py --data DIR [--model FILE ...] --out DIR [--paired]

Photographs -> the ab that each method predicts -> joined to their own lightness -> metrics of every picture -> means with
intervals, as tables, as files, as a page to look at.
"""

import csv
import json
import os
import sys
import time
from itertools import combinations
from pathlib import Path

try:
    from evaluation.options import parse, stop
except ModuleNotFoundError as error:
    sys.exit(
        f"evaluate.py: {error.name} is not installed: run `make setup`, then .venv/bin/python evaluate.py ..."
    )

ARGUMENTS = (
    parse() if __name__ == "__main__" else None
)  # refused before the imports that take seconds

from utils import atomic, import_keras_quietly, printable

import_keras_quietly()

import numpy as np
from evaluation.perceptual import Fid, Lpips, Unavailable

from data import color, manifest
from data.batches import Batches
from data.preprocess import colorize, to_float
from evaluation import metrics, report, robustness, statistics
from evaluation.measure import PROTOCOLS, Reference, common_colors, measure, read, write_rows
from evaluation.methods import (
    BATCH,
    Method,
    Target,
    ablated,
    at_each,
    ceiling,
    constant,
    layer_of,
    load,
    predict,
    trained,
)
from models import file as model_file
from models.properties import sizes_of

PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean and 23 x 23 shares
SHOWN = (
    "relative_mse", "r", "degraded_over_clean", "ab_shift", "psnr", "ssim", "ciede2000", "lpips", "fid", "auc",
    "auc_rebalanced", "bleed", "cf", "delta_cf", "out_of_gamut",
)  # fmt: skip


def main(args):
    lpips, fid = load_perceptual(args)
    networks = load_all(args)
    scanned, files = scan_dataset(args.data, args.limit, args.seed)
    places = places_of(scanned, args)
    common = (
        scan_dataset(args.prior_data, PRIOR_PICTURES, args.seed)[1] if args.prior_data else files
    )
    mean, prior = common_colors(common, args.size)
    networks |= ablations(networks, files, args)
    network_of = {
        method: network for name, network in networks.items()
        for method in at_each(args.saturation, trained(name, network, args.size, own_sizes=args.own_sizes))
    }  # fmt: skip
    methods = [*references(networks, mean, args), *network_of]

    started = time.monotonic()
    protocols = PROTOCOLS[:1] if args.squashed_only else PROTOCOLS
    rows = measure(files, methods, prior, args.size, protocols, lpips, fid)
    if not rows:
        stop("none of the pictures can be read any more", 1)
    faulty, bordered = [], []
    if args.degraded or args.borders:
        asked = args.degraded, args.borders, args.own_sizes
        faulty, bordered = robustness.measure(files, networks, args.size, args.seed, *asked)
    seconds = time.monotonic() - started
    for row in [*rows, *faulty, *bordered]:
        row |= places[row["picture"]]

    tables = nested(rows, "protocol", "method")
    photographs = tables[protocols[-1]]["photograph"]
    measured = len(photographs)
    small = [row["picture"] for row in photographs if "ssim" not in row]
    for name in small:
        others = f"its mean is over the {measured - len(small)} others"
        print(
            f"{printable(name)}: a side below {metrics.WINDOW} pixels, has no SSIM at its own size; {others}",
            file=sys.stderr,
        )
    result = {
        "data": list(map(str, args.data)), "limit": args.limit, "seed": args.seed, "size": args.size,
        "own_sizes": args.own_sizes,
        "saturation": args.saturation,
        "pictures": {
            "measured": measured, "gray": len(manifest.paths(scanned, "gray")),
            "broken": len(manifest.paths(scanned, "broken")) + len(files) - measured,
            "without_ssim": len(small),
        },
        "common_colors": {
            "data": list(map(str, args.prior_data or args.data)), "pictures": len(common), "mean_ab": mean.tolist(),
        },
        "methods": {
            method.name: {
                "file": str(network_of[method].path) if method in network_of else None,
                "target": str(method.target), "factor": method.factor,
            }
            for method in methods
        },
        "protocols": summarise(tables, args.seed),
        "groups": summarise(nested(rows, "group", "protocol", "method"), args.seed) if args.groups is not None else {},
        "degraded": summarise(nested(faulty, "method"), args.seed),
        "borders": summarise(nested(bordered, "method"), args.seed),
    }  # fmt: skip
    if fid:
        for name, found in result["protocols"]["squashed"].items():
            found["fid"] = {"mean": fid.distance(name), "low": None, "high": None}
    if args.paired:
        result["paired"] = {
            protocol: [
                {"first": a.name, "second": b.name} | statistics.compare(table[a.name], table[b.name], args.seed)
                for a, b in combinations(network_of, 2) if a.factor == b.factor
            ]
            for protocol, table in tables.items()
        }  # fmt: skip
    show(result)
    write(args.out, result, rows, [*faulty, *bordered])
    shown = {
        method.name: examples(method, tables["squashed"][method.name], args.size)
        for method in network_of
    }
    report.write(args.out / "report.html", result, tables, shown)
    print(
        f"{printable(args.out / 'report.html')}: {seconds / measured:.2f} s a picture and {len(methods)} methods"
    )


# --- what is measured


def scan_dataset(folders, limit, seed):
    """(manifest, colour photographs) of some folders, at most `limit` of their pictures."""
    try:
        rows = manifest.scan_dataset(folders, share=0, seed=seed, limit=limit)
    except ValueError as error:
        stop(error)
    files = manifest.paths(rows, "train")
    if not files:
        stop(f"{', '.join(map(printable, folders))}: no colour photographs in it")
    return rows, files


def places_of(scanned, args):
    """{path: {"folder", "picture" (relative to it)}}, with --groups also "group"."""
    places, found = {}, set()
    for row in scanned:
        path = Path(row["path"])
        place = places[os.path.join(row["folder"], row["path"])] = {
            "folder": row["folder"],
            "picture": path.as_posix(),
        }
        if args.groups is not None:
            top = path.parts[0] if len(path.parts) > 1 else Path(row["folder"]).resolve().name
            place["group"] = args.group_of.get(top, "other") if args.group_of else top
            found.add(top)
    if args.group_of and not found & args.group_of.keys():
        stop(
            f"--groups {printable(args.groups)}: has none of the folders {', '.join(map(printable, sorted(found)))}"
        )
    return places


def load_all(args):
    """The networks by the names of their rows: {name: Network}."""
    paths = list(dict.fromkeys(args.model))
    short = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    try:
        networks = {
            n if short.count(n) == 1 else str(path): load(path) for path, n in zip(paths, short)
        }
        for branch in args.ablate:
            for network in networks.values():
                layer_of(network, branch)
    except (model_file.BadModel, ValueError) as error:
        stop(error)
    return networks


def load_perceptual(args):
    """(Lpips, Fid), None for those that are not asked for."""
    try:
        return Lpips() if args.lpips else None, Fid() if args.fid else None
    except Unavailable as error:
        stop(f"--lpips, --fid: {error}")


def ablations(networks, files, args):
    """The networks once more for each of --ablate, without what that branch tells of a picture: {name: Network}."""
    found = {}
    for branch in args.ablate:
        for name, network in networks.items():
            pictures = (batch for (batch,) in Batches(files, args.size, BATCH))
            size = sizes_of(network.metadata)[0] if args.own_sizes else args.size
            found[f"{name} without {branch}"] = ablated(network, branch, pictures, size)
    return found


def references(networks, mean, args):
    """What needs no training. Each target has its ceiling; the other references are compared with the first."""
    targets = list(dict.fromkeys(network.target for network in networks.values())) or [Target()]
    return [
        Method("all-gray", constant((0, 0)), targets[0]),
        Method("mean ab", constant(mean), targets[0]),
        Method("photograph", None, targets[0]),
        *(method for target in targets for method in at_each(args.saturation, ceiling(target))),
    ]


# --- what comes out


def nested(rows, key, *further):
    """Rows by the values of some columns: {value: {value: rows}}."""
    found = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return {value: nested(own, *further) if further else own for value, own in found.items()}


def summarise(tables, seed):
    """`nested` with the means of the rows in place of the rows."""
    if isinstance(tables, list):
        return statistics.summarise(tables, seed)
    return {value: summarise(own, seed) for value, own in tables.items()}


def show(result):
    """The means on the screen, as tables."""
    print(
        ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in result["pictures"].items())
    )
    for title, _, table in report.tables(result):
        columns = [metric for metric in SHOWN if metric in next(iter(table.values()))]
        width = max(24, *map(len, table))
        print(
            f"\n{title}\n{'':{width}}"
            + "".join(f"{metric.replace('_', ' '):>15}" for metric in columns)
        )
        for name, found in table.items():
            print(
                f"{name:{width}}" + "".join(f"{found[metric]['mean']:>15.4g}" for metric in columns)
            )
    for protocol, comparisons in result.get("paired", {}).items():
        for pair in comparisons:
            print(f"\n{pair['second']} minus {pair['first']}, {protocol}")
            for name in statistics.PAIRED:
                if found := pair.get(name):
                    print(f"  {statistics.METRICS[name].title:10} {report.difference(found)}")


def write(out, result, rows, robustness_rows):
    write_rows(out / "metrics.csv", rows)
    if robustness_rows:
        write_rows(out / "robustness.csv", robustness_rows)
    with atomic(out / "summary.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["table", "group", "method", "metric", "mean", "low", "high"])
        for _, key, table in report.tables(result):
            for name, found in table.items():
                writer.writerows(
                    [*key, name, metric, *values.values()] for metric, values in found.items()
                )
    with atomic(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(statistics.plain(result), indent=1, allow_nan=False))


def examples(method, rows, size):
    """The best, the median and the worst of a method's pictures by PSNR: what `report.Example` takes."""
    ranked = sorted((row for row in rows if np.isfinite(row["psnr"])), key=lambda row: -row["psnr"])
    found = []
    for label, place in (
        (("best", 0), ("median", len(ranked) // 2), ("worst", -1)) if ranked else ()
    ):
        row = ranked[place]
        reference = Reference(
            read(Path(row["folder"], row["picture"]), size).squashed, np.ones((23, 23))
        )
        _, (ab,) = predict([method], reference.rgb[None])
        result = colorize(reference.rgb, ab[0], method.factor)
        error = metrics.ciede2000(color.lab_from_srgb(to_float(result)), reference.lab)
        found.append(
            report.Example(
                label, row, colorize(reference.rgb, 0 * ab[0]), result, reference.rgb, error
            )
        )
    return found


if __name__ == "__main__":
    try:
        main(ARGUMENTS)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        stop(f"{printable(error.filename or 'output')}: {error.strerror or error}", 1)
