"""The folder of a training run: what it was started with, and which command may resume it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import configs
from data import manifest
from models import file as model_file
from utils import atomic, lock, remove_leftovers


class RunError(Exception):
    """A run cannot start or go on: one line, and the exit status of train.py."""

    def __init__(self, message, status=2):
        super().__init__(message)
        self.status = status


@dataclass
class Run:
    """What config.json and manifest.csv of a run hold."""

    folder: Path
    preset: str
    data: list[str]  # absolute paths, as `val`
    val: list[str]
    config: configs.Config
    rows: list[dict]  # of the manifest
    lock: object = None  # as long as it is held, no other process trains in the folder


def prepare(options, devices):
    """The run that the options ask for, its folder written and locked.

    Process 0 scans the pictures, the others read what it wrote. Raises RunError if the options
    contradict the folder's run or the pictures, or the folder is damaged or in use.
    """
    if devices.process:
        devices.barrier("prepared")
        return read(options.run)
    run = _new_run(options) if options.config else _resumed(options)
    batch, count = run.config.batch, len(devices.names)
    if batch % count:
        raise RunError(f"--batch {batch}: not divisible by {count} devices")
    trained, validated = (len(manifest.paths(run.rows, split)) for split in ("train", "val"))
    if trained < batch or not validated:
        found = f"{trained} to train on at batch {batch}, {validated} to validate on"
        raise RunError(f"too few pictures: {found}")
    run.folder.mkdir(parents=True, exist_ok=True)
    run.lock = lock(run.folder / "lock")
    if not run.lock:
        raise RunError(f"{run.folder}: another train.py is at work in it")
    for folder in (run.folder, run.folder / "samples"):
        remove_leftovers(folder)
    manifest.write_manifest(run.folder / "manifest.csv", run.rows)
    stored = {name: getattr(run, name) for name in ("preset", "data", "val")}
    stored |= {"config": asdict(run.config), "manifest": _digest(run.rows)}
    with atomic(run.folder / "config.json", flush=True) as temporary:
        temporary.write_text(json.dumps(stored, indent=1))
    devices.barrier("prepared")
    return run


def _new_run(options):
    c, folders = options.config, _folders(options)
    try:
        if c.init_from:  # refused before the pictures are scanned
            model_file.initial_weights(c)
        rows = manifest.scan_dataset(*folders, c.validation, c.seed, c.limit, c.places2_natural)
        if c.labels_from_folders:
            manifest.class_names(rows)
    except ValueError as error:
        raise RunError(error) from error
    return Run(options.run, options.preset or "paper", *folders, c, rows)


def _resumed(options):
    if not options.resume:
        advice = "--resume goes on with it, another --run starts a new one"
        raise RunError(f"{options.run} holds a run: {advice}")
    run = read(options.run)
    asked = dict(zip(("data", "val"), _folders(options))) | {"preset": options.preset}
    for name, value in (asked | configs.given(options)).items():
        held = getattr(run, name, None) or getattr(run.config, name, None)
        if value not in (None, [], held):
            flag = f"--{name.replace('_', '-')} {value}"
            raise RunError(f"{flag}: the run in {options.run} has {held}; leave it out")
    for folder in run.data + run.val:
        if not Path(folder).is_dir():
            raise RunError(f"{folder}: no such folder. If it was moved, put a link in its place")
    return run


def _folders(options):
    """--data and --val as lists of absolute paths."""
    return [[str(f.resolve()) for f in found or []] for found in (options.data, options.val)]


def _digest(rows):
    """Of which picture is for what."""
    pairs = json.dumps([(row["path"], row["split"]) for row in rows])
    return hashlib.sha256(pairs.encode()).hexdigest()


def read(folder):
    """The run in a folder. Raises RunError where it is damaged."""
    try:
        stored = json.loads((folder / "config.json").read_text())
        rows = manifest.read_manifest(folder / "manifest.csv")
        if stored["manifest"] != _digest(rows):
            raise ValueError("manifest.csv has changed since the run began")
        config = configs.check(configs.Config(**stored["config"]))
        return Run(folder, stored["preset"], stored["data"], stored["val"], config, rows)
    except (ValueError, TypeError, LookupError, FileNotFoundError) as error:
        advice = "put back those of this run, or start anew with another --run"
        files = f"{folder}: config.json or manifest.csv is damaged ({error})"
        raise RunError(f"{files}; {advice}") from error
