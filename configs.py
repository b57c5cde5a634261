"""The training options: one frozen dataclass with the paper's values as defaults, presets, and train.py's command line."""

import argparse
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from utils import share


def option(group, default, text, choices=None, paper=False):
    """A field of Config. `paper`: the default is the paper's or its authors', and --help says so."""
    return field(
        default=default, metadata={"group": group, "help": text, "choices": choices, "paper": paper}
    )


@dataclass(frozen=True)
class Config:
    """How a network is trained. Defaults: the paper's text and the authors' released configuration."""

    network: str = option(
        "network",
        "aciids2020",
        "network to train",
        ("aciids2020", "efficientnet_unet", "iizuka2016", "zhang2016"),
        paper=True,
    )
    edges: bool = option(
        "network", True, "edge detection network; without it: the paper's ablation", paper=True
    )
    width: float = option("network", 1.0, "factor on the number of filters", paper=True)
    input_scale: float = option(
        "network", 1.0, "the network sees scale * L + offset, L in 0..100", paper=True
    )
    input_offset: float = option("network", 0.0, "see --input-scale", paper=True)
    initializer: str = option(
        "network",
        "glorot_uniform",
        "of the kernels",
        ("glorot_uniform", "he_uniform", "he_gentle"),
        paper=True,
    )
    init_from: str = option(
        "network",
        "",
        "file of a network whose weights the training begins with; none: random weights",
    )

    saturation: float = option(
        "target", 1.8, "T: factor on the HSV saturation of the target", paper=True
    )
    clip_saturation: bool = option("target", False, "limit T * S to 1", paper=True)
    labels_from_folders: bool = option(
        "target",
        False,
        "also train a scene classifier; the classes are the top folders below --data",
    )
    classification_weight: float = option(
        "target", 0.0, "of the classifier's cross-entropy in the loss; 1/300 in Iizuka et al."
    )

    size: int = option(
        "pictures", 256, "side of the training pictures in pixels, divisible by 8", paper=True
    )
    crop: float = option(
        "pictures",
        1.0,
        "smallest share of each side that a random crop keeps; 1: no crops",
        paper=True,
    )
    mirror: bool = option("pictures", False, "exchange left and right at random", paper=True)
    degrade: float = option(
        "pictures",
        0.0,
        "share of the training pictures whose L gets the faults of old photographs and scans",
        paper=True,
    )
    load_size: int = option(
        "pictures",
        0,
        "resize to this side, then cut a random window of --size; 0: no window",
        paper=True,
    )
    as_published: bool = option(
        "pictures",
        False,
        "as the authors' scripts: nearest-neighbour resizing, a short last batch, a network kept every epoch",
    )
    validation: float = option(
        "pictures", 0.1, "share of the pictures used for validation, without --val", paper=True
    )
    limit: int = option("pictures", 0, "use at most so many of the pictures; 0: all")
    places2_natural: bool = option(
        "pictures", False, "only the natural scenes of Places2, chosen by folder names"
    )

    batch: int = option("optimization", 16, "pictures in a step", paper=True)
    epochs: int = option("optimization", 40, "passes over the training pictures", paper=True)
    steps: int = option(
        "optimization", 0, "end after so many steps, within the epochs; 0: no limit"
    )
    optimizer: str = option(
        "optimization", "sgd", "optimizer", ("sgd", "adam", "adamw", "muon", "adadelta"), paper=True
    )
    learning_rate: float = option("optimization", 0.01, "highest learning rate", paper=True)
    classification_rate: float = option(
        "optimization", 1.0, "factor on the learning rate of the classification network", paper=True
    )
    beta_2: float = option("optimization", 0.999, "of Adam and AdamW")
    weight_decay: float = option(
        "optimization",
        0.0,
        "decoupled, times the learning rate; with adam: added to the gradient",
        paper=True,
    )
    schedule: str = option(
        "optimization", "plateau",
        "plateau: x 0.1 when val_loss has not fallen for 10 epochs; cosine: to 0 at the end; steps: see --milestones",
        ("plateau", "cosine", "steps", "constant"), paper=True,
    )  # fmt: skip
    milestones: str = option(
        "optimization",
        "",
        "steps, with commas, after which the rate falls x 0.1, for --schedule steps",
    )
    warmup: int = option(
        "optimization", 0, "steps over which the rate of the cosine schedule first rises from 0"
    )
    ema_decay: float = option(
        "optimization",
        0.0,
        "decay of the moving average of the weights, which is validated and saved; 0: none",
    )
    precision: str = option(
        "optimization", "float32", "Keras dtype policy; the output and the loss are float32 in any case",
        ("float32", "mixed_bfloat16", "mixed_float16"), paper=True,
    )  # fmt: skip
    seed: int = option(
        "optimization", 0, "of the split, the order, the crops, the faults and the initial weights"
    )
    checkpoint_steps: int = option(
        "optimization", 500, "steps between checkpoints, beside the one after every epoch"
    )


