"""What evaluate.py does: networks and photographs -> rows of every picture -> tables, files."""

import csv
import json
import os
import time
from itertools import combinations, product
from pathlib import Path

import numpy as np

from data import color, manifest
from data.batches import Batches
from data.preprocess import colorize, to_float
from evaluation import measure, methods, metrics, robustness, statistics, webpage
from evaluation.measure import PROTOCOLS, Refused, common_colors, open_text, write_rows
from models.properties import BadModel
from utils import atomic, printable

PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean and 23 x 23 shares
TITLES = {
    "squashed": "Pictures squashed to {size} x {size}",
    "own": "Pictures at their own size",
    "degraded": "Networks that see L with faults",
    "borders": "What a border around the picture does to its colours",
}
COLUMNS = (  # of the tables on the screen
    *("relative_mse", "r", "degraded_over_clean", "ab_shift", "psnr", "psnr_gain", "ssim"),
    *("ciede2000", "auc", "auc_rebalanced", "bleed", "cf", "delta_cf", "out_of_gamut"),
)


def run(args):
    networks = load_all(args.model, args.ablate)
    scanned, files = scan_dataset(args.data, args.limit, args.seed)
    places = places_of(scanned, args)
    common = files
    if args.prior_data:
        common = scan_dataset(args.prior_data, PRIOR_PICTURES, args.seed)[1]
    mean, prior = common_colors(common, args.size)
    for branch, (name, network) in product(args.ablate, [*networks.items()]):
        pictures = (batch for (batch,) in Batches(files, args.size, methods.BATCH))
        networks[f"{name} without {branch}"] = methods.ablated(network, branch, pictures)
    network_of = {
        method: network
        for name, network in networks.items()
        for method in methods.at_each(args.saturation, methods.trained(name, network))
    }
    measured = [*references(networks, mean, args.saturation), *network_of]

    started, rows, faulty, bordered = time.monotonic(), [], [], []
    for photographs in measure.read_batches(files, args.size):
        rows += measure.measure(photographs, measured, prior)
        if args.degraded:
            faulty += robustness.degraded_rows(photographs, networks, args.seed)
        if args.borders:
            bordered += robustness.bordered_rows(photographs, networks)
    seconds = time.monotonic() - started
    if not rows:
        raise Refused("none of the pictures can be read any more", 1)
    for row in [*rows, *faulty, *bordered]:
        row |= places[row["picture"]]

    by_protocol = nested(rows, "protocol", "method")
    photographs = by_protocol["own"]["photograph"]
    result = {
        **{name: getattr(args, name) for name in ("limit", "seed", "size", "saturation")},
        "data": list(map(str, args.data)),
        "pictures": {
            "measured": len(photographs),
            "gray": len(manifest.paths(scanned, "gray")),
            "broken": len(manifest.paths(scanned, "broken")) + len(files) - len(photographs),
            "without_ssim": sum("ssim" not in row for row in photographs),  # at their own size
        },
        "common_colors": {
            "data": list(map(str, args.prior_data or args.data)),
            "pictures": len(common),
            "mean_ab": mean.tolist(),
        },
        "methods": {
            own.name: {
                "file": str(network_of[own].path) if own in network_of else None,
                "target": str(own.target),
                "factor": own.factor,
            }
            for own in measured
        },
        "protocols": summarise(by_protocol, args.seed),
        "groups": {},
        "degraded": summarise(nested(faulty, "method"), args.seed),
        "borders": summarise(nested(bordered, "method"), args.seed),
    }
    if args.groups is not None:
        result["groups"] = summarise(nested(rows, "group", "protocol", "method"), args.seed)
    if args.paired:
        pairs = [pair for pair in combinations(network_of, 2) if pair[0].factor == pair[1].factor]
        result["paired"] = {
            protocol: [
                {"first": a.name, "second": b.name}
                | statistics.compare(table[a.name], table[b.name], args.seed)
                for a, b in pairs
            ]
            for protocol, table in by_protocol.items()
        }
    tables = tables_of(result)
    write(args.out, result, tables, rows, [*faulty, *bordered])
    squashed = by_protocol["squashed"]
    shown = {own.name: examples(own, squashed[own.name], args.size) for own in network_of}
    webpage.write(args.out / "report.html", result, tables, shown)
    show(result, tables)
    speed = f"{seconds / len(photographs):.2f} s a picture and {len(measured)} methods"
    print(f"{printable(args.out / 'report.html')}: {speed}")


# --- what is measured


def load_all(paths, branches):
    """The networks by the names of their rows: {name: Network}."""
    paths = list(dict.fromkeys(paths))
    short = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    names = [name if short.count(name) == 1 else str(path) for path, name in zip(paths, short)]
    try:
        networks = {name: methods.load(path) for path, name in zip(paths, names)}
        for branch in branches:
            for network in networks.values():
                methods.layer_of(network, branch)
    except (BadModel, ValueError) as error:
        raise Refused(error) from error
    return networks


def scan_dataset(folders, limit, seed):
    """(manifest, colour photographs) of some folders, at most `limit` of their pictures."""
    try:
        rows = manifest.scan_dataset(folders, share=0, seed=seed, limit=limit)
    except ValueError as error:
        raise Refused(error) from error
    files = manifest.paths(rows, "train")
    if not files:
        raise Refused(f"{', '.join(map(printable, folders))}: no colour photographs in it")
    return rows, files


