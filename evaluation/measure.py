"""From photographs to the metrics of every picture: each method's ab, joined to its lightness.

There are two protocols: the pictures squashed to one size, at which the paper measures, and at
their own size. Both get the ab that was predicted for the squashed picture, and none is compressed
as JPEG in between.
"""

import csv
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from data import color, manifest
from data.as_published import repeated
from data.batches import MAX_SIDE, Batches
from data.preprocess import colorize, enlarged, resize, to_float
from evaluation import Refused, metrics
from evaluation.methods import BATCH, predict
from pictures.reader import read_rgb
from utils import POOL, atomic, printable

PROTOCOLS = ("squashed", "own")


def scan(folders, limit, seed):
    """(manifest, colour photographs) of some folders, at most `limit` of their pictures."""
    try:
        rows = manifest.scan_dataset(folders, share=0, seed=seed, limit=limit)
    except ValueError as error:
        raise Refused(error) from error
    files = manifest.paths(rows, "train")
    if not files:
        raise Refused(f"{', '.join(map(printable, folders))}: no colour photographs in it")
    return rows, files


@dataclass(frozen=True)
class Photograph:
    """Its place among the files, its pixels squashed and at their own size, uint8 (H, W, 3)."""

    index: int
    path: str
    squashed: np.ndarray
    own: np.ndarray


def read(path, size, index=0):
    """A Photograph. Broken: None, and a line."""
    try:
        own = read_rgb(path, MAX_SIDE)
    except Exception as error:  # whatever a decoder raises, the picture is passed over
        return tqdm.write(f"{printable(path)}: {error}", file=sys.stderr)
    return Photograph(index, path, resize(own, size, size), own)


def read_batches(files, size):
    """Lists of BATCH Photographs; broken ones are left out. Refused if all are."""
    good = 0
    with tqdm(total=len(files), desc="measuring", unit=" pictures", disable=None) as bar:
        for start in range(0, len(files), BATCH):
            part = range(start, min(start + BATCH, len(files)))
            found = POOL.map(lambda i: read(files[i], size, i), part)
            if photographs := [photograph for photograph in found if photograph]:
                good += len(photographs)
                yield photographs
            bar.update(len(part))
    if not good:
        raise Refused("none of the pictures can be read", 1)


def common_colors(files, size):
    """The mean ab of photographs, float32 (2,), and how common each colour is (`metrics.prior`)."""
    counts, total = 0, 0
    batches = Batches(files, size, BATCH)
    for i in tqdm(range(len(batches)), "common colours", disable=None, leave=False):
        ab = color.lab_from_srgb(to_float(batches[i][0]))[..., 1:]
        counts = counts + metrics.ab_counts(ab)
        total = total + ab.sum(axis=(0, 1, 2), dtype=np.float64)
    return (total / counts.sum()).astype(np.float32), metrics.prior(counts)


def measure(photographs, methods, prior, protocols=PROTOCOLS):
    """A dict of metrics for every photograph of a batch, protocol and method, in this order."""
    targets, predicted = predict(methods, np.stack([own.squashed for own in photographs]))
    job = partial(_measure_one, methods=methods, prior=prior, protocols=protocols)
    of_each = [
        ({t: k[i] for t, k in targets.items()}, [ab if ab is None else ab[i] for ab in predicted])
        for i in range(len(photographs))
    ]
    return [row for part in POOL.map(job, photographs, *zip(*of_each)) for row in part]


def _measure_one(photograph, targets, predicted, methods, prior, protocols):
    """The rows of one Photograph: its targets {Target: K (S, S, 2)}, the methods' ab (h, w, 2)."""
    rows = []
    for protocol in protocols:
        reference = Reference(getattr(photograph, protocol), prior)
        for method, ab in zip(methods, predicted):
            row = {"picture": photograph.path, "protocol": protocol, "method": method.name}
            row |= reference.metrics(ab, method.factor)
            if protocol == "squashed":
                row |= compare_ab(reference.ab if ab is None else ab, targets[method.target])
            rows.append(row)
    return rows


def compare_ab(ab, target):
    """The errors of ab (h, h, 2) against the target K (S, S, 2).

    ab is enlarged by repetition, as by the network's last layer, or bilinearly where it was not
    made of S x S.
    """
    side = len(target)
    if side in (len(ab), 2 * len(ab)):
        ab = repeated(ab, side)
    else:
        ab = np.stack(enlarged(ab, slice(0, side), side, side), axis=-1)
    mse, gray = metrics.ab_mse(ab, target), metrics.ab_mse(np.zeros_like(target), target)
    return {"ab_mse": mse, "gray_mse": gray, "relative_mse": mse / gray if gray else float("nan")}


class Reference:
    """A photograph, and what all comparisons with it share."""

    def __init__(self, rgb, prior):
        self.rgb, self.lab = rgb, color.lab_from_srgb(to_float(rgb))
        self.lightness, self.ab = np.ascontiguousarray(self.lab[..., 0]), self.lab[..., 1:]
        self.rarity = metrics.rarity(self.ab, prior)
        self.cf, self.cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)
        self.gray_psnr = metrics.psnr(colorize(rgb, np.zeros((1, 1, 2), np.float32)), rgb)

    def metrics(self, ab, factor):
        """Metrics of ab (h, w, 2), of any size, joined to the photograph's lightness.

        None: of the photograph itself. A picture smaller than the window of SSIM has none.
        """
        if ab is not None and not np.isfinite(ab).all():
            return dict.fromkeys(self.metrics(None, 1), float("nan"))
        rgb, planes = self.rgb, np.moveaxis(self.ab, -1, 0)
        if ab is not None:
            ab = ab * np.float32(factor)
            planes, rgb = enlarged(ab, slice(0, len(rgb)), *rgb.shape[:2]), colorize(rgb, ab)
        lab, predicted = color.lab_from_srgb(to_float(rgb)), np.dstack(planes)
        cf, cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)
        psnr = metrics.psnr(rgb, self.rgb)
        small = min(rgb.shape[:2]) < metrics.WINDOW
        return {
            "psnr": psnr,
            "psnr_gain": 0.0 if psnr == self.gray_psnr else psnr - self.gray_psnr,
            **({} if small else {"ssim": metrics.ssim(rgb, self.rgb)}),
            "ciede2000": float(metrics.ciede2000(lab, self.lab).mean(dtype=np.float64)),
            "auc": metrics.auc(lab[..., 1:], self.ab),
            "auc_rebalanced": metrics.auc(lab[..., 1:], self.ab, self.rarity),
            "rarity": float(self.rarity.mean()),
            **metrics.powers(predicted, self.ab),
            "bleed": metrics.bleed(predicted, self.ab, self.lightness),
            "saturation": metrics.saturation(rgb),
            "cf": cf,
            "cf_difference": cf - self.cf,
            "cf_abs": cf_abs,
            "cf_abs_difference": cf_abs - self.cf_abs,
            "out_of_gamut": metrics.out_of_gamut(self.lightness, *map(np.array, planes)),
        }


def write_rows(path, rows):
    """The metrics of every picture as CSV; a cell is empty where a row lacks the column."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic(path) as temporary, open_text(temporary, "w") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def open_text(path, mode="r"):
    """A CSV or HTML file in UTF-8 on every system; names that are not UTF-8 keep their bytes."""
    return open(path, mode, newline="", **manifest.ENCODING)
