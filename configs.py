"""The training options: one frozen dataclass with the paper's values as defaults, and presets.

`parse_training` is the command line of train.py.
"""

import argparse
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from utils import share


def option(default, text, choices=None):
    """A field of Config whose default is this project's."""
    return field(default=default, metadata={"help": text, "choices": choices, "source": "default"})


def paper(default, text, choices=None):
    """A field of Config whose default is the paper's or its authors', as --help says."""
    return field(default=default, metadata={"help": text, "choices": choices, "source": "paper"})


NETWORKS = ("aciids2020", "efficientnet_unet", "iizuka2016", "zhang2016")
INITIALIZERS = ("glorot_uniform", "he_uniform", "he_gentle")
OPTIMIZERS = ("sgd", "adam", "adamw", "muon", "adadelta")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("plateau", "cosine", "steps", "constant")
SCHEDULE = "plateau: x 0.1 after 10 epochs without a better val_loss; cosine: falls to 0 at the end"
SLOW = "factor on the rate of the variables in a network's SLOW_PREFIXES, of aciids2020: CN"
GROUPS = {"network": "network", "saturation": "target", "size": "pictures", "batch": "optimization"}


@dataclass(frozen=True)
class Config:
    """How a network is trained; GROUPS names the first field of each group of options.

    Defaults: the paper's text and the authors' released configuration.
    """

    network: str = paper("aciids2020", "network to train", NETWORKS)
    edges: bool = paper(True, "edge detection network; without it: the paper's ablation")
    width: float = paper(1.0, "factor on the number of filters")
    input_scale: float = paper(1.0, "the network sees scale * L + offset, L in 0..100")
    input_offset: float = paper(0.0, "see --input-scale")
    initializer: str = paper("glorot_uniform", "of the kernels", INITIALIZERS)
    init_from: str = option("", "file of a network whose weights to begin with; none: random")

    saturation: float = paper(1.8, "T: factor on the HSV saturation of the target")
    clip_saturation: bool = paper(False, "limit T * S to 1")
    labels_from_folders: bool = option(False, "also train a classifier of the folders in --data")
    classification_weight: float = option(0.0, "of that classifier's cross-entropy in the loss")

    size: int = paper(256, "side of the training pictures in pixels, divisible by 8")
    crop: float = paper(1.0, "smallest share of each side that a random crop keeps; 1: no crops")
    mirror: bool = paper(False, "exchange left and right at random")
    degrade: float = paper(0.0, "share of the pictures whose L gets the faults of old photographs")
    load_size: int = paper(0, "resize to this side, then cut a random window of --size; 0: no")
    as_published: bool = option(
        False, "as the authors: resized to nearest, a short last batch, a network kept every epoch"
    )
    validation: float = paper(0.1, "share of the pictures used for validation, without --val")
    limit: int = option(0, "use at most so many of the pictures; 0: all")
    places2_natural: bool = option(False, "only natural scenes of Places2, by names of folders")

    batch: int = paper(16, "pictures in a step")
    epochs: int = paper(40, "passes over the training pictures")
    steps: int = option(0, "end after so many steps, within the epochs; 0: no limit")
    optimizer: str = paper("sgd", "optimizer", OPTIMIZERS)
    learning_rate: float = paper(0.01, "highest learning rate")
    slow_rate: float = paper(1.0, SLOW)
    beta_2: float = option(0.999, "of Adam and AdamW")
    weight_decay: float = paper(0.0, "decoupled, times the rate; with adam: in the gradient")
    schedule: str = paper("plateau", SCHEDULE, SCHEDULES)
    milestones: str = option("", "steps, with commas, after which --schedule steps takes x 0.1")
    warmup: int = option(0, "steps over which the rate of the cosine schedule first rises from 0")
    ema_decay: float = option(0.0, "of the moving average of weights that is saved; 0: none")
    precision: str = paper("float32", "Keras dtype policy of all but output and loss", PRECISIONS)
    seed: int = option(0, "of the split, the order, the crops, the faults and the initial weights")
    checkpoint_steps: int = option(500, "steps between checkpoints, beside each epoch's last")


