"""From the metrics of single pictures to a table: means, their intervals, differences.

    python -m evaluation.statistics MEASURED [--against VARIANT]

compares variants that were trained with several seeds. MEASURED is what evaluate.py wrote for files
such as SEED/VARIANT/best.keras.
"""

import argparse
import csv
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from data.manifest import ENCODING
from evaluation import metrics
from utils import atomic


class Metric(NamedTuple):
    """A column of the tables, made of columns of metrics.csv: `of` their means over the pictures."""

    title: str
    columns: tuple
    of: Callable = lambda mean: mean


METRICS = {
    "relative_mse": Metric("relative MSE", ("ab_mse", "gray_mse"), np.divide),
    "degraded_over_clean": Metric("degraded / clean", ("ab_mse", "clean_ab_mse"), np.divide),
    "ab_shift": Metric("shift of ab", ("ab_shift",)),
    "ab_mse": Metric("ab-MSE", ("ab_mse",)),
    "r": Metric("r", metrics.POWERS, metrics.correlation),
    "psnr": Metric("PSNR", ("psnr",)),
    "ssim": Metric("SSIM", ("ssim",)),
    "ciede2000": Metric("CIEDE2000", ("ciede2000",)),
    "auc": Metric("AuC", ("auc",)),
    "bleed": Metric("bleed", ("bleed",)),
    "saturation": Metric("saturation", ("saturation",)),
    "cf": Metric("CF", ("cf",)),
    "delta_cf": Metric("delta CF", ("cf_difference",), np.abs),
}
PAIRED = ("ab_mse", "psnr", "bleed", "ciede2000")
OF_SEEDS = ("relative_mse", "psnr", "ciede2000", "bleed", "saturation", "cf")