TUNED = Config(
    input_scale=0.01, input_offset=-0.5, initializer="he_gentle", crop=0.6, mirror=True, optimizer="adamw",
    learning_rate=6e-4, classification_rate=0.1, weight_decay=1e-3, schedule="cosine", warmup=500, ema_decay=0.999,
    precision="mixed_bfloat16",
)  # fmt: skip
PRESETS = {
    "paper": Config(),
    "tuned": TUNED,
    # Iizuka et al. 2016: 200,000 steps, which are 125 passes over 206,000 pictures
    "iizuka": Config(
        network="iizuka2016", saturation=1.0, classification_weight=1 / 300, size=224, batch=128, epochs=125,
        steps=200_000, optimizer="adadelta", learning_rate=1.0, schedule="constant",
    ),
    # Zhang et al. 2016: the released solver; 100 passes over 228,942 pictures are 515,000 steps
    "zhang": Config(
        network="zhang2016", saturation=1.0, size=176, load_size=256, mirror=True, batch=40, epochs=100, optimizer="adam",
        learning_rate=3.16e-5, beta_2=0.99, weight_decay=1e-3, schedule="steps", milestones="225000,500000",
    ),
    # of the network in models/pretrained
    "pretrained": replace(
        TUNED, size=64, batch=64, optimizer="muon", learning_rate=1e-3, warmup=200, degrade=0.5,
        epochs=40, checkpoint_steps=250,
    ),
    "objects": Config(
        network="efficientnet_unet", saturation=1.0, size=96, crop=0.6, mirror=True, batch=64, optimizer="adamw",
        learning_rate=1e-3, classification_rate=0.1, weight_decay=1e-3, schedule="cosine", warmup=100, ema_decay=0.998,
        precision="mixed_bfloat16", epochs=30, checkpoint_steps=250,
    ),
}  # fmt: skip
SIZE_STEPS = {"efficientnet_unet": 32}  # of the side that a network takes, where it is not 8
# Options that only some networks have
ONLY_FOR = {"edges": ("aciids2020",), "labels_from_folders": ("aciids2020", "iizuka2016")}


