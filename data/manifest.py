"""The manifest: which pictures are for training, for validation, or left out."""

import csv
import hashlib
import itertools
import os
import sys
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data.places2 import is_natural
from pictures.formats import looks_like_picture
from pictures.reader import read_rgb
from utils import POOL, atomic, find_files, printable

FIELDS = ("folder", "path", "split")
SPLITS = ("train", "val", "gray", "broken")
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # any name of a file


def is_gray(rgb):
    """Whether at most 1 pixel in 1,000 has channels that differ by more than 8. uint8 (H, W, 3)."""
    colourful = 0
    for rows in np.array_split(rgb, rgb.size // 2**22 + 1):  # or a large one takes much memory
        planes = cv2.split(rows)  # several times as fast as NumPy over the last axis
        highest, lowest = (f(f(*planes[:2]), planes[2]) for f in (cv2.max, cv2.min))
        colourful += np.count_nonzero(cv2.subtract(highest, lowest) > 8)
    return colourful <= rgb.size / 3000


def scan_dataset(folders, validation_folders=(), share=0.1, seed=0, limit=0, natural=False):
    """Decode every file once and assign it to a split.

    Args:
        folders: of the training pictures, searched recursively.
        validation_folders: none: `share` of the training pictures, chosen by `seed`.
        limit: at most so many pictures of `folders` are taken, chosen by `seed`; 0 is all.
        natural: take only the natural scenes of Places2, by the names of the folders.

    Returns:
        list of rows {"folder", "path" (relative to it), "split" (of SPLITS: "gray" has no colour,
        "broken" does not decode)}, in a stable order.

    Raises:
        ValueError: a folder is inside another, so that a picture would count twice.
    """
    _refuse_overlap([*folders, *validation_folders])
    rng = np.random.default_rng([seed, 1])
    left_out = {"the folder of a training run": [], "hidden or of the system": []}
    files = {
        "train": find_candidates(folders, natural, *left_out.values()),
        "val": find_candidates(validation_folders, False, *left_out.values()),
    }
    if limit:
        chosen = sorted(rng.permutation(len(files["train"]))[:limit])
        files["train"] = [files["train"][i] for i in chosen]
    rows, contents = [], []
    for split, found in files.items():
        bar = tqdm(
            in_order(_check, (os.path.join(*file) for file in found)),
            "scanning pictures" if split == "train" else "scanning validation pictures",
            len(found),
            disable=not found,
            leave=False,
            mininterval=0.1 if sys.stderr and sys.stderr.isatty() else 60,
        )
        for (folder, path), (fault, content) in zip(found, bar):
            rows.append({"folder": str(folder), "path": str(path), "split": fault or split})
            contents.append(content)
    if not validation_folders:
        good = [row for row in rows if row["split"] == "train"]
        for i in rng.permutation(len(good))[: round(share * len(good))]:
            good[i]["split"] = "val"
    for kind, places in left_out.items():
        if places:
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            tqdm.write(f"left out: {printable(places[0])}{more}, {kind}", file=sys.stderr)
    _warn_of_copies(rows, contents)
    return rows


def _warn_of_copies(rows, contents):
    found = {split: [] for split in SPLITS}
    for row, content in zip(rows, contents):
        found[row["split"]].append(content)
    trained = set(found["train"])
    twice = [i for i, content in enumerate(found["val"]) if content in trained]
    if twice:
        line = f"{len(twice)} of {len(found['val'])} validation pictures are training pictures"
        first = printable(paths(rows, "val")[twice[0]])
        tqdm.write(f"{line} as well, by content or link: {first}", file=sys.stderr)


def _refuse_overlap(folders):
    real = [os.path.join(os.path.realpath(folder), "") for folder in folders]
    for (i, inner), (j, outer) in itertools.permutations(enumerate(real), 2):
        if inner.startswith(outer):
            raise ValueError(f"{folders[i]} is inside {folders[j]}: its pictures would count twice")


def find_candidates(folders, natural, runs, hidden):
    """The files that look like pictures: a sorted list of (folder, path relative to it).

    The folders of training runs below them are left out; of a folder that is one itself, its
    samples. These and what is hidden are added to the lists `runs` and `hidden`.
    """
    found, marks = [], {"config.json", "manifest.csv"}  # of a run
    for folder in map(Path, folders):
        is_run = folder.is_dir() and marks <= set(os.listdir(folder))

        def skip(path, names, folder=folder, is_run=is_run):
            is_inner = path != folder and marks <= names
            left_out = is_inner or (is_run and path == folder / "samples")
            runs.extend([path] * left_out)
            return left_out

        for path in find_files(folder, skip=skip, hidden=hidden.append):
            relative = os.path.relpath(path, folder)
            if (not natural or is_natural(relative)) and looks_like_picture(path):
                found.append((folder, relative))
    return found


def _check(path):
    """(why a file cannot be used, "gray" or "broken", or ""; a hash of its content if it can)."""
    try:
        if is_gray(read_rgb(path, 64)):
            return "gray", None
    except Exception:  # BadPicture, or too little memory for the picture
        return "broken", None
    with open(path, "rb") as file:  # from the cache: it was just decoded
        return "", hashlib.blake2b(file.read(), digest_size=8).digest()


def in_order(function, items, ahead=256):
    """`POOL.map` with at most `ahead` items submitted at a time."""
    items = iter(items)
    waiting = deque(POOL.submit(function, item) for item in itertools.islice(items, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(POOL.submit(function, item) for item in itertools.islice(items, 1))


def write_manifest(path, rows, fields=FIELDS):
    """Write the rows of `scan_dataset`, or others, as CSV; a field that a row lacks stays empty."""
    with atomic(path) as temporary, open(temporary, "w", newline="", **ENCODING) as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path):
    """The rows of a file of `write_manifest`. Raises ValueError if it is not a manifest."""
    try:
        with open(path, newline="", **ENCODING) as file:
            rows = list(csv.DictReader(file, strict=True))
    except csv.Error:
        rows = []
    valid = (row.keys() == {*FIELDS} and None not in row.values() for row in rows)
    if not rows or not all(valid) or not {row["split"] for row in rows} <= {*SPLITS}:
        raise ValueError(f"{path}: not a manifest")
    return rows


def paths(rows, split):
    """The files of one split, in the manifest's order."""
    return [os.path.join(row["folder"], row["path"]) for row in rows if row["split"] == split]


def class_names(rows):
    """The classes of the training and validation pictures: the names of the top folders, sorted.

    Raises ValueError if a picture is in no folder, or all are in one.
    """
    used = [row for row in rows if row["split"] in ("train", "val")]
    if bare := [row for row in used if os.sep not in row["path"]]:
        place = "{path} lies in no folder below {folder}".format(**bare[0])
        raise ValueError(f"--labels-from-folders: {place}")
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
