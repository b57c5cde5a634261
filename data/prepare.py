"""Reduce the pictures of a folder once, for training from slow disks or with few processor cores.

    python -m data.prepare DIR OUT [--short-side 256]
    python train.py --data OUT ...

OUT is a folder like any other: the same tree, each picture upright, in sRGB, its short side reduced, as WebP. Gray and
broken files are left out. The same command goes on after a stop.
"""

import argparse
import io
import sys
from collections import Counter
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data.jobs import output_names
from data.manifest import find_candidates, in_order, is_gray
from data.preprocess import resize
from data.reader import read_rgb
from utils import atomic, number, printable, remove_leftovers


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="data.prepare",
        description="Reduce the pictures of a folder once, for training.",
        epilog="example: python -m data.prepare photographs reduced --short-side 256",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of photographs, searched recursively")
    parser.add_argument("out", metavar="OUT", type=Path, help="the prepared folder, made if absent")
    side = "short side of the results in pixels, at most; crops want more than train.py --size (default 256)"
    parser.add_argument("--short-side", type=number(int, 16, 4096), default=256, help=side)
    parser.add_argument("--quality", type=number(int, 1, 100), default=90, help="of WebP (default 90)")
    parser.add_argument("--places2-natural", action="store_true", help="only the natural scenes of Places2, as in train.py")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{printable(options.folder)}: no such folder")
    if options.out.resolve().is_relative_to(options.folder.resolve()):
        parser.error(f"{printable(options.out)}: is inside {printable(options.folder)}; choose another place")
    names = [path for _, path in find_candidates([options.folder], options.places2_natural)]
    if not names:
        parser.error(f"{printable(options.folder)}: no pictures in it")
    try:
        counts = prepare(names, options)
    except OSError as error:  # of the disk; those of single pictures are counted
        print(f"data.prepare: {printable(error.filename or options.out)}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("data.prepare: stopped; the same command goes on", file=sys.stderr)
        return 130
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("done", "skipped", "gray", "broken")))
    return 0


def prepare(names, options):
    """Reduce the pictures `names` of the folder; a Counter of what became of them."""
    results = output_names(names, ".webp")
    for parent in {(options.out / result).parent for result in results.values()}:
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)

    def reduce(name):
        target = options.out / results[name]
        if target.exists():
            return "skipped"
        try:
            rgb = read_rgb(options.folder / name, options.short_side)
        except Exception as error:  # whatever a decoder raises, the file is no use
            tqdm.write(f"{printable(options.folder / name)}: broken ({error})", file=sys.stderr)
            return "broken"
        if is_gray(rgb):
            return "gray"
        scale = min(1, options.short_side / min(rgb.shape[:2]))
        rgb = resize(rgb, *(max(1, round(n * scale)) for n in rgb.shape[:2]))
        data = io.BytesIO()
        Image.fromarray(rgb).save(data, "webp", quality=options.quality)
        with atomic(target) as temporary:
            temporary.write_bytes(data.getvalue())
        return "done"

    interval = 0.1 if sys.stderr.isatty() else 60
    return Counter(tqdm(in_order(reduce, names), "preparing", len(names), unit=" pictures", mininterval=interval))


if __name__ == "__main__":
    sys.exit(main())