def check(config):
    """The configuration itself. Raises ValueError, one line, for values that are invalid or contradict each other."""

    def need(condition, text):
        if not condition:
            raise ValueError(text)

    # the upper limits of size and width are those of the files that `models.file.load` takes
    need(
        16 <= config.size <= 1024 and config.size % 8 == 0,
        f"--size {config.size}: a multiple of 8, 16 to 1024",
    )
    need(0 < config.width <= 2, f"--width {config.width}: above 0, at most 2")
    need(0 < config.crop <= 1, f"--crop {config.crop}: above 0, at most 1")
    need(0 < config.validation < 1, f"--validation {config.validation}: between 0 and 1")
    need(0 <= config.degrade <= 1, f"--degrade {config.degrade}: 0 to 1")
    need(0 <= config.ema_decay < 1, f"--ema-decay {config.ema_decay}: 0 or more, below 1")
    need(config.learning_rate > 0, f"--learning-rate {config.learning_rate}: above 0")
    for name in ("batch", "epochs", "checkpoint_steps"):
        need(
            getattr(config, name) >= 1,
            f"--{name.replace('_', '-')} {getattr(config, name)}: 1 or more",
        )
    for name in ("saturation", "classification_weight", "classification_rate", "weight_decay"):
        need(
            getattr(config, name) >= 0,
            f"--{name.replace('_', '-')} {getattr(config, name)}: 0 or more",
        )
    for name in ("limit", "steps", "warmup", "seed"):
        need(getattr(config, name) >= 0, f"--{name} {getattr(config, name)}: 0 or more")
    edges = config.edges or config.network in ONLY_FOR["edges"]
    need(edges, f"--no-edges: {config.network} has no edge detection network")
    if config.labels_from_folders:
        need(
            config.network in ONLY_FOR["labels_from_folders"],
            f"--labels-from-folders: {config.network} has no classifier",
        )
        need(
            config.classification_weight > 0,
            "--labels-from-folders: --classification-weight must be above 0",
        )
    need(not config.warmup or config.schedule == "cosine", "--warmup: goes with --schedule cosine")
    need(0 < config.beta_2 < 1, f"--beta-2 {config.beta_2}: between 0 and 1")
    step = SIZE_STEPS.get(config.network, 8)
    need(
        config.size % step == 0, f"--size {config.size}: a multiple of {step} for {config.network}"
    )
    need(
        bool(config.milestones) == (config.schedule == "steps"),
        "--milestones: goes with --schedule steps",
    )
    need(
        not config.milestones or milestones(config),
        f"--milestones {config.milestones}: whole numbers that rise",
    )
    need(
        not config.load_size or config.load_size >= config.size,
        f"--load-size {config.load_size}: below --size",
    )
    need(not config.load_size or config.crop == 1, "--load-size: goes without --crop")
    cropped = config.crop < 1 or config.mirror or config.load_size or config.degrade
    need(
        not (config.as_published and cropped),
        "--as-published: goes without --crop, --mirror, --load-size, --degrade",
    )
    return config


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


def add_options(parser):
    """An option for every field, in titled groups; what is not given stays absent from the namespace."""
    groups = {}
    for f in fields(Config):
        group = groups.setdefault(f.metadata["group"], None) or parser.add_argument_group(
            f.metadata["group"]
        )
        groups[f.metadata["group"]] = group
        kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
        if f.metadata["choices"]:
            kind["choices"] = f.metadata["choices"]
        source = "paper" if f.metadata["paper"] else "default"
        text = f"{f.metadata['help']} ({source}: {f.default})".replace("%", "%%")
        group.add_argument(
            "--" + f.name.replace("_", "-"), help=text, default=argparse.SUPPRESS, **kind
        )


def given(namespace):
    """The fields that the command line names, as a dict."""
    return {
        f.name: getattr(namespace, f.name) for f in fields(Config) if hasattr(namespace, f.name)
    }


def parse_training(arguments=None):
    """The options of train.py. Ends the program with one line and status 2 where they are wrong; imports nothing slow."""
    parser = argparse.ArgumentParser(
        prog="train.py", usage="train.py --data DIR [DIR ...] --run DIR [options]", allow_abbrev=False,
        description="Train a colorization network on folders of photographs.",
        epilog="example: train.py --data photographs --run runs/first --preset tuned --size 128",
    )  # fmt: skip
    run = parser.add_argument_group("run")
    run.add_argument("--data", type=Path, nargs="+", help="folders of photographs")
    run.add_argument(
        "--val", type=Path, nargs="+", help="folders to validate on; without: a share of --data"
    )
    run.add_argument("--run", type=Path, help="folder of this run, made if absent")
    run.add_argument("--preset", choices=list(PRESETS), help="set of defaults (default: paper)")
    run.add_argument(
        "--resume", action="store_true", help="go on where the run stopped, or start it"
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print network, pictures, plan and expected time, and stop",
    )
    devices = parser.add_argument_group("devices")
    devices.add_argument(
        "--devices", type=int, help="devices to split each batch among (default: all GPUs here)"
    )
    devices.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, if several processes train (JAX)"
    )
    devices.add_argument(
        "--process",
        type=share,
        metavar="I/N",
        help="this is process I = 0..N-1 of N, for --coordinator",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    if not options.run and not options.dry_run:
        parser.error("--run DIR is needed")
    if (options.coordinator is None) != (options.process is None):
        parser.error("--coordinator and --process go together")
    if options.coordinator and options.dry_run:
        parser.error("--dry-run: goes with one process")
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
