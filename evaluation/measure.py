"""From photographs to the metrics of every picture: the ab of each method, joined to the photograph's lightness.

There are two protocols: the pictures squashed to the size that training sees, and at their own size. Both get the ab that
was predicted for the squashed picture, and none is compressed as JPEG in between.
"""

import csv
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from data import color
from data.as_published import colorize_as_published, repeated, resize_nearest
from data.batches import Batches
from data.preprocess import colorize, enlarged, resize, to_float
from evaluation import metrics
from evaluation.methods import BATCH, predict
from pictures.reader import eight_bits, read_picture, read_rgb
from utils import POOL, atomic, printable

PROTOCOLS = ("squashed", "own")


@dataclass(frozen=True)
class Picture:
    """A photograph: its place among the files, squashed as training sees it, and at its own size; uint8 (H, W, 3) both."""

    index: int
    path: str
    squashed: np.ndarray
    own: np.ndarray


def read(path, size, index=0, as_published=False):
    """A Picture from a file, squashed by nearest neighbour if `as_published`. None, and a line, if it is broken."""
    try:
        own = eight_bits(read_picture(path).pixels)
        squashed = (
            resize_nearest(own, size, size)
            if as_published
            else resize(read_rgb(path, size), size, size)
        )
        return Picture(index, path, squashed, own if own.ndim == 3 else np.dstack([own] * 3))
    except Exception as error:  # whatever a decoder raises, the picture is passed over
        return tqdm.write(f"{printable(path)}: {error}", file=sys.stderr)


def read_batches(files, size, description, as_published=False):
    """Lists of BATCH Pictures; broken ones are left out."""
    with tqdm(total=len(files), desc=description, unit=" pictures", disable=None) as bar:
        for start in range(0, len(files), BATCH):
            part = range(start, min(start + BATCH, len(files)))
            found = POOL.map(lambda i: read(files[i], size, i, as_published), part)
            if pictures := [picture for picture in found if picture]:
                yield pictures
            bar.update(len(part))


def common_colors(files, size, as_published=False):
    """The mean ab of photographs, float32 (2,), and how common each colour is in them (`evaluation.metrics.prior`)."""
    counts, total = 0, 0
    batches = Batches(files, size, BATCH, nearest=as_published)
    for i in tqdm(range(len(batches)), "common colours", disable=None, leave=False):
        ab = color.lab_from_srgb(to_float(batches[i][0]))[..., 1:]
        counts, total = (
            counts + metrics.ab_counts(ab),
            total + ab.sum(axis=(0, 1, 2), dtype=np.float64),
        )
    return (total / counts.sum()).astype(np.float32), metrics.prior(counts)


def measure(
    files, methods, prior, size, protocols=PROTOCOLS, lpips=None, fid=None, as_published=False
):
    """A dict of metrics for every picture that can be read, protocol and method, in this order.

    `lpips` and `fid` (`evaluation.perceptual`), where given, see the squashed pictures: LPIPS stands in their rows, FID
    collects features under the methods' names. `as_published` squashes and joins as the authors' scripts do.
    """
    rows = []
    for pictures in read_batches(files, size, "measuring", as_published):
        targets, predicted = predict(methods, np.stack([picture.squashed for picture in pictures]))
        targets = [{target: k[i] for target, k in targets.items()} for i in range(len(pictures))]
        predicted = [
            [None if ab is None else ab[i] for ab in predicted] for i in range(len(pictures))
        ]
        job = partial(
            measure_picture,
            methods=methods,
            prior=prior,
            protocols=protocols,
            as_published=as_published,
        )
        parts = list(POOL.map(job, pictures, targets, predicted))
        if lpips or fid:
            measure_perceptual(pictures, predicted, methods, parts, lpips, fid)
        rows += [row for part in parts for row in part]
    return rows


def measure_picture(picture, targets, predicted, methods, prior, protocols, as_published):
    """The rows of one Picture: its targets {Target: K (S, S, 2)}, the methods' ab (h, w, 2)."""
    rows = []
    for protocol in protocols:
        reference = Reference(getattr(picture, protocol), prior, as_published)
        for method, ab in zip(methods, predicted):
            row = {"picture": picture.path, "protocol": protocol, "method": method.name}
            row |= reference.metrics(ab, method.factor)
            if protocol == "squashed":
                row |= compare_ab(reference.ab if ab is None else ab, targets[method.target])
            rows.append(row)
    return rows


