"""What happens beside the steps of a training: checkpoints, stops, the rate, the bar."""

import math
import os
import signal
import sys

import keras
import numpy as np
from tqdm import tqdm

from training import checkpoint
from utils import printable

CHECK_STEPS = 100  # steps, at most, after which a loss that is not finite is found


class Diverged(ArithmeticError):
    """The loss or a weight is no finite number any more. The message is one line that says where and what is left."""


def advice(progress):
    kept = (
        f"the last checkpoint is of step {progress['step']}"
        if progress["step"]
        else "there is no checkpoint yet"
    )
    return f"{kept}; a new run with a smaller --learning-rate or other pictures may go further"


class Plateau:
    """Keras' ReduceLROnPlateau with the paper's settings, fed epoch by epoch so that its state can be kept."""

    def __init__(self, model, config, state):
        self.callback = None
        if config.schedule == "plateau":
            self.callback = keras.callbacks.ReduceLROnPlateau(
                "val_loss", factor=0.1, patience=10, verbose=1
            )
            self.callback.set_model(model)
            self.callback.on_train_begin()
            self.callback.best, self.callback.wait = state or (
                self.callback.best,
                self.callback.wait,
            )

    def step(self, epoch, val_loss):
        if self.callback:
            self.callback.on_epoch_end(epoch, {"val_loss": val_loss})

    def state(self):
        return (float(self.callback.best), self.callback.wait) if self.callback else None


class Interrupt:
    """The first Ctrl-C or SIGTERM asks for a stop after the step in hand, the second stops at once.

    Several processes stop after the same step, on which JAX's preemption service agrees when one of them gets a SIGTERM.
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
            sys.exit(130)
        self.asked = True
        tqdm.write("stopping after this step; once more stops at once")


class CheckpointCallback(keras.callbacks.Callback):
    """Checkpoints inside an epoch; and the raw weights at its end, before `fit` puts their moving average in place."""

    def __init__(self, run, progress, batches, means, last, every, interrupt, write=True):
        """`means`: the state of the metrics of an epoch that is taken up in its middle; `last`: the step it ends with."""
        super().__init__()
        self.run, self.progress, self.batches, self.means, self.last = (
            run,
            progress,
            batches,
            means,
            last,
        )
        self.write = write
        self.every, self.interrupt = every, interrupt
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
            if self.write:
                checkpoint.write(self.run, state, self.progress)
        if self.interrupt.asked:
            self.stopped = self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.finite_state(self.last)["weights"]

    def check_losses(self, step):
        """Raise Diverged if a loss since the last check, up to that of `step`, is not finite: a running mean stays so."""
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
        raise Diverged(
            f"{reason} at step {step}, of the pictures {pictures}; {advice(self.progress)}"
        )


class ProgressBar(keras.callbacks.Callback):
    """The progress bar of one epoch, with the last validation beside the running loss.

    On several devices of TensorFlow the running loss is that of the first one's pictures; what is logged is of all.
    """

    def __init__(self, title, steps, batch, history, shown=True):
        super().__init__()
        self.bar = tqdm(
            desc=title, total=steps.stop * batch, initial=steps.start * batch, unit="picture", unit_scale=True,
            disable=not shown, mininterval=0.5 if sys.stderr.isatty() else 60,
        )  # fmt: skip
        self.batch = batch
        self.last = (
            f", val_loss {history[-1]['val_loss']:.4f} relative {history[-1]['val_relative_mse']:.3f}"
            if history
            else ""
        )

    def on_train_batch_end(self, batch, logs=None):
        if self.bar.update(
            self.batch
        ):  # drawn just now: only then are the numbers fetched from the device
            self.bar.set_postfix_str(
                f"loss {float(logs['loss']):.4f} relative {float(logs['relative_mse']):.3f}{self.last}",
                False,
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()
