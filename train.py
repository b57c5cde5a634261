"""Train a colorization network on folders of photographs.

    python train.py --data DIR [DIR ...] --run runs/NAME [--preset tuned] [--resume]

Configuration -> pictures -> network -> fit. A run folder holds all of a run: config.json, manifest.csv (what each picture
is for), the checkpoints, best.keras and last.keras for test.py, log.csv, TensorBoard's events, a sheet of sample pictures
for every epoch.
"""

import argparse
import functools
import hashlib
import json
import math
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from utils import atomic, import_keras_quietly, is_out_of_memory, lock, remove_leftovers, share

import_keras_quietly()

import keras
import numpy as np
from tqdm import tqdm

import configs
import models
from data import manifest
from data.batches import Batches, Order, Validation
from data.preprocess import resize, target
from inference import model_file
from models import zhang2016
from training import checkpoint, devices
from training.callbacks import Bar, CheckpointCallback, Diverged, Interrupt, Plateau, advice
from training.logging import Log, Samples
from training.model import TrainingModel, update_batch_norm
from training.optimizer import make_optimizer

WATCHED = 64  # validation pictures over which the spread of the branches is measured, and of which a sheet shows some
COUNTED = 4096  # training pictures, at most, of which zhang2016 learns how rare colours are
SETTLING = 50  # batches, at most, over which batch normalisation is measured anew for averaged weights


def main():
    options, config = parse(), None
    try:
        team = devices.use(options.devices, options.coordinator, options.process)
    except ValueError as error:
        stop(error)
    if team.process:  # the first one speaks and writes
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    with team.together():
        try:
            config, rows = prepare(options, team)
            train(options, config, rows, team)
        except Diverged as error:
            stop(error, 1)
        except Exception as error:
            if config and is_out_of_memory(error):
                stop(f"out of memory at --batch {config.batch}: try a smaller one, or --precision mixed_bfloat16", 1)
            if not isinstance(error, OSError):
                raise
            reason = error.strerror or " ".join(str(error).split())
            stop(f"{options.run}: {reason}; when that is mended, --resume goes on from the last checkpoint, if any", 1)


