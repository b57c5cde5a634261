"""What evaluate.py does: networks and photographs -> rows of every picture -> tables, files."""

import json
from itertools import combinations
from operator import itemgetter

import numpy as np
from PIL import Image

from data import manifest
from data.preprocess import colorize
from evaluation import measure, methods, robustness, statistics
from utils import atomic, printable


def run(args):
    networks = {str(path): methods.Network(path) for path in args.model}
    scanned, files = measure.scan(args.data, args.limit, args.seed)
    trained = [
        method
        for name, network in networks.items()
        for method in methods.at_each(args.saturation, name, network.ab, network.target)
    ]
    measured = [*references(networks.values(), args.saturation), *trained]

    rows = []
    for photographs in measure.read_batches(files, args.size):
        rows += measure.measure(photographs, measured)
        if args.degraded:
            rows += robustness.degraded_rows(photographs, networks, args.seed)
        if args.borders:
            rows += robustness.bordered_rows(photographs, networks)
    rows_of = {}  # {protocol: {method: its rows}}
    for row in rows:
        rows_of.setdefault(row["protocol"], {}).setdefault(row["method"], []).append(row)

    tables = {
        title: {name: statistics.summarise(own, seed=args.seed) for name, own in found.items()}
        for title, found in rows_of.items()
    }
    squashed = rows_of["squashed"]
    if args.paired:
        pairs = [(a.name, b.name) for a, b in combinations(trained, 2) if a.factor == b.factor]
        pairs += [("all-gray", method.name) for method in trained]
        tables["picture by picture"] = {
            f"{b} minus {a}": statistics.summarise(squashed[b], squashed[a], args.seed)
            for a, b in pairs
        }
    counts = {"measured": len(squashed["photograph"]), "gray": len(manifest.paths(scanned, "gray"))}
    counts["broken"] = len(scanned) - sum(counts.values())
    result = {
        "options": vars(args),
        "pictures": counts,
        "methods": {x.name: {"target": str(x.target), "factor": x.factor} for x in measured},
        "tables": tables,
    }
    text = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    text += f"; squashed to {args.size} x {args.size}\n\n"
    text += "\n\n".join(f"## {title}\n\n{statistics.shown(own)}" for title, own in tables.items())
    print(text)
    if trained:
        text += examples(args, {method: squashed[method.name] for method in trained})
    columns = dict.fromkeys(column for row in rows for column in row)
    manifest.write_manifest(args.out / "metrics.csv", rows, columns)
    with atomic(args.out / "summary.json") as temporary:  # JSON lacks infinity and NaN: as text
        plain = json.loads(json.dumps(result, default=str), parse_constant=str)
        temporary.write_text(json.dumps(plain, indent=1))
    with atomic(args.out / "report.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(f"\n{printable(args.out / 'report.md')}")


def references(networks, factors):
    """What needs no training. Each target has its ceiling; the rest is compared with the first."""
    targets = list(dict.fromkeys(network.target for network in networks)) or [methods.Target()]
    found = [methods.Method("all-gray", methods.gray, targets[0])]
    found.append(methods.Method("photograph", methods.own_ab, targets[0]))
    for target in targets:
        found += methods.at_each(factors, f"ceiling, {target}", target.ab, target)
    return found


def examples(args, rows_of):
    """Draw three pictures of each network, {Method: rows}. What they are, in Markdown."""
    table, strips = {}, []
    for method, rows in rows_of.items():
        rows = sorted(rows, key=itemgetter("psnr"))
        chosen = {"best": rows[-1], "median": rows[len(rows) // 2], "worst": rows[0]}
        tiles = []
        for row in chosen.values():
            rgb = measure.read(row["picture"], args.size).squashed
            (ab,) = methods.predict([method], rgb[None])[method.ab]
            tiles += [colorize(rgb, 0 * ab), method.join(rgb, ab), rgb]
        strips.append(np.hstack(tiles))
        table[printable(method.name)] = {
            rank: f"{printable(row['picture'])}, {row['psnr']:.4g}" for rank, row in chosen.items()
        }
    with atomic(args.out / "examples.png") as temporary:
        Image.fromarray(np.vstack(strips)).save(temporary)
    title = "examples.png: gray, colorized, photograph of three pictures by PSNR, squashed"
    return f"\n\n## {title}\n\n{statistics.markdown(table)}"
