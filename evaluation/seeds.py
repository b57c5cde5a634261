"""Several trainings of each variant, and what their seeds and the photographs leave open: means and differences.

python -m evaluation.seeds MEASURED [--against VARIANT]

MEASURED is the folder that evaluate.py wrote for the files SEED/VARIANT/best.keras, or any such name, of every seed.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import scipy.stats

from evaluation.statistics import LEVEL, METRICS

SHOWN = ("relative_mse", "psnr", "ciede2000", "bleed", "saturation", "cf")


def interval(columns, of=lambda mean: mean, difference=False):
    """A function of means over photographs, its mean over seeds, and the 95 % interval of that, for new seeds and pictures.

    The variance is that of a mean over seeds plus that of a mean over photographs (jackknife), and the interval Student's,
    with the degrees of freedom of Welch and Satterthwaite. It holds for other seeds on other photographs.

    Args:
        columns: of each its values (seeds, photographs), at least 2 of both; (2, seeds, photographs) for a difference.
        of: function of the columns' means, arrays of any shape.
        difference: whether the second minus the first of two variants is meant, whose seeds are pairs.

    Returns:
        (value, half of the interval's width, standard deviation between seeds).
    """
    columns = [np.asarray(column, np.float64) for column in columns]
    seeds, n = columns[0].shape[-2:]

    def statistic(means):
        found = of(*means)
        return found[1] - found[0] if difference else found

    each = statistic([column.mean(axis=-1) for column in columns])
    without = statistic(
        [(column.sum(axis=-1, keepdims=True) - column) / (n - 1) for column in columns]
    ).mean(axis=0)
    variances = np.array([each.var(ddof=1) / seeds, (n - 1) * without.var()])
    total = variances.sum()
    freedom = total**2 / (variances**2 / [seeds - 1, n - 1]).sum() if total else 1
    half = np.sqrt(total) * scipy.stats.t.ppf((1 + LEVEL) / 2, freedom)
    return float(each.mean()), float(half), float(each.std(ddof=1))


def read(folder):
    """{variant: {seed: [rows]}} of the squashed pictures, in one order, from what evaluate.py wrote. Raises ValueError."""
    methods = json.loads((folder / "summary.json").read_text())["methods"]
    files = {
        name: Path(method["file"]).parent for name, method in methods.items() if method["file"]
    }
    found = {}
    with open(folder / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["protocol"] == "squashed" and row["method"] in files:
                place = files[row["method"]]
                found.setdefault(place.name, {}).setdefault(place.parent.name, []).append(row)
    for variant, of_seeds in found.items():
        if len(of_seeds) < 2:
            raise ValueError(f"{variant}: one seed; an interval takes two or more")
    if not found:
        raise ValueError("no networks were measured")
    return found


def values(of_seeds, seeds, metric):
    """The columns of a metric: a list of float64 (seeds, photographs)."""
    return [
        np.array([[float(row[column]) for row in of_seeds[seed]] for seed in seeds])
        for column in metric.columns
    ]


def table(found, against=None):
    """The Markdown table of the variants, or of their differences from one of them on the seeds that they share."""
    shown = [METRICS[name] for name in SHOWN]
    lines = [
        "| | seeds | " + " | ".join(metric.title for metric in shown) + " |",
        "| --- " * (len(shown) + 2) + "|",
    ]
    for variant, of_seeds in found.items():
        if variant == against:
            continue
        seeds = [seed for seed in of_seeds if not against or seed in found[against]]
        if len(seeds) < 2:
            raise ValueError(
                f"{variant}: shares {len(seeds)} seeds with {against}; an interval takes two or more"
            )
        cells = []
        for metric in shown:
            columns = values(of_seeds, seeds, metric)
            if against:
                pairs = list(zip(values(found[against], seeds, metric), columns))
                value, half, spread = interval(pairs, metric.of, difference=True)
                base = abs(metric.of(*(first.mean() for first, _ in pairs)))
                cells.append(
                    f"{value:+.4g} ± {half:.2g} ({100 * value / base:+.2g} ± {100 * half / base:.2g} %)"
                )
            else:
                value, half, spread = interval(columns, metric.of)
                cells.append(f"{value:.4g} ± {half:.2g}")
            cells[-1] += f", SD {spread:.2g}"
        lines.append(f"| {variant} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("measured", type=Path, help="what evaluate.py --out was told")
    parser.add_argument(
        "--against", metavar="VARIANT", help="differences from this variant, seed by seed"
    )
    args = parser.parse_args()
    try:
        found = read(args.measured)
        if args.against and args.against not in found:
            raise ValueError(f"--against {args.against}: measured are {', '.join(found)}")
        print(table(found, args.against))
    except (OSError, ValueError) as error:
        sys.exit(f"evaluation.seeds: {error}")


if __name__ == "__main__":
    main()