def train(options, config, rows, team):
    try:
        pictures = Pictures(config, rows, team)
    except ValueError as error:  # of prepared pictures
        stop(error)
    counts = Counter(row["split"] for row in rows)
    print("pictures: " + ", ".join(f"{counts[split]} {split}" for split in manifest.SPLITS))
    found = len(pictures.train), len(pictures.val)
    epoch_steps = found[0] // config.batch
    if not epoch_steps or not found[1]:
        stop(f"too few pictures: {found[0]} to train on at batch {config.batch}, {found[1]} to validate on")
    total_steps = min(config.steps or config.epochs * epoch_steps, config.epochs * epoch_steps)
    print(f"plan: {total_steps} steps of {config.batch} pictures, {epoch_steps} an epoch, on {team}")
    lead = team.process == 0

    run = None if options.dry_run else options.run
    colors = color_counts(pictures.train, config, run, lead) if config.network == "zhang2016" else None
    with team.scope():
        model, card = build(config, total_steps, colors, pictures.scenes)
    if team.processes > 1 and config.average and model.trained.non_trainable_variables:
        stop("--average: batch normalisation is not measured anew by several processes; leave it out, or train with one")
    if options.dry_run:
        return dry_run(model, pictures.batches(0), total_steps)
    progress = begin(options, config, model, card)
    plateau, interrupt = Plateau(model, config, progress["plateau"]), Interrupt(team)
    if lead:
        log = Log(run)
        with team.alone():  # on one device, whatever the training runs on
            copy = models.NETWORKS[config.network].build(**card["arguments"], precision=config.precision)
            samples = Samples(copy, pictures.watched())

    for epoch in range(progress["step"] // epoch_steps, config.epochs):
        first, last = progress["step"], min((epoch + 1) * epoch_steps, total_steps)
        if first >= last:
            break
        batches = pictures.batches(epoch, range(first - epoch * epoch_steps, last - epoch * epoch_steps))
        means = progress.pop("means", ())
        means = means if batches.steps.start else ()
        keeper = CheckpointCallback(run, progress, batches, means, last, config.checkpoint_steps, interrupt, lead)
        started = time.monotonic()
        with Bar(f"epoch {epoch + 1}/{config.epochs}", batches.steps, config.batch, progress["history"], lead) as bar:
            logs = model.fit(  # shuffle: not once more, by a state that nobody keeps
                batches, shuffle=False, initial_epoch=epoch, epochs=epoch + 1, verbose=0, callbacks=[keeper, bar]
            ).history  # fmt: skip
        if keeper.stopped:
            stop(f"stopped and saved at step {progress['step']}: the same command with --resume goes on", 130)
        speed = len(batches) * config.batch / (time.monotonic() - started)

        row = {"epoch": epoch + 1, "step": last, "pictures": last * config.batch}
        row |= {name: values[-1] for name, values in logs.items()} | validate(model, pictures, epoch)
        if not math.isfinite(row["val_loss"]):
            raise Diverged(f"val_loss is {row['val_loss']} after step {last}; {advice(progress)}")
        weights = model.network.get_weights()
        if lead:
            with team.alone():
                row |= samples.health(weights)
        row |= {"learning_rate": float(model.optimizer.learning_rate), "pictures_per_second": speed}
        best = progress["best"] is None or row["val_loss"] < progress["best"]
        progress["best"] = row["val_loss"] if best else progress["best"]
        progress["history"].append(row)
        card["training"] |= {"epoch": epoch + 1, "step": last, "pictures": last * config.batch, "log": row}
        if lead:
            with team.alone():
                for name in ["last.keras"] + ["best.keras"] * best:
                    save(run / name, config.network, weights, card)
                log.write(progress["history"], samples.sheet(weights))

        model.trained.set_weights(keeper.weights)
        plateau.step(epoch, row["val_loss"])
        progress |= {"step": last, "plateau": plateau.state()}
        if lead:
            checkpoint.write(run, checkpoint.state_of(model), progress)
        if interrupt.asked:
            stop(f"stopped and saved after epoch {epoch + 1}: the same command with --resume goes on", 130)
    print(f"done: {run / 'best.keras'}, val_loss {progress['best']:.5f}")


class Pictures:
    """What a run is trained and validated on, as its manifest says."""

    def __init__(self, config, rows, team):
        self.config, self.share = config, (team.process, team.processes)
        self.train, self.val = (manifest.paths(rows, split) for split in ("train", "val"))
        self.scenes = manifest.scenes(rows) if config.labels_from_folders else []
        self.labels = {s: manifest.labels(rows, s, self.scenes) if self.scenes else None for s in ("train", "val")}

    def batches(self, epoch, steps=None):
        """The batches of an epoch, or those of its steps that are given, of which this process reads its share."""
        config = self.config
        order = Order(config.seed, epoch, config.crop, config.mirror)
        return Batches(self.train, config.size, config.batch, order, steps, self.labels["train"], self.share)

    def validation(self):
        config = self.config
        return Validation(self.val, config.size, config.batch, labels=self.labels["val"], share=self.share)

    def watched(self):
        """Validation pictures, the same in every epoch: uint8 (N, S, S, 3)."""
        config = self.config
        chosen = np.random.default_rng(config.seed).permutation(len(self.val))[:WATCHED]
        return Batches([self.val[i] for i in chosen], config.size, len(chosen))[0][0]


def validate(model, pictures, epoch):
    """{"val_loss": ...} of the weights that `fit` ends on, which are their moving average, where there is one.

    They are then what is shown and saved. Set anew, because on JAX they now share the memory of the optimizer's average,
    which `evaluate` would give away.
    """
    model.trained.set_weights(model.trained.get_weights())
    if pictures.config.average and model.trained.non_trainable_variables:
        steps = range(min(len(pictures.train) // pictures.config.batch, SETTLING))
        update_batch_norm(model, pictures.batches(epoch, steps))
    found = model.evaluate(pictures.validation(), verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in found.items()}


# --- the command line and the run folder


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, nargs="+", help="folders of photographs, or prepared ones")
    parser.add_argument("--val", type=Path, nargs="+", help="folders to validate on; without: a share of --data")
    parser.add_argument("--run", type=Path, help="folder of this run, made if absent")
    parser.add_argument("--preset", choices=list(configs.PRESETS), help="set of defaults (default: paper)")
    parser.add_argument("--resume", action="store_true", help="go on where the run stopped, or start it")
    parser.add_argument("--dry-run", action="store_true", help="print network, pictures, plan and expected time, and stop")
    parser.add_argument("--devices", type=int, help="devices to split each batch among (default: all GPUs of this machine)")
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, if several processes train together (JAX)"
    )
    parser.add_argument("--process", type=share, metavar="I/N", help="this is process I = 0..N-1 of N, for --coordinator")
    configs.add_flags(parser)
    options = parser.parse_args()
    if not options.run and not options.dry_run:
        parser.error("--run DIR is needed")
    if (options.coordinator is None) != (options.process is None):
        parser.error("--coordinator and --process go together")
    if options.coordinator and options.dry_run:
        parser.error("--dry-run: goes with one process")
    for folder in (options.data or []) + (options.val or []):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    return options


def prepare(options, team):
    """The configuration and the manifest: of the run that is there, or of a new one, which the first process writes."""
    if team.process:
        team.wait("prepared")
        if not (options.run / "config.json").exists():
            stop(f"{options.run}: not the folder that process 0 has; --run must name one that all processes share")
        return read_run(options.run)[1:]
    config, rows = prepare_first(options, team)
    team.wait("prepared")
    return config, rows


def prepare_first(options, team):
    asked = {name: [str(f.resolve()) for f in getattr(options, name)] for name in ("data", "val") if getattr(options, name)}
    path = options.run / "config.json" if options.run else None
    if path and path.exists():
        if not options.resume and not options.dry_run:
            stop(f"{options.run} holds a run: --resume goes on with it, another --run starts a new one")
        if not options.dry_run:
            hold(options)
        stored, config, rows = read_run(options.run)
        asked |= configs.given(options) | ({"preset": options.preset} if options.preset else {})
        held = stored["config"] | {name: stored[name] for name in ("preset", "data", "val")}
        for name, value in asked.items():
            if held[name] != value:
                stop(f"--{name.replace('_', '-')} {value}: the run in {options.run} has {held[name]}; leave it out")
        refuse_uneven(config, team)
        return config, rows

    if not options.data:
        stop("--data DIR is needed for a new run")
    preset = options.preset or "paper"
    try:
        config = configs.make(preset, configs.given(options))
        refuse_uneven(config, team)
        if config.start and not Path(config.start).is_file():
            raise ValueError(f"--start {config.start}: no such file")
        rows = manifest.scan_dataset(
            asked["data"], asked.get("val", []), config.validation, config.seed, config.limit, config.places2_natural,
            size=config.size, crop=config.crop,
        )  # fmt: skip
        if config.labels_from_folders:
            manifest.scenes(rows)  # refuses a folder that gives no labels, before anything is written
    except ValueError as error:
        stop(error)
    if not options.dry_run:
        options.run.mkdir(parents=True, exist_ok=True)
        hold(options)
        if path.exists():
            stop(f"{options.run}: another train.py has begun a run in it")
        manifest.write_manifest(options.run / "manifest.csv", rows)
        stored = {"preset": preset, "data": asked["data"], "val": asked.get("val", []), "config": asdict(config)}
        stored["manifest"] = sha256(options.run / "manifest.csv")
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(stored, indent=1))
    return config, rows


