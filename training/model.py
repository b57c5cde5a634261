"""What is trained: the recipe, a network and its loss as one keras.Model of uint8 pictures."""

from dataclasses import asdict

import keras
from keras import ops

from configs import milestones
from data.degrade import DRAWS, degrade
from data.preprocess import target, training_inputs
from models import NETWORKS
from training.batch_norm import batch_norms, update_batch_norm
from training.devices import compiles, replicas
from training.optimizer import make_optimizer
from training.run import initial_weights

BATCH_NORM_BATCHES = 50  # at most, for the statistics of averaged weights


class RelativeMSE(keras.metrics.Metric):
    """The squared error of ab over that of gray output (a = b = 0): 1 is as good as no colour.

    An MSE alone says nothing, since that of gray output depends on the photographs as much (0.02 to
    0.05). The measure is the same for every network, whatever its loss.
    """

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

    And what the loss compares. Lab, the saturation boost, Canny and the faults of degraded pictures
    are computed here, on the device, inside the compiled step. Where a classifier is trained along,
    the numbers of the classes (N,) come beside the pictures. Weights (N,) may come with them, for
    losses and metrics; their mean over an epoch is 1.
    """

    def __init__(
        self,
        network,
        loss,
        saturation,
        clip_saturation=False,
        *,
        loss_layer=None,
        classifier=None,
        classification_weight=0.0,
        degraded_share=0.0,
        seed=0,
    ):
        """
        Args:
            network: from the `build` of a module of models/.
            loss: of that module's `make_loss`: (output, target) -> (N,), one value a picture.
            saturation, clip_saturation: of the target, see `data.preprocess.target`.
            loss_layer: the layer whose output the loss takes; None: the network's own output.
            classifier: logits (N, classes) of a classifier that is trained along; None: none.
            classification_weight: of the classifier's cross-entropy in the loss.
            degraded_share: of the training pictures whose L gets faults (`data.degrade`); the
                target stays the clean one's.
            seed: of the faults.
        """
        super().__init__()
        self.network, self.picture_loss = network, loss
        self.classification_weight = classification_weight
        compared = network.get_layer(loss_layer).output if loss_layer else network.output
        outputs = {"ab": network.output, "compared": compared}
        if classifier is not None:
            outputs["classes"] = classifier
        self.trained = keras.Model(network.input, outputs)  # the network and the classifier
        self.saturation, self.clip_saturation = saturation, clip_saturation
        self.degraded_share, self.seeds = degraded_share, keras.random.SeedGenerator(seed)
        self.relative_mse = RelativeMSE()
        if replicas() > 1:  # JAX normalises by the statistics of the whole batch as it is
            for norm in batch_norms(self.trained):
                norm.synchronized = True

    def call(self, rgb, training=None):
        faults = {"degrade": self.degrade} if training and self.degraded_share else {}
        inputs = training_inputs(rgb, self.network.input, **faults)
        outputs = self.trained(inputs, training=training)
        return outputs | {"target": target(rgb, self.saturation, self.clip_saturation)}

    def degrade(self, lightness):
        draws = keras.random.uniform((ops.shape(lightness)[0], DRAWS), seed=self.seeds)
        noise = keras.random.normal(ops.shape(lightness), seed=self.seeds)
        return degrade(lightness, draws, noise, self.degraded_share)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = self.picture_loss(y_pred["compared"], y_pred["target"])
        if "classes" in y_pred:
            entropy = keras.losses.sparse_categorical_crossentropy(
                y, y_pred["classes"], from_logits=True
            )
            losses += self.classification_weight * entropy
        # TensorFlow's optimizer adds up the gradients of the devices, each of a share of the batch.
        return ops.mean(losses if sample_weight is None else losses * sample_weight) / replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.relative_mse.update_state(y_pred["ab"], y_pred["target"], sample_weight)
        return self.get_metrics_result()


def build_model(config, total_steps, dataset, folder):
    """What train.py trains, out of its options.

    Args:
        config: configs.Config.
        total_steps: of the run, for the schedule of the learning rate.
        dataset: training.dataset.Dataset.
        folder: of the run; None for a dry run.

    Returns:
        (the compiled TrainingModel, its optimizer's state made; metadata of the saved network).
    """
    keras.utils.set_random_seed(config.seed)
    module = NETWORKS[config.network]
    arguments = module.arguments(config)
    network = module.build(**arguments, precision=config.precision)
    print(f"network: {config.network}, {network.count_params():,} parameters, {config.precision}")
    statistics = dataset.statistics(module.statistics, folder) if module.statistics else None
    classes = dataset.classes
    model = TrainingModel(
        network,
        module.make_loss(statistics),
        config.saturation,
        config.clip_saturation,
        loss_layer=module.LOSS_LAYER,
        classifier=module.classifier(network, len(classes)) if classes else None,
        classification_weight=config.classification_weight,
        degraded_share=config.degrade,
        seed=config.seed,
    )
    same = ("schedule", "warmup", "weight_decay", "beta_2", "ema_decay", "slow_rate", "precision")
    optimizer = make_optimizer(
        config.optimizer,
        config.learning_rate,
        total_steps=total_steps,
        milestones=milestones(config) if config.milestones else (),
        slow_prefixes=module.SLOW_PREFIXES,
        **{name: getattr(config, name) for name in same},
    )
    model.compile(optimizer=optimizer, jit_compile=compiles())
    model.build((None, config.size, config.size, 3))
    optimizer.build(model.trainable_variables)
    metadata = {"arguments": arguments, "size": config.size, "saturation": config.saturation}
    metadata |= {"training": asdict(config)}
    metadata |= {"statistics": statistics} if statistics else {}
    metadata |= {"classes": len(classes), "scenes": classes} if classes else {}
    return model, metadata


def set_initial_weights(model, config, dataset):
    """Give a new run's model its initial weights, where those of `build` are not the ones.

    Returns:
        What the file of --init-from says of its own training; None without it.
    """
    initialize = NETWORKS[config.network].initialize
    if config.init_from:
        weights, before = initial_weights(config)
        model.network.set_weights(weights)
        return before
    if initialize:
        inputs = training_inputs(dataset.batches(0)[0][0], model.network.input)
        initialize(model.network, inputs["lightness"], config.seed)
    return None


def validate(model, dataset, epoch):
    """{"val_loss": ...} of the weights that `fit` ends on: their moving average, if there is one.

    They are then what is logged and saved. Set anew, because on JAX they share the memory of the
    optimizer's average, which `evaluate` would give away.
    """
    model.trained.set_weights(model.trained.get_weights())
    if dataset.config.ema_decay and model.trained.non_trainable_variables:
        steps = min(dataset.steps_per_epoch, BATCH_NORM_BATCHES)
        update_batch_norm(model, dataset.batches(epoch, range(steps)))
    metrics = model.evaluate(dataset.validation(), verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in metrics.items()}
