"""Predict ab for pictures of any size from resized square copies."""

import keras
import numpy as np
from keras import ops

from data.preprocess import lightness_of, network_inputs, resize
from utils import is_out_of_memory


class Predictor(keras.Model):
    """Pictures -> ab before the network's last enlarging, the mean over the sizes of the squares.

    All batches have one shape, so it is compiled once.
    """

    def __init__(self, network, sizes, batch, layer="ab", mirror=False):
        """
        Args:
            network: as `model_file.load` gives it.
            sizes: sides of the squares that each picture is resized to, divisible by 8.
            batch: pictures at a time; shorter batches are filled up.
            layer: whose output is computed; "ab" is the one before the last enlarging.
            mirror: the default of `ab`.
        """
        super().__init__()
        self.trunk = keras.Model(network.input, network.get_layer(layer).output)
        self.sizes, self.batch, self.mirror = tuple(sizes), batch, mirror
        # of the global branch; None: there is none, or it takes any size
        inputs = network.input
        self.global_size = (
            inputs["global_lightness"].shape[1] if "global_lightness" in inputs else None
        )
        self.sides = {str(n): n for n in sorted({*self.sizes, self.global_size} - {None})}
        self.side = max(self.sides.values())

    def call(self, views):
        found = []
        for size in self.sizes:
            global_lightness = views[str(self.global_size or size)]
            inputs = network_inputs(views[str(size)], global_lightness, names=self.trunk.input)
            found.append(self.trunk(inputs))
        if len(found) > 1:
            shape = (max(ab.shape[1] for ab in found),) * 2
            found = [ops.image.resize(ab, shape, data_format="channels_last") for ab in found]
        return sum(found) / len(found)

    def views(self, pixels):
        """What the network sees of a picture. The smaller views are made of the largest.

        Args:
            pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.

        Returns:
            {name of a side: L, 0..100, float32 (side, side, 1)}.
        """
        largest = resize(pixels, self.side, self.side)
        return {
            name: lightness_of(resize(largest, side, side))[..., None]
            for name, side in self.sides.items()
        }

    def ab(self, views, mirror=None):
        """Views of pictures -> ab, float32 (n, h, w, 2), or the output of `layer`.

        With `mirror` the mean with that of the mirror images. If memory runs out, the batch is
        halved for good; what the backend raises for a single picture is raised.
        """
        if self.mirror if mirror is None else mirror:
            turned = [{name: x[:, ::-1] for name, x in view.items()} for view in views]
            return (self.ab(views, False) + self.ab(turned, False)[:, :, ::-1]) / 2
        found = []
        while len(found) < len(views):
            part = views[len(found) : len(found) + self.batch]
            filled = part + part[:1] * (self.batch - len(part))
            try:
                stacked = {name: np.stack([v[name] for v in filled]) for name in self.sides}
                given = self.predict_on_batch(stacked)
            except Exception as error:  # each backend has its own
                if self.batch == 1 or not is_out_of_memory(error):
                    raise
                self.batch //= 2
                continue
            found.extend(given[: len(part)])
        return np.stack(found)


def native_precision():
    """The faster dtype policy of this machine: bfloat16 if its CPU multiplies in it."""
    try:
        with open("/proc/cpuinfo") as file:  # Linux
            flags = file.read()
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