def hold(options):
    """Take the run folder for this process alone; the system gives it back when the process ends, killed or not."""
    options.held = lock(options.run / "lock")
    if not options.held:
        stop(f"{options.run}: another train.py is at work in it")
    for folder in (options.run, options.run / "samples"):
        remove_leftovers(folder)


def read_run(run):
    """What `prepare` wrote into a run folder: (config.json, its Config, the manifest's rows)."""
    try:
        stored = json.loads((run / "config.json").read_text())
        config = configs.check(configs.Config(**stored["config"]))
        if not stored.keys() >= {"preset", "data", "val"}:
            raise ValueError("incomplete")
    except (ValueError, TypeError, LookupError) as error:
        stop(f"{run / 'config.json'}: damaged ({error}); put back the one of this run, or start anew with another --run")
    try:
        rows = manifest.read_manifest(run / "manifest.csv")
        if stored.get("manifest") not in (None, sha256(run / "manifest.csv")):  # None: of a run begun by an earlier version
            raise ValueError(f"{run / 'manifest.csv'}: changed since the run began")
    except (ValueError, FileNotFoundError) as error:
        stop(f"{error}; put back the one of this run, or start anew with another --run")
    return stored, config, rows


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_uneven(config, team):
    if config.batch % len(team.names):
        stop(f"--batch {config.batch}: not divisible by {len(team.names)} devices; try another, or --devices")


def stop(message, status=2):
    tqdm.write(f"train.py: {message}", file=sys.stderr)  # on a line of its own, where a bar is drawn
    sys.exit(status)


# --- the model


