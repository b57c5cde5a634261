"""The training options: the paper's values as defaults, presets, command line."""

import argparse
import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from utils import share


def paper(default, text, within=None, choices=None, source="paper"):
    """A field of Config whose default is the paper's or its authors'; `within`: its limits."""
    about = {"help": text, "within": within, "choices": choices, "source": source}
    return field(default=default, metadata=about)


def option(default, text, within=None):
    """A field of Config whose default is this project's."""
    return paper(default, text, within, source="default")


NETWORKS = ("aciids2020", "efficientnet_unet", "iizuka2016", "zhang2016")
INITIALIZERS = ("glorot_uniform", "he_uniform", "he_gentle")
OPTIMIZERS = ("sgd", "adam", "adamw", "muon", "adadelta")
PRECISIONS = ("float32", "mixed_bfloat16")
SCHEDULES = ("plateau", "cosine", "steps", "constant")
MILESTONES = 225_000, 500_000  # of the schedule "steps", from the solver of Zhang et al.
GROUPS = {"network": "network", "saturation": "target", "size": "pictures", "batch": "optimization"}
ANY, COUNT, SHARE = (0, math.inf), (1, math.inf), (0, 0.999999)


@dataclass(frozen=True)
class Config:
    """How a network is trained; GROUPS names the first field of each group of options.

    Defaults: the paper's text and the authors' released configuration.
    """

    network: str = paper("aciids2020", "network to train", choices=NETWORKS)
    edges: bool = paper(True, "edge detection network; without it: the paper's ablation")
    width: float = paper(1.0, "factor on the number of filters", (0.001, 2))
    input_scale: float = paper(1.0, "the network sees scale * L + offset, L in 0..100")
    input_offset: float = paper(0.0, "see --input-scale")
    initializer: str = paper("glorot_uniform", "of the kernels", choices=INITIALIZERS)
    init_from: str = option("", "file of a network whose weights to begin with; none: random")

    saturation: float = paper(1.8, "T: factor on the HSV saturation of the target", ANY)
    clip_saturation: bool = paper(False, "limit T * S to 1")
    labels_from_folders: bool = option(False, "also train a classifier of the folders in --data")

    size: int = paper(256, "side of the training pictures, a multiple of 8 pixels", (16, 1024))
    crop: float = paper(1.0, "smallest share of each side that a random crop keeps", (0.01, 1))
    mirror: bool = paper(False, "exchange left and right at random")
    degrade: float = paper(0.0, "share of pictures whose L gets faults of old photographs", (0, 1))
    load_size: int = paper(0, "resize to this side, then cut a random window of --size; 0: no", ANY)
    as_published: bool = option(
        False, "as the authors: resized to nearest, a short last batch, a network kept every epoch"
    )
    validation: float = paper(0.1, "share of pictures to validate on, without --val", SHARE)
    limit: int = option(0, "use at most so many of the pictures; 0: all", ANY)
    places2_natural: bool = option(False, "only natural scenes of Places2, by names of folders")

    batch: int = paper(16, "pictures in a step", COUNT)
    epochs: int = paper(40, "passes over the training pictures", COUNT)
    steps: int = option(0, "end after so many steps, within the epochs; 0: no limit", ANY)
    optimizer: str = paper("sgd", "optimizer", choices=OPTIMIZERS)
    learning_rate: float = paper(0.01, "highest learning rate", (1e-12, math.inf))
    slow_rate: float = paper(1.0, "factor on the learning rate of CN, or of an encoder", ANY)
    beta_2: float = option(0.999, "of Adam and AdamW", SHARE)
    weight_decay: float = paper(0.0, "decoupled, times the rate; with adam: in the gradient", ANY)
    schedule: str = paper(
        "plateau",
        "plateau: x 0.1 after 10 epochs without a better val_loss; cosine: falls to 0 at the end; "
        "steps: x 0.1 after 225,000 and 500,000 steps",
        choices=SCHEDULES,
    )
    warmup: int = option(0, "steps over which the rate of the cosine schedule rises from 0", ANY)
    ema_decay: float = option(0.0, "of the moving average of weights to save; 0: none", SHARE)
    precision: str = paper("float32", "Keras dtype policy of the network", choices=PRECISIONS)
    seed: int = option(0, "of the split, order, crops, faults and initial weights", ANY)
    checkpoint_steps: int = option(500, "steps between checkpoints within an epoch", COUNT)


