"""The manifest: which pictures of the folders are for training and validation, and which are left out."""

import csv
import hashlib
import os
import sys
from collections import Counter, deque
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.places2 import is_natural
from pictures.formats import looks_like_picture
from pictures.reader import read_rgb
from utils import POOL, atomic, find_files, printable

FIELDS = ("folder", "path", "split")
SPLITS = ("train", "val", "gray", "broken")


def is_gray(rgb):
    """Whether at most 1 pixel in 1,000 has channels that differ by more than 8. uint8 (H, W, 3)."""
    difference = rgb.max(axis=-1) - rgb.min(axis=-1)
    return np.count_nonzero(difference > 8) <= difference.size / 1000


def scan_dataset(
    folders, validation_folders=(), share=0.1, seed=0, limit=0, natural=False, progress=True
):
    """Decode every file once and assign it to a split.

    Args:
        folders: directories with the training pictures, searched recursively.
        validation_folders: directories with the validation pictures; none: `share` of the training pictures is split off.
        share: of the pictures that is used for validation, chosen by `seed`.
        limit: at most so many pictures of `folders` are taken, chosen by `seed`; 0 is all.
        natural: take only the natural scenes of Places2, by the names of the folders.

    Returns:
        list of rows {"folder", "path" (relative to it), "split"}, split one of "train", "val", "gray" (no chroma) and
        "broken" (does not decode), in a stable order.

    Raises:
        ValueError: a folder is inside another, so that a picture would count twice.
    """
    _refuse_overlap([*folders, *validation_folders])
    rng = np.random.default_rng([seed, 1])
    runs = []  # folders of training runs, whose sample sheets are no training pictures
    files = {
        "train": find_candidates(folders, natural, runs),
        "val": find_candidates(validation_folders, False, runs),
    }
    if limit:
        files["train"] = [
            files["train"][i] for i in sorted(rng.permutation(len(files["train"]))[:limit])
        ]
    rows, contents = [], []
    for split, found in files.items():
        checked = in_order(_check, (os.path.join(*file) for file in found))
        bar = tqdm(
            checked,
            "scanning pictures" if split == "train" else "scanning validation pictures",
            len(found),
            disable=not progress or not found,
            leave=False,
            mininterval=0.1 if sys.stderr.isatty() else 60,
        )
        for (folder, path), (fault, content) in zip(found, bar):
            rows.append({"folder": str(folder), "path": str(path), "split": fault or split})
            contents.append(content)
    if not validation_folders:
        good = [row for row in rows if row["split"] == "train"]
        for i in rng.permutation(len(good))[: round(share * len(good))]:
            good[i]["split"] = "val"
    if progress:
        for line in _remarks(rows, contents, runs):
            tqdm.write(line, file=sys.stderr)
    return rows


def _remarks(rows, contents, runs):
    """What is worth a line of a scan: run folders that were left out, and pictures that are in both splits."""
    if runs:
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        yield f"left out: {printable(runs[0])}{more}, the folder of a training run"
    trained = {content for row, content in zip(rows, contents) if row["split"] == "train"}
    twice = [
        row for row, content in zip(rows, contents) if row["split"] == "val" and content in trained
    ]
    if twice:
        count = Counter(row["split"] for row in rows)["val"]
        first = printable(os.path.join(twice[0]["folder"], twice[0]["path"]))
        yield f"{len(twice)} of {count} validation pictures are training pictures as well, by content or link: {first}"


def _refuse_overlap(folders):
    real = [os.path.join(os.path.realpath(folder), "") for folder in folders]
    for i, inner in enumerate(real):
        for j, outer in enumerate(real):
            if i != j and inner.startswith(outer):
                raise ValueError(
                    f"{folders[i]} is inside {folders[j]}: its pictures would count twice"
                )


