"""Measure networks on photographs, beside references that need no training.

    python evaluate.py --data DIR [--model FILE ...] --out DIR [--paired]

Photographs -> the chroma that each candidate gives them -> joined to their own lightness -> figures of every picture ->
means with intervals, as a table, as files, as a page to look at.
"""

import argparse
import csv
import json
import sys
import time
from itertools import combinations
from pathlib import Path

from utils import atomic, import_keras_quietly, number, printable

import_keras_quietly()

import numpy as np

from data import color, manifest
from data.batches import Batches
from data.preprocess import colorize, to_float
from evaluation import metrics, report, statistics
from evaluation.measure import PROTOCOLS, Reference, common_colors, measure, read, select, write_rows
from evaluation.methods import BATCH, Method, Target, ablated, at_each, ceiling, constant, load, predict, trained
from evaluation.perceptual import SMALLEST, Fid, Lpips, Unavailable
from inference import model_file
from models.aciids2020 import BRANCHES

PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean and 23 x 23 shares
SHOWN = (
    "ratio", "psnr", "ssim", "ciede2000", "lpips", "fid", "auc", "auc_rebalanced", "bleed", "cf", "delta_cf",
    "out_of_gamut",
)  # fmt: skip


def main(arguments=None):
    args = parse(arguments)
    lpips, fid = load_perceptual(args)
    networks = load_all(args.model)
    surveyed, files = scan_dataset(args.data, args.limit, args.seed)
    common = scan_dataset(args.prior_data, PRIOR_PICTURES, args.seed)[1] if args.prior_data else files
    mean, prior = common_colors(common, args.size)
    networks |= ablations(networks, files, args)
    owners = {
        candidate: network for name, network in networks.items()
        for candidate in at_each(args.saturation, trained(name, network, args.size))
    }  # fmt: skip
    candidates = [*references(networks, mean, args), *owners]

    started = time.monotonic()
    rows = measure(files, candidates, prior, args.size, PROTOCOLS, lpips, fid)
    seconds = time.monotonic() - started
    measured = len(rows) // (len(candidates) * len(PROTOCOLS))
    if not measured:
        stop("none of the pictures can be read any more", 1)
    for row in rows:
        row["picture"] = Path(row["picture"]).relative_to(args.data).as_posix()

    of = {protocol: {c.name: select(rows, protocol, c.name) for c in candidates} for protocol in PROTOCOLS}
    result = {
        "data": str(args.data), "limit": args.limit, "seed": args.seed, "size": args.size, "saturation": args.saturation,
        "pictures": {
            "measured": measured, "gray": len(manifest.paths(surveyed, "gray")),
            "broken": len(manifest.paths(surveyed, "broken")) + len(files) - measured,
        },
        "common_colors": {"data": str(args.prior_data or args.data), "pictures": len(common), "mean_ab": mean.tolist()},
        "candidates": {
            c.name: {"file": str(owners[c].path) if c in owners else None, "target": str(c.target), "factor": c.factor}
            for c in candidates
        },
        "protocols": {
            protocol: {name: statistics.summarise(figures, args.seed) for name, figures in table.items()}
            for protocol, table in of.items()
        },
    }  # fmt: skip
    if fid:
        for name, figures in result["protocols"]["squashed"].items():
            figures["fid"] = {"mean": fid.distance(name), "low": None, "high": None}
    if args.paired:
        result["paired"] = {
            protocol: [
                {"first": a.name, "second": b.name} | statistics.compare(table[a.name], table[b.name], args.seed)
                for a, b in combinations(owners, 2) if a.factor == b.factor
            ]
            for protocol, table in of.items()
        }  # fmt: skip
    show(result)
    write(args.out, result, rows)
    looks = {c.name: examples(c, of["squashed"][c.name], args) for c in owners}
    report.write(args.out / "report.html", result, of, looks)
    print(f"{printable(args.out / 'report.html')}: {seconds / measured:.2f} s a picture and {len(candidates)} candidates")


