"""The training options: one frozen dataclass, the paper's values as defaults, a flag of train.py for every field."""

import argparse
from dataclasses import dataclass, field, fields, replace


def option(default, text, choices=None):
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Config:
    """How a network is trained. Defaults: the paper's text and the authors' released configuration."""

    # the network
    network: str = option("aciids2020", "network to train", ("aciids2020", "iizuka2016", "zhang2016"))
    edges: bool = option(True, "edge detection network; without it: the paper's ablation")
    width: float = option(1.0, "factor on the number of filters; 1 in the paper")
    input_scale: float = option(1.0, "of aciids2020, which sees scale * L + offset, L in 0..100; the paper feeds raw L")
    input_offset: float = option(0.0, "see --input-scale")
    initializer: str = option(
        "glorot_uniform",
        "of the kernels of aciids2020 (see there); Keras' default in the paper",
        ("glorot_uniform", "he_uniform", "he_gentle"),
    )

    start: str = option(
        "", "file of a network whose weights the training starts with; none: random weights, as in the paper"
    )

    # the target
    saturation: float = option(1.8, "T: factor on the HSV saturation of the target; 1.8 is the paper's choice")
    clip_saturation: bool = option(False, "hold T * S at 1; the authors' code does not")
    labels_from_folders: bool = option(False, "train a scene classifier along; the scenes are the top folders below --data")
    classification_weight: float = option(0.0, "of its cross-entropy in the loss; 1/300 in Iizuka et al.")

    # the pictures
    size: int = option(256, "side of the training pictures in pixels, divisible by 8")
    crop: float = option(1.0, "smallest share of each side that a random crop keeps; 1: whole pictures, as in the paper")
    mirror: bool = option(False, "exchange left and right at random")
    degrade: float = option(0.0, "share of the training pictures whose L gets faults of old photographs and scans")
    validation: float = option(0.1, "share of the pictures that is split off for validation, unless --val names folders")
    limit: int = option(0, "use at most so many of the pictures; 0: all")
    places2_natural: bool = option(False, "use only the natural scenes of Places2, chosen by the names of the folders")

    # the optimization
    batch: int = option(16, "pictures in a step")
    epochs: int = option(40, "passes over the training pictures")
    steps: int = option(0, "end after so many steps, within the epochs; 0: all of them")
    optimizer: str = option(
        "sgd", "optimizer with Keras' defaults but for the options below", ("sgd", "adamw", "muon", "adadelta")
    )
    learning_rate: float = option(0.01, "highest learning rate")
    classification_rate: float = option(1.0, "factor on the learning rate of aciids2020's classification network")
    weight_decay: float = option(0.0, "decoupled weight decay per step, times the learning rate")
    schedule: str = option(
        "plateau",
        "plateau: x 0.1 when val_loss has not fallen for 10 epochs (the paper); cosine: to 0 at the end",
        ("plateau", "cosine"),
    )
    warmup: int = option(0, "steps over which the cosine schedule's rate first rises from 0")
    average: float = option(0.0, "momentum of the moving average of the weights that is validated and saved; 0: no average")
    precision: str = option(
        "float32",
        "Keras dtype policy; the last tanh and the loss are float32 in any case",
        ("float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = option(0, "of the split, the order, the crops and the initial weights")
    checkpoint_steps: int = option(500, "steps between checkpoints, beside the one after every epoch")


TUNED = Config(
    input_scale=0.01, input_offset=-0.5, initializer="he_gentle", crop=0.6, mirror=True, optimizer="adamw",
    learning_rate=6e-4, classification_rate=0.1, weight_decay=1e-3, schedule="cosine", warmup=500, average=0.999,
    precision="mixed_bfloat16",
)  # fmt: skip
PRESETS = {
    "paper": Config(),
    "tuned": TUNED,
    # Iizuka et al. 2016: 200,000 steps, which are 125 passes over 206,000 pictures
    "iizuka": Config(
        network="iizuka2016",
        saturation=1.0,
        classification_weight=1 / 300,
        batch=128,
        epochs=125,
        steps=200_000,
        optimizer="adadelta",
        learning_rate=1.0,
    ),
    # Zhang et al. 2016: Adam, which is AdamW without decay
    "zhang": Config(network="zhang2016", saturation=1.0, batch=40, optimizer="adamw", learning_rate=3e-5),
    # of the network in models/pretrained
    "pretrained": replace(
        TUNED,
        size=64,
        batch=64,
        optimizer="muon",
        learning_rate=1e-3,
        warmup=200,
        average=0.998,
        degrade=0.5,
        epochs=40,
        checkpoint_steps=250,
    ),
}


def add_flags(parser):
    """A flag for every field; what is not given stays absent from the namespace."""
    for f in fields(Config):
        name = "--" + f.name.replace("_", "-")
        kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
        if f.metadata["choices"]:
            kind["choices"] = f.metadata["choices"]
        shown = f"{f.metadata['help']} (paper: {f.default})".replace("%", "%%")
        parser.add_argument(name, help=shown, default=argparse.SUPPRESS, **kind)


def given(namespace):
    """The fields that the command line names, as a dict."""
    return {f.name: getattr(namespace, f.name) for f in fields(Config) if hasattr(namespace, f.name)}


def check(config):
    """Refuse values that cannot be meant. Raises ValueError with one line."""

    def need(condition, text):
        if not condition:
            raise ValueError(text)

    # the upper limits of size and width are those of the files that `model_file.load` takes
    need(16 <= config.size <= 1024 and config.size % 8 == 0, f"--size {config.size}: a multiple of 8, 16 to 1024")
    need(config.batch >= 1, f"--batch {config.batch}: 1 or more")
    need(config.epochs >= 1, f"--epochs {config.epochs}: 1 or more")
    need(config.checkpoint_steps >= 1, f"--checkpoint-steps {config.checkpoint_steps}: 1 or more")
    need(0 < config.crop <= 1, f"--crop {config.crop}: above 0, at most 1")
    need(0 < config.width <= 2, f"--width {config.width}: above 0, at most 2")
    need(0 < config.validation < 1, f"--validation {config.validation}: between 0 and 1")
    need(0 <= config.average < 1, f"--average {config.average}: 0 or more, below 1")
    need(0 <= config.degrade <= 1, f"--degrade {config.degrade}: 0 to 1")
    need(config.learning_rate > 0, f"--learning-rate {config.learning_rate}: above 0")
    for name in ("saturation", "classification_weight", "classification_rate", "weight_decay"):
        need(getattr(config, name) >= 0, f"--{name.replace('_', '-')} {getattr(config, name)}: 0 or more")
    for name in ("limit", "steps", "warmup", "seed"):
        need(getattr(config, name) >= 0, f"--{name} {getattr(config, name)}: 0 or more")
    need(config.edges or config.network == "aciids2020", f"--no-edges: {config.network} has no edge detection network")
    if config.labels_from_folders:
        need(config.network != "zhang2016", "--labels-from-folders: zhang2016 has no classifier")
        need(config.classification_weight > 0, "--labels-from-folders: --classification-weight must be above 0")
    need(not config.warmup or config.schedule == "cosine", "--warmup: goes with --schedule cosine")
    return config


def make(preset, changes):
    """The preset with some of its fields changed, checked."""
    config = check(replace(PRESETS[preset], **changes))
    if changes.get("classification_weight") and not config.labels_from_folders:
        raise ValueError("--classification-weight: goes with --labels-from-folders")
    return config
