"""The folder of a training run: what the run was started with, and whether a command may go on with it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import configs
from data import manifest
from utils import atomic, lock, remove_leftovers


class RunError(Exception):
    """A run that cannot be started or resumed. The message is one line."""


@dataclass
class Run:
    """What config.json and manifest.csv of a run hold."""

    folder: Path | None  # None: a dry run of a run that is not there
    preset: str
    data: list[str]
    val: list[str]
    config: configs.Config
    rows: list[dict]  # of the manifest
    lock: object = None  # held as long as this process lives
    scanned: list[str] = field(
        default_factory=list
    )  # data and val as manifest.csv names them, if they were moved


def start(options, devices):
    """The run that the options ask for: the one that its folder holds, or a new one, of which nothing is written yet.

    Args:
        options: of `configs.parse_training`.
        devices: training.devices.Devices, among which a batch is to be split.

    Raises:
        RunError: the folder's run contradicts the options, is damaged, or is at work.
    """
    asked = {
        name: [str(f.resolve()) for f in getattr(options, name) or []] for name in ("data", "val")
    }
    if options.run and (options.run / "config.json").exists():
        if not options.resume and not options.dry_run:
            raise RunError(
                f"{options.run} holds a run: --resume goes on with it, another --run starts a new one"
            )
        run = read(options.run)
        asked = {name: value for name, value in asked.items() if value} | configs.given(options)
        asked |= {"preset": options.preset} if options.preset else {}
        _find_data(run, asked, options)
        held = asdict(run.config) | {name: getattr(run, name) for name in ("preset", "data", "val")}
        for name, value in asked.items():
            if held[name] != value:
                raise RunError(
                    f"--{name.replace('_', '-')} {value}: the run in {options.run} has {held[name]}; leave it out"
                )
        run.lock = None if options.dry_run else hold(options.run)
        if run.scanned and not options.dry_run:
            _store(run)
    else:
        preset = options.preset or "paper"
        try:
            config = configs.make(preset, configs.given(options))
            rows = manifest.scan_dataset(
                asked["data"],
                asked["val"],
                config.validation,
                config.seed,
                config.limit,
                config.places2_natural,
            )
            if config.labels_from_folders:
                manifest.class_names(rows)
        except ValueError as error:
            raise RunError(error) from error
        run = Run(options.run, preset, asked["data"], asked["val"], config, rows)
    if run.config.batch % len(devices.names):
        raise RunError(
            f"--batch {run.config.batch}: not divisible by {len(devices.names)} devices; try another, or --devices"
        )
    trained, validated = (len(manifest.paths(run.rows, split)) for split in ("train", "val"))
    if trained < run.config.batch or not validated:
        raise RunError(
            f"too few pictures: {trained} to train on at batch {run.config.batch}, {validated} to validate on"
        )
    return run


def _find_data(run, asked, options):
    """Let the run take its pictures from the folders that are asked for, where they hold all of them.

    Raises RunError, in one line, where a folder is not there.
    """
    scanned = run.scanned or run.data + run.val
    for name in ("data", "val"):
        old, new = getattr(run, name), asked.get(name)
        if new and old and new != old:
            try:
                run.rows = manifest.moved(run.rows, old, new)
            except ValueError as error:
                raise RunError(
                    f"--{name} {' '.join(new)}: does not hold the pictures of {options.run}: {error}"
                ) from error
            setattr(run, name, new)
            run.scanned = scanned
    for name in ("data", "val"):
        for folder in getattr(run, name):
            if not Path(folder).is_dir():
                raise RunError(
                    f"{folder}: no such folder; it holds the pictures of {options.run}. "
                    f"If they were moved, --{name} NEW names the new place"
                )


def write(run):
    """Write a new run's configuration and manifest, and lock its folder. Raises RunError where another was faster."""
    run.folder.mkdir(parents=True, exist_ok=True)
    run.lock = hold(run.folder)
    if (run.folder / "config.json").exists():
        raise RunError(f"{run.folder}: another train.py has begun a run in it")
    manifest.write_manifest(run.folder / "manifest.csv", run.rows)
    _store(run)


def _store(run):
    stored = {"preset": run.preset, "data": run.data, "val": run.val, "config": asdict(run.config)}
    stored |= {"scanned": run.scanned} if run.scanned else {}
    stored["manifest"] = sha256(run.folder / "manifest.csv")
    with atomic(run.folder / "config.json") as temporary:
        temporary.write_text(json.dumps(stored, indent=1))


def read(folder):
    """The run in a folder. Raises RunError where it is damaged."""
    advice = "put back the one of this run, or start anew with another --run"
    try:
        stored = json.loads((folder / "config.json").read_text())
        config = configs.check(configs.Config(**stored["config"]))
        preset, data, val, digest = (stored[name] for name in ("preset", "data", "val", "manifest"))
        scanned = list(stored.get("scanned", []))
    except (ValueError, TypeError, LookupError) as error:
        raise RunError(f"{folder / 'config.json'}: damaged ({error}); {advice}") from error
    try:
        rows = manifest.read_manifest(folder / "manifest.csv")
        if digest != sha256(folder / "manifest.csv"):
            raise ValueError(f"{folder / 'manifest.csv'}: changed since the run began")
    except (ValueError, FileNotFoundError) as error:
        raise RunError(f"{error}; {advice}") from error
    places = dict(zip(scanned, data + val))
    rows = [row | {"folder": places.get(row["folder"], row["folder"])} for row in rows]
    return Run(folder, preset, data, val, config, rows, scanned=scanned)


def hold(folder):
    """Take the folder for this process alone: the open lock file. The system frees it when the process ends."""
    held = lock(folder / "lock")
    if not held:
        raise RunError(f"{folder}: another train.py is at work in it")
    for place in (folder, folder / "samples"):
        remove_leftovers(place)
    return held


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