# --- the command line


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, searched recursively")
    parser.add_argument("--model", type=Path, nargs="+", action="extend", default=[], help="networks: best.keras of runs "
                        "of train.py")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, made if absent")
    parser.add_argument("--size", type=number(int, 16, 4096), default=256, help="side of the squashed pictures, which is "
                        "what the networks see (default 256)")  # fmt: skip
    parser.add_argument("--saturation", type=number(float, 0, 10), nargs="+", default=[1.0], help="factor on the chroma of "
                        "networks and ceiling when they colour (default 1); a row for each")  # fmt: skip
    parser.add_argument("--limit", type=number(int, 0, 10**9), default=0, help="at most so many files; 0: all")
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0, help="of the choice and of the intervals")
    parser.add_argument("--prior-data", type=Path, help="photographs that say which colours are common: the training "
                        "set (default: --data)")  # fmt: skip
    parser.add_argument("--fid", action="store_true", help="also FID (needs requirements-metrics.txt)")
    parser.add_argument("--lpips", action="store_true", help="also LPIPS (needs requirements-metrics.txt)")
    parser.add_argument("--ablate", nargs="+", choices=BRANCHES, default=[], help="also measure each network with this "
                        "branch saying the same of every picture: its mean over them")  # fmt: skip
    parser.add_argument("--paired", action="store_true", help="compare every two networks picture by picture")
    args = parser.parse_args(arguments)
    args.saturation = list(dict.fromkeys(args.saturation))
    if args.size % 8:
        stop(f"--size {args.size}: must be divisible by 8")
    if args.lpips and args.size < SMALLEST:
        stop(f"--lpips: AlexNet needs a --size of {SMALLEST} or more")
    for folder in filter(None, (args.data, args.prior_data)):
        if not folder.is_dir():
            stop(f"{printable(folder)}: no such folder")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{printable(args.out)}: {error.strerror}")
    return args


def stop(message, status=2):
    print(f"evaluate.py: {message}", file=sys.stderr)
    sys.exit(status)


def scan_dataset(folder, limit, seed):
    """(manifest, colour photographs) of a folder, at most `limit` of its pictures."""
    rows = manifest.scan_dataset([folder], share=0, seed=seed, limit=limit)
    files = manifest.paths(rows, "train")
    if not files:
        stop(f"{printable(folder)}: no colour photographs in it")
    return rows, files


def load_all(paths):
    """The networks by the names of their rows: {name: Network}."""
    paths = list(dict.fromkeys(paths))
    short = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    try:
        return {n if short.count(n) == 1 else str(path): load(path) for path, n in zip(paths, short)}
    except model_file.BadModel as error:
        stop(error)


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
            try:
                found[f"{name} without {branch}"] = ablated(network, branch, pictures, args.size)
            except ValueError as error:
                stop(error)
    return found


def references(networks, mean, args):
    """What needs no training. Each target has its ceiling; the other references are held against the first."""
    targets = list(dict.fromkeys(network.target for network in networks.values())) or [Target()]
    return [
        Method("all-gray", constant((0, 0)), targets[0]),
        Method("mean chroma", constant(mean), targets[0]),
        Method("photograph", None, targets[0]),
        *(candidate for goal in targets for candidate in at_each(args.saturation, ceiling(goal))),
    ]


# --- what comes out


def show(result):
    """The means on the screen, a table for each protocol."""
    counts = result["pictures"]
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for protocol, table in result["protocols"].items():
        print(f"\n{report.PROTOCOLS[protocol].format(**result)}")
        columns = [metric for metric in SHOWN if metric in table["photograph"]]
        print(f"{'':24}" + "".join(f"{metric.replace('_', ' '):>15}" for metric in columns))
        for name, figures in table.items():
            cells = (f"{figures[metric]['mean']:.4g}" for metric in columns)
            print(f"{name:24}" + "".join(f"{cell:>15}" for cell in cells))
    for protocol, comparisons in result.get("paired", {}).items():
        for pair in comparisons:
            print(f"\n{pair['second']} minus {pair['first']}, {protocol}")
            for name in statistics.PAIRED:
                if found := pair.get(name):
                    print(f"  {statistics.METRICS[name].title:10} {report.difference(found)}")


def write(out, result, rows):
    write_rows(out / "metrics.csv", rows)
    with atomic(out / "summary.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["protocol", "candidate", "metric", "mean", "low", "high"])
        for protocol, table in result["protocols"].items():
            for name, figures in table.items():
                writer.writerows([protocol, name, metric, *found.values()] for metric, found in figures.items())
    with atomic(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(statistics.plain(result), indent=1, allow_nan=False))


def examples(candidate, rows, args):
    """The best, the median and the worst of a candidate's pictures by PSNR: what `report.Example` takes."""
    ranked = sorted((row for row in rows if np.isfinite(row["psnr"])), key=lambda row: -row["psnr"])
    found = []
    for label, place in (("best", 0), ("median", len(ranked) // 2), ("worst", -1)) if ranked else ():
        row = ranked[place]
        truth = Reference(read(args.data / row["picture"], args.size)[0], np.ones((23, 23)))
        _, (ab,) = predict([candidate], truth.rgb[None])
        result = colorize(truth.rgb, ab[0], candidate.factor)
        error = metrics.ciede2000(color.lab_from_srgb(to_float(result)), truth.lab)
        found.append(report.Example(label, row, colorize(truth.rgb, 0 * ab[0]), result, truth.rgb, error))
    return found


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        stop(f"{printable(error.filename or 'output')}: {error.strerror or error}", 1)
