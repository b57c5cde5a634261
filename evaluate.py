"""Measure networks on photographs, beside references that need no training.

    python evaluate.py --data DIR [--model FILE ...] --out DIR [--paired]

Photographs -> the chroma that each candidate gives them -> joined to their own lightness -> figures of every picture ->
means with intervals, as a table, as files, as a page to look at. Everything is measured twice: on the pictures squashed to
the size that training sees, and at their own size. Both get the chroma of the squashed picture, and none goes through a
lossy file.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from utils import atomic, eight_bits, import_keras_quietly, number, printable, read_picture

import_keras_quietly()

import keras
import numpy as np
from tqdm import tqdm

import configs
import models
from data import color, pipeline
from data.preprocess import colorize, enlarged, fit, target, unit
from evaluation import metrics, report, summary
from models.colorizer import Colorizer

BATCH = 8  # pictures in memory at a time
PRIOR_PICTURES = 2000  # of --prior-data, chosen by --seed: enough for a mean and 23 x 23 shares
PROTOCOLS = ("squashed", "own")
SHOWN = ("ratio", "psnr", "ssim", "ciede2000", "auc", "auc_rebalanced", "bleed", "cf", "delta_cf", "out_of_gamut")


@dataclass(frozen=True)
class Target:
    """What a network was trained towards, see `data.preprocess.target`."""

    saturation: float = configs.Config.saturation
    clip: bool = configs.Config.clip_saturation

    def __str__(self):
        return f"T = {self.saturation:g}" + ", clipped" * self.clip


@dataclass(frozen=True)
class Network:
    """A network, its file and what it was trained towards."""

    path: Path
    model: keras.Model
    target: Target


@dataclass(frozen=True)
class Candidate:
    """A row of the tables.

    chroma: (uint8 pictures (N, S, S, 3), their targets {Target: K}) -> ab, float32 (N, h, w, 2), h a divisor of S; None
        for the photograph itself, which is not put together anew.
    target: what its ab is held against.
    factor: on the chroma, when it is joined to the lightness.
    """

    name: str
    chroma: Callable | None
    target: Target
    factor: float = 1.0


def main(arguments=None):
    args = parse(arguments)
    networks = load(args.model)
    surveyed, files = survey(args.data, args.limit, args.seed)
    common = survey(args.prior_data, PRIOR_PICTURES, args.seed)[1] if args.prior_data else files
    mean, prior = common_colors(common, args.size)
    candidates = references(networks, mean, args) + trained(networks, args)

    started = time.monotonic()
    rows = measure(files, candidates, prior, args.size)
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
            "measured": measured, "gray": len(pipeline.paths(surveyed, "gray")),
            "broken": len(pipeline.paths(surveyed, "broken")) + len(files) - measured,
        },
        "common_colors": {"data": str(args.prior_data or args.data), "pictures": len(common), "mean_ab": mean.tolist()},
        "candidates": {
            c.name: {"file": str(networks[c.name].path) if c.name in networks else None, "target": str(c.target)}
            for c in candidates
        },
        "protocols": {
            protocol: {name: summary.summarise(figures, args.seed) for name, figures in table.items()}
            for protocol, table in of.items()
        },
    }  # fmt: skip
    if args.paired:
        result["paired"] = {
            protocol: [
                {"first": a, "second": b} | summary.compare(table[a], table[b], args.seed)
                for a, b in combinations(networks, 2)
            ]
            for protocol, table in of.items()
        }  # fmt: skip
    show(result)
    write(args.out, result, rows)
    looks = {c.name: examples(c, of["squashed"][c.name], args) for c in candidates if c.name in networks}
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
    parser.add_argument("--saturation", type=number(float, 0, 10), default=1.0, help="factor on the chroma of networks and "
                        "ceiling when they colour (default 1)")  # fmt: skip
    parser.add_argument("--limit", type=number(int, 0, 10**9), default=0, help="at most so many files; 0: all")
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0, help="of the choice and of the intervals")
    parser.add_argument("--prior-data", type=Path, help="photographs that say which colours are common: the training "
                        "set (default: --data)")  # fmt: skip
    parser.add_argument("--paired", action="store_true", help="compare every two networks picture by picture")
    args = parser.parse_args(arguments)
    if args.size % 8:
        stop(f"--size {args.size}: must be divisible by 8")
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


def survey(folder, limit, seed):
    """(manifest, colour photographs) of a folder, at most `limit` of its pictures."""
    rows = pipeline.survey([folder], share=0, seed=seed, limit=limit)
    files = pipeline.paths(rows, "train")
    if not files:
        stop(f"{printable(folder)}: no colour photographs in it")
    return rows, files


def load(paths):
    """The networks by the names of their rows: {name: Network}."""
    paths = list(dict.fromkeys(paths))
    short = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    networks = {}
    for path, name in zip(paths, short):
        try:
            keras_model, card = models.load(path)
        except models.BadModel as error:
            stop(error)
        clip = card.get("training", {}).get("clip_saturation", Target.clip)
        goal = Target(card.get("saturation", Target.saturation), clip)
        networks[name if short.count(name) == 1 else str(path)] = Network(path, keras_model, goal)
    return networks


# --- the candidates


def common_colors(files, size):
    """The mean ab of photographs, float32 (2,), and how common each colour is in them (`evaluation.metrics.prior`)."""
    counts, total = 0, 0
    batches = pipeline.Batches(files, size, BATCH)
    for i in tqdm(range(len(batches)), "common colours", disable=None, leave=False):
        ab = color.lab_from_srgb(unit(batches[i][0]))[..., 1:]
        counts, total = counts + metrics.ab_counts(ab), total + ab.sum(axis=(0, 1, 2), dtype=np.float64)
    return (total / counts.sum()).astype(np.float32), metrics.prior(counts)


def references(networks, mean, args):
    """What needs no training. Each target has its ceiling; the other references are held against the first."""
    targets = list(dict.fromkeys(network.target for network in networks.values())) or [Target()]

    def constant(ab):
        return lambda rgb, goals: np.broadcast_to(np.float32(ab), (*rgb.shape[:3], 2))

    return [
        Candidate("all-gray", constant((0, 0)), targets[0]),
        Candidate("mean chroma", constant(mean), targets[0]),
        Candidate("photograph", None, targets[0]),
        *(Candidate(f"ceiling, {t}", lambda rgb, goals, t=t: goals[t], t, args.saturation) for t in targets),
    ]


def trained(networks, args):
    def chroma_of(model):
        colorizer = Colorizer(model, args.size, BATCH)
        return lambda rgb, goals: colorizer.chroma([colorizer.views(picture) for picture in rgb])

    return [Candidate(name, chroma_of(n.model), n.target, args.saturation) for name, n in networks.items()]


def predict(candidates, rgb):
    """The targets of uint8 pictures (N, S, S, 3), {Target: K}, and the chroma that each candidate gives them."""
    goals = {t: keras.ops.convert_to_numpy(target(rgb, t.saturation, t.clip)) for t in {c.target for c in candidates}}
    return goals, [c.chroma and c.chroma(rgb, goals) for c in candidates]


# --- measuring


def read(path, size):
    """A picture squashed as training sees it, and at its own size: uint8 (H, W, 3). None, and a line, if it is broken."""
    try:
        own = eight_bits(read_picture(path).pixels)
        return fit(pipeline.read_rgb(path, size), size, size), own if own.ndim == 3 else np.dstack([own] * 3)
    except Exception as error:  # whatever a decoder raises, the picture is passed over
        return tqdm.write(f"{printable(path)}: {error}", file=sys.stderr)


def measure(files, candidates, prior, size):
    """A dict of figures for every picture that can be read, protocol and candidate, in this order."""
    rows = []
    with tqdm(total=len(files), unit=" pictures", disable=None) as bar:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            found = [(path, both) for path, both in zip(batch, pipeline.POOL.map(lambda p: read(p, size), batch)) if both]
            if found:
                goals, chroma = predict(candidates, np.stack([small for _, (small, _) in found]))
                goals = [{goal: k[i] for goal, k in goals.items()} for i in range(len(found))]
                chroma = [[None if ab is None else ab[i] for ab in chroma] for i in range(len(found))]
                parts = pipeline.POOL.map(lambda *x: measure_picture(*x, candidates, prior), found, goals, chroma)
                rows += [row for part in parts for row in part]
            bar.update(len(batch))
    return rows


def measure_picture(found, goals, chroma, candidates, prior):
    """The rows of one picture: (path, `read`), its targets {Target: K (S, S, 2)}, the candidates' chroma (h, w, 2)."""
    path, both = found
    rows = []
    for protocol, rgb in zip(PROTOCOLS, both):
        truth = Truth(rgb, prior)
        for candidate, ab in zip(candidates, chroma):
            row = {"picture": path, "protocol": protocol, "candidate": candidate.name} | truth.figures(ab, candidate.factor)
            if protocol == "squashed":
                row |= distance(truth.ab if ab is None else ab, goals[candidate.target])
            rows.append(row)
    return rows


