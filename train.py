"""Train a colorization network on folders of photographs.

    python train.py --data DIR [DIR ...] --run runs/NAME [--preset tuned] [--resume]

Configuration -> pictures -> model -> loop. A run folder holds all of a run: config.json, manifest.csv (what each picture
is for), the checkpoints, best.keras and last.keras for test.py, log.csv, TensorBoard's events, a sheet of sample pictures
for every epoch.
"""

import sys

try:
    from tqdm import tqdm

    import configs
except ModuleNotFoundError as error:
    sys.exit(
        f"train.py: {error.name} is not installed: run `make setup`, then .venv/bin/python train.py ..."
    )

OPTIONS = (
    configs.parse_training() if __name__ == "__main__" else None
)  # refused before the imports that take seconds

from utils import import_keras_quietly, is_out_of_memory

import_keras_quietly()

import math
import os
import time
from collections import Counter
from datetime import timedelta

from data.manifest import SPLITS
from data.preprocess import training_inputs
from models import NETWORKS
from models import file as model_file
from training import checkpoint, devices
from training import run as runs
from training.batch_norm import update_batch_norm
from training.callbacks import CheckpointCallback, Diverged, Interrupt, Plateau, ProgressBar, advice
from training.dataset import Dataset
from training.logging import Log, Samples
from training.model import build_model

BATCH_NORM_BATCHES = (
    50  # at most, over which batch normalisation is measured anew for averaged weights
)


def main(options):
    run = None
    try:
        used = devices.use(options.devices, options.coordinator, options.process)
    except ValueError as error:
        stop(error)
    if used.process:  # process 0 logs and writes files
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    with used.together():
        try:
            run = prepare(options, used)
            train(options, run, used)
        except runs.RunError as error:
            stop(error)
        except Diverged as error:
            stop(error, 1)
        except Exception as error:
            if run and is_out_of_memory(error):
                stop(
                    f"out of memory at --batch {run.config.batch}: try a smaller one, or --precision mixed_bfloat16",
                    1,
                )
            if not isinstance(error, OSError):
                raise
            reason = error.strerror or " ".join(str(error).split())
            stop(
                f"{options.run}: {reason}; when that is mended, --resume goes on from the last checkpoint, if any",
                1,
            )


def prepare(options, used):
    """The run, with its folder written where it is new. Process 0 scans the pictures, the others read what it wrote."""
    if used.process:
        used.wait("prepared")
        if not (options.run / "config.json").exists():
            stop(
                f"{options.run}: not the folder that process 0 has; --run must name one that all processes share"
            )
        return runs.read(options.run)
    run = runs.start(options, used)
    if run.config.init_from:  # refused before anything is written
        network = NETWORKS[run.config.network]
        try:
            model_file.initial_weights(
                run.config.init_from, run.config.network, network.arguments(run.config)
            )
        except model_file.BadModel as error:
            stop(error)
    if not options.dry_run and not run.lock:
        runs.write(run)
    used.wait("prepared")
    return run


