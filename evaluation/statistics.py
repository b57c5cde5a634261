"""From the metrics of single pictures to a table: means, their intervals, differences.

    python -m evaluation.statistics MEASURED [--against VARIANT]

compares variants that were trained with several seeds. MEASURED is what evaluate.py wrote for files
such as SEED/VARIANT/best.keras.
"""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy.stats

from data.manifest import ENCODING
from evaluation import metrics
from utils import printable

MEANS = {  # column of metrics.csv: its title
    "ab_shift": "shift of ab",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ciede2000": "CIEDE2000",
    "bleed": "bleed",
    "saturation": "saturation",
    "cf": "CF",
}
METRICS = {  # name: (title, columns of metrics.csv, function of their means over the pictures)
    "relative_mse": ("relative MSE", ("ab_mse", "gray_mse"), np.divide),
    "r": ("r", metrics.POWERS, metrics.correlation),
    **{name: (title, (name,), np.asarray) for name, title in MEANS.items()},
}
OF_SEEDS = ("relative_mse", "psnr", "ciede2000", "bleed", "saturation", "cf")


def markdown(table):
    """A Markdown table with aligned columns of {row: {column: text}}."""
    heads = list(dict.fromkeys(column for cells in table.values() for column in cells))
    rows = [[name, *(cells.get(head, "") for head in heads)] for name, cells in table.items()]
    widths = [max(3, *map(len, column)) for column in zip(["", *heads], *rows)]
    rows = [["", *heads], ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def shown(table):
    """A table {row: {metric: interval}} in Markdown."""

    def cell(mean, low, high, differs=False):
        return f"{mean:.4g} [{low:.4g}, {high:.4g}]" + ", differs" * differs

    return markdown(
        {
            printable(row): {METRICS[name][0]: cell(**own) for name, own in found.items()}
            for row, found in table.items()
        }
    )


def value_of(of, means):
    """A metric of one method, or that of the first of two less that of the second.

    means: of each column of the metric, (methods, ...).
    """
    first, *second = of(*means)
    return first - second[0] if second else first


# --- over photographs


@np.errstate(divide="ignore", invalid="ignore")
def bootstrap_interval(columns, of=np.asarray, seed=0):
    """A metric, or the difference of two methods, and its 95 % interval: percentile bootstrap.

    columns: (columns of the metric, methods, photographs).

    Returns {"mean", "low", "high"}. Where one value is infinite or NaN, so may they be.
    """

    def statistic(*columns, axis=-1):
        return value_of(of, [column.mean(axis=axis) for column in columns])

    columns = np.asarray(columns, np.float64)
    mean = low = high = float(statistic(*columns))
    if columns.shape[-1] > 1:
        how = {"n_resamples": 2000, "batch": 100, "rng": seed, "paired": True, "axis": -1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # a value is NaN
            found = scipy.stats.bootstrap(columns, statistic, method="percentile", **how)
        low, high = map(float, found.confidence_interval)
    return {"mean": mean, "low": low, "high": high}


def summarise(rows, against=None, seed=0):
    """Rows of one method, {column: value} of each picture -> {metric: its `bootstrap_interval`}.

    against: rows of another method on the same pictures. The values are differences from it then,
    and "differs" says whether the interval leaves 0 out.
    """
    found = {}
    for name, (_, columns, of) in METRICS.items():
        if rows[0].keys() >= set(columns):
            compared = [rows, against] if against else [rows]
            values = [[[row[x] for row in own] for own in compared] for x in columns]
            found[name] = interval = bootstrap_interval(values, of, seed)
            if against:
                interval["differs"] = interval["low"] > 0 or interval["high"] < 0
    return found


# --- over seeds and photographs


def seeds_interval(columns, of=np.asarray):
    """A metric, or the difference of two variants whose seeds are pairs: its 95 % interval.

    It holds for other seeds on other photographs: variance of the mean over seeds plus that over
    photographs (jackknife), Student's interval by Welch and Satterthwaite's degrees of freedom.

    columns: (columns of the metric, variants, seeds, photographs), at least 2 of the last two.

    Returns (mean over seeds, half of the interval's width, standard deviation between seeds).
    """
    columns = np.asarray(columns, np.float64)
    seeds, n = columns.shape[-2:]
    each = value_of(of, columns.mean(axis=-1))
    without = value_of(of, (columns.sum(axis=-1, keepdims=True) - columns) / (n - 1))
    variances = np.array([each.var(ddof=1) / seeds, (n - 1) * without.mean(axis=0).var()])
    total = variances.sum()
    freedom = total**2 / (variances**2 / [seeds - 1, n - 1]).sum() if total else 1
    half = np.sqrt(total) * scipy.stats.t.ppf(0.975, freedom)
    return float(each.mean()), float(half), float(each.std(ddof=1))


def read_seeds(folder):
    """{variant: {seed: rows of the squashed pictures}} of what evaluate.py wrote."""
    found = {}
    with open(folder / "metrics.csv", newline="", **ENCODING) as file:
        for row in csv.DictReader(file):
            path = Path(row["method"])
            if row["protocol"] == "squashed" and path.suffix == ".keras":
                seeds = found.setdefault(path.parent.name, {})
                seeds.setdefault(path.parent.parent.name, []).append(row)
    return found


def seeds_table(found, against=None):
    """The Markdown table of the variants, or of their differences from one on shared seeds.

    Raises ValueError if a variant has, or shares with `against`, less than two seeds.
    """
    table = {}
    for variant in (own for own in found if own != against):
        compared = [found[name] for name in (variant, against) if name]
        seeds = [seed for seed in found[variant] if seed in compared[-1]]
        if len(seeds) < 2:
            shared = f" shared with {against}" if against else ""
            raise ValueError(f"{variant}: {len(seeds)} seeds{shared}; an interval takes two")
        table[variant] = {"seeds": str(len(seeds))}
        for title, columns, of in map(METRICS.get, OF_SEEDS):
            values = [
                [[[float(row[x]) for row in own[seed]] for seed in seeds] for own in compared]
                for x in columns
            ]
            value, half, deviation = seeds_interval(values, of)
            sign, percent = "", ""
            if against:
                scale = 100 / abs(of(*np.mean(values, axis=(2, 3))[:, 1]))
                sign, percent = "+", f" ({scale * value:+.2g} ± {scale * half:.2g} %)"
            cell = f"{value:{sign}.4g} ± {half:.2g}{percent}, SD {deviation:.2g}"
            table[variant][title] = cell
    return markdown(table)


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
