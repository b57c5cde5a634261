"""Scans of old photographs, made from photographs by a fixed recipe: how far the colours are from the photograph's.

    python -m benchmarks.scans DIR [--model FILE] [--count 24] [--sheet FILE.png]

Each fault is put on every photograph. Relative MSE of ab against K on the photograph's own area, by what the network is
shown: the whole scan, the scan without its borders, and what --old shows.
"""

import argparse
import sys
from pathlib import Path

from inference.options import DEFAULT_MODEL
from utils import find_files, import_keras_quietly, number

import_keras_quietly()

import cv2
import numpy as np
from PIL import Image

from data.color import boost_saturation, lab_from_srgb
from data.preprocess import to_float
from inference.scan import enlarge, join, shown
from inference.view import Predictor, native_precision
from models import file as model_file
from models.properties import mirror_of, sizes_of
from pictures.reader import read_rgb

SIDE = 512  # of the longer side of the scans, at most


def frame(picture, share, tone):
    n = max(1, round(share * max(picture.shape)))
    return cv2.copyMakeBorder(picture, n, n, n, n, cv2.BORDER_CONSTANT, value=tone)


def scratched(picture, rng):
    height, width = picture.shape
    for _ in range(6):
        top, lean = rng.integers(0, width), 0.15 * width * rng.standard_normal()
        tone = float(rng.choice([20, 245]))
        cv2.line(picture, (int(top), 0), (int(top + lean), height), tone, 1, cv2.LINE_AA)
    return picture


def rounded(picture):
    radius = round(0.06 * max(picture.shape))
    mask = np.zeros(picture.shape, np.float32)
    mask[radius:-radius, radius:-radius] = 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2))
    return frame(np.where(mask > 0, picture, 245), 0.04, 245)


def screened(picture):
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    dots = (np.cos(1.5 * (x + y)) + np.cos(1.5 * (x - y))) / 4 + 0.5
    return 255 * np.clip((picture / 255 - dots) * 4 + 0.5, 0, 1)


def old_print(picture, rng):
    faded = scratched(95 + 0.42 * picture + rng.normal(0, 8, picture.shape), rng)
    framed = frame(faded, 0.05, 228)
    return framed + rng.normal(0, 2.5, framed.shape)


FAULTS = {
    "none": lambda picture, rng: picture,
    "faded, light": lambda picture, rng: 95 + 0.42 * picture,
    "faded, dark": lambda picture, rng: 20 + 0.5 * picture,
    "fine grain": lambda picture, rng: picture + rng.normal(0, 20, picture.shape),
    "coarse grain": lambda picture, rng: (
        picture + 45 * cv2.GaussianBlur(rng.standard_normal(picture.shape), (0, 0), 1.2)
    ),
    "scratches": scratched,
    "white border, 1 %": lambda picture, rng: frame(picture, 0.01, 255),
    "white border, 4 %": lambda picture, rng: frame(picture, 0.04, 255),
    "black border, 1 %": lambda picture, rng: frame(picture, 0.01, 0),
    "black border, 4 %": lambda picture, rng: frame(picture, 0.04, 0),
    "paper, 5 %": lambda picture, rng: (
        frame(picture, 0.05, 228) + rng.normal(0, 2.5, frame(picture, 0.05, 0).shape)
    ),
    "rounded corners": lambda picture, rng: rounded(picture),
    "halftone": lambda picture, rng: screened(picture),
    "old print": old_print,
}  # sepia differs from gray in its tone alone, which the network does not see
WAYS = ("whole", "no borders", "--old")


def scans(photographs, fault):
    """(scan, uint8 (H, W); its photograph's place: slices) of each photograph."""
    for i, rgb in enumerate(photographs):
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
        scan = np.clip(
            np.rint(FAULTS[fault](gray.copy(), np.random.default_rng(i))), 0, 255
        ).astype(np.uint8)
        place = [slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(scan.shape, gray.shape)]
        yield scan, tuple(place)


def predicted(predictor, scan, way):
    """(ab, area) by `inference.scan`, float32 (h, w, 2) and slices."""
    if way == "whole":
        return predictor.ab([predictor.views(scan)])[0], (
            slice(0, scan.shape[0]),
            slice(0, scan.shape[1]),
        )
    seen = shown(scan, old=way == "--old")
    return predictor.ab([predictor.views(p) for p in seen.pictures], way == "--old" or None).mean(
        axis=0
    ), seen.area


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("data", type=Path, help="a folder of photographs")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument(
        "--size", type=number(int, 8, 1024), help="of the network's view (default: the model's)"
    )
    parser.add_argument(
        "--count",
        type=number(int, 1, 1000),
        default=24,
        help="photographs, evenly drawn (default 24)",
    )
    parser.add_argument(
        "--sheet", type=Path, help="also write a sheet: scan, whole, --old of the first photographs"
    )
    args = parser.parse_args()
    files = sorted(find_files(args.data))
    files = [files[i * len(files) // args.count] for i in range(min(args.count, len(files)))]
    photographs = [rgb for path in files if min((rgb := read_rgb(path, SIDE)).shape[:2]) >= 64]
    if not photographs:
        sys.exit(f"{args.data}: no photographs")
    network, metadata = model_file.load(args.model, native_precision())
    sizes = sizes_of(metadata, args.size and [args.size])
    predictor = Predictor(network, sizes, 4, mirror=mirror_of(metadata))
    targets = [
        lab_from_srgb(boost_saturation(to_float(rgb), metadata["saturation"]))[..., 1:]
        for rgb in photographs
    ]
    print(
        f"{len(photographs)} photographs\n\n| fault | {' | '.join(WAYS)} |\n| --- {'| --- ' * len(WAYS)}|"
    )
    means, rows = np.zeros(len(WAYS)), []
    for fault in FAULTS:
        errors, energy = np.zeros(len(WAYS)), 0.0
        for i, ((scan, place), target) in enumerate(zip(scans(photographs, fault), targets)):
            found = [predicted(predictor, scan, way) for way in WAYS]
            errors += [
                np.square(enlarge(*pair, *scan.shape)[place] - target).mean() for pair in found
            ]
            energy += np.square(target).mean()
            if i == len(rows) % len(photographs) and len(rows) < len(FAULTS):
                panels = [
                    np.dstack([scan] * 3),
                    join(scan, found[0][1], found[0][0]),
                    join(scan, found[2][1], found[2][0]),
                ]
                rows.append(
                    np.hstack(
                        [cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA) for p in panels]
                    )
                )
        means += errors / energy * (fault != "none") / (len(FAULTS) - 1)
        print(
            f"| {fault} | " + " | ".join(f"{value:.3f}" for value in errors / energy) + " |",
            flush=True,
        )
    print("| mean of the faults | " + " | ".join(f"{value:.3f}" for value in means) + " |")
    if args.sheet:
        Image.fromarray(np.vstack(rows)).save(args.sheet)


if __name__ == "__main__":
    main()
