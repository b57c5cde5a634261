"""The pictures of a run: to train on, to validate on, to look at."""

from collections import Counter

import numpy as np
from tqdm import tqdm

from data import manifest
from data.batches import Batches, Order, Validation, steps_of
from data.preprocess import target

MONITORED = 64  # validation pictures, at most, to look at after every epoch
COUNTED = 4096  # training pictures, at most, for a network's statistics


class Dataset:
    """The pictures of a configs.Config and the rows of its manifest; the share of one process."""

    def __init__(self, config, rows, share=(0, 1)):
        self.config = config
        counts = Counter(row["split"] for row in rows)
        self.summary = ", ".join(f"{counts[split]} {split}" for split in manifest.SPLITS)
        self.train, self.val = (manifest.paths(rows, split) for split in ("train", "val"))
        self.classes = manifest.class_names(rows) if config.labels_from_folders else []
        self.options = {"share": share, "nearest": config.as_published}
        self.steps_per_epoch = steps_of(len(self.train), config.batch, config.as_published)
        self.labels = dict.fromkeys(("train", "val"))
        if self.classes:
            self.labels = {name: manifest.labels(rows, name, self.classes) for name in self.labels}

    def batches(self, epoch, steps=None):
        """The batches of an epoch, or those of its range of `steps`."""
        c = self.config
        order = Order(c.seed, epoch, c.crop, c.mirror, c.load_size, short_batch=c.as_published)
        labels = self.labels["train"]
        return Batches(self.train, c.size, c.batch, order, steps, labels=labels, **self.options)

    def validation(self):
        c, labels = self.config, self.labels["val"]
        return Validation(self.val, c.size, c.batch, labels=labels, **self.options)

    def pictures_seen(self, step):
        """How many training pictures the first `step` steps saw, repetitions counted."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        in_epoch = min(self.steps_per_epoch * self.config.batch, len(self.train))
        return epochs * in_epoch + steps * self.config.batch

    def monitored(self):
        """The validation pictures to look at: uint8 (N, S, S, 3)."""
        chosen = np.random.default_rng(self.config.seed).permutation(len(self.val))[:MONITORED]
        return Batches([self.val[i] for i in chosen], self.config.size, len(chosen))[0][0]

    def statistics(self, function):
        """The sum of `function` of target ab (N, S, S, 2) over some training pictures: a list."""
        c = self.config
        chosen = np.random.default_rng([c.seed, 4]).permutation(len(self.train))[:COUNTED]
        batches, total = Batches([self.train[i] for i in chosen], c.size, 16), 0
        for i in tqdm(range(len(batches)), "statistics of the training pictures", leave=False):
            total = total + function(target(batches[i][0], c.saturation, c.clip_saturation))
        return total.tolist()
