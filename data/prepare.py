"""Decode the pictures of a folder once, for training from slow disks or with few processor cores.

    python -m data.prepare DIR OUT [--size 256]
    python train.py --data OUT ...

OUT gives the same batches as DIR does, and knows already which files are gray or broken. The same command goes on after a
stop. What OUT holds is described in data/shards.py.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils import atomic, import_keras_quietly, number, printable

import_keras_quietly()

from data import manifest, reader, shards
from data.preprocess import resize

SAMPLE = 64  # pictures that are looked at to tell how large decoded ones are


def main(arguments=None):
    args = parse(arguments)
    try:
        if args.check:
            return check(args.folder)
        return prepare(args)
    except (ValueError, OSError) as error:
        print(f"data.prepare: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("data.prepare: stopped; the same command goes on", file=sys.stderr)
        return 130


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="data.prepare", description=__doc__.partition("\n")[0], allow_abbrev=False
    )  # fmt: skip
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of photographs, searched recursively")
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="the prepared folder")
    parser.add_argument("--size", type=number(int, 16, 4096), default=256, help="--size of the training (default 256)")
    parser.add_argument(
        "--as-decoded", action="store_true",
        help="keep pictures that are larger than SIZE x SIZE as they are decoded: needed for --crop below 1",
    )  # fmt: skip
    parser.add_argument("--places2-natural", action="store_true", help="only the natural scenes of Places2, as in train.py")
    parser.add_argument("--dry-run", action="store_true", help="say how much disk it takes, and stop")
    parser.add_argument(
        "--check", action="store_true", help="read all pictures of the prepared folder DIR and compare sums"
    )
    args = parser.parse_args(arguments)
    if not args.folder.is_dir():
        parser.error(f"{printable(args.folder)}: no such folder")
    if (args.out is None) != args.check:
        parser.error("--check takes the prepared folder alone" if args.check else "OUT is needed")
    return args


def prepare(args):
    if shards.is_prepared(args.folder):
        raise ValueError(f"{args.folder} is a prepared folder already")
    if args.out.resolve().is_relative_to(args.folder.resolve()):
        raise ValueError(f"{args.out} is inside {args.folder}; choose another place")
    files = [path for _, path, _ in manifest.candidates([args.folder], args.places2_natural)]
    if not files:
        raise ValueError(f"{args.folder}: no pictures in it")
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    description = {
        "source": str(args.folder.resolve()), "size": args.size, "as_decoded": args.as_decoded,
        "natural": args.places2_natural, "files": digest, "files_per_shard": shards.PICTURES, "shards": None,
    }  # fmt: skip
    begun = description
    if shards.is_prepared(args.out):
        begun = shards.describe(args.out)
        if differ := [key for key in begun if key != "shards" and begun[key] != description[key]]:
            raise ValueError(f"{args.out} was begun with other {' and '.join(differ)}; choose another OUT")
    elif args.out.exists() and any(args.out.iterdir()):
        raise ValueError(f"{args.out} holds other things; choose another OUT")

    parts = [files[start : start + shards.PICTURES] for start in range(0, len(files), shards.PICTURES)]
    missing = [i for i in range(len(parts)) if not is_whole(args.out, i, begun["shards"])]
    left = sum(len(parts[i]) for i in missing)
    needed = left * bytes_of_a_picture(args, files)
    free = shutil.disk_usage(next(p for p in [args.out.resolve(), *args.out.resolve().parents] if p.exists())).free
    print(
        f"{len(files):,} files, {left:,} of them to do: {'about' if args.as_decoded else 'at most'} {needed / 1e9:,.2f} GB "
        f"in {args.out}, where {free / 1e9:,.2f} GB are free"
    )
    if needed > free:
        raise ValueError(f"{args.out}: not enough space")
    if args.dry_run:
        return 0

    args.out.mkdir(parents=True, exist_ok=True)
    write_description(args.out, description)
    bar = tqdm(desc="preparing", total=len(files), initial=len(files) - left, unit=" pictures",
               mininterval=0.1 if sys.stderr.isatty() else 60)  # fmt: skip
    with bar:
        for i in missing:
            write_shard(args, parts[i], shards.table(args.out, i), bar)
    tables = [shards.table(args.out, i).read_bytes() for i in range(len(parts))]
    write_description(args.out, description | {"shards": [hashlib.sha256(table).hexdigest() for table in tables]})
    kinds = shards.Prepared(args.out).kinds
    print(f"{args.out}: {kinds.count('')} pictures, {kinds.count('gray')} gray, {kinds.count('broken')} broken")
    return 0


def is_whole(folder, number, digests):
    """Whether a shard needs no more work."""
    try:
        return bool(shards.read_shard(folder, number, digests[number] if digests else None))
    except ValueError:
        return False


def bytes_of_a_picture(args, files):
    """On average: at most, for pictures of one size; by a sample of them where they are kept as decoded."""
    if not args.as_decoded:
        return 3 * args.size**2
    places = np.linspace(0, len(files) - 1, min(len(files), SAMPLE)).astype(int)
    found = manifest.in_order(lambda place: load(args, files[place]), places)
    return np.mean([0 if rgb is None else rgb.size for _, rgb, _ in found])


def write_description(folder, description):
    with atomic(folder / shards.DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(description))


def load(args, path):
    """A file -> (what keeps it from being used, its picture or None, whether it was squashed)."""
    kind = manifest.kind_of(args.folder / path)
    if kind:
        return kind, None, 0
    try:
        rgb = reader.read_rgb(args.folder / path, args.size)
    except Exception:  # as in kind_of, which decodes at another size
        return "broken", None, 0
    if args.as_decoded or rgb.shape[:2] == (args.size, args.size):
        return "", rgb, 0
    return "", resize(rgb, args.size, args.size), 1


def write_shard(args, files, table, bar):
    """The two files of a shard. Its table comes last: where there is one, the pictures are all there."""
    rows, partial = [], table.with_suffix(".partial")  # a fixed name: what a killed run left is written over
    with open(partial, "wb") as file:
        loaded = manifest.in_order(lambda path: load(args, path), files, ahead=64)
        for path, (kind, rgb, squashed) in zip(files, loaded):
            height, width = (0, 0) if rgb is None else rgb.shape[:2]
            rows.append((path, kind, height, width, squashed, 0 if rgb is None else zlib.crc32(np.ascontiguousarray(rgb))))
            if rgb is not None:
                file.write(np.ascontiguousarray(rgb))
            bar.update()
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, table.with_suffix(".bin"))
    shards.write_table(partial, rows)
    os.replace(partial, table)


def check(folder):
    """Compare every picture with its checksum: 1 and a line for each that is damaged, 0 if none is."""
    prepared = shards.Prepared(folder)

    def fault(number):
        try:
            if not prepared.kinds[number]:
                prepared.read(number)
        except ValueError as error:
            return str(error)

    bar = tqdm(
        manifest.in_order(fault, range(len(prepared.paths))), "checking", len(prepared.paths), unit=" pictures",
        mininterval=0.1 if sys.stderr.isatty() else 60,
    )  # fmt: skip
    faults = [fault for fault in bar if fault]
    for line in faults:
        print(f"data.prepare: {printable(line)}", file=sys.stderr)
    advice = "; delete the files named, and the command that prepared it makes them anew" if faults else ""
    print(f"{folder}: {prepared.kinds.count('')} pictures, {len(faults)} damaged{advice}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
