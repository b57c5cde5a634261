"""How a training does, after every epoch: figures in a log, pictures on a sheet, the health of the branches."""

import csv
import io
import time

import keras
import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from data.preprocess import colorize, training_inputs
from utils import atomic

SAMPLES = 8  # validation pictures on a sheet
DEAD = 1e-3  # variation of a branch below which it tells pictures no longer apart


class Samples:
    """A copy of the network that is trained, and the pictures that it looks at after every epoch."""

    def __init__(self, network, branches, rgb):
        """
        Args:
            network: from the `build` of a module of models/.
            branches: that module's BRANCHES.
            rgb: validation pictures, uint8 (N, S, S, 3), the first of them for the sheet.
        """
        self.network, self.pictures = network, rgb
        present = {layer.name: layer.output for layer in network.layers}
        outputs = {name: present[at] for name, at in branches.items() if at in present}
        self.branches = keras.Model(network.input, outputs) if outputs else None

    def variation(self, weights):
        """`variation` of each branch's output: {"variation_CN": ...}; {} without branches or with one picture."""
        if self.branches is None or len(self.pictures) < 2:
            return {}
        self.network.set_weights(weights)
        batches = (self.pictures[i : i + SAMPLES] for i in range(0, len(self.pictures), SAMPLES))
        parts = [
            self.branches.predict_on_batch(training_inputs(batch, self.branches.input))
            for batch in batches
        ]
        return {
            f"variation_{name}": variation(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }

    def sheet(self, weights):
        """Pictures in two columns of three: gray, colorized, truth. uint8 (rows, columns, 3)."""
        self.network.set_weights(weights)
        tiles, rgb = [], self.pictures[:SAMPLES]
        for picture, ab in zip(
            rgb, self.network.predict_on_batch(training_inputs(rgb, self.network.input))
        ):
            gray, colored = colorize(picture, np.zeros_like(ab)), colorize(picture, ab)
            tiles.append(np.concatenate([gray, colored, picture], axis=1))
        tiles += [np.zeros_like(tiles[0])] * (len(tiles) % 2)
        return np.concatenate(
            [np.concatenate(tiles[i : i + 2], axis=1) for i in range(0, len(tiles), 2)]
        )


class Log:
    """log.csv and TensorBoard's events, a line on the screen and a sheet of pictures for every epoch."""

    def __init__(self, run):
        self.run = run
        (run / "samples").mkdir(exist_ok=True)
        (run / "tensorboard").mkdir(exist_ok=True)
        self.events = (
            run / "tensorboard" / f"events.out.tfevents.{time.time():.6f}"
        )  # a file of its own for each start
        self.add(Event(file_version="brain.Event:2"))

    def add(self, event):
        """Append to the events. Not by TensorBoard's own writer: its thread shows a full disk as anything but that."""
        event.wall_time = time.time()
        with open(self.events, "ab") as file:
            RecordWriter(file).write(event.SerializeToString())

    def write(self, history, picture):
        row = history[-1]
        with atomic(self.run / "log.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(history)
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "png")
        with atomic(self.run / "samples" / f"epoch-{row['epoch']:03d}.png") as temporary:
            temporary.write_bytes(png.getvalue())
        image = Summary.Image(
            height=picture.shape[0],
            width=picture.shape[1],
            colorspace=3,
            encoded_image_string=png.getvalue(),
        )
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "epoch"
        ]
        values.append(Summary.Value(tag="samples", image=image))
        self.add(Event(step=row["epoch"], summary=Summary(value=values)))

        variations = " ".join(
            f"{name[10:]} {v:.2g}" for name, v in row.items() if name.startswith("variation_")
        )
        print(
            f"epoch {row['epoch']}: loss {row['loss']:.5f} (relative MSE {row['relative_mse']:.4f}), "
            f"val_loss {row['val_loss']:.5f} (relative MSE {row['val_relative_mse']:.4f}), "
            f"variation {variations or '-'}, {row['pictures_per_second']:.1f} pictures/s"
        )
        for name, value in row.items():
            if name.startswith("variation_") and value < DEAD:
                print(
                    f"warning: branch {name[10:]} is dead, its output is the same for every picture"
                )


def variation(features):
    """How much features differ between pictures, relative to their size: 0 if they are the same for every picture.

    Args:
        features: NumPy (N, ...), one row for each picture.

    Returns:
        The standard deviation over the pictures over the features' root mean square, each pooled over all features.
    """
    size = (features.astype("float64") ** 2).mean()
    return float((features.var(axis=0, dtype="float64").mean() / size) ** 0.5) if size else 0.0
