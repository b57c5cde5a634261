"""From figures of single pictures to a table: means, their bootstrap intervals, differences between two candidates."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A column of the table, made of a column of metrics.csv."""

    title: str
    unit: str
    better: str  # "lower", "higher" or "near 0"; "" where the photograph's own figure is the mark
    column: str
    weight: str = ""  # the column by which pictures are weighted; "": all alike
    absolute: bool = False  # of the mean, not of the pictures


# A ratio of sums is a weighted mean of ratios: sum(mse) / sum(gray_mse) weights each picture's ratio by its gray_mse. So is
# a mean over the pixels of all pictures that are weighted by rarity.
METRICS = {
    "ratio": Metric("ab-MSE ratio", "all-gray = 1", "lower", "ratio", "gray_mse"),
    "ab_mse": Metric("ab-MSE", "of ab / 128", "lower", "ab_mse"),
    "psnr": Metric("PSNR", "dB", "higher", "psnr"),
    "ssim": Metric("SSIM", "at most 1", "higher", "ssim"),
    "ciede2000": Metric("CIEDE2000", "mean of pixels", "lower", "ciede2000"),
    "lpips": Metric("LPIPS", "0.1, AlexNet", "lower", "lpips"),
    "fid": Metric("FID", "of the whole set", "lower", "fid"),  # no figure of a picture: `evaluate.py` puts it in
    "auc": Metric("AuC", "%", "higher", "auc"),
    "auc_rebalanced": Metric("AuC, rebalanced", "%", "higher", "auc_rebalanced", "rarity"),
    "bleed": Metric("bleed", "% points", "near 0", "bleed"),
    "cf": Metric("CF", "sRGB codes", "", "cf"),
    "delta_cf": Metric("delta CF", "of the means", "near 0", "cf_difference", absolute=True),
    "off_cf": Metric("CF off by", "mean of pictures", "near 0", "cf_distance"),
    "cf_abs": Metric("CF_abs", "sRGB codes", "", "cf_abs"),
    "delta_cf_abs": Metric("delta CF_abs", "of the means", "near 0", "cf_abs_difference", absolute=True),
    "out_of_gamut": Metric("out of gamut", "share of pixels", "", "out_of_gamut"),
}
PAIRED = ("ab_mse", "psnr", "bleed", "ciede2000", "lpips")


def bootstrap(values, weights=None, seed=0):
    """Weighted means over pictures, and the same of samples drawn from the pictures with replacement.

    Args:
        values: (N, M), a row for each picture. The M columns share the samples.
        weights: of the same shape; None: all alike.

    Returns:
        (means (M,), means of the samples (RESAMPLES, M)).
    """
    weights = np.ones_like(values) if weights is None else weights
    weighted = values * weights
    rng = np.random.default_rng(seed)
    samples = (rng.integers(len(values), size=len(values)) for _ in range(RESAMPLES))
    draws = np.stack([weighted[i].sum(axis=0) / weights[i].sum(axis=0) for i in samples])
    return weighted.sum(axis=0) / weights.sum(axis=0), draws


def interval(draws):
    """The middle 95 % of (RESAMPLES, M) -> (low (M,), high (M,)). Values that occur, so that infinite ones may."""
    tail = (1 - LEVEL) / 2
    return np.quantile(draws, [tail, 1 - tail], axis=0, method="inverted_cdf")


def summarise(rows, seed=0):
    """The rows of one candidate (dicts of figures, one a picture) -> {metric: {"mean", "low", "high"}}, low to high 95 %.

    A metric that the rows lack is left out; one figure that is no number makes its mean none.
    """
    present = {name: metric for name, metric in METRICS.items() if metric.column in rows[0]}
    values = np.array([[row[metric.column] for metric in present.values()] for row in rows], np.float64)
    weights = np.array([[row[m.weight] if m.weight else 1 for m in present.values()] for row in rows], np.float64)
    means, draws = bootstrap(values, weights, seed)
    absolute = [metric.absolute for metric in present.values()]
    means, draws = (np.where(absolute, np.abs(x), x) for x in (means, draws))
    return {
        name: dict(zip(("mean", "low", "high"), map(float, v))) for name, v in zip(present, zip(means, *interval(draws)))
    }


def compare(first, second, seed=0):
    """Rows of two candidates on the same pictures -> {metric: {"difference": second - first, "low", "high", "differs"}}.

    The difference is the mean of the pictures' own; "differs" says that its 95 % interval leaves 0 out.
    """
    names = [name for name in PAIRED if METRICS[name].column in first[0]]
    columns = [METRICS[name].column for name in names]
    table = np.array([[[row[c] for c in columns] for row in rows] for rows in (first, second)], np.float64)
    means, draws = bootstrap(table[1] - table[0], seed=seed)
    return {
        name: {"difference": float(mean), "low": float(low), "high": float(high), "differs": bool(low > 0 or high < 0)}
        for name, mean, low, high in zip(names, means, *interval(draws))
    }


def plain(value):
    """JSON has no infinite numbers: they, and what is no number, become the strings "inf" and "nan"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
