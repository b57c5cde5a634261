"""From the metrics of single pictures to a table: means, their intervals, differences.

    python -m evaluation.statistics MEASURED [--against VARIANT]

compares variants that were trained with several seeds. MEASURED is the folder that evaluate.py
wrote for the files SEED/VARIANT/best.keras, or any such names, of every seed.
"""

import argparse
import csv
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats

from data.manifest import ENCODING
from evaluation import metrics


@dataclass(frozen=True)
class Metric:
    """A column of the table, made of columns of metrics.csv: `of` their means over the pictures."""

    title: str
    unit: str  # and which value is better, if not the photograph's own
    columns: tuple
    of: Callable = lambda mean: mean
    weight: str = ""  # the column by which pictures are weighted in those means; "": all alike


METRICS = {
    "relative_mse": Metric("relative MSE", "all-gray = 1", ("ab_mse", "gray_mse"), np.divide),
    "degraded_over_clean": Metric(
        "degraded / clean", "of ab-MSE, near 1", ("ab_mse", "clean_ab_mse"), np.divide
    ),
    "ab_shift": Metric("shift of ab", "Lab units", ("ab_shift",)),
    "ab_mse": Metric("ab-MSE", "of ab / 128", ("ab_mse",)),
    "r": Metric("r", "higher, at most 1", metrics.POWERS, metrics.correlation),
    "psnr": Metric("PSNR", "dB, higher", ("psnr",)),
    "psnr_gain": Metric("PSNR gain", "dB beyond gray", ("psnr_gain",)),
    "ssim": Metric("SSIM", "higher, at most 1", ("ssim",)),
    "ciede2000": Metric("CIEDE2000", "lower", ("ciede2000",)),
    "auc": Metric("AuC", "%, higher", ("auc",)),
    "auc_rebalanced": Metric("AuC, rebalanced", "%, higher", ("auc_rebalanced",), weight="rarity"),
    "bleed": Metric("bleed", "% points, near 0", ("bleed",)),
    "saturation": Metric("saturation", "HSV", ("saturation",)),
    "cf": Metric("CF", "sRGB codes", ("cf",)),
    "delta_cf": Metric("delta CF", "of means, near 0", ("cf_difference",), np.abs),
    "cf_abs": Metric("CF_abs", "sRGB codes", ("cf_abs",)),
    "delta_cf_abs": Metric("delta CF_abs", "of means, near 0", ("cf_abs_difference",), np.abs),
    "out_of_gamut": Metric("out of gamut", "share of pixels", ("out_of_gamut",)),
}
PAIRED = ("ab_mse", "psnr", "bleed", "ciede2000")
OF_SEEDS = ("relative_mse", "psnr", "ciede2000", "bleed", "saturation", "cf")


# --- over photographs