def markdown(table):
    """A Markdown table with aligned columns of {row: {column: text}}."""
    heads = list(dict.fromkeys(column for cells in table.values() for column in cells))
    rows = [[name, *(cells.get(head, "") for head in heads)] for name, cells in table.items()]
    widths = [max(3, *map(len, column)) for column in zip(["", *heads], *rows)]
    rows = [["", *heads], ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


# --- over photographs


@np.errstate(divide="ignore", invalid="ignore")
def bootstrap_interval(columns, of=lambda mean: mean, seed=0):
    """A function of means over pictures, and its 95 % interval by the percentile bootstrap.

    columns: of each its value for every picture, (N,).
    of: function of the columns' means, arrays of any shape.

    Returns (value, low, high). Where one value is infinite or NaN, so may they be.
    """

    def statistic(*columns, axis=-1):
        return of(*(column.mean(axis=axis) for column in columns))

    columns = [np.asarray(column, np.float64) for column in columns]
    value = float(statistic(*columns))
    if len(columns[0]) == 1:
        return value, value, value
    options = {"n_resamples": 2000, "batch": 100, "rng": seed, "paired": True, "vectorized": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # a value is NaN
        found = scipy.stats.bootstrap(columns, statistic, method="percentile", **options)
    return value, *map(float, found.confidence_interval)


def summarise(rows, seed=0):
    """Rows of one method, {column: value} of each picture -> {metric: {"mean", "low", "high"}}.

    A mean is over the rows that have its columns; one value that is not a number makes it NaN.
    """
    found = {}
    for name, metric in METRICS.items():
        if having := [row for row in rows if row.keys() >= set(metric.columns)]:
            columns = [[row[column] for row in having] for column in metric.columns]
            mean, low, high = bootstrap_interval(columns, metric.of, seed)
            found[name] = {"mean": mean, "low": low, "high": high}
    return found


def compare(first, second, seed=0):
    """Rows of two methods on the same pictures -> {metric: the mean of second - first}.

    A mean is a dict {"mean", "low", "high", "differs"}; "differs": its 95 % interval leaves 0 out.
    """
    found = {}
    for name in [name for name in PAIRED if name in first[0]]:
        differences = [b[name] - a[name] for a, b in zip(first, second)]
        mean, low, high = bootstrap_interval([differences], seed=seed)
        found[name] = {"mean": mean, "low": low, "high": high, "differs": low > 0 or high < 0}
    return found


def write_json(path, result):
    """Write a dict; a path becomes text, and infinite numbers and NaN, which JSON lacks, too."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return list(map(plain, value))
        return str(value) if isinstance(value, float) and not np.isfinite(value) else value

    with atomic(path) as temporary:
        text = json.dumps(plain(result), indent=1, allow_nan=False, default=str)
        temporary.write_text(text)


# --- over seeds and photographs


def seeds_interval(columns, of=lambda mean: mean):
    """A function of means over photographs, its mean over seeds, and the 95 % interval of that.

    It holds for other seeds on other photographs: variance of the mean over seeds plus that over
    photographs (jackknife), Student's interval by Welch and Satterthwaite's degrees of freedom.

    columns: arrays (seeds, photographs), at least 2 of both; of two variants, whose seeds are
        pairs, (2, seeds, photographs).
    of: function of the columns' means; of two variants, it takes the first axis away.

    Returns (value, half of the interval's width, standard deviation between seeds).
    """
    columns = [np.asarray(column, np.float64) for column in columns]
    seeds, n = columns[0].shape[-2:]
    each = of(*(x.mean(axis=-1) for x in columns))
    without = of(*((x.sum(axis=-1, keepdims=True) - x) / (n - 1) for x in columns))
    variances = np.array([each.var(ddof=1) / seeds, (n - 1) * without.mean(axis=0).var()])
    total = variances.sum()
    freedom = total**2 / (variances**2 / [seeds - 1, n - 1]).sum() if total else 1
    half = np.sqrt(total) * scipy.stats.t.ppf(0.975, freedom)
    return float(each.mean()), float(half), float(each.std(ddof=1))


def read_seeds(folder):
    """{variant: {seed: rows of the squashed pictures}} of what evaluate.py wrote."""
    methods = json.loads((folder / "summary.json").read_text())["methods"]
    places = {name: Path(own["file"]).parent for name, own in methods.items() if own["file"]}
    found = {}
    with open(folder / "metrics.csv", newline="", **ENCODING) as file:
        for row in csv.DictReader(file):
            if row["protocol"] == "squashed" and (place := places.get(row["method"])):
                seeds = found.setdefault(place.name, {})
                seeds.setdefault(place.parent.name, []).append(row)
    return found


def seeds_table(found, against=None):
    """The Markdown table of the variants, or of their differences from one on shared seeds.

    Raises ValueError if a variant has, or shares with `against`, less than two seeds.
    """
    table = {}
    for variant in (own for own in found if own != against):
        seeds = [seed for seed in found[variant] if seed in found[against or variant]]
        if len(seeds) < 2:
            shared = f" shared with {against}" if against else ""
            raise ValueError(f"{variant}: {len(seeds)} seeds{shared}; an interval takes two")
        table[variant], compared = {"seeds": str(len(seeds))}, [found[variant]]
        compared += [found[against]] if against else []
        for metric in map(METRICS.get, OF_SEEDS):
            table[variant][metric.title] = seeds_cell(metric, compared, seeds)
    return markdown(table)


def seeds_cell(metric, variants, seeds):
    """The value of a variant, or of the first of two less the second."""
    rows = [[own[seed] for seed in seeds] for own in variants]
    values = [
        np.array([[[float(row[column]) for row in seed] for seed in own] for own in rows])
        for column in metric.columns
    ]
    if len(variants) == 1:
        value, half, deviation = seeds_interval([x[0] for x in values], metric.of)
        return f"{value:.4g} ± {half:.2g}, SD {deviation:.2g}"
    value, half, deviation = seeds_interval(values, lambda *means: np.subtract(*metric.of(*means)))
    percent = 100 / abs(metric.of(*(x[1].mean() for x in values)))
    share = f"{percent * value:+.2g} ± {percent * half:.2g} %"
    return f"{value:+.4g} ± {half:.2g} ({share}), SD {deviation:.2g}"


def main(arguments=None):
    description = "Compare variants that were trained with several seeds."
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("measured", type=Path, help="folder that evaluate.py --out wrote")
    parser.add_argument("--against", metavar="VARIANT", help="differences from it, seed by seed")
    args = parser.parse_args(arguments)
    try:
        found = read_seeds(args.measured)
        if args.against and args.against not in found:
            raise ValueError(f"--against {args.against}: measured are {', '.join(found)}")
        print(seeds_table(found, args.against))
    except (OSError, ValueError) as error:
        sys.exit(f"evaluation.statistics: {error}")


if __name__ == "__main__":
    main()
