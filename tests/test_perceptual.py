"""FID and LPIPS: what is handed to torchmetrics, and what is said where it is missing. A stub stands in for it."""

import sys
from types import ModuleType

import numpy as np
import pytest

from evaluation import perceptual


class Stub:
    """Records what a metric of torchmetrics is given."""

    def __init__(self, **options):
        self.options, self.given = options, []

    def __call__(self, first, second):
        self.given.append((first, second))
        return abs(float(first.mean() - second.mean()))

    def update(self, pictures, real):
        self.given.append((pictures, real))

    def compute(self):
        real, made = ([p for p, r in self.given if r == kind] for kind in (True, False))
        return float(np.concatenate(made).mean() - np.concatenate(real).mean())


class Tensor(np.ndarray):
    def float(self):
        return self.astype(np.float32)


@pytest.fixture
def torchmetrics(monkeypatch):
    torch, package, image = ModuleType("torch"), ModuleType("torchmetrics"), ModuleType("torchmetrics.image")
    torch.as_tensor = lambda array: array.view(Tensor)
    image.LearnedPerceptualImagePatchSimilarity = image.FrechetInceptionDistance = Stub
    package.image = image
    for name, module in (("torch", torch), ("torchmetrics", package), ("torchmetrics.image", image)):
        monkeypatch.setitem(sys.modules, name, module)


def pictures(level, count=3):
    return np.full((count, 40, 48, 3), level, np.uint8)


def test_lpips_gets_pictures_one_by_one_scaled_to_one(torchmetrics):
    lpips = perceptual.Lpips()
    assert lpips(pictures(255), pictures(51)) == pytest.approx([0.8] * 3)
    assert lpips.metric.options == {"net_type": "alex", "normalize": True}
    assert [first.shape for first, _ in lpips.metric.given] == [(1, 3, 40, 48)] * 3


def test_fid_keeps_a_set_for_each_name(torchmetrics):
    fid = perceptual.Fid()
    for name, level in (("a", 10), ("b", 30), ("a", 20)):
        fid.add(name, pictures(level), pictures(5))
    assert (fid.distance("a"), fid.distance("b")) == (10, 25) and np.isnan(fid.distance("c"))
    assert fid.metrics["b"].given[0][0].dtype == np.uint8 and fid.metrics["b"].given[0][0].shape == (3, 3, 40, 48)


@pytest.mark.parametrize("metric", [perceptual.Lpips, perceptual.Fid])
def test_without_torchmetrics_one_line_says_what_to_install(metric, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(perceptual.Unavailable, match="pip install -r requirements-metrics.txt"):
        metric()
