"""Prepared folders, which `data.prepare` makes: pictures decoded once, in files that are mapped into memory.

prepared.json describes the folder. Each shard stands for so many files of the original folder, in its order, and is two
files: 00000.bin holds their pictures one after the other, uint8 sRGB (height, width, 3); 00000.csv has a line for every
file, those included that gave no picture. prepared.json holds the SHA-256 of each .csv, which holds the CRC-32 of each
picture, so that nothing in the folder can change unseen.
"""

import csv
import functools
import hashlib
import io
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PICTURES = 1024  # files of the original folder that a new shard stands for
FIELDS = ("path", "kind", "height", "width", "squashed", "crc32")
DESCRIPTION = "prepared.json"
FACTS = ("source", "size", "as_decoded", "natural", "files", "files_per_shard", "shards")


def is_prepared(folder):
    """Whether a folder is a prepared one, be it finished or not."""
    return os.path.isfile(os.path.join(folder, DESCRIPTION))


class Prepared:
    """A finished prepared folder.

    `size`: side of the training pictures that it was made for. `squashed`: whether pictures of another shape were made
    size x size, so that random crops of them would be others than the folder's. `paths`, `kinds`: of every file of the
    original folder its path relative to that folder and what keeps it from being used ("gray", "broken") or "".
    """

    def __init__(self, folder):
        """
        Raises:
            ValueError: the folder is unfinished or damaged; the message is one line. The pictures themselves are checked
                when they are read.
        """
        self.folder = Path(folder)
        description = describe(folder)
        if description["shards"] is None:
            raise ValueError(f"{folder}: not finished; the same command of data.prepare goes on with it")
        self.size, self._per_shard = description["size"], description["files_per_shard"]
        self.paths, self.kinds, self._maps, shapes = [], [], {}, []
        for number, digest in enumerate(description["shards"]):
            rows = read_shard(folder, number, digest)
            self.paths += [row[0] for row in rows]
            self.kinds += [row[1] for row in rows]
            shapes += [row[2:] for row in rows]
        self._height, self._width, squashed, self._crc = np.array(shapes, np.uint32).reshape(-1, 4).T.copy()
        self.squashed = bool(squashed.any())
        self._starts = np.concatenate([[0], np.cumsum(self._height * self._width * np.int64(3))])

    def read(self, number):
        """The picture of one of `paths`, uint8 (height, width, 3): memory of the file, not to be written to.

        Raises:
            ValueError: its checksum is another, or there is no picture.
        """
        shard = number // self._per_shard
        start, end = self._starts[number : number + 2] - self._starts[shard * self._per_shard]
        if start == end:
            raise ValueError(f"{self.paths[number]}: {self.kinds[number]}, not in {self.folder}")
        if shard not in self._maps:  # two threads may both map it, to the same end
            self._maps[shard] = np.memmap(self._pixels(shard), np.uint8, "r")
        pixels = self._maps[shard][start:end]
        if zlib.crc32(pixels) != self._crc[number]:
            raise ValueError(f"{self._pixels(shard)}: damaged at {self.paths[number]}")
        return np.asarray(pixels).reshape(self._height[number], self._width[number], 3)

    def _pixels(self, shard):
        return table(self.folder, shard).with_suffix(".bin")


opened = functools.cache(Prepared)  # each folder once in a process


@dataclass(frozen=True, slots=True)
class Stored:
    """One picture of a prepared folder, where others are paths of files."""

    prepared: Prepared
    number: int

    def read(self):
        return self.prepared.read(self.number)

    def __str__(self):
        return str(self.prepared.folder / self.prepared.paths[self.number])


def describe(folder):
    """What prepared.json says: a dict. Raises ValueError where it is damaged."""
    try:
        description = json.loads(Path(folder, DESCRIPTION).read_text())
        return {key: description[key] for key in FACTS}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder}: its {DESCRIPTION} is damaged ({error})") from error


def table(folder, number):
    return Path(folder, f"{number:05d}.csv")


def write_table(path, rows):
    """Write a shard's table, rows of FIELDS."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def read_shard(folder, number, digest=None):
    """The table of a shard: rows (path, kind, height, width, squashed, crc32).

    Raises:
        ValueError: the table is missing, damaged or of another SHA-256 than `digest`, or the pictures are not as long as it
            says; the message is one line.
    """
    file = table(folder, number)
    try:
        content = file.read_bytes()
        if digest not in (None, hashlib.sha256(content).hexdigest()):
            raise ValueError("its checksum is another")
        header, *lines = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
        if tuple(header) != FIELDS:
            raise ValueError("not the table of a shard")
        rows = [(path, kind, *map(int, numbers)) for path, kind, *numbers in lines]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{file}: missing or damaged ({error})") from error
    pixels, length = file.with_suffix(".bin"), sum(3 * row[2] * row[3] for row in rows)
    if not pixels.is_file() or pixels.stat().st_size != length:
        raise ValueError(f"{pixels}: missing, or not of the {length:,} bytes that it should have")
    return rows