def distance(ab, goal):
    """ab-MSE from the target K (S, S, 2), of chroma doubled by repetition as in training, and that of all-gray output."""
    times = len(goal) // len(ab)
    mse, gray = metrics.ab_mse(ab.repeat(times, 0).repeat(times, 1), goal), metrics.ab_mse(np.zeros_like(goal), goal)
    return {"ab_mse": mse, "gray_mse": gray, "ratio": mse / gray if gray else float("nan")}


class Truth:
    """A photograph, and what all comparisons with it share."""

    def __init__(self, rgb, prior):
        self.rgb, self.lab = rgb, color.lab_from_srgb(unit(rgb))
        self.lightness, self.ab = np.ascontiguousarray(self.lab[..., 0]), self.lab[..., 1:]
        self.rarity = metrics.rarity(self.ab, prior)
        self.cf, self.cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)

    def figures(self, ab, factor):
        """The figures of chroma (h, w, 2) of any size joined to the photograph's lightness; of the photograph for None."""
        if ab is not None and not np.isfinite(ab).all():
            return dict.fromkeys(self.figures(None, 1), float("nan"))
        rgb, planes = self.rgb, np.moveaxis(self.ab, -1, 0)
        if ab is not None:
            rgb, planes = colorize(rgb, ab, factor), enlarged(ab * np.float32(factor), slice(0, len(rgb)), *rgb.shape[:2])
        lab = color.lab_from_srgb(unit(rgb))
        cf, cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)
        return {
            "psnr": metrics.psnr(rgb, self.rgb),
            "ssim": metrics.ssim(rgb, self.rgb),
            "ciede2000": float(metrics.ciede2000(lab, self.lab).mean(dtype=np.float64)),
            "auc": metrics.auc(lab[..., 1:], self.ab),
            "auc_rebalanced": metrics.auc(lab[..., 1:], self.ab, self.rarity),
            "rarity": float(self.rarity.mean()),
            "bleed": metrics.bleed(np.dstack(planes), self.ab, self.lightness),
            "cf": cf,
            "cf_difference": cf - self.cf,
            "cf_distance": abs(cf - self.cf),
            "cf_abs": cf_abs,
            "cf_abs_difference": cf_abs - self.cf_abs,
            "out_of_gamut": metrics.out_of_gamut(self.lightness, *map(np.ascontiguousarray, planes)),
        }


