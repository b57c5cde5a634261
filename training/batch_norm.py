"""Batch normalisation of a model: its layers, and statistics that fit averaged weights."""

import keras

from data.preprocess import training_inputs


def update_batch_norm(model, batches):
    """Set batch normalisation's moving statistics to means over some batches.

    The optimizer averages trainable weights alone, and statistics that were gathered under other
    weights do not fit the average.

    Args:
        model: a TrainingModel.
        batches: of uint8 pictures, as `fit` takes them.
    """
    norms = batch_norms(model.trained)
    momenta = [norm.momentum for norm in norms]
    for i in range(len(batches)):
        for norm in norms:
            norm.momentum = i / (i + 1)  # a plain mean of what has been seen
        model.trained(training_inputs(batches[i][0], model.network.input), training=True)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def batch_norms(model):
    """The batch normalisations of a model, those of the models in it included."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += batch_norms(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
    return found
