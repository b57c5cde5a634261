"""FID and LPIPS by torchmetrics, an optional extra: `pip install -r requirements-metrics.txt`.

torchmetrics downloads the networks that the two look through, when they are first used.
"""

import numpy as np


class Unavailable(Exception):
    """torchmetrics or a network of its is missing. The message is one line."""


def _metric(name, **options):
    """(torch, a metric of torchmetrics.image). Raises Unavailable."""
    try:
        import torch
        from torchmetrics import image

        return torch, getattr(image, name)(**options)
    except Exception as error:  # not installed; or its network cannot be downloaded, which each library says differently
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"needs torchmetrics (pip install -r requirements-metrics.txt) and its network: {reason}"
        ) from error


class Lpips:
    """Learned perceptual distance between pictures (Zhang et al. 2018), version 0.1 on AlexNet: 0 for equal pictures."""

    def __init__(self):
        self.torch, self.metric = _metric("LearnedPerceptualImagePatchSimilarity", net_type="alex", normalize=True)

    def __call__(self, first, second):
        """Distances of uint8 pictures, (N, H, W, 3) twice -> (N,)."""
        first, second = (_channels_first(self.torch, x).float() / 255 for x in (first, second))
        return np.array([float(self.metric(a[None], b[None])) for a, b in zip(first, second)])


class Fid:
    """Fréchet Inception distance between two sets of pictures (Heusel et al. 2017): 0 for equal sets.

    It depends on how many pictures there are: only values of equally many compare, above the 2,048 features if they are to
    mean much.
    """

    def __init__(self):
        self.torch, first = _metric("FrechetInceptionDistance", feature=2048)
        self.unused, self.metrics = [first], {}

    def add(self, name, pictures, photographs):
        """Add uint8 pictures (N, H, W, 3) to the set `name`, and the photographs that they are held against."""
        if name not in self.metrics:
            self.metrics[name] = self.unused.pop() if self.unused else _metric("FrechetInceptionDistance", feature=2048)[1]
        for x, real in ((photographs, True), (pictures, False)):
            self.metrics[name].update(_channels_first(self.torch, x), real=real)

    def distance(self, name):
        """Of the set `name` from its photographs; nan where there are too few."""
        try:
            return float(self.metrics[name].compute())
        except (KeyError, RuntimeError):
            return float("nan")


def _channels_first(torch, pictures):
    return torch.as_tensor(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
