"""Train a colorization network on folders of photographs.

    python train.py --data DIR [DIR ...] --run runs/NAME [--preset tuned] [--resume]

Configuration -> pictures -> model -> loop. docs/training.md says what the run folder holds.
"""

import math
import os
import sys
import time

import configs
from utils import import_keras_quietly, is_out_of_memory, native_precision, one_line


def main(arguments=None):
    options = configs.parse_training(arguments)  # before the imports that take seconds
    try:
        import_keras_quietly()
        from models.properties import BadModel
        from training import checkpoint, devices
        from training.run import RunError
    except ModuleNotFoundError as error:
        sys.exit(f"train.py: {error.name} is not installed: run `make setup`, then use .venv")
    try:
        used = devices.use(options.coordinator, options.process)
    except ValueError as error:
        stop(error)
    if used.process:  # process 0 logs and writes files
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, until the process ends
    with used.abort_all_on_error():
        try:
            train(options, used)
        except (RunError, BadModel) as error:  # BadModel: --init-from, gone since the run began
            stop(error, getattr(error, "status", 2))
        except Exception as error:
            if is_out_of_memory(error):
                stop("out of memory: a smaller --batch or --precision mixed_bfloat16 needs less", 1)
            if not isinstance(error, OSError):
                raise
            kept = any(os.path.exists(options.run / name) for name in checkpoint.NAMES)
            where = "goes on from the last checkpoint" if kept else "begins anew: none is saved yet"
            stop(f"{options.run}: {one_line(error)}; --resume then {where}", 1)


def train(options, used):
    """Train as the options say, on the devices `used`."""
    from models import NETWORKS
    from models import file as model_file
    from training import callbacks, checkpoint
    from training import run as runs
    from training.dataset import Dataset
    from training.devices import single_device
    from training.logging import Log
    from training.model import build_model, set_initial_weights, validate
    from training.optimizer import on_plateau

    # The configuration and the pictures
    run = runs.prepare(options, used)
    config, lead = run.config, used.process == 0
    dataset = Dataset(config, run.rows, (used.process, used.processes))
    folder, per_epoch = run.folder, dataset.steps_per_epoch
    total_steps = min(config.steps or math.inf, config.epochs * per_epoch)
    print("pictures: " + dataset.summary)
    print(f"plan: {total_steps} steps of {config.batch} pictures, {per_epoch} an epoch, on {used}")
    if "CPU" in str(used) and config.precision not in ("float32", native_precision()):
        print("this CPU does not compute in bfloat16: --precision float32 is many times as fast")

    # The model
    with used.scope():
        model, metadata = build_model(config, total_steps, dataset)
    if used.processes > 1 and config.ema_decay and model.trained.non_trainable_variables:
        raise runs.RunError("--ema-decay: not with batch normalisation in several processes")
    progress = {"step": 0, "history": [], "before": None}
    if stored := checkpoint.restore(folder, model) if options.resume else None:
        progress |= stored
        print(f"resumed after step {progress['step']}")
    else:
        progress["before"] = set_initial_weights(model, config, dataset)
        if lead and config.init_from:  # whose file --resume then does not need
            checkpoint.write(folder, checkpoint.state_of(model), progress)
    metadata["training"]["before"] = progress["before"]

    # The loop
    interrupt = callbacks.Interrupt(used.processes)
    if lead:
        module = NETWORKS[config.network]
        with single_device():
            copy = module.build(**metadata["arguments"], precision=config.precision)
            log = Log(folder, copy, module.BRANCHES, dataset.monitored())
    for epoch in range(progress["step"] // per_epoch, config.epochs):
        start, first = epoch * per_epoch, progress["step"]
        last = min(start + per_epoch, total_steps)
        if first >= last:
            break
        batches = dataset.batches(epoch, range(first - start, last - start))
        means = progress.pop("means", ())  # a checkpoint's; of no use where an epoch begins
        means = means if first > start else ()
        started = time.monotonic()
        title = f"epoch {epoch + 1}/{config.epochs}"
        with callbacks.progress_bar(title, batches.steps, config.batch, lead) as bar:
            kept = (folder if lead else None, config, progress, means, last, interrupt, bar)
            saving = callbacks.EpochCallback(*kept)
            # shuffle: not once more, by a state that no checkpoint holds
            fitting = {"shuffle": False, "verbose": 0, "callbacks": [saving]}
            logs = model.fit(batches, initial_epoch=epoch, epochs=epoch + 1, **fitting).history
        if saving.stopped:
            raise callbacks.stopped(f"at step {progress['step']}")
        speed = len(batches) * config.batch / (time.monotonic() - started)

        seen = {"epoch": epoch + 1, "step": last, "pictures": dataset.pictures_seen(last)}
        row = seen | {name: values[-1] for name, values in logs.items()}
        row |= validate(model, dataset, epoch)
        if not math.isfinite(loss := row["val_loss"]):
            raise callbacks.diverged(f"val_loss is {loss} after step {last}", progress)
        weights = model.network.get_weights()
        rate = float(model.optimizer.learning_rate)
        is_best = loss < min((row["val_loss"] for row in progress["history"]), default=math.inf)
        progress["history"].append(row)
        if lead:
            with single_device():
                row |= log.variation(weights)
                row |= {"learning_rate": rate, "pictures_per_second": speed}
                metadata["training"] |= seen | {"log": row}
                name = f"epoch-{epoch + 1:03d}-{row['loss']:.5f}-{loss:.5f}.keras"
                names = ["last.keras"] + ["best.keras"] * is_best + [name] * config.as_published
                for name in names:
                    model_file.save(folder / name, config.network, weights, metadata)
                log.write(progress["history"], weights)

        model.trained.set_weights(saving.weights)
        losses = [row["val_loss"] for row in progress["history"]]
        if config.schedule == "plateau" and on_plateau(losses):
            model.optimizer.learning_rate = 0.1 * rate
        progress["step"] = last
        if lead:
            checkpoint.write(folder, checkpoint.state_of(model), progress)
        if interrupt.asked:
            raise callbacks.stopped(f"after epoch {epoch + 1}")
    best = min(row["val_loss"] for row in progress["history"])
    print(f"done: {folder / 'best.keras'}, val_loss {best:.5f}")


def stop(message, status=2):
    from tqdm import tqdm

    tqdm.write(f"train.py: {message}", file=sys.stderr)  # on a line of its own beside a bar
    sys.exit(status)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the first step: there is nothing to save
        sys.exit(130)
