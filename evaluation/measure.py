"""From photographs to the metrics of every picture: each method's ab, joined to its lightness.

Pictures are squashed to one size, as in the paper.
"""

import itertools
import sys
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data import color, manifest
from data.as_published import repeated
from data.batches import MAX_SIDE
from data.preprocess import enlarged, resize, to_float
from evaluation import Refused, metrics
from evaluation.methods import BATCH, predict
from pictures.reader import read_rgb
from utils import POOL, printable


def scan(folders, limit, seed):
    """(manifest, files of the colour photographs) of folders, at most `limit` of their pictures."""
    try:
        rows = manifest.scan_dataset(folders, share=0, seed=seed, limit=limit)
    except ValueError as error:
        raise Refused(error) from error
    files = manifest.paths(rows, "train")
    if not files:
        places = ", ".join(map(printable, folders))
        raise Refused(f"{places}: no such folder, or no colour photographs in it")
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
    """Lists of BATCH Photographs, without the broken ones."""
    bar = tqdm(range(len(files)), "measuring", unit=" pictures", disable=None)
    found = filter(None, manifest.in_order(lambda i: read(files[i], size, i), bar, BATCH))
    while photographs := list(itertools.islice(found, BATCH)):
        yield photographs


def measure(photographs, methods):
    """A dict of metrics for every photograph of a batch and method, in this order."""
    found = predict(methods, np.stack([own.squashed for own in photographs]))

    def rows_of(i, photograph):
        rgb, rows = photograph.squashed, []
        lab = color.lab_from_srgb(to_float(rgb))
        for method in methods:
            ab = found[method.ab][i]
            row = {"picture": photograph.path, "protocol": "squashed", "method": method.name}
            row |= compare_colors(rgb, lab, method.join(rgb, ab), method.factor * ab)
            rows.append(row | compare_ab(ab, found[method.target.ab][i]))
        return rows

    return list(itertools.chain.from_iterable(POOL.map(rows_of, *zip(*enumerate(photographs)))))


def compare_colors(photograph, reference, rgb, ab):
    """The metrics of a result.

    photograph, rgb: uint8 (H, W, 3), both sides at least 11 px; reference: the photograph's Lab.
    ab: what the result was made of, float32 (h, w, 2), of any size.
    """
    lab, ab = color.lab_from_srgb(to_float(rgb)), enlarge(ab, *rgb.shape[:2])
    lightness, own_ab = np.ascontiguousarray(reference[..., 0]), reference[..., 1:]
    return {
        "psnr": metrics.psnr(rgb, photograph),
        "ssim": metrics.ssim(rgb, photograph),
        "ciede2000": metrics.ciede2000(lab, reference),
        **metrics.powers(ab, own_ab),
        "bleed": metrics.bleed(ab, own_ab, lightness),
        "saturation": metrics.saturation(rgb),
        "cf": metrics.colorfulness(rgb),
    }


def compare_ab(ab, target):
    """The errors of ab (h, h, 2) against the target K (S, S, 2).

    ab is enlarged by repetition, as by the network's last layer, or bilinearly where it was not
    made of S x S.
    """
    side = len(target)
    ab = repeated(ab, side) if side in (len(ab), 2 * len(ab)) else enlarge(ab, side, side)
    return {"ab_mse": metrics.ab_mse(ab, target), "gray_mse": metrics.ab_mse(0, target)}


def enlarge(ab, height, width):
    """ab (h, w, 2) enlarged bilinearly, as by `colorize`: (height, width, 2)."""
    return np.dstack(enlarged(ab, slice(0, height), height, width))