def build(config, total_steps, counts=None, scenes=()):
    """The compiled model with its optimizer's state made, and the card that travels with the saved network.

    `counts` are of `color_counts`, for zhang2016's loss; `scenes` are the names of a classifier's classes.
    """
    keras.utils.set_random_seed(config.seed)
    arguments = {
        "aciids2020": {
            "edges": config.edges, "width": config.width, "whole": config.size, "input_scale": config.input_scale,
            "input_offset": config.input_offset, "initializer": config.initializer,
        },
        "iizuka2016": {"width": config.width},
        "zhang2016": {"width": config.width},
    }[config.network]  # fmt: skip
    module = models.NETWORKS[config.network]
    network = module.build(**arguments, precision=config.precision)
    print(f"network: {config.network}, {network.count_params():,} parameters, {config.precision}")
    loss = module.loss
    if config.network == "zhang2016":
        loss = functools.partial(loss, weights=module.rebalancing(counts))
    classifier = module.scenes(network, len(scenes)) if scenes else None
    model = TrainingModel(
        network, loss, config.saturation, config.clip_saturation, loss_layer=module.LOSS_LAYER, scenes=classifier,
        scene_weight=config.classification_weight, degraded=config.degrade, seed=config.seed,
    )  # fmt: skip
    optimizer = make_optimizer(
        config.optimizer, config.learning_rate, total_steps=total_steps, schedule=config.schedule, warmup=config.warmup,
        weight_decay=config.weight_decay, average=config.average, classification_rate=config.classification_rate,
        precision=config.precision,
    )  # fmt: skip
    # XLA is what JAX runs on; on TensorFlow it pays on a GPU, costs on a CPU, and is not for steps that are split
    gpu = keras.backend.backend() == "tensorflow" and keras.distribution.list_devices()[0].startswith("gpu")
    xla = keras.backend.backend() == "jax" or (gpu and devices.replicas() == 1)
    model.compile(optimizer=optimizer, jit_compile=xla)
    model.build((None, config.size, config.size, 3))
    optimizer.build(model.trainable_variables)
    card = {"arguments": arguments, "size": config.size, "saturation": config.saturation, "training": asdict(config)}
    card |= {"color_counts": counts} if counts else {}
    card |= {"classes": len(scenes), "scenes": scenes} if scenes else {}
    return model, card


def color_counts(files, config, run, write=True):
    """How many places of the target have each bin of zhang2016 as their nearest: a list, kept in the run folder."""
    path = run / "color_counts.json" if run else None
    if path and path.exists():
        try:
            return json.loads(path.read_text())
        except ValueError:
            stop(f"{path}: damaged; it is made anew when it is removed")
    chosen = np.random.default_rng([config.seed, 4]).permutation(len(files))[:COUNTED]
    batches = Batches([files[i] for i in chosen], config.size, 16)
    counts = np.zeros(len(zhang2016.bins()), int)
    for i in tqdm(range(len(batches)), "counting colours", leave=False):
        rgb = np.stack([resize(picture, config.size // 4, config.size // 4) for picture in batches[i][0]])  # as the output
        counts += zhang2016.count(target(rgb, config.saturation, config.clip_saturation))
    if path and write:
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(counts.tolist()))
    return counts.tolist()


def save(path, network, weights, card):
    with atomic(path) as temporary:
        model_file.save(temporary, network, weights, card)


def begin(options, config, model, card):
    """What has been done: by this run, if it is resumed, or nothing yet, from the weights that --start names, if any."""
    progress = {"step": 0, "history": [], "best": None, "plateau": None, "before": None}
    stored = resume(options.run, model) if options.resume else None
    if stored:
        progress |= stored
    elif config.start:
        try:
            progress["before"] = model_file.start(model.network, card["arguments"], config.start)
        except model_file.BadModel as error:
            stop(error)
    card["training"]["before"] = progress["before"]
    return progress


def resume(run, model):
    """Take up the newest sound checkpoint of a run. Returns its progress, None if the run has no checkpoint yet."""
    arrays, progress, refused = checkpoint.read(run)
    for name in refused:
        print(f"train.py: {name} is damaged and not used", file=sys.stderr)
    if progress is None:
        if refused:
            stop(f"no sound checkpoint in {run}: start again with another --run")
        return None
    for kind, variables in checkpoint.variables_of(model).items():
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays[kind]]:
            stop(f"the checkpoint in {run} is of another network than its config.json: start anew with another --run")
        for variable, array in zip(variables, arrays[kind]):
            variable.assign(array)
    print(f"resumed after step {progress['step']}")
    return progress | {"means": arrays["metrics"]}


def dry_run(model, batches, total_steps):
    model.network.summary(line_length=110)
    batch = batches[0]
    model.train_on_batch(*batch)  # the first step also traces
    started = time.monotonic()
    for _ in range(3):
        model.train_on_batch(*batch)
    seconds = round((time.monotonic() - started) / 3 * total_steps)
    print(f"expected time: {timedelta(seconds=seconds)} (h:mm:ss) for {total_steps} steps, without validation")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the first step: there is nothing to save
        sys.exit(130)
