"""Keras callbacks: checkpoints, interrupts, progress."""

import math
import os
import signal
import sys

import keras
import numpy as np
from tqdm import tqdm

from training import checkpoint
from training.devices import STOPPED
from training.run import RunError
from utils import printable

CHECK_STEPS = 100  # steps, at most, after which a loss that is not finite is found


def diverged(reason, progress):
    """The RunError of a loss or weight that is not finite; it names the checkpoint left."""
    step = progress["step"]
    kept = f"the last checkpoint is of step {step}" if step else "there is no checkpoint yet"
    advice = "a new run with a smaller --learning-rate or other pictures may go further"
    return RunError(f"{reason}; {kept}; {advice}", 1)


def stopped(where):
    """The RunError that ends a run which was asked to stop, and is saved."""
    return RunError(f"stopped and saved {where}: the same command with --resume goes on", STOPPED)


class Interrupt:
    """The first Ctrl-C or SIGTERM asks for a stop after this step, the second stops at once.

    Several processes stop after the same step, on which JAX's preemption service agrees after a
    SIGTERM to one of them.
    """

    def __init__(self, processes=1):
        self.asked, self.processes = False, processes
        if processes > 1:
            signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def check(self, step):
        """After every step: is this the last?"""
        if self.processes > 1:
            from jax.experimental import multihost_utils

            self.asked |= multihost_utils.reached_preemption_sync_point(step)

    def _ask(self, number, frame):
        if self.asked:
            sys.exit(STOPPED)
        self.asked = True
        tqdm.write("stopping after this step; once more stops at once")


class CheckpointCallback(keras.callbacks.Callback):
    """Checkpoints in an epoch, and the raw weights at its end, before `fit` puts EMA's there.

    Args:
        folder: of the run; None: this process writes nothing.
        progress: dict, whose "step" is that of the last checkpoint.
        batches: of the epoch, from the next step on.
        means: the state of the metrics of an epoch that is resumed in its middle.
        last: the epoch's last step.
        every: steps between checkpoints.
        interrupt: an Interrupt.
    """

    def __init__(self, folder, progress, batches, means, last, every, interrupt):
        super().__init__()
        self.folder, self.progress, self.batches, self.means = folder, progress, batches, means
        self.last, self.every, self.interrupt = last, every, interrupt
        self.first, self.stopped, self.losses = progress["step"], False, []

    def on_epoch_begin(self, epoch, logs=None):
        for variable, array in zip(self.model.metrics_variables, self.means):
            variable.assign(array)

    def on_train_batch_end(self, batch, logs=None):
        step = self.first + batch + 1
        self.interrupt.check(step)
        self.losses.append(logs["loss"])  # checked later: a check waits for the device
        if len(self.losses) == CHECK_STEPS:
            self.check_losses(step)
        if step == self.last:  # the end of an epoch is saved when it was validated
            return
        if self.interrupt.asked or step % self.every == 0:
            state = self.finite_state(step)
            self.progress["step"] = step
            if self.folder:
                checkpoint.write(self.folder, state, self.progress)
        if self.interrupt.asked:
            self.stopped = self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.finite_state(self.last)["weights"]

    def check_losses(self, step):
        """Raise RunError if a loss since the last check, up to that of `step`, is not finite."""
        losses = [float(loss) for loss in self.losses]
        self.losses.clear()
        for i, loss in enumerate(losses, start=step - len(losses) + 1):
            if not math.isfinite(loss):
                self.give_up(i, f"the loss is {loss}")

    def finite_state(self, step):
        """`state_of` the model after `step`. Raises RunError if a number in it is not finite."""
        self.check_losses(step)
        state = checkpoint.state_of(self.model)
        if not all(np.isfinite(array).all() for arrays in state.values() for array in arrays):
            self.give_up(step, "weights that are not finite, found")
        return state

    def give_up(self, step, reason):
        pictures = ", ".join(map(printable, self.batches.paths(step - self.first - 1)))
        raise diverged(f"{reason} at step {step}, of the pictures {pictures}", self.progress)


class ProgressBar(keras.callbacks.Callback):
    """The progress bar of one epoch. On several devices its loss is of the first one's pictures."""

    def __init__(self, title, steps, batch, visible):
        super().__init__()
        self.batch = batch
        often = 0.5 if sys.stderr and sys.stderr.isatty() else 60
        options = {"unit": "picture", "unit_scale": True, "mininterval": often}
        done, total = steps.start * batch, steps.stop * batch
        self.bar = tqdm(desc=title, total=total, initial=done, disable=not visible, **options)

    def on_train_batch_end(self, batch, logs=None):
        if self.bar.update(self.batch):  # drawn just now: only then fetch numbers from the device
            now = f"loss {float(logs['loss']):.4f} relative {float(logs['relative_mse']):.3f}"
            self.bar.set_postfix_str(now, False)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()
