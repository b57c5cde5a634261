"""What evaluate.py does: networks and photographs -> rows of every picture -> tables, files."""

import json
import os
from itertools import combinations, product
from pathlib import Path

from data import manifest
from data.batches import Batches
from evaluation import measure, methods, robustness, statistics, webpage
from utils import atomic, printable

PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean and 23 x 23 shares
COLUMNS = (  # of the tables on the screen
    *("relative_mse", "r", "degraded_over_clean", "ab_shift", "psnr", "psnr_gain", "ssim"),
    *("ciede2000", "auc", "auc_rebalanced", "bleed", "cf", "delta_cf", "out_of_gamut"),
)


def run(args):
    networks = load_all(args.model)
    scanned, files = measure.scan(args.data, args.limit, args.seed)
    for branch, (name, network) in product(args.ablate, [*networks.items()]):
        pictures = (batch for (batch,) in Batches(files, args.size, methods.BATCH))
        networks[f"{name} without {branch}"] = methods.ablated(network, branch, pictures)
    common = files
    if args.prior_data:
        common = measure.scan(args.prior_data, PRIOR_PICTURES, args.seed)[1]
    mean, prior = measure.common_colors(common, args.size)
    network_of = {
        method: network
        for name, network in networks.items()
        for method in methods.at_each(args.saturation, methods.trained(name, network))
    }
    measured = [*references(networks, mean, args.saturation), *network_of]

    rows, faulty, bordered = [], [], []
    for photographs in measure.read_batches(files, args.size):
        rows += measure.measure(photographs, measured, prior)
        if args.degraded:
            faulty += robustness.degraded_rows(photographs, networks, args.seed)
        if args.borders:
            bordered += robustness.bordered_rows(photographs, networks)
    places = {os.path.join(row["folder"], row["path"]): row for row in scanned}
    for row in [*rows, *faulty, *bordered]:
        place = places[row["picture"]]
        row |= {"folder": place["folder"], "picture": Path(place["path"]).as_posix()}
        if args.groups:
            top, below, _ = row["picture"].partition("/")
            row["group"] = top if below else Path(row["folder"]).resolve().name

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
    if args.groups:
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
    show(result, tables)
    measure.write_rows(args.out / "metrics.csv", rows)
    if faulty or bordered:
        measure.write_rows(args.out / "robustness.csv", [*faulty, *bordered])
    with atomic(args.out / "summary.json") as temporary:
        temporary.write_text(json.dumps(statistics.plain(result), indent=1, allow_nan=False))
    rows_of = {own: by_protocol["squashed"][own.name] for own in network_of}
    webpage.write(args.out / "report.html", result, tables, rows_of)
    print(printable(args.out / "report.html"))


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
    found = [methods.Method(name, ab, targets[0]) for name, ab in given.items()]
    found.append(methods.Method("photograph", None, targets[0]))
    for target in targets:
        found += methods.at_each(factors, methods.ceiling(target))
    return found


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
    """The tables of a result: {title: {method: metrics}}."""
    squashed, own = map(result["protocols"].get, measure.PROTOCOLS)
    size = result["size"]
    found = {f"Squashed to {size} x {size}": squashed, "Pictures at their own size": own}
    for group, protocols in sorted(result["groups"].items()):
        found |= {f"{group}, {name}": own for name, own in protocols.items()}
    found["Networks that see L with faults"] = result["degraded"]
    found["What a border around the picture does to its colours"] = result["borders"]
    return {title: table for title, table in found.items() if table}


def show(result, tables):
    """The means on the screen, as tables."""
    print(", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in result["pictures"].items()))
    for title, table in tables.items():
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
                value, low, high, differs = pair[name].values()
                verdict = "differs" if differs else "no difference shown"
                interval = f"{value:+.4g} ({low:+.4g} .. {high:+.4g})"
                print(f"  {statistics.METRICS[name].title:10} {interval}, {verdict}")
