"""After every epoch: metrics, sample pictures, and whether all branches are alive."""

import csv

import keras
import numpy as np
from PIL import Image

from data.preprocess import colorize, training_inputs
from utils import atomic

SAMPLES = 8  # validation pictures on a sheet
DEAD = 1e-3  # variation below which a branch gives the same for every picture


class Log:
    """For every epoch: log.csv, a line on the screen, sample pictures.

    Args:
        run: the folder.
        network, branches: a copy of the network that is trained, and its module's BRANCHES.
        pictures: of the validation, uint8 (N, S, S, 3).
    """

    def __init__(self, run, network, branches, pictures):
        self.run, self.network, self.pictures = run, network, pictures
        present = {layer.name: layer.output for layer in network.layers}
        outputs = {name: present[at] for name, at in branches.items() if at in present}
        self.branches = keras.Model(network.input, outputs) if outputs else None
        (run / "samples").mkdir(exist_ok=True)

    def variation(self, weights):
        """`variation` of each branch, as {"variation_CN": ...}."""
        if self.branches is None or len(self.pictures) < 2:
            return {}
        self.network.set_weights(weights)
        inputs = training_inputs(self.pictures, self.branches.input)
        outputs = self.branches.predict(inputs, SAMPLES, verbose=0)
        return {f"variation_{name}": variation(features) for name, features in outputs.items()}

    def sheet(self, weights):
        """Pictures in two columns of three: gray, colorized, photograph. uint8 (H, W, 3)."""
        self.network.set_weights(weights)
        rgb = self.pictures[:SAMPLES]
        output = self.network.predict_on_batch(training_inputs(rgb, self.network.input))
        tiles = [
            np.hstack([colorize(picture, np.zeros_like(ab)), colorize(picture, ab), picture])
            for picture, ab in zip(rgb, output)
        ]
        tiles += [np.zeros_like(tiles[0])] * (len(tiles) % 2)
        return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])

    def write(self, history, weights):
        """Log the last of the rows of `history`, with the sheet of the network's weights."""
        row = history[-1]
        with atomic(self.run / "log.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(history)
        with atomic(self.run / f"samples/epoch-{row['epoch']:03d}.png") as temporary:
            Image.fromarray(self.sheet(weights)).save(temporary)

        branches = {k.partition("_")[2]: v for k, v in row.items() if k.startswith("variation_")}
        found = " ".join(f"{name} {v:.2g}" for name, v in branches.items()) or "-"
        line = (
            "epoch {epoch}: loss {loss:.5f} (relative MSE {relative_mse:.4f}), val_loss "
            "{val_loss:.5f} (relative MSE {val_relative_mse:.4f}), variation {found}, "
            "{pictures_per_second:.1f} pictures/s"
        )
        print(line.format(**row, found=found))
        for name, value in branches.items():
            if value < DEAD:
                print(f"warning: branch {name} is dead, its output is the same for every picture")


def variation(features):
    """The standard deviation of features (N, ...) over N pictures by their root mean square."""
    size = (features.astype("float64") ** 2).mean()
    return float((features.var(axis=0, dtype="float64").mean() / size) ** 0.5) if size else 0.0
