"""Make the figures of the paper. `make figures-train` trains the networks that they need.

    python figures.py NAME --model LABEL=FILE ... --data DIR --out DIR

NAME.png shows some pictures, drawn by --seed and never by their result, and means over all with
95 % intervals; NAME.md holds all metrics. Those of every picture: evaluate.py.
"""

import argparse
from pathlib import Path

from evaluation import Refused, refusals
from utils import import_keras_quietly, number

NAMES = ("saturation", "edges", "results", "comparison")


def main(arguments=None):
    with refusals("figures.py"):
        args = parse(arguments)
        import_keras_quietly()
        from evaluation import paper_figures

        paper_figures.make(args)


def parse(arguments=None):
    """The options; `model` is {label: path}. Raises Refused where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="figures.py", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("figure", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    options = {"nargs": "+", "action": "extend", "required": True, "metavar": "LABEL=FILE"}
    add("--model", type=labelled, help="networks, and what stands below them", **options)
    add("--data", type=Path, required=True, help="folder of photographs")
    add("--out", type=Path, required=True, help="folder of the figure, made if absent")
    text = "of the squares that pictures are measured at (default 256)"
    add("--size", type=number(int, 16, 1024), default=256, help=text)
    count = {"type": number(int, 0, 2**32 - 1), "default": 0}
    add("--limit", help="at most so many pictures; 0: all", **count)
    add("--seed", help="of all that is drawn", **count)
    args = parser.parse_args(arguments)
    labels = ["gray", "photograph", *(label for label, _ in args.model)]  # of the columns
    for label in labels:
        if labels.count(label) > 1:
            raise Refused(f"--model {label}=...: this label is taken")
    args.model = dict(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def labelled(text):
    label, _, path = text.partition("=")
    if not (label and path):
        raise argparse.ArgumentTypeError(f"{text}: must be LABEL=FILE")
    return label, Path(path)


if __name__ == "__main__":
    main()
