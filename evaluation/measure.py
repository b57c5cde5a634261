"""From photographs to the figures of every picture: each candidate's chroma, joined to the photograph's lightness.

There are two protocols: the pictures squashed to the size that training sees, and at their own size. Both get the chroma
of the squashed picture, and none goes through a lossy file.
"""

import csv
import sys

import numpy as np
from tqdm import tqdm

from data import color, manifest, reader
from data.batches import Batches
from data.preprocess import colorize, enlarged, resize, to_float
from data.reader import eight_bits, read_picture
from evaluation import metrics
from evaluation.methods import BATCH, predict
from utils import atomic, printable

PROTOCOLS = ("squashed", "own")


def common_colors(files, size):
    """The mean ab of photographs, float32 (2,), and how common each colour is in them (`evaluation.metrics.prior`)."""
    counts, total = 0, 0
    batches = Batches(files, size, BATCH)
    for i in tqdm(range(len(batches)), "common colours", disable=None, leave=False):
        ab = color.lab_from_srgb(to_float(batches[i][0]))[..., 1:]
        counts, total = counts + metrics.ab_counts(ab), total + ab.sum(axis=(0, 1, 2), dtype=np.float64)
    return (total / counts.sum()).astype(np.float32), metrics.prior(counts)


def read(path, size):
    """A picture squashed as training sees it, and at its own size: uint8 (H, W, 3). None, and a line, if it is broken."""
    try:
        own = eight_bits(read_picture(path).pixels)
        return resize(reader.read_rgb(path, size), size, size), own if own.ndim == 3 else np.dstack([own] * 3)
    except Exception as error:  # whatever a decoder raises, the picture is passed over
        return tqdm.write(f"{printable(path)}: {error}", file=sys.stderr)


def measure(files, candidates, prior, size, protocols=PROTOCOLS, lpips=None, fid=None):
    """A dict of figures for every picture that can be read, protocol and candidate, in this order.

    Through `lpips` and `fid` (`evaluation.perceptual`), where given, the squashed pictures are seen: the distances stand in
    their rows, the features are counted under the candidates' names.
    """
    rows = []
    with tqdm(total=len(files), unit=" pictures", disable=None) as bar:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            found = [(path, both) for path, both in zip(batch, manifest.POOL.map(lambda p: read(p, size), batch)) if both]
            if found:
                goals, chroma = predict(candidates, np.stack([small for _, (small, _) in found]))
                goals = [{goal: k[i] for goal, k in goals.items()} for i in range(len(found))]
                chroma = [[None if ab is None else ab[i] for ab in chroma] for i in range(len(found))]
                parts = manifest.POOL.map(
                    lambda *x: measure_picture(*x, candidates, prior, protocols), found, goals, chroma
                )
                parts = list(parts)
                if lpips or fid:
                    perceive(found, chroma, candidates, parts, lpips, fid)
                rows += [row for part in parts for row in part]
            bar.update(len(batch))
    return rows


def measure_picture(found, goals, chroma, candidates, prior, protocols):
    """The rows of one picture: (path, `read`), its targets {Target: K (S, S, 2)}, the candidates' chroma (h, w, 2)."""
    path, both = found
    rows = []
    for protocol in protocols:
        truth = Reference(both[PROTOCOLS.index(protocol)], prior)
        for candidate, ab in zip(candidates, chroma):
            row = {"picture": path, "protocol": protocol, "candidate": candidate.name} | truth.figures(ab, candidate.factor)
            if protocol == "squashed":
                row |= distance(truth.ab if ab is None else ab, goals[candidate.target])
            rows.append(row)
    return rows


def perceive(found, chroma, candidates, parts, lpips, fid):
    """Add the distances through `lpips` to the rows of squashed pictures, and what `fid` sees to its sets."""
    truth = np.stack([small for _, (small, _) in found])
    for i, candidate in enumerate(candidates):
        given = [ab[i] for ab in chroma]
        rows = [select(part, "squashed", candidate.name)[0] for part in parts]
        if not all(ab is None or np.isfinite(ab).all() for ab in given):
            for row in rows:
                row |= {"lpips": float("nan")} if lpips else {}
            continue  # its set is then smaller than the photographs', and has no distance
        result = np.stack([rgb if ab is None else colorize(rgb, ab, candidate.factor) for rgb, ab in zip(truth, given)])
        if lpips:
            for row, value in zip(rows, lpips(result, truth)):
                row["lpips"] = float(value)
        if fid:
            fid.add(candidate.name, result, truth)


def distance(ab, goal):
    """ab-MSE from the target K (S, S, 2), of chroma doubled by repetition as in training, and that of all-gray output."""
    times = len(goal) // len(ab)
    mse, gray = metrics.ab_mse(ab.repeat(times, 0).repeat(times, 1), goal), metrics.ab_mse(np.zeros_like(goal), goal)
    return {"ab_mse": mse, "gray_mse": gray, "ratio": mse / gray if gray else float("nan")}


class Reference:
    """A photograph, and what all comparisons with it share."""

    def __init__(self, rgb, prior):
        self.rgb, self.lab = rgb, color.lab_from_srgb(to_float(rgb))
        self.lightness, self.ab = np.ascontiguousarray(self.lab[..., 0]), self.lab[..., 1:]
        self.rarity = metrics.rarity(self.ab, prior)
        self.cf, self.cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)

    def figures(self, ab, factor):
        """The figures of chroma (h, w, 2) of any size joined to the photograph's lightness; of the photograph for None."""
        if ab is not None and not np.isfinite(ab).all():
            return dict.fromkeys(self.figures(None, 1), float("nan"))
        rgb, planes = self.rgb, np.moveaxis(self.ab, -1, 0)
        if ab is not None:
            rgb, planes = colorize(rgb, ab, factor), enlarged(ab * np.float32(factor), slice(0, len(rgb)), *rgb.shape[:2])
        lab = color.lab_from_srgb(to_float(rgb))
        cf, cf_abs = metrics.colorfulness(rgb), metrics.colorfulness(rgb, absolute=True)
        return {
            "psnr": metrics.psnr(rgb, self.rgb),
            "ssim": metrics.ssim(rgb, self.rgb),
            "ciede2000": float(metrics.ciede2000(lab, self.lab).mean(dtype=np.float64)),
            "auc": metrics.auc(lab[..., 1:], self.ab),
            "auc_rebalanced": metrics.auc(lab[..., 1:], self.ab, self.rarity),
            "rarity": float(self.rarity.mean()),
            "bleed": metrics.bleed(np.dstack(planes), self.ab, self.lightness),
            "cf": cf,
            "cf_difference": cf - self.cf,
            "cf_distance": abs(cf - self.cf),
            "cf_abs": cf_abs,
            "cf_abs_difference": cf_abs - self.cf_abs,
            "out_of_gamut": metrics.out_of_gamut(self.lightness, *map(np.ascontiguousarray, planes)),
        }


def select(rows, protocol, name):
    return [row for row in rows if row["protocol"] == protocol and row["candidate"] == name]


def write_rows(path, rows):
    """The figures of every picture as CSV; the first row has all columns: a squashed picture has more."""
    with atomic(path) as temporary, open(temporary, "w", newline="", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
