"""The devices of one process or, on JAX, of several, among which each batch is split evenly.

TensorFlow does it by `tf.distribute.MirroredStrategy`, JAX by `keras.distribution.DataParallel`;
torch trains on one device.
"""

import contextlib
import os
import traceback
from dataclasses import dataclass

import keras

STOPPED = 130  # exit status of processes that were asked to stop


@dataclass(frozen=True)
class Devices:
    """The devices of all processes of a training, and which process this one is."""

    names: list[str]
    strategy: object = None  # TensorFlow's, for several devices
    process: int = 0
    processes: int = 1

    def __str__(self):
        kind = "GPU" if self.names[0].startswith(("gpu", "cuda")) else "CPU"
        if kind == "CPU" and len(self.names) == 1:
            return "the CPU (no GPU found)"
        return f"{len(self.names)} {kind}"

    def scope(self):
        """Around the making of a model that is to be trained."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def barrier(self, name):
        """Wait until all processes have come to this line."""
        if self.processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)

    @contextlib.contextmanager
    def abort_all_on_error(self):
        """Around all work: JAX's regular exit would wait for the other processes."""
        try:
            yield
        except BaseException as error:
            status = getattr(error, "code", 1)  # of SystemExit
            if self.processes == 1 or status == STOPPED:
                raise
            if not isinstance(error, SystemExit):
                traceback.print_exc()
            os._exit(status)


@contextlib.contextmanager
def single_device():
    """Around all use of a model that only this process has, on one device."""
    kept = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(kept)


def use(coordinator=None, process=None):
    """The Devices of what is made from now on: all GPUs, or what else the backend finds.

    Args:
        coordinator: "HOST:PORT" of process 0 of several; None: there is one process.
        process: (number of this process, number of processes).

    Raises:
        ValueError: the processes cannot be joined; one line.
    """
    backend, strategy = keras.backend.backend(), None
    number, processes = process or (0, 1)
    if coordinator:
        if backend != "jax":
            raise ValueError("--coordinator: only JAX has it: KERAS_BACKEND=jax")
        import jax

        jax.config.update("jax_enable_preemption_service", True)
        try:
            keras.distribution.initialize(coordinator, processes, number)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"--coordinator {coordinator}: {reason}") from error
    if backend == "torch":
        import torch

        names = ["cuda:0" if torch.cuda.is_available() else "cpu:0"]
    else:
        names = keras.distribution.list_devices()
    if len(names) > 1 and backend == "tensorflow":
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy(names)
    elif len(names) > 1:
        parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        keras.distribution.set_distribution(parallel)
    return Devices(names, strategy, number, processes)


def replicas():
    """How many devices share the step being traced. 1 on JAX, whose step sees all pictures."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def compiles():
    """Whether XLA compiles the step: on JAX; on TensorFlow on one GPU, where it pays."""
    backend = keras.backend.backend()
    gpu = backend == "tensorflow" and keras.distribution.list_devices()[0].startswith("gpu")
    return backend == "jax" or (gpu and replicas() == 1)