def measure_perceptual(pictures, predicted, methods, parts, lpips, fid):
    """Add LPIPS to the rows of squashed pictures, and show `fid` the pictures."""
    photographs = np.stack([picture.squashed for picture in pictures])
    for i, method in enumerate(methods):
        given = [ab[i] for ab in predicted]
        rows = [select(part, "squashed", method.name)[0] for part in parts]
        if not all(ab is None or np.isfinite(ab).all() for ab in given):
            for row in rows:
                row |= {"lpips": float("nan")} if lpips else {}
            continue  # its set is then smaller than the photographs', and has no distance
        result = np.stack(
            [
                x if ab is None else colorize(x, ab, method.factor)
                for x, ab in zip(photographs, given)
            ]
        )
        if lpips:
            for row, value in zip(rows, lpips(result, photographs)):
                row["lpips"] = float(value)
        if fid:
            fid.add(method.name, result, photographs)


def compare_ab(ab, target):
    """Metrics of ab (h, h, 2) against the target K (S, S, 2).

    ab is enlarged by repetition, as by the network's last layer, or bilinearly where it was not made of S x S.
    """
    side = len(target)
    bilinear = side % len(ab) or len(ab) not in (side, side // 2)
    ab = (
        np.stack(enlarged(ab, slice(0, side), side, side), axis=-1)
        if bilinear
        else repeated(ab, side)
    )
    mse, gray = metrics.ab_mse(ab, target), metrics.ab_mse(np.zeros_like(target), target)
    relative = {
        "ab_mse": mse,
        "gray_mse": gray,
        "relative_mse": mse / gray if gray else float("nan"),
    }
    return relative | metrics.moments(ab, target)


class Reference:
    """A photograph, and what all comparisons with it share."""

    def __init__(self, rgb, prior, as_published=False):
        self.as_published = as_published  # how results are joined: `data.as_published`
        self.rgb, self.lab = rgb, color.lab_from_srgb(to_float(rgb))
        self.lightness, self.ab = np.ascontiguousarray(self.lab[..., 0]), self.lab[..., 1:]
        self.rarity = metrics.rarity(self.ab, prior)
        self.cf, self.cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)

    def metrics(self, ab, factor):
        """Metrics of ab (h, w, 2) of any size joined to the photograph's lightness; of the photograph itself for None.

        A picture that is smaller than the window of SSIM has none.
        """
        if ab is not None and not np.isfinite(ab).all():
            return dict.fromkeys(self.metrics(None, 1), float("nan"))
        rgb, planes = self.rgb, np.moveaxis(self.ab, -1, 0)
        if ab is not None:
            ab = ab * np.float32(factor)
            ab, join = (
                (repeated(ab, len(rgb)), colorize_as_published)
                if self.as_published
                else (ab, colorize)
            )
            rgb, planes = join(rgb, ab), enlarged(ab, slice(0, len(rgb)), *rgb.shape[:2])
        lab = color.lab_from_srgb(to_float(rgb))
        cf, cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)
        small = min(rgb.shape[:2]) < metrics.WINDOW
        return {
            "psnr": metrics.psnr(rgb, self.rgb),
            **({} if small else {"ssim": metrics.ssim(rgb, self.rgb)}),
            "ciede2000": float(metrics.ciede2000(lab, self.lab).mean(dtype=np.float64)),
            "auc": metrics.auc(lab[..., 1:], self.ab),
            "auc_rebalanced": metrics.auc(lab[..., 1:], self.ab, self.rarity),
            "rarity": float(self.rarity.mean()),
            "bleed": metrics.bleed(np.dstack(planes), self.ab, self.lightness),
            "saturation": metrics.saturation(rgb),
            "cf": cf,
            "cf_difference": cf - self.cf,
            "cf_distance": abs(cf - self.cf),
            "cf_abs": cf_abs,
            "cf_abs_difference": cf_abs - self.cf_abs,
            "out_of_gamut": metrics.out_of_gamut(
                self.lightness, *map(np.ascontiguousarray, planes)
            ),
        }


def select(rows, protocol, name):
    return [row for row in rows if row["protocol"] == protocol and row["method"] == name]


def write_rows(path, rows):
    """The metrics of every picture as CSV; a cell is empty where a row lacks the column."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (
        atomic(path) as temporary,
        open(temporary, "w", newline="", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
