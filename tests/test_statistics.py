"""Means and intervals over photographs and seeds, against SciPy and known distributions."""

import numpy as np
import pytest
import scipy.stats

from data import manifest
from evaluation import metrics, statistics

RNG = np.random.default_rng


def rows(**columns):
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


# --- over photographs


def interval(*columns, **options):
    """(mean, low, high) of one method."""
    return tuple(statistics.bootstrap_interval([[x] for x in columns], **options).values())


def test_interval_of_a_known_distribution():
    values = RNG(1).normal(5, 2, 400)
    value, low, high = interval(values)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.03)
    assert (value, low, high) == interval(values) != interval(values, seed=1)
    assert interval([3.0]) == (3, 3, 3)


def test_columns_share_the_samples():
    """A quotient of two columns that rise and fall together is known better than either."""
    gray, mse = RNG(0).random((2, 50)) + 0.1
    assert interval(0.5 * gray, gray, of=np.divide) == pytest.approx((0.5, 0.5, 0.5))
    assert interval(mse, gray, of=np.divide)[0] == pytest.approx(mse.sum() / gray.sum())


def test_r_is_that_of_all_pixels_of_all_pictures():
    ab, reference = RNG(0).normal(3, 20, (2, 5, 8, 6, 2)).astype(np.float32)
    ab += 0.7 * reference + np.linspace(-30, 30, 5, dtype=np.float32)[:, None, None, None]
    found = statistics.summarise([metrics.powers(x, y) for x, y in zip(ab, reference)])["r"]
    expected = 1 - scipy.spatial.distance.cosine(ab.ravel(), reference.ravel())
    assert found["mean"] == pytest.approx(expected, abs=1e-6)
    assert -1 <= found["low"] < found["mean"] < found["high"] <= 1
    for factor, r in ((2, 1), (-1, -1), (0, np.nan)):
        found = statistics.summarise([metrics.powers(factor * y, y) for y in reference])["r"]
        assert found["low"] == pytest.approx(r, nan_ok=True)


def test_infinite_numbers():
    found = statistics.summarise(rows(psnr=[np.inf, np.inf], ciede2000=[1.0, np.nan]))
    assert set(found["psnr"].values()) == {np.inf} and np.isnan(found["ciede2000"]["mean"])


def test_comparison_in_pairs():
    """A small difference that every picture shows stands out of a large spread between them."""
    rng = RNG(0)
    base, noise = rng.normal(24, 5, 100), rng.normal(0, 0.1, (2, 100))
    first = rows(psnr=base, bleed=base, ab_mse=base, gray_mse=2 * base)
    second = rows(psnr=base + 0.2 + noise[0], bleed=base + noise[1], ab_mse=base, gray_mse=base)
    found = statistics.summarise(second, first)
    assert found["psnr"]["differs"] and found["psnr"]["mean"] == pytest.approx(0.2, abs=0.05)
    back = statistics.summarise(first, second)["psnr"]
    assert back["differs"] and back["mean"] == -found["psnr"]["mean"]
    assert not found["bleed"]["differs"]
    expected = {"mean": 0.5, "low": 0.5, "high": 0.5, "differs": True}
    assert found["relative_mse"] == pytest.approx(expected)
    nothing = statistics.summarise(rows(psnr=base), rows(psnr=base * np.nan))
    assert nothing["psnr"]["differs"] is False


# --- over seeds and photographs


def test_seeds_alone_or_photographs_alone_are_the_t_test():
    first, second = RNG(0).normal(size=(2, 6))
    pairs = np.repeat(np.stack([second, first])[..., None], 50, axis=-1)
    value, half, spread = statistics.seeds_interval([pairs])
    expected = scipy.stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (value - half, value + half) == pytest.approx(tuple(expected))
    assert spread == pytest.approx(np.std(second - first, ddof=1))
    photographs = RNG(0).normal(size=40)
    value, half, spread = statistics.seeds_interval([[np.tile(photographs, (3, 1))]])
    expected = scipy.stats.ttest_1samp(photographs, 0).confidence_interval(0.95)
    assert (value - half, value + half) == pytest.approx(tuple(expected))
    assert spread == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("sd_seeds, sd_photographs", [(1, 1), (0.1, 8)])
def test_the_interval_holds_what_it_says(sd_seeds, sd_photographs):
    """Of 1,000 draws of 4 seeds and 30 photographs, 95 % contain the true mean, 0."""
    rng, held = RNG(0), 0
    for _ in range(1000):
        effects = rng.normal(0, sd_seeds, (4, 1)) + rng.normal(0, sd_photographs, 30)
        value, half, _ = statistics.seeds_interval([[effects + rng.normal(size=(4, 30))]])
        held += abs(value) <= half
    assert 930 <= held <= 985


def test_a_ratio_is_that_of_the_means():
    above, below = RNG(0).uniform(1, 2, (2, 3, 20))
    value, _, _ = statistics.seeds_interval([[above], [below]], np.divide)
    assert value == pytest.approx(np.mean(above.mean(axis=1) / below.mean(axis=1)))


@pytest.fixture
def measured(tmp_path):
    """What evaluate.py writes for two variants: a's errors are 0.5 in both seeds, b's 0.4, 0.6."""
    columns = dict.fromkeys(("gray_mse", "psnr", "ciede2000", "bleed", "saturation", "cf"), 1.0)
    found = []
    for method, error in {"0/a": 0.5, "1/a": 0.5, "0/b": 0.4, "1/b": 0.6}.items():
        method = f"runs/{method}/best.keras"
        for protocol, name in (("squashed", ""), ("degraded", ""), ("squashed", ", x 0.5")):
            row = {"picture": "x", "protocol": protocol, "method": method + name, "ab_mse": error}
            found += [row | columns] * 2
    manifest.write_manifest(tmp_path / "metrics.csv", found, found[0])
    return tmp_path


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_tables(measured, capsys):
    statistics.main([str(measured)])
    header, _, a, b = map(cells, capsys.readouterr().out.splitlines())
    titles = ["relative MSE", "PSNR", "CIEDE2000", "bleed", "saturation", "CF"]
    assert header == ["", "seeds", *titles]
    assert a[:4] == ["a", "2", "0.5 ± 0, SD 0", "1 ± 0, SD 0"]
    assert b[:3] == ["b", "2", "0.5 ± 1.3, SD 0.14"]  # 12.706 * 0.1414 / sqrt(2)
    statistics.main([str(measured), "--against", "a"])
    *_, only = map(cells, capsys.readouterr().out.splitlines())
    assert only[:3] == ["b", "2", "+0 ± 1.3 (+0 ± 2.5e+02 %), SD 0.14"]
    assert len(statistics.read_seeds(measured)["a"]["0"]) == 2


@pytest.mark.parametrize(
    "edit, arguments, said",
    [
        (("x", "x"), ["nowhere"], "No such file"),
        (("x", "x"), [".", "--against", "c"], "--against c: measured are a, b"),
        (("runs/1/b", "runs/0/b"), ["."], "b: 1 seeds; an interval takes two"),
        (("runs/1/b/", "runs/2/b/"), [".", "--against", "a"], "b: 1 seeds shared with a"),
    ],
)
def test_refused(measured, monkeypatch, edit, arguments, said):
    monkeypatch.chdir(measured)
    text = (measured / "metrics.csv").read_text()
    (measured / "metrics.csv").write_text(text.replace(*edit))
    with pytest.raises(SystemExit, match=said):
        statistics.main(arguments)
