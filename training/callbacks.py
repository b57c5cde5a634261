"""What happens beside the steps of a training: checkpoints, interrupts, progress."""

import os
import signal
import sys

import keras
import numpy as np
from tqdm import tqdm

from training import checkpoint
from training.devices import STOPPED
from training.run import RunError


def diverged(reason, progress):
    """The RunError of a number that is not finite."""
    step = progress["step"]
    kept = f"the last checkpoint is of step {step}" if step else "there is no checkpoint yet"
    advice = "a new run with a smaller --learning-rate or other pictures may go further"
    return RunError(f"{reason}; {kept}; {advice}", 1)


def stopped(where):
    """The RunError that ends a run which was asked to stop, and is saved."""
    return RunError(f"stopped and saved {where}: the same command with --resume goes on", STOPPED)


class Interrupt:
    """The first Ctrl-C or SIGTERM asks for a stop after this step, the second stops at once.

    Several processes stop after the same step, on which JAX's preemption service agrees.
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


def progress_bar(title, steps, batch, visible):
    """The bar of an epoch's range of `steps`."""
    often = 0.5 if sys.stderr and sys.stderr.isatty() else 60
    options = {"unit": "picture", "unit_scale": True, "mininterval": often}
    done, total = steps.start * batch, steps.stop * batch
    return tqdm(desc=title, total=total, initial=done, disable=not visible, **options)


class EpochCallback(keras.callbacks.Callback):
    """Progress, checkpoints, and the raw weights at an epoch's end, before `fit` puts EMA's there.

    Args:
        folder: of the run; None: this process writes nothing.
        config: configs.Config.
        progress: dict, whose "step" is that of the last checkpoint.
        means: the state of the metrics of an epoch that is resumed in its middle.
        last: the epoch's last step.
        interrupt, bar: an Interrupt, a `progress_bar`.
    """

    def __init__(self, folder, config, progress, means, last, interrupt, bar):
        super().__init__()
        self.folder, self.config, self.progress, self.means = folder, config, progress, means
        self.last, self.interrupt, self.bar = last, interrupt, bar
        self.first, self.stopped = progress["step"], False

    def on_epoch_begin(self, epoch, logs=None):
        for variable, array in zip(self.model.metrics_variables, self.means):
            variable.assign(array)

    def on_train_batch_end(self, batch, logs=None):
        step = self.first + batch + 1
        if self.bar.update(self.config.batch):  # drawn just now: only then wait for the device
            # on several devices: of the pictures of the first one
            loss, relative = float(logs["loss"]), float(logs["relative_mse"])
            self.bar.set_postfix_str(f"loss {loss:.4f} relative {relative:.3f}", False)
        self.interrupt.check(step)
        if step == self.last:  # the end of an epoch is saved when it was validated
            return
        if self.interrupt.asked or step % self.config.checkpoint_steps == 0:
            state = self.finite_state(step)
            self.progress["step"] = step
            if self.folder:
                checkpoint.write(self.folder, state, self.progress)
        if self.interrupt.asked:
            self.stopped = self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.finite_state(self.last)["weights"]

    def finite_state(self, step):
        """`state_of` the model after `step`. Raises RunError if a number in it is not finite."""
        state = checkpoint.state_of(self.model)
        if not all(np.isfinite(array).all() for arrays in state.values() for array in arrays):
            reason = f"the loss or a weight is not finite after step {step}"
            raise diverged(reason, self.progress)
        return state
