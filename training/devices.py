"""What a training runs on: one device, those of a host, or, on JAX, those of several; each batch is split evenly.

TensorFlow splits by `tf.distribute.MirroredStrategy`, JAX by `keras.distribution.DataParallel`, torch not at all here.
"""

import contextlib
import os
import sys
import traceback
from dataclasses import dataclass

import keras

STOPPED = 130  # exit status of processes that were asked to stop, and all do


@dataclass(frozen=True)
class Devices:
    """The devices of a training, over all of its processes, and which process this one is."""

    names: list[str]
    strategy: object = None  # TensorFlow's, for several devices
    process: int = 0
    processes: int = 1

    def __str__(self):
        kind = "GPU" if self.names[0].startswith(("gpu", "cuda")) else "CPU"
        if kind == "CPU" and len(self.names) == 1:
            return "the CPU (no GPU found)"
        return f"{len(self.names)} {kind}" + f" of {self.processes} processes" * (
            self.processes > 1
        )

    def scope(self):
        """Around the making of a model that is to be trained."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    @contextlib.contextmanager
    def alone(self):
        """Around the making and the use of a model that lives in this process, on one device."""
        if len(self.names) == 1 or self.strategy:
            yield
            return
        kept = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(kept)

    @contextlib.contextmanager
    def together(self):
        """Around the work of several processes: one that fails ends at once, and with it the others.

        JAX would let it wait at its exit for the others, which wait for it in the middle of a step.
        """
        try:
            yield
        except BaseException as error:
            status = error.code if isinstance(error, SystemExit) else 1
            if self.processes == 1 or status == STOPPED:
                raise
            if not isinstance(error, SystemExit):
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)

    def wait(self, name):
        """Wait until all processes have come to this line."""
        if self.processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)

    def asked_to_stop(self, step):
        """Whether all processes are to stop after this step, because one of them was sent SIGTERM. Asked at every step."""
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)


def use(count=None, coordinator=None, process=None):
    """Take the devices for all that is made from now on.

    Args:
        count: of the devices of this host; None: all GPUs (or whatever else the backend finds).
        coordinator: "HOST:PORT" of process 0, for a training by several processes.
        process: (number of this process, number of processes).

    Raises:
        ValueError: that cannot be had; the message is one line.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return _torch(count, coordinator)
    number, processes = process or (0, 1)
    if coordinator:
        if backend != "jax":
            raise ValueError(
                "--coordinator: several processes train on JAX alone: KERAS_BACKEND=jax"
            )
        _join(coordinator, number, processes)
    names = keras.distribution.list_devices()
    if count is not None and (coordinator or not 1 <= count <= len(names)):
        raise ValueError(
            f"--devices {count}: "
            + (f"there are {len(names)}" if not coordinator else "goes with one process")
        )
    names = names[:count]
    strategy = None
    if len(names) > 1 and backend == "tensorflow":
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy(names)
    elif len(names) > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        )
    return Devices(names, strategy, number, processes)


def _torch(count, coordinator):
    import torch

    found = torch.cuda.device_count()
    if coordinator or count not in (None, 1):
        raise ValueError("torch trains on one device here; TensorFlow and JAX take several")
    if found > 1 and count is None:
        print(f"torch: one GPU of {found} is used; TensorFlow and JAX take all")
    return Devices(["cuda:0" if found else "cpu:0"])


def _join(coordinator, number, processes):
    import jax

    jax.config.update("jax_enable_preemption_service", True)
    try:
        keras.distribution.initialize(coordinator, processes, number)
    except Exception as error:
        raise ValueError(f"--coordinator {coordinator}: {str(error).splitlines()[0]}") from error


def replicas():
    """Among how many devices the step is split that is being traced. 1 on JAX, whose step sees the whole batch."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def compiles():
    """Whether the step is compiled by XLA: always on JAX; on TensorFlow on one GPU, where it pays; on a CPU it costs."""
    backend = keras.backend.backend()
    gpu = backend == "tensorflow" and keras.distribution.list_devices()[0].startswith("gpu")
    return backend == "jax" or (gpu and replicas() == 1)