@np.errstate(divide="ignore", invalid="ignore")
def bootstrap_interval(columns, of=lambda mean: mean, weights=None, seed=0):
    """A function of means over pictures, and its 95 % interval by the percentile bootstrap.

    Args:
        columns: of each its value for every picture, (N,).
        of: function of the columns' means, arrays of any shape.
        weights: of the pictures, (N,); None: all alike.

    Returns:
        (value, low, high). Where one value is infinite or NaN, so may they be.
    """
    columns = [np.asarray(column, np.float64) for column in columns]
    weights = np.ones_like(columns[0]) if weights is None else np.asarray(weights, np.float64)

    def statistic(weights, *products, axis=-1):
        return of(*(product.sum(axis=axis) / weights.sum(axis=axis) for product in products))

    data = weights, *(weights * column for column in columns)
    value = float(statistic(*data))
    if len(weights) == 1:
        return value, value, value
    options = {"n_resamples": 2000, "batch": 100, "rng": seed, "paired": True, "vectorized": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # a value is NaN
        found = scipy.stats.bootstrap(data, statistic, method="percentile", **options)
    return value, *map(float, found.confidence_interval)


def summarise(rows, seed=0):
    """The rows of one method, dicts of metrics, one a picture -> {metric: {"mean", "low", "high"}}.

    A mean is over the rows that have its columns; one value that is not a number makes it NaN.
    """
    found = {}
    for name, metric in METRICS.items():
        if having := [row for row in rows if row.keys() >= set(metric.columns)]:
            columns = [[row[column] for row in having] for column in metric.columns]
            weights = [row[metric.weight] for row in having] if metric.weight else None
            values = bootstrap_interval(columns, metric.of, weights, seed)
            found[name] = dict(zip(("mean", "low", "high"), values))
    return found


def compare(first, second, seed=0):
    """Rows of two methods on the same pictures -> {metric: their difference, second - first}.

    The difference is the mean of the pictures' own, a dict {"difference", "low", "high",
    "differs"}; "differs" says that its 95 % interval leaves 0 out.
    """
    found = {}
    for name in (name for name in PAIRED if name in first[0]):
        differences = [b[name] - a[name] for a, b in zip(first, second)]
        value, low, high = bootstrap_interval([differences], seed=seed)
        differs = low > 0 or high < 0
        found[name] = {"difference": value, "low": low, "high": high, "differs": differs}
    return found


def plain(value):
    """JSON has no infinite numbers: they, and what is not a number, become "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


# --- over seeds and photographs


def seeds_interval(columns, of=lambda mean: mean):
    """A function of means over photographs, its mean over seeds, and the 95 % interval of that.

    It holds for other seeds on other photographs: variance of the mean over seeds plus that over
    photographs (jackknife), Student's interval by Welch and Satterthwaite's degrees of freedom.

    Args:
        columns: of each its values (seeds, photographs), at least 2 of both; for a difference of
            two variants, whose seeds are pairs, (2, seeds, photographs).
        of: function of the columns' means, arrays of any number of photographs; a difference takes
            their first axis away.

    Returns:
        (value, half of the interval's width, standard deviation between seeds).
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
    """{variant: {seed: {column: [value of every squashed picture]}}} of what evaluate.py wrote."""
    methods = json.loads((folder / "summary.json").read_text())["methods"]
    places = {name: Path(own["file"]).parent for name, own in methods.items() if own["file"]}
    used, found = {column for name in OF_SEEDS for column in METRICS[name].columns}, {}
    with open(folder / "metrics.csv", newline="", **ENCODING) as file:
        for row in csv.DictReader(file):
            if row["protocol"] == "squashed" and (place := places.get(row["method"])):
                columns = found.setdefault(place.name, {}).setdefault(place.parent.name, {})
                for column in used:
                    columns.setdefault(column, []).append(float(row[column]))
    return found


def seeds_table(found, against=None):
    """The Markdown table of the variants, or of their differences from one on shared seeds.

    Raises:
        ValueError: a variant has, or shares with `against`, less than two seeds.
    """
    titles = " | ".join(METRICS[name].title for name in OF_SEEDS)
    lines = [f"| | seeds | {titles} |", "| --- " * (len(OF_SEEDS) + 2) + "|"]
    for variant in (own for own in found if own != against):
        seeds = [seed for seed in found[variant] if seed in found[against or variant]]
        if len(seeds) < 2:
            shared = f" shared with {against}" if against else ""
            raise ValueError(f"{variant}: {len(seeds)} seeds{shared}; an interval takes two")
        cells = [
            seeds_cell(METRICS[name], [found[own] for own in (variant, against) if own], seeds)
            for name in OF_SEEDS
        ]
        lines.append(f"| {variant} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seeds_cell(metric, variants, seeds):
    """The value of a variant, or of the first of two less the second."""
    values = [
        np.array([[variant[seed][column] for seed in seeds] for variant in variants])
        for column in metric.columns
    ]
    if len(variants) == 1:
        value, half, spread = seeds_interval([x[0] for x in values], metric.of)
        return f"{value:.4g} ± {half:.2g}, SD {spread:.2g}"
    value, half, spread = seeds_interval(values, lambda *means: np.subtract(*metric.of(*means)))
    percent = 100 / abs(metric.of(*(x[1].mean() for x in values)))
    shares = f"({percent * value:+.2g} ± {percent * half:.2g} %)"
    return f"{value:+.4g} ± {half:.2g} {shares}, SD {spread:.2g}"


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