# What "tuned", "pretrained" and "objects" share
AUGMENTED = {"crop": 0.6, "mirror": True, "precision": "mixed_bfloat16"}
ADAMW = {"optimizer": "adamw", "slow_rate": 0.1, "weight_decay": 1e-3, "schedule": "cosine"}
# train.py --data data_256 --places2-natural --run runs/tuned --preset tuned
# 4 pictures/s on two CPU cores; relative MSE 0.821 after 512 steps, --warmup 50 --ema-decay 0.98
TUNED = Config(
    **AUGMENTED,
    **ADAMW,
    learning_rate=6e-4,
    warmup=500,
    ema_decay=0.999,
    input_scale=0.01,
    input_offset=-0.5,
    initializer="he_gentle",
)
PRESETS = {
    # train.py --data data_256 --places2-natural --run runs/paper
    # Never run to its end here; relative MSE 0.902 after 512 steps
    "paper": Config(),
    "tuned": TUNED,
    # train.py --data data_256 --places2-natural --run runs/iizuka --preset iizuka
    # Iizuka et al. 2016: 200,000 steps, which are 125 passes over 206,000 pictures.
    # Relative MSE 0.986 after 400 steps at --size 64
    "iizuka": Config(
        network="iizuka2016",
        saturation=1.0,
        classification_weight=1 / 300,
        size=224,
        batch=128,
        epochs=125,
        steps=200_000,
        optimizer="adadelta",
        learning_rate=1.0,
        schedule="constant",
    ),
    # train.py --data data_256 --places2-natural --run runs/zhang --preset zhang
    # Zhang et al. 2016: the released solver; 100 passes over 228,942 pictures are 515,000 steps.
    # Relative MSE 1.171 after 1,280 steps at --size 64 --load-size 96
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
        milestones="225000,500000",
    ),
    # train.py --data TRAIN --val VAL --preset pretrained --size 48 --epochs 16 --run 48, then
    # --size 64 and 80 (models/pretrained/README.md): 11 hours of two CPU cores, relative MSE 0.645
    "pretrained": replace(
        TUNED,
        optimizer="muon",
        size=64,
        batch=64,
        learning_rate=1e-3,
        warmup=200,
        degrade=0.5,
        checkpoint_steps=250,
    ),
    # train.py --data TRAIN --val VAL --preset objects --run runs/objects
    "objects": Config(
        **AUGMENTED,
        **ADAMW,
        network="efficientnet_unet",
        saturation=1.0,
        size=96,
        batch=64,
        learning_rate=1e-3,
        warmup=100,
        ema_decay=0.998,
        epochs=30,
        checkpoint_steps=250,
    ),
}
SIZE_STEPS = {"efficientnet_unet": 32}  # of the side that a network takes, where it is not 8
# Options that only some networks have
ONLY_FOR = {"edges": ("aciids2020",), "labels_from_folders": ("aciids2020", "iizuka2016")}
AT_LEAST = dict.fromkeys(("batch", "epochs", "checkpoint_steps"), 1)
AT_LEAST |= dict.fromkeys(("limit", "steps", "warmup", "seed", "saturation", "slow_rate"), 0)
AT_LEAST |= dict.fromkeys(("classification_weight", "weight_decay", "degrade", "ema_decay"), 0)


