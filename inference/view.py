"""A network in Keras that predicts ab for pictures of any size from resized square copies."""

import keras
from keras import ops

from data.preprocess import network_inputs
from inference.engine import Engine


class Predictor(Engine, keras.Model):
    """An Engine. All batches have one shape, so it is compiled once."""

    def __init__(self, network, sizes, batch, layer="ab", mirror=False):
        """
        Args:
            network: of `models.file.load`.
            sizes: sides of the squares that each picture is resized to, divisible by 8.
            batch: pictures at a time.
            layer: whose output is computed; "ab" is the one before the last enlarging.
            mirror: the default of `ab`.
        """
        super().__init__()
        self.trunk = keras.Model(network.input, network.get_layer(layer).output)
        self.sizes, self.batch, self.mirror = tuple(sizes), batch, mirror
        # of the global branch; None: there is none, or it takes any size
        view = network.input.get("global_lightness")
        self.global_size = None if view is None else view.shape[1]

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

    def batch_ab(self, views):
        return self.predict_on_batch(views)
