"""Intervals over seeds and photographs together, against SciPy where one of the two is all there is."""

import csv
import json

import numpy as np
import pytest
import scipy.stats

from evaluation import seeds

RNG = np.random.default_rng


def test_seeds_alone_are_the_paired_t_test():
    first, second = RNG(0).normal(size=(2, 6))
    columns = [np.repeat(np.stack([first, second])[..., None], 50, axis=-1)]
    value, half, spread = seeds.interval(columns, difference=True)
    expected = scipy.stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (value - half, value + half) == pytest.approx(tuple(expected))
    assert spread == pytest.approx(np.std(second - first, ddof=1))


def test_photographs_alone_are_the_t_test():
    photographs = RNG(0).normal(size=40)
    value, half, spread = seeds.interval([np.tile(photographs, (3, 1))])
    expected = scipy.stats.ttest_1samp(photographs, 0).confidence_interval(0.95)
    assert (value - half, value + half) == pytest.approx(tuple(expected))
    assert spread == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("sd_seeds, sd_photographs", [(1, 1), (1, 8), (0.1, 8)])
def test_the_interval_holds_what_it_says(sd_seeds, sd_photographs):
    """Of 1,000 draws of 4 seeds and 30 photographs, each with an effect of its own: 95 % contain the true mean, 0."""
    rng, held = RNG(0), 0
    for _ in range(1000):
        effects = (
            rng.normal(0, sd_seeds, (4, 1))
            + rng.normal(0, sd_photographs, 30)
            + rng.normal(size=(4, 30))
        )
        value, half, _ = seeds.interval([effects])
        held += abs(value) <= half
    assert 930 <= held <= 985


def test_a_ratio_is_that_of_the_means():
    numerators, denominators = RNG(0).uniform(1, 2, (2, 3, 20))
    value, _, _ = seeds.interval([numerators, denominators], np.divide)
    assert value == pytest.approx(np.mean(numerators.mean(axis=1) / denominators.mean(axis=1)))


@pytest.fixture
def measured(tmp_path):
    """What evaluate.py writes for two variants: a's errors are 0.5 in both seeds and pictures, b's 0.4 and 0.6."""
    errors = {"a": (0.5, 0.5), "b": (0.4, 0.6)}
    columns = dict.fromkeys(("gray_mse", "psnr", "ciede2000", "bleed", "saturation", "cf"), 1.0)
    rows = [
        {"picture": picture, "protocol": protocol, "method": f"{variant}{seed}", "ab_mse": errors[variant][seed]} | columns
        for protocol in ("squashed", "own") for picture in "xx" for variant in errors for seed in (0, 1)
    ]  # fmt: skip
    methods = {
        f"{variant}{seed}": {"file": f"runs/{seed}/{variant}/best.keras"}
        for variant in errors
        for seed in (0, 1)
    }
    (tmp_path / "summary.json").write_text(
        json.dumps({"methods": methods | {"gray": {"file": None}}})
    )
    with open(tmp_path / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["seeds", *map(str, arguments)])
    seeds.main()


def test_tables(measured, monkeypatch, capsys):
    run(monkeypatch, measured)
    header, _, a, b = capsys.readouterr().out.splitlines()
    assert header.startswith(
        "| | seeds | relative MSE | PSNR | CIEDE2000 | bleed | saturation | CF |"
    )
    assert a.startswith("| a | 2 | 0.5 ± 0, SD 0 | 1 ± 0, SD 0 |")
    assert b.startswith(
        "| b | 2 | 0.5 ± 1.3, SD 0.14 |"
    )  # t of 1 degree of freedom: 12.706 * 0.1414 / sqrt(2)
    run(monkeypatch, measured, "--against", "a")
    *_, only = capsys.readouterr().out.splitlines()
    assert only.startswith("| b | 2 | +0 ± 1.3 (+0 ± 2.5e+02 %), SD 0.14 |")


@pytest.mark.parametrize(
    "arguments, said",
    [(["nowhere"], "No such file"), ([".", "--against", "c"], "--against c: measured are a, b")],
)
def test_refused(measured, monkeypatch, arguments, said):
    monkeypatch.chdir(measured)
    with pytest.raises(SystemExit, match=said):
        run(monkeypatch, *arguments)


def test_one_seed_has_no_interval(measured, monkeypatch):
    summary = json.loads((measured / "summary.json").read_text())
    del summary["methods"]["b1"]
    (measured / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(SystemExit, match="b: one seed"):
        run(monkeypatch, measured)


def test_seeds_that_are_no_pairs(measured, monkeypatch):
    text = (measured / "summary.json").read_text()
    (measured / "summary.json").write_text(text.replace("runs/1/b/", "runs/2/b/"))
    with pytest.raises(SystemExit, match="b: shares 1 seeds with a"):
        run(monkeypatch, measured, "--against", "a")


def test_pictures_of_one_name_in_two_folders_are_two(measured):
    assert all(
        len(rows) == 2 for of_seeds in seeds.read(measured).values() for rows in of_seeds.values()
    )