# 4 pictures/s on two CPU cores; relative MSE 0.821 after 512 steps, --warmup 50 --ema-decay 0.98
TUNED = Config(
    input_scale=0.01,
    input_offset=-0.5,
    initializer="he_gentle",
    crop=0.6,
    mirror=True,
    optimizer="adamw",
    learning_rate=6e-4,
    slow_rate=0.1,
    weight_decay=1e-3,
    schedule="cosine",
    warmup=500,
    ema_decay=0.999,
    precision="mixed_bfloat16",
)
PRESETS = {  # train.py --data data_256 --places2-natural --run runs/NAME --preset NAME
    # Never run to its end here; relative MSE 0.902 after 512 steps
    "paper": Config(),
    "tuned": TUNED,
    # Iizuka et al. 2016: 200,000 steps, which are 125 passes over 206,000 pictures; relative MSE
    # 0.986 after 400 steps at --size 64
    "iizuka": Config(
        network="iizuka2016",
        saturation=1.0,
        size=224,
        batch=128,
        epochs=125,
        steps=200_000,
        optimizer="adadelta",
        learning_rate=1.0,
        schedule="constant",
    ),
    # Zhang et al. 2016: the released solver; 100 passes over 228,942 pictures are 515,000 steps;
    # relative MSE 1.171 after 1,280 steps at --size 64 --load-size 96
    "zhang": Config(
        network="zhang2016",
        saturation=1.0,
        size=176,
        load_size=256,
        mirror=True,
        batch=40,
        epochs=100,
        optimizer="adam",
        learning_rate=3.16e-5,
        beta_2=0.99,
        weight_decay=1e-3,
        schedule="steps",
    ),
    # train.py --data TRAIN --val VAL --preset pretrained --size 48 --epochs 16 --run 48, then
    # --size 64 and 80 (models/pretrained/README.md): 11 hours of two CPU cores, relative MSE 0.645
    "pretrained": replace(
        TUNED,
        size=64,
        degrade=0.5,
        batch=64,
        optimizer="muon",
        learning_rate=1e-3,
        warmup=200,
        checkpoint_steps=250,
    ),
    # 100 pictures/s on two idle CPU cores; the commands and scores of the bundled one are on its page
    "objects": replace(
        TUNED,
        network="efficientnet_unet",
        saturation=1.0,
        size=96,
        crop=0.5,
        degrade=0.5,
        batch=64,
        epochs=30,
        learning_rate=1e-3,
        warmup=100,
        ema_decay=0.998,
        checkpoint_steps=250,
    ),
}
SIZE_STEPS = {"efficientnet_unet": 32}  # of the side that a network takes, where it is not 8


def check(config):
    """The configuration itself. Raises ValueError, one line, for invalid values."""
    for f in fields(config):
        low, high = f.metadata["within"] or (-math.inf, math.inf)
        value = getattr(config, f.name)
        if f.type in (int, float) and not low <= value <= high:  # NaN fails too
            allowed = f"{low} or more" if high == math.inf else f"{low} to {high}"
            raise ValueError(f"{_flag(f.name)} {value}: {allowed}")

    c, step = config, SIZE_STEPS.get(config.network, 8)
    changed = c.crop < 1 or c.mirror or c.load_size or c.degrade
    for is_wrong, text in (
        (c.size % step, f"size {c.size}: a multiple of {step} for {c.network}"),
        (not c.edges and c.network != "aciids2020", f"no-edges: {c.network} has no edge network"),
        (
            c.labels_from_folders and c.network != "iizuka2016",
            f"labels-from-folders: {c.network} has no classifier",
        ),
        (c.warmup and c.schedule != "cosine", "warmup: goes with --schedule cosine"),
        (0 < c.load_size < c.size, f"load-size {c.load_size}: below --size"),
        (c.load_size and c.crop < 1, "load-size: goes without --crop"),
        (
            c.as_published and changed,
            "as-published: goes without --crop, --mirror, --load-size, --degrade",
        ),
    ):
        if is_wrong:
            raise ValueError(f"--{text}")
    return config


def _flag(name):
    return "--" + name.replace("_", "-")


def make(preset, changes):
    """The preset with some of its fields changed, checked."""
    config = check(replace(PRESETS[preset], **changes))
    if config.init_from and not Path(config.init_from).is_file():
        raise ValueError(f"--init-from {config.init_from}: no such file")
    return config


def given(namespace):
    """The fields that the command line names, as a dict."""
    return {f.name: getattr(namespace, f.name) for f in fields(Config) if f.name in namespace}


def _add_fields(parser):
    """An option for every field; one that is not given stays out of the namespace."""
    for f in fields(Config):
        if f.name in GROUPS:
            group = parser.add_argument_group(GROUPS[f.name])
        kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
        kind |= {"choices": f.metadata["choices"]} if f.metadata["choices"] else {}
        text = f"{f.metadata['help']} ({f.metadata['source']}: {f.default})".replace("%", "%%")
        group.add_argument(_flag(f.name), help=text, default=argparse.SUPPRESS, **kind)


def parse_training(arguments=None):
    """The options of train.py, with `config` for a new run.

    Exits with one line and status 2 where they are wrong.
    """
    parser = argparse.ArgumentParser(
        prog="train.py",
        usage="train.py --data DIR [DIR ...] --run DIR [options]",
        description="Train a colorization network on folders of photographs.",
        epilog="example: train.py --data photographs --run runs/first --preset tuned --size 128",
        allow_abbrev=False,
    )
    run = parser.add_argument_group("run").add_argument
    run("--data", type=Path, nargs="+", help="folders of photographs")
    run("--val", type=Path, nargs="+", help="folders to validate on; none: a share of --data")
    run("--run", type=Path, required=True, help="folder of this run, made if absent")
    run("--preset", choices=list(PRESETS), help="set of defaults (default: paper)")
    run("--resume", action="store_true", help="go on where the run stopped, or start it")
    processes = parser.add_argument_group("several processes (JAX)").add_argument
    processes("--coordinator", metavar="HOST:PORT", help="of process 0")
    processes("--process", type=share, metavar="I/N", help="this one's number 0..N-1, of N")
    _add_fields(parser)
    options = parser.parse_args(arguments)
    if getattr(options, "init_from", ""):
        options.init_from = os.path.abspath(options.init_from)
    if bool(options.coordinator) != bool(options.process):
        parser.error("--coordinator and --process go together")
    for folder in (options.data or []) + (options.val or []):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    if options.run.exists() and not options.run.is_dir():
        parser.error(f"--run {options.run}: not a folder")
    options.config = None
    if not (options.run / "config.json").exists():
        if not options.data:
            parser.error("--data DIR is needed for a new run")
        try:
            options.config = make(options.preset or "paper", given(options))
        except ValueError as error:
            parser.error(str(error))
    return options
