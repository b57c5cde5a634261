"""What computes ab: Engine, and a network's exported file in ONNX Runtime; `view.Predictor`: Keras."""

import cv2
import numpy as np

from data.preprocess import lightness_of, resize
from utils import is_out_of_memory


class Engine:
    """Views of pictures -> ab, the mean over the sizes of the squares.

    A subclass has `sizes`, `global_size` (of an input of its own, or None), `batch` (pictures at a
    time) and `batch_ab`, which takes views of `batch` pictures, stacked.
    """

    mirror = False  # the default of `ab`

    @property
    def sides(self):
        """{name of a view: its side in pixels}."""
        return {str(n): n for n in sorted({*self.sizes, self.global_size} - {None})}

    @property
    def side(self):
        """Of the largest square that the network sees."""
        return max(self.sides.values())

    def views(self, pixels):
        """What the network sees of a picture. The smaller views are made of the largest.

        Args:
            pixels: uint8, uint16 or float32 in 0..1, (H, W) gray or (H, W, 3) sRGB.

        Returns:
            {name of a view: L, 0..100, float32 (side, side, 1)}.
        """
        largest = resize(pixels, self.side, self.side)
        return {
            name: lightness_of(resize(largest, side, side))[..., None]
            for name, side in self.sides.items()
        }

    def ab(self, views, mirror=None):
        """Views of pictures -> ab before the network's last enlarging, float32 (n, h, w, 2).

        With `mirror` the mean with that of the mirror images. Shorter batches are filled up. If
        memory runs out, the batch is halved for good; what is raised for one picture is raised.
        """
        if self.mirror if mirror is None else mirror:
            turned = [{name: x[:, ::-1] for name, x in view.items()} for view in views]
            return (self.ab(views, False) + self.ab(turned, False)[:, :, ::-1]) / 2
        found = []
        while len(found) < len(views):
            part = views[len(found) : len(found) + self.batch]
            filled = part + part[:1] * (self.batch - len(part))
            try:
                given = self.batch_ab({n: np.stack([view[n] for view in filled]) for n in part[0]})
            except Exception as error:  # each backend has its own
                if self.batch == 1 or not is_out_of_memory(error):
                    raise
                self.batch //= 2
                continue
            found.extend(given[: len(part)])
        return np.stack(found)


class OnnxPredictor(Engine):
    """An exported network, onnxruntime.InferenceSession of a bare file."""

    def __init__(self, session, global_size, sizes, batch):
        self.session, self.global_size, self.sizes, self.batch = session, global_size, sizes, batch

    def batch_ab(self, views):
        found = []
        for size in self.sizes:
            inputs = {"lightness": views[str(size)]}
            if self.global_size:
                inputs["global_lightness"] = views[str(self.global_size)]
            found += self.session.run(["small_ab"], inputs)
        side = max(ab.shape[1] for ab in found)
        return np.mean([[cv2.resize(x, (side, side)) for x in ab] for ab in found], axis=0)
