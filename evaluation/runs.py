"""The networks that the figures compare: what they differ in, and their training by train.py, one after the other."""

import argparse
import csv
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import configs
from utils import printable

TRAIN = Path(__file__).parent.parent / "train.py"
SATURATIONS = (1.0, 1.4, 1.6, 1.8, 2.0)  # the paper's T

# What the runs differ in, all else being the preset's. The networks of other papers are trained towards their own target,
# the photograph's colours.
VARIANTS = {f"t{t:g}": {"network": "aciids2020", "edges": True, "saturation": t} for t in SATURATIONS}
VARIANTS["no-edges"] = {"network": "aciids2020", "edges": False, "saturation": 1.8}
VARIANTS |= {name: {"network": name, "saturation": 1.0} for name in ("iizuka2016", "zhang2016")}


class Failed(Exception):
    """Training cannot begin or has ended early: a message of one line, the exit status."""


def train(names, data, val, out, pictures, preset, flags):
    """Train some of VARIANTS, one run after the other; what is done stays as it is.

    Args:
        names: of the runs, each with a folder of its name in `out`.
        data, val: folders of photographs; without `val` a share of `data` is split off.
        out: pathlib.Path.
        pictures: that each network sees, repetitions counted.
        preset, flags: of train.py, for all of them.

    Raises Failed, or SystemExit where the flags are none of train.py.
    """
    given = flags_given(flags)
    fixed = sorted({"network", "edges", "saturation", "steps", "epochs"} & given.keys())
    if fixed:
        raise Failed(f"--{fixed[0]}: is decided by the run", 2)
    try:
        batch = configs.make(preset, given).batch
        steps = -(-pictures // batch)
        # At most as many passes as steps: however few the photographs, every run sees its number of pictures.
        needed = {name: changes | {"steps": steps, "epochs": steps} for name, changes in VARIANTS.items() if name in names}
        wanted = {name: configs.make(preset, given | changes) for name, changes in needed.items()}
    except ValueError as error:
        raise Failed(error, 2) from None
    folders = ["--data", *map(str, data), *(["--val", *map(str, val)] if val else [])]
    resolved = {key: [str(path.resolve()) for path in paths] for key, paths in (("data", data), ("val", val))}
    todo = {}
    for name, changes in needed.items():
        if step := reached(out / name, resolved | {"preset": preset, "config": asdict(wanted[name])}):
            print(f"{name}: at step {step} of {steps}", flush=True)
        if step < steps:
            todo[name] = [*folders, "--preset", preset, *flags, *flags_of(changes)]
    if todo:
        print(f"{len(todo)} runs of {steps} steps, {batch} pictures each", flush=True)
    for name, arguments in todo.items():
        print(f"\n{name}: {printable(out / name)}", flush=True)
        status = run([*arguments, "--run", str(out / name), "--resume"])
        if status:
            raise Failed(f"{name} ended with status {status}; the same command goes on from there", status)
    print(f"done: {', '.join(needed)}")


def flags_given(flags):
    """What flags of train.py set, as fields of configs.Config."""
    parser = argparse.ArgumentParser(prog="figures.py train ... --", allow_abbrev=False)
    configs.add_options(parser)
    return configs.given(parser.parse_args(flags))


def flags_of(changes):
    """Fields of configs.Config as flags of train.py."""
    flags = []
    for name, value in changes.items():
        flag = name.replace("_", "-")
        flags += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return flags


def reached(folder, asked):
    """The step up to which a run was trained and validated, 0 if it is not there. One with other settings is refused."""
    if not (folder / "config.json").exists():
        return 0
    held = json.loads((folder / "config.json").read_text())
    if {name: held.get(name) for name in asked} != asked:
        raise Failed(f"{printable(folder)} holds a run with other settings: give them again, or another --out", 2)
    if not (folder / "log.csv").exists():
        return 0
    with open(folder / "log.csv", newline="") as file:
        return int(list(csv.DictReader(file))[-1]["step"])


def run(arguments):
    """train.py in a process of its own, which hears of Ctrl-C from here and once: twice would end it unsaved."""
    child = subprocess.Popen([sys.executable, str(TRAIN), *arguments], start_new_session=True)
    before = {n: signal.signal(n, lambda number, frame: child.send_signal(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    status = child.wait()
    for signum, handler in before.items():
        signal.signal(signum, handler)
    return status if status >= 0 else 128 - status  # as a shell says it
