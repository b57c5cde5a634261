"""Folders, of files or prepared, -> manifest -> batches of uint8 pictures. The CPU decodes, crops and mirrors; all else is
the device's work."""

import csv
import math
import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import keras
import numpy as np
from PIL import ImageOps
from tqdm import tqdm

from data import shards
from data.places2 import is_natural
from data.preprocess import fit
from utils import atomic, find_files, looks_like_picture, opened

cv2.setNumThreads(1)  # pictures are decoded side by side, one thread each
POOL = ThreadPoolExecutor(os.cpu_count())  # its threads are started when they are first needed
DRAWS = 5  # random numbers for a crop
FIELDS = ("folder", "path", "split")
SPLITS = ("train", "val", "gray", "broken")


def read_rgb(path, size):
    """Decode a file to uint8 sRGB (H, W, 3), upright.

    JPEG is decoded at a half, a quarter or an eighth of its size where that leaves at least 2 * size pixels a side.

    Raises:
        BadPicture: it does not decode.
    """
    with opened(path) as image:
        image.draft("RGB", (2 * size, 2 * size))
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def is_gray(rgb):
    """Whether a picture has no chroma: at most 1 pixel in 1,000 whose channels differ by more than 8 of 255."""
    spread = rgb.max(axis=-1).astype(np.int16) - rgb.min(axis=-1)
    return np.count_nonzero(spread > 8) <= spread.size / 1000


def crop_and_mirror(rgb, size, draws, crop=1.0, mirror=False):
    """A uint8 picture (size, size, 3) from one of any size.

    Args:
        draws: DRAWS random numbers, 0..1, that decide all.
        crop: each side of the crop is drawn from crop..1 of the picture's. 1: the whole picture, as the paper has it.
        mirror: left and right are exchanged in half of the draws.
    """
    height, width = rgb.shape[:2]
    tall, wide, down, right, turn = draws
    rows, columns = (max(1, round(n * (crop + (1 - crop) * share))) for n, share in ((height, tall), (width, wide)))
    top, left = round((height - rows) * down), round((width - columns) * right)
    rgb = rgb[top : top + rows, left : left + columns]
    return fit(cv2.flip(rgb, 1) if mirror and turn < 0.5 else rgb, size, size)


def survey(
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
    """The rows that `survey` made. Raises ValueError if the file is not such a manifest."""
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


def scenes(rows):
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


@dataclass(frozen=True)
class Order:
    """How an epoch of training goes through its pictures: all that `Batches` draws is drawn from (seed, epoch)."""

    seed: int
    epoch: int
    crop: float = 1.0
    mirror: bool = False


class Batches(keras.utils.PyDataset):
    """Batches of uint8 sRGB pictures, (N, size, size, 3), N = batch or, for the last of a validation, less; with labels
    (N,) beside them if there are any.

    Which pictures stand in batch i of epoch e, and how they are cropped, depends on (seed, e, i) alone: a run that is
    taken up again at any step sees what it would have seen. Training drops what does not fill a batch (other pictures in
    every epoch); validation goes through all of them as they stand.
    """

    def __init__(self, files, size, batch, order=None, steps=None, labels=None, share=(0, 1)):
        """
        Args:
            files: paths of pictures, or `shards.Stored` ones.
            size, batch: side of the pictures, pictures in a batch.
            order: an Order for training; None takes the pictures in their order, whole.
            steps: range of the epoch's batches to give; None: all.
            labels: NumPy, a number for each of the files; None: none.
            share: (i, n): give the i-th of n equal parts of each batch, for n processes that train together.
        """
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self.files, self.size, self.batch, self.order, self.labels = files, size, batch, order, labels
        self.own = slice(*(batch * i // share[1] for i in (share[0], share[0] + 1)))
        self.steps = steps or range(len(files) // batch if order else math.ceil(len(files) / batch))
        self.places = range(len(files))
        if order:
            self.places = np.random.default_rng([order.seed, 2, order.epoch]).permutation(len(files))

    def __len__(self):
        return len(self.steps)

    def _numbers(self, index):
        """The places of the epoch's order that stand in a batch."""
        start = self.steps[index] * self.batch
        return range(start, min(start + self.batch, len(self.files)))

    def paths(self, index):
        """The files of a batch, as long as all of them decode."""
        return [self.files[self.places[number]] for number in self._numbers(index)]

    def __getitem__(self, index):
        numbers = self._numbers(index)
        draws = [None] * len(numbers)
        if self.order:
            rng = np.random.default_rng([self.order.seed, 3, self.order.epoch, numbers.start])
            draws = rng.random((len(numbers), DRAWS))
        pictures, files = zip(*POOL.map(self.picture, numbers[self.own], draws[self.own]))
        rgb = np.stack(pictures)  # fresh: a view may be overwritten downstream
        return (rgb,) if self.labels is None else (rgb, self.labels[list(files)])

    def picture(self, number, draws):
        """The picture at one place of the epoch's order, and the number of its file.

        One that no longer decodes gives way to the next that does.
        """
        for i in range(len(self.files)):
            file = self.places[(number + i) % len(self.files)]
            path = self.files[file]
            try:
                rgb = path.read() if isinstance(path, shards.Stored) else read_rgb(path, self.size)
            except Exception as error:
                tqdm.write(f"{path}: no longer decodes, the next picture takes its place ({error})")
                continue
            if not self.order:
                return fit(rgb, self.size, self.size), file
            return crop_and_mirror(rgb, self.size, draws, self.order.crop, self.order.mirror), file
        raise OSError("none of the pictures can be read any more")


class Validation(Batches):
    """All pictures once, whole, in batches of one shape: (pictures, labels or zeros, weights).

    The last batch is filled up with pictures of weight 0. The others have the weight that makes the mean of all weights 1,
    so that means over the batches, as Keras makes them, are means over the pictures.
    """

    def __getitem__(self, index):
        start = index * self.batch
        numbers = range(start, start + self.batch)[self.own]
        real = [number for number in numbers if number < len(self.files)]
        rgb = np.zeros((len(numbers), self.size, self.size, 3), np.uint8)
        labels, weights = np.zeros(len(numbers), np.int32), np.zeros(len(numbers), np.float32)
        for i, (picture, file) in enumerate(POOL.map(self.picture, real, [None] * len(real))):
            rgb[i], weights[i] = picture, len(self) * self.batch / len(self.files)
            labels[i] = 0 if self.labels is None else self.labels[file]
        return rgb, labels, weights
