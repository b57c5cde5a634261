"""What is trained: the recipe, a network and its loss as one keras.Model of uint8 pictures."""

from dataclasses import asdict

import keras
from keras import ops

from data.degrade import DRAWS, degrade
from data.preprocess import target, training_inputs
from models import NETWORKS
from models import file as model_file
from training.devices import compiles, replicas
from training.optimizer import make_optimizer

BATCH_NORM_BATCHES = 50  # at most, for the statistics of averaged weights


class RelativeMSE(keras.metrics.Metric):
    """The squared error of ab over that of gray output (a = b = 0): 1 is as good as no colour."""

    def __init__(self, name="relative_mse"):
        super().__init__(name=name)
        self.error = self.add_weight(name="error", initializer="zeros")
        self.gray = self.add_weight(name="gray", initializer="zeros")

    def update_state(self, ab, target, sample_weight=None):
        for total, difference in ((self.error, ab - target), (self.gray, target)):
            # / 128: sums stay small
            errors = ops.mean(ops.square(difference / 128), axis=(1, 2, 3))
            total.assign_add(ops.sum(errors if sample_weight is None else errors * sample_weight))

    def result(self):
        return self.error / ops.maximum(self.gray, 1e-12)


class TrainingModel(keras.Model):
    """uint8 sRGB (N, S, S, 3) -> {"ab": output, "target": K}, float32 (N, S, S, 2) in Lab units.

    Also "compared", what the loss takes, and "classes", logits (N, classes). Lab, the saturation
    boost, Canny and faults are computed on the device, inside the compiled step. Numbers of classes
    (N,), and weights (N,) whose mean over an epoch is 1, may come beside the pictures.

    Args:
        network: of the `build` of the config's network, see `models`.
        config: configs.Config.
        statistics: for the loss of that network.
        classes: how many a classifier learns to tell along with the colours; 0: there is none.
    """

    def __init__(self, network, config, statistics=None, classes=0):
        super().__init__()
        self.module, self.config, self.network = NETWORKS[config.network], config, network
        self.picture_loss = self.module.make_loss(statistics)
        layer = self.module.LOSS_LAYER
        compared = network.get_layer(layer).output if layer else network.output
        outputs = {"ab": network.output, "compared": compared}
        outputs |= {"classes": self.module.classifier(network, classes)} if classes else {}
        self.trained = keras.Model(network.input, outputs)  # the network and the classifier
        self.seeds = keras.random.SeedGenerator(config.seed)  # of the faults
        self.relative_mse = RelativeMSE()
        if replicas() > 1:  # JAX normalises by the statistics of the whole batch as it is
            for norm in batch_norms(self.trained):
                norm.synchronized = True

    def call(self, rgb, training=None):
        c = self.config
        faults = {"degrade": self.degrade} if training and c.degrade else {}
        inputs = training_inputs(rgb, self.network.input, **faults)
        outputs = self.trained(inputs, training=training)
        return outputs | {"target": target(rgb, c.saturation, c.clip_saturation)}

    def degrade(self, lightness):
        draws = keras.random.uniform((ops.shape(lightness)[0], DRAWS), seed=self.seeds)
        noise = keras.random.normal(ops.shape(lightness), seed=self.seeds)
        return degrade(lightness, draws, noise, self.config.degrade)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = self.picture_loss(y_pred["compared"], y_pred["target"])
        if "classes" in y_pred:
            entropy = keras.losses.sparse_categorical_crossentropy
            classified = entropy(y, y_pred["classes"], from_logits=True)
            losses += self.module.CLASSIFICATION_WEIGHT * classified
        # TensorFlow's optimizer adds up the gradients of the devices, each of a share of the batch.
        return ops.mean(losses if sample_weight is None else losses * sample_weight) / replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.relative_mse.update_state(y_pred["ab"], y_pred["target"], sample_weight)
        return self.get_metrics_result()


def build_model(config, total_steps, dataset):
    """(the compiled TrainingModel of a configs.Config and a Dataset, metadata of its network).

    total_steps: of the run, for the schedule of the learning rate.
    """
    keras.utils.set_random_seed(config.seed)
    module = NETWORKS[config.network]
    arguments = module.arguments(config)
    network = module.build(**arguments, precision=config.precision)
    print(f"network: {config.network}, {network.count_params():,} parameters, {config.precision}")
    if not config.slow_rate:  # what does not change needs no gradients
        for layer in network.layers:
            layer.trainable &= not layer.name.startswith(module.SLOW_PREFIXES)
    statistics = dataset.statistics(module.statistics) if module.statistics else None
    classes = dataset.classes
    model = TrainingModel(network, config, statistics, len(classes))
    optimizer = make_optimizer(config, total_steps, module.SLOW_PREFIXES)
    model.compile(optimizer=optimizer, jit_compile=compiles())
    model.build((None, config.size, config.size, 3))
    optimizer.build(model.trainable_variables)
    metadata = {"arguments": arguments, "size": config.size, "saturation": config.saturation}
    metadata |= {"training": asdict(config)}
    metadata |= {"statistics": statistics} if statistics else {}
    metadata |= {"classes": len(classes), "scenes": classes} if classes else {}
    return model, metadata


def set_initial_weights(model, config, dataset):
    """Set the initial weights that `build` does not give.

    Returns what the file of --init-from says of its own training, or None.
    """
    if config.init_from:
        weights, before = model_file.initial_weights(config)
        model.network.set_weights(weights)
        return before
    if initialize := NETWORKS[config.network].initialize:
        inputs = training_inputs(dataset.batches(0)[0][0], model.network.input)
        initialize(model.network, inputs["lightness"], config.seed)
    return None


def batch_norms(model):
    """The batch normalisations of a model, those of the models in it included."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def update_batch_norm(model, batches):
    """Set batch normalisation's moving statistics to means over batches of uint8 pictures.

    Those gathered in training do not fit the moving average of the weights.
    """
    norms = batch_norms(model.trained)
    momenta = [norm.momentum for norm in norms]
    for i in range(len(batches)):
        for norm in norms:
            norm.momentum = i / (i + 1)  # a plain mean of what has been seen
        model.trained(training_inputs(batches[i][0], model.network.input), training=True)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def validate(model, dataset, epoch):
    """{"val_loss": ..., "val_relative_mse": ...} of the weights that `fit` ends on."""
    # Set anew: on JAX they share the memory of the optimizer's average, which `evaluate` gives away
    model.trained.set_weights(model.trained.get_weights())
    if dataset.config.ema_decay and model.trained.non_trainable_variables:
        steps = min(dataset.steps_per_epoch, BATCH_NORM_BATCHES)
        update_batch_norm(model, dataset.batches(epoch, range(steps)))
    metrics = model.evaluate(dataset.validation(), verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in metrics.items()}
