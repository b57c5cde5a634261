"""Which pictures of a folder are for what: a manifest of rows (folder, path, split)."""

import csv
import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from tqdm import tqdm

from data import shards
from data.places2 import is_natural
from data.reader import looks_like_picture, read_rgb
from utils import atomic, find_files

POOL = ThreadPoolExecutor(os.cpu_count())  # its threads are started when they are first needed
FIELDS = ("folder", "path", "split")
SPLITS = ("train", "val", "gray", "broken")


def is_gray(rgb):
    """Whether a picture has no chroma: at most 1 pixel in 1,000 whose channels differ by more than 8 of 255."""
    spread = rgb.max(axis=-1).astype(np.int16) - rgb.min(axis=-1)
    return np.count_nonzero(spread > 8) <= spread.size / 1000


def scan_dataset(
    folders, validation_folders=(), share=0.1, seed=0, limit=0, natural=False, progress=True, size=None, crop=1.0
):  # fmt: skip
    """Look at every file once and decide what it is for.

    Args:
        folders: directories with the training pictures, searched recursively, or prepared ones (data.prepare).
        validation_folders: directories with the validation pictures; none: `share` of the training pictures is split off.
        share: of the pictures that go to validation, chosen by `seed`.
        limit: at most so many pictures of `folders` are taken, chosen by `seed`; 0 is all.
        natural: take only the natural scenes of Places2, by the names of the folders.
        size, crop: of the batches that will be made; without a size prepared folders are not taken.

    Returns:
        list of rows {"folder", "path" (relative to it), "split"}, split one of "train", "val", "gray" (no chroma) and
        "broken" (does not decode), in a stable order.

    Raises:
        ValueError: a folder stands inside another, so that a picture would count twice; or a prepared folder does not
            give these batches.
    """
    _refuse_overlap([*folders, *validation_folders])
    for folder in filter(shards.is_prepared, [*folders, *validation_folders] if size else ()):
        _refuse_other_batches(shards.opened(folder), size, crop)
    rng = np.random.default_rng([seed, 1])
    taken = {
        "train": candidates(folders, natural, size is not None),
        "val": candidates(validation_folders, False, size is not None),
    }
    if limit:
        taken["train"] = [taken["train"][i] for i in sorted(rng.permutation(len(taken["train"]))[:limit])]
    rows = []
    for split, files in taken.items():
        looked = in_order(kind_of, (os.path.join(folder, path) for folder, path, kind in files if kind is None))
        kinds = (next(looked) if kind is None else kind for *_, kind in files)
        title = "looking at validation pictures" if split == "val" else "looking at pictures"
        bar = tqdm(
            kinds, title, len(files), disable=not progress or not files, leave=False,
            mininterval=0.1 if sys.stderr.isatty() else 60,
        )  # fmt: skip
        rows += [
            {"folder": str(folder), "path": str(path), "split": kind or split}
            for (folder, path, _), kind in zip(files, bar)
        ]
    if not validation_folders:
        good = [row for row in rows if row["split"] == "train"]
        for i in rng.permutation(len(good))[: round(share * len(good))]:
            good[i]["split"] = "val"
    return rows


def _refuse_overlap(folders):
    real = [os.path.join(os.path.realpath(folder), "") for folder in folders]
    for i, inner in enumerate(real):
        for j, outer in enumerate(real):
            if i != j and inner.startswith(outer):
                raise ValueError(f"{folders[i]} is inside {folders[j]}: its pictures would count twice")


def _refuse_other_batches(prepared, size, crop):
    if prepared.size != size:
        raise ValueError(f"{prepared.folder} was prepared for --size {prepared.size}, not {size}")
    if crop < 1 and prepared.squashed:
        raise ValueError(
            f"--crop {crop}: {prepared.folder} holds pictures squashed to {size} x {size}, of which crops would be other "
            "pictures; prepare it with --as-decoded, or give --crop 1"
        )


def candidates(folders, natural, prepared=False):
    """What could be pictures in some folders: a list of (folder, path relative to it, kind), in a stable order.

    `kind` is that of `kind_of` where the folder is a prepared one, which knows, and else None. Without `prepared` such a
    folder is as any other, and holds no pictures.
    """
    found = []
    for folder in folders:
        if prepared and shards.is_prepared(folder):
            held = shards.opened(folder)
            found += [(folder, *file) for file in zip(held.paths, held.kinds) if not natural or is_natural(file[0])]
        else:
            paths = (os.path.relpath(path, folder) for path in find_files(folder))
            named = (path for path in paths if not natural or is_natural(path))
            found += [(folder, path, None) for path in named if looks_like_picture(os.path.join(folder, path))]
    return found


def kind_of(path):
    """What keeps a file from being used, "gray" or "broken"; "" if nothing does."""
    try:
        return "gray" if is_gray(read_rgb(path, 64)) else ""
    except Exception:  # whatever a decoder raises, the file is no use
        return "broken"


def in_order(function, items, ahead=256):
    """`POOL.map` that takes items as it goes, so that a million of them do not stand in line at once."""
    items = iter(items)
    waiting = deque(POOL.submit(function, item) for item in islice(items, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(POOL.submit(function, item) for item in islice(items, 1))


def write_manifest(path, rows):
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path):
    """The rows that `scan_dataset` made. Raises ValueError if the file is not such a manifest."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
    except csv.Error:
        rows = []
    if not rows or any(row.keys() != set(FIELDS) or None in row.values() or row["split"] not in SPLITS for row in rows):
        raise ValueError(f"{path}: not a manifest")
    return rows


def paths(rows, split):
    """The pictures of one split, in the manifest's order: paths of files, or `shards.Stored` of a prepared folder.

    Raises:
        ValueError: a prepared folder is damaged, or no longer holds a picture.
    """
    taken = [row for row in rows if row["split"] == split]
    prepared = {folder: shards.opened(folder) for folder in {row["folder"] for row in taken} if shards.is_prepared(folder)}
    numbers = {folder: {path: i for i, path in enumerate(held.paths)} for folder, held in prepared.items()}
    try:
        return [
            shards.Stored(prepared[row["folder"]], numbers[row["folder"]][row["path"]])
            if row["folder"] in prepared else os.path.join(row["folder"], row["path"])
            for row in taken
        ]  # fmt: skip
    except KeyError as error:
        raise ValueError(f"{error}: no longer in the prepared folder") from error


def class_names(rows):
    """The scenes of the pictures to train on and to validate on: the names of the top folders, sorted.

    Raises:
        ValueError: a picture lies in no folder, or all in one.
    """
    used = [row for row in rows if row["split"] in ("train", "val")]
    for row in used:
        if os.sep not in row["path"]:
            raise ValueError(f"--labels-from-folders: {row['path']} lies in no folder below {row['folder']}")
    names = sorted({_scene(row) for row in used})
    if len(names) < 2:
        raise ValueError("--labels-from-folders: all pictures lie in one folder")
    return names


def labels(rows, split, names):
    """The number of each picture's scene in `names`, int32, in the order of `paths`."""
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[_scene(row)] for row in rows if row["split"] == split], np.int32)


def _scene(row):
    return row["path"].partition(os.sep)[0]
