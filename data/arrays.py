"""Dispatch to NumPy or keras.ops."""

import numpy as np


def array_namespace(x):
    """numpy for NumPy arrays, keras.ops for tensors, whose functions share their names.

    Keras is imported for tensors alone.
    """
    if isinstance(x, np.ndarray):
        return np
    from keras import ops

    return ops


def tensor(x):
    """A NumPy array as a tensor of the Keras backend."""
    from keras import ops

    return ops.convert_to_tensor(x)


def dtype_name(x):
    """The type of a tensor's numbers, such as "uint8"."""
    from keras.backend import standardize_dtype

    return standardize_dtype(x.dtype)
