"""The arithmetic of benchmarks/cost.py, and that the text in benchmarks/README.md is what it gives."""

import json
from dataclasses import replace

import pytest

from benchmarks import cost

SITE = cost.Site(
    peak=6e12 * cost.MACS / 1e9, utilisation=0.1, price=2.0, batch=10, cores=1, disk=1e6, network=1e9, link=1e9
)
RATES = cost.Measured(folder=200.0, shards=400.0, network=0.1, small=0.01, png=1.0, jpg=0.5)  # the GPU trains 100 a second


def test_training_waits_for_the_longest_stage():
    hours, dollars, stages = cost.training(SITE, RATES, 3600 * 100, 1, 1e3, RATES.folder)
    assert stages == pytest.approx({"GPU": 0.1, "decode": 0.05, "disk": 0.01, "all-reduce": 0})
    assert hours == pytest.approx(40 * (1 + 0.1 / 3)) and dollars == pytest.approx(2 * hours)
    slow, _, _ = cost.training(SITE, RATES, 3600 * 100, 1, 1e3, 50.0)  # decoding takes twice as long as the GPU
    assert slow == pytest.approx(2 * hours)
    disk, _, stages = cost.training(SITE, RATES, 3600 * 100, 1, 40e3, RATES.folder)
    assert disk == pytest.approx(4 * hours) and stages["disk"] == pytest.approx(0.4)


def test_allreduce_is_added():
    ring = 2 * 4 * 9_844_743 / 1e9
    assert cost.allreduce(SITE, 1) == 0
    assert cost.allreduce(SITE, 4) == pytest.approx(ring * 3 / 4)
    assert cost.allreduce(SITE, 32) == pytest.approx(ring * (7 / 8 + 3 / 4))  # four hosts of eight
    alone, _, _ = cost.training(SITE, RATES, 1e6, 1, 1, 1e9)
    eight, dollars, _ = cost.training(SITE, RATES, 1e6, 8, 1, 1e9)
    assert eight == pytest.approx(alone / 8 * (0.1 + ring * 7 / 8) / 0.1) and dollars == pytest.approx(8 * 2 * eight)


def test_colorizing():
    site = replace(SITE, core_price=0.1)
    hours, dollars, stages = cost.colorizing(site, RATES, 3600, 2, 1.0, 1e3)
    assert stages == pytest.approx({"cores": 1800, "disk": 3.6, "GPU": 6}) and hours == 0.5 and dollars == 2.0
    hours, dollars, stages = cost.colorizing(site, RATES, 64 * 3600, 0, 0.9, 1)
    assert stages["cores"] == pytest.approx(3600) and "GPU" not in stages
    assert (hours, dollars) == pytest.approx((1, 6.4))


def test_the_readme_has_the_tables_of_the_results():
    results = json.loads(cost.RESULTS.read_text())
    shown = (cost.RESULTS.parent / "README.md").read_text()
    assert f"<!-- cost -->\n{cost.text(results)}\n<!-- end of cost -->" in shown
    rates = cost.measured(results)
    assert f"{rates.folder:,.0f} against" in shown and f"{rates.shards:,.0f} against" in shown
    assert rates.small > 0 and rates.png > rates.jpg > rates.network