def check(config):
    """The configuration itself.

    Raises:
        ValueError: a value is invalid or contradicts another; the message is one line.
    """
    for name, least in AT_LEAST.items():
        if not getattr(config, name) >= least:
            raise ValueError(f"{_flag(name)} {getattr(config, name)}: {least} or more")
    c, step = config, SIZE_STEPS.get(config.network, 8)

    def need(valid, text):
        if not valid:
            raise ValueError(f"--{text}")

    need(16 <= c.size <= 1024 and c.size % 8 == 0, f"size {c.size}: a multiple of 8, 16 to 1024")
    need(c.size % step == 0, f"size {c.size}: a multiple of {step} for {c.network}")
    need(0 < c.width <= 2, f"width {c.width}: above 0, at most 2")  # as in `models.file.load`
    need(0 < c.crop <= 1, f"crop {c.crop}: above 0, at most 1")
    need(0 < c.validation < 1, f"validation {c.validation}: between 0 and 1")
    need(c.degrade <= 1, f"degrade {c.degrade}: 0 to 1")
    need(c.ema_decay < 1, f"ema-decay {c.ema_decay}: below 1")
    need(0 < c.beta_2 < 1, f"beta-2 {c.beta_2}: between 0 and 1")
    need(c.learning_rate > 0, f"learning-rate {c.learning_rate}: above 0")
    has_edges = c.edges or c.network in ONLY_FOR["edges"]
    need(has_edges, f"no-edges: {c.network} has no edge detection network")
    if c.labels_from_folders:
        classifies = c.network in ONLY_FOR["labels_from_folders"]
        need(classifies, f"labels-from-folders: {c.network} has no classifier")
        weighs = c.classification_weight > 0
        need(weighs, "labels-from-folders: --classification-weight must be above 0")
    need(not c.warmup or c.schedule == "cosine", "warmup: goes with --schedule cosine")
    stepped = c.schedule == "steps"
    need(bool(c.milestones) == stepped, "milestones: goes with --schedule steps")
    rises = not c.milestones or milestones(c)
    need(rises, f"milestones {c.milestones}: whole numbers that rise")
    need(not c.load_size or c.load_size >= c.size, f"load-size {c.load_size}: below --size")
    need(not c.load_size or c.crop == 1, "load-size: goes without --crop")
    cropped = c.crop < 1 or c.mirror or c.load_size or c.degrade
    conflict = "as-published: goes without --crop, --mirror, --load-size, --degrade"
    need(not (c.as_published and cropped), conflict)
    return config


def _flag(name):
    return "--" + name.replace("_", "-")


def milestones(config):
    """The steps of --milestones, ints that rise; [] where they are not that."""
    steps = [int(text) if text.isdecimal() else 0 for text in config.milestones.split(",")]
    return steps if all(a < b for a, b in zip([0, *steps], steps)) else []


def make(preset, changes):
    """The preset with some of its fields changed, checked."""
    config = check(replace(PRESETS[preset], **changes))
    if changes.get("classification_weight") and not config.labels_from_folders:
        raise ValueError("--classification-weight: goes with --labels-from-folders")
    if config.init_from and not Path(config.init_from).is_file():
        raise ValueError(f"--init-from {config.init_from}: no such file")
    return config


def given(namespace):
    """The fields that the command line names, as a dict."""
    return {
        f.name: value
        for f in fields(Config)
        if (value := getattr(namespace, f.name, None)) is not None
    }


def _add_fields(parser):
    """An option for every field, in its group; one that is not given stays out of the namespace."""
    for f in fields(Config):
        if f.name in GROUPS:
            group = parser.add_argument_group(GROUPS[f.name])
        kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
        kind |= {"choices": f.metadata["choices"]} if f.metadata["choices"] else {}
        text = f"{f.metadata['help']} ({f.metadata['source']}: {f.default})".replace("%", "%%")
        group.add_argument(_flag(f.name), help=text, default=argparse.SUPPRESS, **kind)


def parse_training(arguments=None):
    """The options of train.py. Ends the program with one line and status 2 where they are wrong."""
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
    run("--run", type=Path, help="folder of this run, made if absent")
    run("--preset", choices=list(PRESETS), help="set of defaults (default: paper)")
    run("--resume", action="store_true", help="go on where the run stopped, or start it")
    text = "print network, pictures, plan and expected time, and stop"
    run("--dry-run", action="store_true", help=text)
    devices = parser.add_argument_group("devices").add_argument
    devices("--devices", type=int, help="to split each batch among (default: all GPUs here)")
    text = "of process 0, if several processes train (JAX)"
    devices("--coordinator", metavar="HOST:PORT", help=text)
    text = "this is process I = 0..N-1 of N, for --coordinator"
    devices("--process", type=share, metavar="I/N", help=text)
    _add_fields(parser)
    options = parser.parse_args(arguments)
    if getattr(options, "init_from", ""):
        options.init_from = os.path.abspath(options.init_from)
    if not options.run and not options.dry_run:
        parser.error("--run DIR is needed")
    if (options.coordinator is None) != (options.process is None):
        parser.error("--coordinator and --process go together")
    if options.coordinator and (options.dry_run or options.devices):
        parser.error("--coordinator: goes without --dry-run and --devices")
    for folder in (options.data or []) + (options.val or []):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    if not (options.run and (options.run / "config.json").exists()):
        if not options.data:
            parser.error("--data DIR is needed for a new run")
        try:
            make(options.preset or "paper", given(options))
        except ValueError as error:
            parser.error(str(error))
    return options
