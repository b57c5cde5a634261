"""Reduce the pictures of a folder once, for training from slow disks or with few processor cores.

python -m data.prepare DIR OUT [--size 256]

OUT is a folder like any other: the same tree, each picture upright, in sRGB, its short side reduced. Gray and broken
files are left out and named. Given again, the command continues where it stopped.
"""

import argparse
import io
import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from configs import TUNED
from data.jobs import output_names
from data.manifest import find_candidates, in_order, is_gray
from data.preprocess import resize
from data.reader import BadPicture, read_rgb
from utils import atomic, number, one_line, printable, remove_leftovers

CROP = TUNED.crop  # the preset with the smallest crops
SAMPLE = 50  # pictures that --dry-run encodes


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="data.prepare",
        description="Reduce the pictures of a folder once, for training.",
        epilog="example: python -m data.prepare photographs reduced --size 256",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of photographs, searched recursively")
    parser.add_argument("out", metavar="OUT", type=Path, help="the prepared folder, made if absent")
    parser.add_argument("--size", type=number(int, 16, 1024), default=256, help="train.py --size (default 256)")
    text = f"longest short side of a result in pixels (default: --size / {CROP}, enough for --crop {CROP})"
    parser.add_argument("--short-side", type=number(int, 16, 4096), help=text)
    parser.add_argument("--format", choices=("webp", "png"), default="webp", help="of the results (default webp)")
    parser.add_argument("--quality", type=number(int, 1, 100), default=90, help="of WebP (default 90)")
    parser.add_argument("--places2-natural", action="store_true", help="only the natural scenes of Places2, as in train.py")
    parser.add_argument("--dry-run", action="store_true", help="estimate time and disk space, write nothing")
    options = parser.parse_args(arguments)
    options.short_side = options.short_side or math.ceil(options.size / CROP)
    if not options.folder.is_dir():
        parser.error(f"{printable(options.folder)}: no such folder")
    if options.out.resolve().is_relative_to(options.folder.resolve()):
        parser.error(f"{printable(options.out)}: is inside {printable(options.folder)}; choose another folder")
    names = [path for _, path in find_candidates([options.folder], options.places2_natural)]
    if not names:
        parser.error(f"{printable(options.folder)}: no pictures in it")
    try:
        print(estimate(names, options) if options.dry_run else prepare(names, options))
    except OSError as error:  # of the disk; those of single pictures are counted
        print(f"data.prepare: {printable(error.filename or options.out)}: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("data.prepare: stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def prepare(names, options):
    """Write the reduced pictures of the folder; returns in words how many were done, skipped, gray and broken."""
    targets = {name: options.out / result for name, result in output_names(names, "." + options.format).items()}
    for parent in {target.parent for target in targets.values()}:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)

    def write(name):
        if targets[name].exists():
            return "skipped"
        try:
            data = reduced(options.folder / name, options)
        except Exception as error:  # BadPicture, or too little memory for the whole picture
            tqdm.write(f"{printable(options.folder / name)}: {one_line(error)}", file=sys.stderr)
            return "broken"
        if data is None:
            tqdm.write(f"{printable(options.folder / name)}: gray, left out", file=sys.stderr)
            return "gray"
        with atomic(targets[name]) as temporary:
            temporary.write_bytes(data)
        return "done"

    interval = 0.1 if sys.stderr.isatty() else 60
    bar = tqdm(in_order(write, names), "preparing", len(names), unit=" pictures", mininterval=interval)
    counts = Counter(bar)
    return ", ".join(f"{counts[kind]} {kind}" for kind in ("done", "skipped", "gray", "broken"))


def estimate(names, options):
    """What preparing would take, in words, from a sample of the pictures."""

    def size(name):
        try:
            return len(reduced(options.folder / name, options) or b"")
        except Exception:
            return 0

    places = np.linspace(0, len(names) - 1, min(len(names), SAMPLE)).astype(int)
    start = time.perf_counter()
    sizes = list(in_order(size, (names[i] for i in places)))
    factor = len(names) / len(places)
    return (
        f"{len(names):,} pictures, short side at most {options.short_side}: about "
        f"{factor * sum(sizes) / 1e6:,.1f} MB and {factor * (time.perf_counter() - start) / 60:,.1f} minutes; "
        f"of {len(places)} tried, {sizes.count(0)} are gray or broken"
    )


def reduced(path, options):
    """A picture as the bytes of a reduced file; None if it is gray. Raises BadPicture."""
    rgb = read_rgb(path, options.short_side)
    if is_gray(rgb):
        return None
    scale = min(1, options.short_side / min(rgb.shape[:2]))
    rgb = resize(rgb, *(max(1, round(n * scale)) for n in rgb.shape[:2]))
    data = io.BytesIO()
    try:
        Image.fromarray(rgb).save(data, options.format, quality=options.quality)
    except (OSError, ValueError) as error:  # WebP has at most 16,383 pixels a side
        size = f"{rgb.shape[1]} x {rgb.shape[0]}"
        raise BadPicture(f"{size} cannot be written as {options.format}: {one_line(error)}") from None
    return data.getvalue()


if __name__ == "__main__":
    sys.exit(main())