def places_of(scanned, args):
    """{path: {"folder", "picture" (relative to it)}}, with --groups also "group"."""
    places, found = {}, set()
    for row in scanned:
        path = Path(row["path"])
        place = {"folder": row["folder"], "picture": path.as_posix()}
        if args.groups is not None:
            top = path.parts[0] if len(path.parts) > 1 else Path(row["folder"]).resolve().name
            place["group"] = args.group_of.get(top, "other") if args.group_of else top
            found.add(top)
        places[os.path.join(row["folder"], row["path"])] = place
    if args.group_of and not found & args.group_of.keys():
        tops = ", ".join(map(printable, sorted(found)))
        raise Refused(f"--groups {printable(args.groups)}: has none of the folders {tops}")
    return places


def references(networks, mean, factors):
    """What needs no training. Each target has its ceiling; the rest is compared with the first."""
    targets = list(dict.fromkeys(network.target for network in networks.values()))
    targets = targets or [methods.Target()]
    given = {"all-gray": methods.constant((0, 0)), "mean ab": methods.constant(mean)}
    found = [methods.Method(name, ab, targets[0]) for name, ab in given.items()]
    found.append(methods.Method("photograph", None, targets[0]))
    for target in targets:
        found += methods.at_each(factors, methods.ceiling(target))
    return found


# --- what comes out


def nested(rows, key, *further):
    """Rows by the values of some columns: {value: {value: rows}}."""
    found = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return {value: nested(own, *further) if further else own for value, own in found.items()}


def summarise(tree, seed):
    """`nested` with the means of the rows in place of the rows."""
    if isinstance(tree, list):
        return statistics.summarise(tree, seed)
    return {value: summarise(own, seed) for value, own in tree.items()}


def tables_of(result):
    """The tables of a result: [(title, (name, group), {method: metrics})]."""
    found = [
        (TITLES[name].format(**result), (name, ""), result["protocols"][name]) for name in PROTOCOLS
    ]
    for group, protocols in sorted(result["groups"].items()):
        found += [(f"{group}, {name}", (name, group), own) for name, own in protocols.items()]
    further = [name for name in ("degraded", "borders") if result[name]]
    return found + [(TITLES[name], (name, ""), result[name]) for name in further]


def show(result, tables):
    """The means on the screen, as tables."""
    counts = result["pictures"].items()
    print(", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts))
    for title, _, table in tables:
        columns = [name for name in COLUMNS if name in next(iter(table.values()))]
        width = max(24, *map(len, map(printable, table)))
        heads = "".join(f"{statistics.METRICS[name].title:>17}" for name in columns)
        print(f"\n{printable(title)}\n{'':{width}}{heads}")
        for name, found in table.items():
            means = "".join(f"{found[column]['mean']:>17.4g}" for column in columns)
            print(f"{printable(name):{width}}{means}")
    for protocol, comparisons in result.get("paired", {}).items():
        for pair in comparisons:
            print(f"\n{printable(pair['second'])} minus {printable(pair['first'])}, {protocol}")
            for name in filter(pair.get, statistics.PAIRED):
                print(f"  {statistics.METRICS[name].title:10} {format_difference(pair[name])}")


def format_difference(found):
    """A paired difference with its interval and its verdict."""
    verdict = "differs" if found["differs"] else "no difference shown"
    return f"{found['difference']:+.4g} ({found['low']:+.4g} .. {found['high']:+.4g}), {verdict}"


def write(out, result, tables, rows, robustness_rows):
    write_rows(out / "metrics.csv", rows)
    if robustness_rows:
        write_rows(out / "robustness.csv", robustness_rows)
    with atomic(out / "summary.csv") as temporary, open_text(temporary) as file:
        writer = csv.writer(file)
        writer.writerow(["table", "group", "method", "metric", "mean", "low", "high"])
        for _, key, table in tables:
            for name, found in table.items():
                cells = ([metric, *values.values()] for metric, values in found.items())
                writer.writerows([*key, name, *own] for own in cells)
    with atomic(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(statistics.plain(result), indent=1, allow_nan=False))


def examples(method, rows, size):
    """The best, the median and the worst of a method's pictures by PSNR: [(caption, panels)].

    The panels are gray, result, photograph, uint8 (S, S, 3), and the CIEDE2000 of every pixel.
    """
    ranked = sorted((row for row in rows if np.isfinite(row["psnr"])), key=lambda row: -row["psnr"])
    chosen = {"best": 0, "median": len(ranked) // 2, "worst": -1} if ranked else {}
    found = []
    for label, place in chosen.items():
        row = ranked[place]
        rgb = measure.read(Path(row["folder"], row["picture"]), size).squashed
        _, (ab,) = methods.predict([method], rgb[None])
        result = colorize(rgb, ab[0], method.factor)
        error = metrics.ciede2000(*(color.lab_from_srgb(to_float(x)) for x in (result, rgb)))
        numbers = f"PSNR {row['psnr']:.2f} dB, CIEDE2000 {row['ciede2000']:.2f}"
        panels = [colorize(rgb, 0 * ab[0]), result, rgb, error]
        found.append((f"{label}: {row['picture']}, {numbers}", panels))
    return found
