"""From photographs to the metrics of every picture: each method's ab, joined to its lightness.

There are two protocols: the pictures squashed to one size, at which the paper measures, and at
their own size. Both get the ab that was predicted for the squashed picture.
"""

import csv
import itertools
import sys
from typing import NamedTuple

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
    """(manifest, files of the colour photographs) of folders, at most `limit` of their pictures."""
    try:
        rows = manifest.scan_dataset(folders, share=0, seed=seed, limit=limit)
    except ValueError as error:
        raise Refused(error) from error
    files = manifest.paths(rows, "train")
    if not files:
        raise Refused(f"{', '.join(map(printable, folders))}: no colour photographs in it")
    return rows, files


class Photograph(NamedTuple):
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
    """Lists of BATCH Photographs without the broken ones. Raises Refused if all are broken."""
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


def mean_ab(files, size):
    """The mean over photographs, float32 (2,), Lab units."""
    batches, found = Batches(files, size, BATCH), []
    for i in tqdm(range(len(batches)), "mean ab", disable=None, leave=False):
        ab = color.lab_from_srgb(to_float(batches[i][0]))[..., 1:]
        found += list(ab.mean(axis=(1, 2), dtype=np.float64))
    return np.mean(found, axis=0).astype(np.float32)


def measure(photographs, methods, protocols=PROTOCOLS):
    """A dict of metrics for every photograph of a batch, protocol and method, in this order."""
    targets, predicted = predict(methods, np.stack([own.squashed for own in photographs]))

    def rows_of(i, photograph):
        rows = []
        for protocol in protocols:
            reference = Reference(getattr(photograph, protocol))
            for method, found in zip(methods, predicted):
                ab = None if found is None else found[i]
                row = {"picture": photograph.path, "protocol": protocol, "method": method.name}
                row |= reference.metrics(ab, method.factor)
                if protocol == "squashed":
                    row |= compare_ab(reference.ab if ab is None else ab, targets[method.target][i])
                rows.append(row)
        return rows

    return list(itertools.chain.from_iterable(POOL.map(rows_of, *zip(*enumerate(photographs)))))


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

    def __init__(self, rgb):
        self.rgb, self.lab = rgb, color.lab_from_srgb(to_float(rgb))
        self.lightness, self.ab = np.ascontiguousarray(self.lab[..., 0]), self.lab[..., 1:]
        self.cf = metrics.colorfulness(rgb)

    def metrics(self, ab, factor=1):
        """Metrics of ab (h, w, 2), of any size, joined to the photograph's L; None: of itself.

        A picture smaller than the window of SSIM has none.
        """
        rgb, predicted = self.rgb, self.ab
        if ab is not None:
            if not np.isfinite(ab).all():
                return dict.fromkeys(self.metrics(None), float("nan"))
            ab = ab * np.float32(factor)
            rgb = colorize(self.rgb, ab)
            predicted = np.dstack(enlarged(ab, slice(0, len(rgb)), *rgb.shape[:2]))
        lab = color.lab_from_srgb(to_float(rgb))
        cf = metrics.colorfulness(rgb)
        found = {
            "psnr": metrics.psnr(rgb, self.rgb),
            "ciede2000": float(metrics.ciede2000(lab, self.lab).mean(dtype=np.float64)),
            "auc": metrics.auc(lab[..., 1:], self.ab),
            **metrics.powers(predicted, self.ab),
            "bleed": metrics.bleed(predicted, self.ab, self.lightness),
            "saturation": metrics.saturation(rgb),
            "cf": cf,
            "cf_difference": cf - self.cf,
        }
        if min(rgb.shape[:2]) >= metrics.WINDOW:
            found["ssim"] = metrics.ssim(rgb, self.rgb)
        return found


def write_rows(path, rows):
    """The metrics of every picture as CSV; a cell is empty where a row lacks the column."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic(path) as temporary, open(temporary, "w", newline="", **manifest.ENCODING) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