def find_candidates(folders, natural=False, runs=None):
    """The files that look like pictures: a list of (folder, path relative to it), in a stable order.

    The folders of training runs below them are left out; of a folder that is one itself, its samples.

    Args:
        natural: only the natural scenes of Places2.
        runs: a list that takes the folders that are left out.
    """
    found = []
    for folder in folders:
        is_run = {"config.json", "manifest.csv"} <= set(
            os.listdir(folder) if os.path.isdir(folder) else ()
        )

        def skip(path, names, folder=folder, is_run=is_run):
            below = {"config.json", "manifest.csv"} <= names and not os.path.samefile(path, folder)
            samples = is_run and path == Path(folder, "samples")
            if runs is not None and (below or samples):
                runs.append(path)
            return below or samples

        paths = (os.path.relpath(path, folder) for path in find_files(folder, skip=skip))
        named = (path for path in paths if not natural or is_natural(path))
        found += [
            (folder, path) for path in named if looks_like_picture(os.path.join(folder, path))
        ]
    return found


def _check(path):
    """(why a file cannot be used, a hash of its content): see `fault_of`."""
    fault = fault_of(path)
    if fault:
        return fault, None
    with open(path, "rb") as file:  # from the cache: it was just decoded
        return fault, hashlib.blake2b(file.read(), digest_size=8).digest()


def fault_of(path):
    """Why a file cannot be used: "gray" or "broken"; "" if it can."""
    try:
        return "gray" if is_gray(read_rgb(path, 64)) else ""
    except Exception:  # BadPicture, or too little memory for the whole picture
        return "broken"


def in_order(function, items, ahead=256):
    """`POOL.map` with at most `ahead` items submitted at a time."""
    items = iter(items)
    waiting = deque(POOL.submit(function, item) for item in islice(items, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(POOL.submit(function, item) for item in islice(items, 1))


def write_manifest(path, rows):
    """Write the rows of `scan_dataset` as CSV."""
    with (
        atomic(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path):
    """The rows of a file of `write_manifest`. Raises ValueError if it is not a manifest."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
    except csv.Error:
        rows = []
    if not rows or any(
        row.keys() != set(FIELDS) or None in row.values() or row["split"] not in SPLITS
        for row in rows
    ):
        raise ValueError(f"{path}: not a manifest")
    return rows


def moved(rows, folders, new):
    """The rows with other folders in place of `folders`, in their order.

    Raises:
        ValueError: there are more or fewer folders, or a picture to train or validate on is not in its new place.
    """
    if len(new) != len(folders):
        raise ValueError(
            f"{len(new)} folders in place of {len(folders)}: name all, in the order of {folders}"
        )
    places = dict(zip(folders, new))
    rows = [row | {"folder": places.get(row["folder"], row["folder"])} for row in rows]
    used = [path for split in ("train", "val") for path in paths(rows, split)]
    missing = [path for path in used if not os.path.isfile(path)]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(used)} pictures are not there, such as {printable(missing[0])}"
        )
    return rows


def paths(rows, split):
    """The files of one split, in the manifest's order."""
    return [os.path.join(row["folder"], row["path"]) for row in rows if row["split"] == split]


def class_names(rows):
    """The classes of the training and validation pictures: the names of the top folders, sorted.

    Raises:
        ValueError: a picture is in no folder, or all are in one.
    """
    used = [row for row in rows if row["split"] in ("train", "val")]
    for row in used:
        if os.sep not in row["path"]:
            raise ValueError(
                f"--labels-from-folders: {row['path']} lies in no folder below {row['folder']}"
            )
    names = sorted({_class(row) for row in used})
    if len(names) < 2:
        raise ValueError("--labels-from-folders: all pictures lie in one folder")
    return names


def labels(rows, split, names):
    """int32 (N,): the index of each picture's class in `names`, in the order of `paths`."""
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[_class(row)] for row in rows if row["split"] == split], np.int32)


def _class(row):
    return row["path"].partition(os.sep)[0]
