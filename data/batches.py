"""Batches of uint8 pictures from files: decoded, cropped and mirrored on the CPU."""

import math
from dataclasses import dataclass

import cv2
import keras
import numpy as np
from tqdm import tqdm

from data.as_published import resize_nearest
from data.preprocess import resize
from pictures.reader import read_rgb
from utils import POOL, one_line, printable

cv2.setNumThreads(1)  # pictures are decoded side by side, one thread each
DRAWS = 5  # random numbers that a crop takes
NAMED, TRIED = 3, 1000  # pictures that no longer decode: named; tried, until a batch is given up
MAX_SIDE = 2**16  # of a picture: none is decoded at reduced size then


def steps_of(pictures, batch, short_batch=False):
    """The steps of an epoch. short_batch: the pictures that fill no batch make a last one."""
    return math.ceil(pictures / batch) if short_batch else pictures // batch


@dataclass(frozen=True)
class Order:
    """Order and crops of an epoch: every random number of `Batches` derives from (seed, epoch)."""

    seed: int
    epoch: int
    crop: float = 1.0  # smallest share of each side that a random crop keeps; 1: all, as the paper
    mirror: bool = False  # exchange left and right with probability 0.5
    load_size: int = 0  # resize to this side first, and cut a window of the final size; 0: no
    short_batch: bool = False  # of `steps_of`

    def crop_and_mirror(self, rgb, size, draws):
        """uint8 (H, W, 3) -> (size, size, 3), as DRAWS random numbers in 0..1 decide."""
        rgb = resize(rgb, self.load_size, self.load_size) if self.load_size else rgb
        *shares, down, right, turn = draws
        shares = (self.crop + (1 - self.crop) * share for share in shares)
        kept = [max(1, round(n * share)) for n, share in zip(rgb.shape, shares)]
        rows, columns = (size, size) if self.load_size else kept
        top, left = round((len(rgb) - rows) * down), round((rgb.shape[1] - columns) * right)
        rgb = rgb[top : top + rows, left : left + columns]
        return resize(cv2.flip(rgb, 1) if self.mirror and turn < 0.5 else rgb, size, size)


class Batches(keras.utils.PyDataset):
    """Batches of uint8 sRGB pictures, (N, size, size, 3), with int32 labels (N,) if there are any.

    The pictures of batch i in epoch e, and their crops, depend on (seed, e, i) alone, so that a
    resumed run sees what an uninterrupted one sees. Training drops the pictures that do not fill a
    batch, others in every epoch.

    Args:
        files: paths of pictures.
        size, batch: side of the pictures, pictures in a batch.
        order: an Order for training; None: all in the given order, uncropped, a short last batch.
        steps: range of the epoch's batches; None: all.
        labels: int32 (number of files,), or None.
        share: (i, n): the i-th of n equal parts of each batch, for n processes that train together.
        nearest: decode at full size and resize by nearest neighbour, as the authors' scripts.
    """

    def __init__(
        self, files, size, batch, order=None, steps=None, labels=None, share=(0, 1), nearest=False
    ):
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self.files, self.size, self.batch, self.order = files, size, batch, order
        self.labels, self.nearest = labels, nearest
        self.own = slice(*(batch * i // share[1] for i in (share[0], share[0] + 1)))
        self.steps = steps or range(steps_of(len(files), batch, not order or order.short_batch))
        self.places = range(len(files))
        if order:
            rng = np.random.default_rng([order.seed, 2, order.epoch])
            self.places = rng.permutation(len(files))

    def __len__(self):
        return len(self.steps)

    def _numbers(self, index):
        """The positions in the epoch's order that make a batch."""
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
        """(uint8 (size, size, 3), index of its file) at a position in the epoch's order.

        The next that decodes replaces one that no longer does, with a line for NAMED of them.
        Raises OSError if none of the next TRIED decodes.
        """
        lines = []
        for i in range(min(len(self.files), TRIED)):
            file = self.places[(number + i) % len(self.files)]
            path = self.files[file]
            try:
                rgb = read_rgb(path, MAX_SIDE if self.nearest else self.size)
            except Exception as error:
                lines.append(f"{printable(path)}: no longer decodes ({one_line(error)})")
                continue
            for line in lines[:NAMED]:
                tqdm.write(f"{line}; the next takes its place")
            if self.nearest:
                return resize_nearest(rgb, self.size, self.size), file
            if not self.order:
                return resize(rgb, self.size, self.size), file
            return self.order.crop_and_mirror(rgb, self.size, draws), file
        raise OSError(f"none of the pictures can be read any more; {lines[0]}")


class Validation(Batches):
    """All pictures once, uncropped, in batches of one shape: (pictures, labels or zeros, weights).

    The last batch is padded with pictures of weight 0. The other weights are equal and make the
    mean of all weights 1, so that Keras' means over the batches are means over the pictures.
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