# --- what comes out


def select(rows, protocol, name):
    return [row for row in rows if row["protocol"] == protocol and row["candidate"] == name]


def show(result):
    """The means on the screen, a table for each protocol."""
    counts = result["pictures"]
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for protocol, table in result["protocols"].items():
        print(f"\n{report.PROTOCOLS[protocol].format(**result)}")
        print(f"{'':24}" + "".join(f"{name.replace('_', ' '):>15}" for name in SHOWN))
        for name, figures in table.items():
            cells = (f"{figures[m]['mean']:.4g}" if m in figures else "" for m in SHOWN)
            print(f"{name:24}" + "".join(f"{cell:>15}" for cell in cells))
    for protocol, comparisons in result.get("paired", {}).items():
        for pair in comparisons:
            print(f"\n{pair['second']} minus {pair['first']}, {protocol}")
            for name in summary.PAIRED:
                if found := pair.get(name):
                    print(f"  {summary.METRICS[name].title:10} {report.difference(found)}")


def write(out, result, rows):
    with atomic(out / "metrics.csv") as temporary, open(temporary, "w", newline="", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, list(rows[0]))  # of the squashed pictures, which have more columns
        writer.writeheader()
        writer.writerows(rows)
    with atomic(out / "summary.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["protocol", "candidate", "metric", "mean", "low", "high"])
        for protocol, table in result["protocols"].items():
            for name, figures in table.items():
                writer.writerows([protocol, name, metric, *found.values()] for metric, found in figures.items())
    with atomic(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(plain(result), indent=1, allow_nan=False))


def plain(value):
    """JSON has no infinite numbers: they, and what is no number, become the strings "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def examples(candidate, rows, args):
    """The best, the median and the worst of a candidate's pictures by PSNR: what `report.Example` takes."""
    ranked = sorted((row for row in rows if np.isfinite(row["psnr"])), key=lambda row: -row["psnr"])
    found = []
    for label, place in (("best", 0), ("median", len(ranked) // 2), ("worst", -1)) if ranked else ():
        row = ranked[place]
        truth = Truth(read(args.data / row["picture"], args.size)[0], np.ones((23, 23)))
        _, (ab,) = predict([candidate], truth.rgb[None])
        result = colorize(truth.rgb, ab[0], candidate.factor)
        error = metrics.ciede2000(color.lab_from_srgb(unit(result)), truth.lab)
        found.append(report.Example(label, row, colorize(truth.rgb, 0 * ab[0]), result, truth.rgb, error))
    return found


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
