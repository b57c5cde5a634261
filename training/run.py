"""The folder of a training run: what the run was started with, and which command may resume it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import configs
from data import manifest
from models import NETWORKS
from models import file as model_file
from utils import atomic, lock, remove_leftovers


class RunError(Exception):
    """A run that cannot be started or go on. The message is one line."""

    status = 2  # with which train.py ends


@dataclass
class Run:
    """What config.json and manifest.csv of a run hold."""

    folder: Path | None  # None: a dry run of a run that is not there
    preset: str
    data: list[str]
    val: list[str]
    config: configs.Config
    rows: list[dict]  # of the manifest
    scanned: list[str] = field(
        default_factory=list
    )  # where manifest.csv has data and val, if moved
    lock: object = None  # as long as it is held, no other process trains in the folder


def prepare(options, devices):
    """The run that the options ask for, its folder written and locked; a dry run writes nothing.

    Process 0 scans the pictures, the others read what it wrote.

    Args:
        options: of `configs.parse_training`.
        devices: training.devices.Devices.

    Raises:
        RunError: the options contradict the folder's run or their pictures, or the folder is
            damaged or in use.
    """
    if devices.process:
        devices.barrier("prepared")
        if not (options.run / "config.json").exists():
            raise RunError(f"{options.run}: process 0 has another folder; all must share --run")
        return read(options.run)
    is_new = not (options.run and (options.run / "config.json").exists())
    run = _new_run(options) if is_new else _resumed(options)
    batch, count = run.config.batch, len(devices.names)
    if batch % count:
        raise RunError(f"--batch {batch}: not divisible by {count} devices; see --devices")
    trained, validated = (len(manifest.paths(run.rows, split)) for split in ("train", "val"))
    if trained < batch or not validated:
        found = f"{trained} to train on at batch {batch}, {validated} to validate on"
        raise RunError(f"too few pictures: {found}")
    if not options.dry_run:
        run.folder.mkdir(parents=True, exist_ok=True)
        run.lock = hold(run.folder)
        if is_new:
            if (run.folder / "config.json").exists():
                raise RunError(f"{run.folder}: another train.py has begun a run in it")
            manifest.write_manifest(run.folder / "manifest.csv", run.rows)
        if is_new or run.scanned:
            _store(run)
    devices.barrier("prepared")
    return run


def _new_run(options):
    data, val = _folders(options)
    preset = options.preset or "paper"
    try:
        config = configs.make(preset, configs.given(options))
        if config.init_from:  # refused before the pictures are scanned
            initial_weights(config)
        c = config
        rows = manifest.scan_dataset(data, val, c.validation, c.seed, c.limit, c.places2_natural)
        if config.labels_from_folders:
            manifest.class_names(rows)
    except ValueError as error:
        raise RunError(error) from error
    return Run(options.run, preset, data, val, config, rows)


def _resumed(options):
    if not options.resume and not options.dry_run:
        advice = "--resume goes on with it, another --run starts a new one"
        raise RunError(f"{options.run} holds a run: {advice}")
    run = read(options.run)
    asked = dict(zip(("data", "val"), _folders(options)))
    asked |= {"preset": options.preset} | configs.given(options)
    _find_data(run, asked, options)
    held = asdict(run.config) | {name: getattr(run, name) for name in ("preset", "data", "val")}
    for name, value in asked.items():
        if value not in (None, []) and held[name] != value:
            flag = f"--{name.replace('_', '-')} {value}"
            raise RunError(f"{flag}: the run in {options.run} has {held[name]}; leave it out")
    return run


def _folders(options):
    """--data and --val as lists of absolute paths."""
    return [[str(f.resolve()) for f in found or []] for found in (options.data, options.val)]


def _find_data(run, asked, options):
    """Take the run's pictures from the folders that are asked for, where they hold all of them."""
    scanned = run.scanned or run.data + run.val
    for name in ("data", "val"):
        old, new = getattr(run, name), asked[name]
        if new and old and new != old:
            try:
                run.rows = manifest.moved(run.rows, old, new)
            except ValueError as error:
                asks = f"--{name} {' '.join(new)}"
                text = f"{asks}: does not hold the pictures of {options.run}: {error}"
                raise RunError(text) from error
            setattr(run, name, new)
            run.scanned = scanned
    for name in ("data", "val"):
        for folder in getattr(run, name):
            if not Path(folder).is_dir():
                advice = f"If they were moved, --{name} NEW names the new place"
                text = f"{folder}: no such folder; it holds the pictures of {options.run}. {advice}"
                raise RunError(text)


def initial_weights(config):
    """Of --init-from: (weights, what its metadata says of its training). Raises RunError."""
    arguments = NETWORKS[config.network].arguments(config)
    try:
        return model_file.initial_weights(config.init_from, config.network, arguments)
    except model_file.BadModel as error:
        raise RunError(error) from error


def _store(run):
    stored = {name: getattr(run, name) for name in ("preset", "data", "val", "scanned")}
    stored |= {"config": asdict(run.config), "manifest": sha256(run.folder / "manifest.csv")}
    with atomic(run.folder / "config.json", flush=True) as temporary:
        temporary.write_text(json.dumps(stored, indent=1))


def read(folder):
    """The run in a folder. Raises RunError where it is damaged."""
    advice = "put back the one of this run, or start anew with another --run"
    path, table = folder / "config.json", folder / "manifest.csv"
    try:
        stored = json.loads(path.read_text())
        config = configs.check(configs.Config(**stored["config"]))
        preset, data, val, digest = (stored[name] for name in ("preset", "data", "val", "manifest"))
        scanned = list(stored.get("scanned", []))
    except (ValueError, TypeError, LookupError) as error:
        raise RunError(f"{path}: damaged ({error}); {advice}") from error
    try:
        rows = manifest.read_manifest(table)
        if digest != sha256(table):
            raise ValueError(f"{table}: changed since the run began")
    except (ValueError, FileNotFoundError) as error:
        raise RunError(f"{error}; {advice}") from error
    places = dict(zip(scanned, data + val))
    rows = [row | {"folder": places.get(row["folder"], row["folder"])} for row in rows]
    return Run(folder, preset, data, val, config, rows, scanned)


def hold(folder):
    """Take the folder for this process alone: the open lock file, freed when the process ends."""
    held = lock(folder / "lock")
    if not held:
        raise RunError(f"{folder}: another train.py is at work in it")
    for place in (folder, folder / "samples"):
        remove_leftovers(place)
    return held


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
