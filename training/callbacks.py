"""Keras callbacks: checkpoints, interrupts, the learning rate, progress."""

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


class Diverged(RunError):
    """The loss or a weight is no longer a finite number: where, and which checkpoint is left."""

    status = 1

    def __init__(self, reason, progress):
        step = progress["step"]
        kept = f"the last checkpoint is of step {step}" if step else "there is no checkpoint yet"
        advice = "a new run with a smaller --learning-rate or other pictures may go further"
        super().__init__(f"{reason}; {kept}; {advice}")


class Stopped(RunError):
    """The run was asked to stop, and is saved."""

    status = STOPPED

    def __init__(self, where):
        super().__init__(f"stopped and saved {where}: the same command with --resume goes on")


class Plateau:
    """Keras' ReduceLROnPlateau with the paper's settings, as a state that can be saved."""

    def __init__(self, model, config, state):
        self.callback = None
        if config.schedule == "plateau":
            self.callback = keras.callbacks.ReduceLROnPlateau(
                "val_loss", factor=0.1, patience=10, verbose=1
            )
            self.callback.set_model(model)
            self.callback.on_train_begin()
            if state:
                self.callback.best, self.callback.wait = state

    def step(self, epoch, val_loss):
        if self.callback:
            self.callback.on_epoch_end(epoch, {"val_loss": val_loss})

    def state(self):
        return (float(self.callback.best), self.callback.wait) if self.callback else None


class Interrupt:
    """The first Ctrl-C or SIGTERM asks for a stop after this step, the second stops at once.

    Several processes stop after the same step: JAX's preemption service agrees on it when one of
    them gets a SIGTERM.
    """

    def __init__(self, devices):
        self.asked, self.devices = False, devices
        if devices.processes > 1:
            signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def check(self, step):
        """After every step: is this the last?"""
        if self.devices.processes > 1:
            self.asked |= self.devices.asked_to_stop(step)

    def _ask(self, number, frame):
        if self.asked:
            sys.exit(STOPPED)
        self.asked = True
        tqdm.write("stopping after this step; once more stops at once")


class CheckpointCallback(keras.callbacks.Callback):
    """Checkpoints in an epoch, and the raw weights at its end, before `fit` puts EMA's there."""

    def __init__(self, folder, progress, batches, means, last, config, interrupt):
        """
        Args:
            folder: of the run; None: this process writes nothing.
            progress: dict, whose "step" is that of the last checkpoint.
            batches: of the epoch, from the next step on.
            means: the state of the metrics of an epoch that is resumed in its middle.
            last: the epoch's last step.
            config: configs.Config.
            interrupt: an Interrupt.
        """
        super().__init__()
        self.folder, self.progress, self.batches, self.means = folder, progress, batches, means
        self.last, self.every, self.interrupt = last, config.checkpoint_steps, interrupt
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
        """Raise Diverged if a loss since the last check, up to that of `step`, is not finite."""
        losses = [float(loss) for loss in self.losses]
        self.losses.clear()
        for i, loss in enumerate(losses, start=step - len(losses) + 1):
            if not math.isfinite(loss):
                self.give_up(i, f"the loss is {loss}")

    def finite_state(self, step):
        """`state_of` the model after `step`. Raises Diverged if a number in it is not finite."""
        self.check_losses(step)
        state = checkpoint.state_of(self.model)
        if not all(np.isfinite(array).all() for arrays in state.values() for array in arrays):
            self.give_up(step, "weights that are not finite, found")
        return state

    def give_up(self, step, reason):
        pictures = ", ".join(map(printable, self.batches.paths(step - self.first - 1)))
        raise Diverged(f"{reason} at step {step}, of the pictures {pictures}", self.progress)


class ProgressBar(keras.callbacks.Callback):
    """The progress bar of one epoch, with the last validation beside the running loss.

    On several devices of TensorFlow the running loss is that of the first one's pictures; what is
    logged is of all.
    """

    def __init__(self, epoch, config, steps, history, visible=True):
        super().__init__()
        self.batch, self.last = config.batch, ""
        if history:
            row = history[-1]
            self.last = f", val_loss {row['val_loss']:.4f} relative {row['val_relative_mse']:.3f}"
        self.bar = tqdm(
            desc=f"epoch {epoch + 1}/{config.epochs}",
            total=steps.stop * self.batch,
            initial=steps.start * self.batch,
            unit="picture",
            unit_scale=True,
            disable=not visible,
            mininterval=0.5 if sys.stderr and sys.stderr.isatty() else 60,
        )

    def on_train_batch_end(self, batch, logs=None):
        if self.bar.update(self.batch):  # drawn just now: only then fetch numbers from the device
            now = f"loss {float(logs['loss']):.4f} relative {float(logs['relative_mse']):.3f}"
            self.bar.set_postfix_str(now + self.last, False)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()