def train(options, run, used):
    config = run.config
    dataset = Dataset(config, run.rows, used.process, used.processes)
    counts = Counter(row["split"] for row in run.rows)
    print("pictures: " + ", ".join(f"{counts[split]} {split}" for split in SPLITS))
    steps_per_epoch = dataset.steps_per_epoch
    total_steps = min(
        config.steps or config.epochs * steps_per_epoch, config.epochs * steps_per_epoch
    )
    print(
        f"plan: {total_steps} steps of {config.batch} pictures, {steps_per_epoch} an epoch, on {used}"
    )

    folder, lead = None if options.dry_run else run.folder, used.process == 0
    with used.scope():
        model, metadata = build_model(config, total_steps, dataset, folder)
    if used.processes > 1 and config.ema_decay and model.trained.non_trainable_variables:
        stop(
            "--ema-decay: batch normalisation is not measured anew by several processes; leave it out"
        )
    if options.dry_run:
        return dry_run(model, dataset.batches(0), total_steps)
    progress = begin(options, config, model, metadata, dataset)
    plateau, interrupt = Plateau(model, config, progress["plateau"]), Interrupt(used)
    if lead:
        log = Log(folder)
        with used.alone():  # on one device, whatever the training runs on
            copy = NETWORKS[config.network].build(
                **metadata["arguments"], precision=config.precision
            )
            samples = Samples(copy, NETWORKS[config.network].BRANCHES, dataset.monitored())

    for epoch in range(progress["step"] // steps_per_epoch, config.epochs):
        first, last = progress["step"], min((epoch + 1) * steps_per_epoch, total_steps)
        if first >= last:
            break
        batches = dataset.batches(
            epoch, range(first - epoch * steps_per_epoch, last - epoch * steps_per_epoch)
        )
        means = progress.pop("means", ()) if batches.steps.start else ()
        saving = CheckpointCallback(
            folder, progress, batches, means, last, config.checkpoint_steps, interrupt, lead
        )
        started = time.monotonic()
        with ProgressBar(
            f"epoch {epoch + 1}/{config.epochs}",
            batches.steps,
            config.batch,
            progress["history"],
            lead,
        ) as bar:
            logs = model.fit(  # shuffle: not once more, by a state that nobody keeps
                batches,
                shuffle=False,
                initial_epoch=epoch,
                epochs=epoch + 1,
                verbose=0,
                callbacks=[saving, bar],
            ).history
        if saving.stopped:
            stop(
                f"stopped and saved at step {progress['step']}: the same command with --resume goes on",
                130,
            )
        speed = len(batches) * config.batch / (time.monotonic() - started)

        seen = {"epoch": epoch + 1, "step": last, "pictures": dataset.pictures_seen(last)}
        row = dict(seen)
        row |= {name: values[-1] for name, values in logs.items()} | validate(model, dataset, epoch)
        if not math.isfinite(row["val_loss"]):
            raise Diverged(f"val_loss is {row['val_loss']} after step {last}; {advice(progress)}")
        weights = model.network.get_weights()
        if lead:
            with used.alone():
                row |= samples.variation(weights)
        row |= {"learning_rate": float(model.optimizer.learning_rate), "pictures_per_second": speed}
        best = progress["best"] is None or row["val_loss"] < progress["best"]
        progress["best"] = row["val_loss"] if best else progress["best"]
        progress["history"].append(row)
        metadata["training"] |= seen | {"log": row}
        if lead:
            with used.alone():
                kept = [
                    f"epoch-{epoch + 1:03d}-{row['loss']:.5f}-{row['val_loss']:.5f}.keras"
                ] * config.as_published
                for name in ["last.keras"] + ["best.keras"] * best + kept:
                    model_file.save(folder / name, config.network, weights, metadata)
                log.write(progress["history"], samples.sheet(weights))

        model.trained.set_weights(saving.weights)
        plateau.step(epoch, row["val_loss"])
        progress |= {"step": last, "plateau": plateau.state()}
        if lead:
            checkpoint.write(folder, checkpoint.state_of(model), progress)
        if interrupt.asked:
            stop(
                f"stopped and saved after epoch {epoch + 1}: the same command with --resume goes on",
                130,
            )
    print(f"done: {folder / 'best.keras'}, val_loss {progress['best']:.5f}")


def begin(options, config, model, metadata, dataset):
    """What has been done: by this run, if it is resumed, or nothing yet, from the weights of --init-from, if any."""
    progress = {"step": 0, "history": [], "best": None, "plateau": None, "before": None}
    stored = checkpoint.restore(options.run, model) if options.resume else None
    if stored:
        progress |= stored
        print(f"resumed after step {progress['step']}")
    elif config.init_from:
        weights, progress["before"] = model_file.initial_weights(
            config.init_from, config.network, metadata["arguments"]
        )
        model.network.set_weights(weights)
    elif initialize := NETWORKS[config.network].initialize:
        inputs = training_inputs(dataset.batches(0)[0][0], model.network.input)
        initialize(model.network, inputs["lightness"], config.seed)
    metadata["training"]["before"] = progress["before"]
    return progress


def validate(model, dataset, epoch):
    """{"val_loss": ...} of the weights that `fit` ends on, which are their moving average, where there is one.

    They are then what is shown and saved. Set anew, because on JAX they now share the memory of the optimizer's average,
    which `evaluate` would give away.
    """
    model.trained.set_weights(model.trained.get_weights())
    if dataset.config.ema_decay and model.trained.non_trainable_variables:
        update_batch_norm(
            model, dataset.batches(epoch, range(min(dataset.steps_per_epoch, BATCH_NORM_BATCHES)))
        )
    metrics = model.evaluate(dataset.validation(), verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in metrics.items()}


def dry_run(model, batches, total_steps):
    model.network.summary(line_length=110)
    batch = batches[0]
    model.train_on_batch(*batch)  # the first step also traces
    started = time.monotonic()
    for _ in range(3):
        model.train_on_batch(*batch)
    seconds = round((time.monotonic() - started) / 3 * total_steps)
    print(
        f"expected time: {timedelta(seconds=seconds)} (h:mm:ss) for {total_steps} steps, without validation"
    )


def stop(message, status=2):
    tqdm.write(
        f"train.py: {message}", file=sys.stderr
    )  # on a line of its own, where a bar is drawn
    sys.exit(status)


if __name__ == "__main__":
    try:
        main(OPTIONS)
    except KeyboardInterrupt:  # before the first step: there is nothing to save
        sys.exit(130)
