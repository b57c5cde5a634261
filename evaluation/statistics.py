"""From the metrics of single pictures to a table: means, their bootstrap intervals, differences between two methods."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats

from evaluation import metrics

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A column of the table, made of columns of metrics.csv: `of` their means over the pictures."""

    title: str
    unit: str
    better: str  # "lower", "higher", "near 0" or "near 1"; "" where the photograph's own value is the mark
    columns: tuple
    of: Callable = lambda mean: mean
    weight: str = ""  # the column by which pictures are weighted in those means; "": all alike


METRICS = {
    "relative_mse": Metric(
        "relative MSE", "all-gray = 1", "lower", ("ab_mse", "gray_mse"), np.divide
    ),
    "r": Metric("r", "of ab, at most 1", "higher", metrics.MOMENTS, metrics.correlation),
    "degraded_over_clean": Metric(
        "degraded / clean", "of ab-MSE", "near 1", ("ab_mse", "clean_ab_mse"), np.divide
    ),
    "ab_shift": Metric("shift of ab", "Lab units", "lower", ("ab_shift",)),
    "ab_mse": Metric("ab-MSE", "of ab / 128", "lower", ("ab_mse",)),
    "psnr": Metric("PSNR", "dB", "higher", ("psnr",)),
    "ssim": Metric("SSIM", "at most 1", "higher", ("ssim",)),
    "ciede2000": Metric("CIEDE2000", "mean of pixels", "lower", ("ciede2000",)),
    "lpips": Metric("LPIPS", "0.1, AlexNet", "lower", ("lpips",)),
    "fid": Metric(
        "FID", "of the whole set", "lower", ("fid",)
    ),  # no column of pictures: `evaluate.py` puts it in
    "auc": Metric("AuC", "%", "higher", ("auc",)),
    "auc_rebalanced": Metric(
        "AuC, rebalanced", "%", "higher", ("auc_rebalanced",), weight="rarity"
    ),
    "bleed": Metric("bleed", "% points", "near 0", ("bleed",)),
    "saturation": Metric("saturation", "HSV, mean", "", ("saturation",)),
    "cf": Metric("CF", "sRGB codes", "", ("cf",)),
    "delta_cf": Metric("delta CF", "of the means", "near 0", ("cf_difference",), np.abs),
    "off_cf": Metric("CF off by", "mean of pictures", "near 0", ("cf_distance",)),
    "cf_abs": Metric("CF_abs", "sRGB codes", "", ("cf_abs",)),
    "delta_cf_abs": Metric(
        "delta CF_abs", "of the means", "near 0", ("cf_abs_difference",), np.abs
    ),
    "out_of_gamut": Metric("out of gamut", "share of pixels", "", ("out_of_gamut",)),
}
PAIRED = ("ab_mse", "psnr", "bleed", "ciede2000", "lpips")


@np.errstate(divide="ignore", invalid="ignore")
def interval(columns, of=lambda mean: mean, weights=None, seed=0):
    """A function of means over pictures, and its 95 % interval by the percentile bootstrap over the pictures.

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
    options = {
        "n_resamples": RESAMPLES,
        "confidence_level": LEVEL,
        "method": "percentile",
        "batch": 100,
        "rng": seed,
    }
    with warnings.catch_warnings(
        action="ignore", category=scipy.stats.DegenerateDataWarning
    ):  # where a value is NaN
        found = scipy.stats.bootstrap(
            data, statistic, paired=True, vectorized=True, **options
        ).confidence_interval
    return value, float(found.low), float(found.high)


def summarise(rows, seed=0):
    """The rows of one method (dicts of metrics, one a picture) -> {metric: {"mean", "low", "high"}}, low to high 95 %.

    A mean is over the rows that have its columns; one value that is not a number makes it NaN.
    """
    found = {}
    for name, metric in METRICS.items():
        if having := [row for row in rows if row.keys() >= set(metric.columns)]:
            columns = [[row[column] for row in having] for column in metric.columns]
            weights = [row[metric.weight] for row in having] if metric.weight else None
            found[name] = dict(
                zip(("mean", "low", "high"), interval(columns, metric.of, weights, seed))
            )
    return found


def compare(first, second, seed=0):
    """Rows of two methods on the same pictures -> {metric: {"difference": second - first, "low", "high", "differs"}}.

    The difference is the mean of the pictures' own; "differs" says that its 95 % interval leaves 0 out.
    """
    found = {}
    for name in (name for name in PAIRED if name in first[0]):
        value, low, high = interval([[b[name] - a[name] for a, b in zip(first, second)]], seed=seed)
        found[name] = {
            "difference": value,
            "low": low,
            "high": high,
            "differs": low > 0 or high < 0,
        }
    return found


def plain(value):
    """JSON has no infinite numbers: they, and what is not a number, become the strings "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
