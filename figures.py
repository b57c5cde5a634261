"""Make the figures of the paper. `make figures-train` trains the networks that they need.

    python figures.py NAME --runs RUNS --out DIR [--data DIR]
    python figures.py NAME --model LABEL=FILE ... --out DIR [--data DIR]

NAME.png shows some pictures, drawn by --seed and never by their result; NAME.json holds the means
over all with 95 % intervals, NAME.csv the metrics of every picture.
"""

import argparse
from pathlib import Path

from evaluation import Refused, check_folders, refusals
from utils import import_keras_quietly, number

USED = {  # figure: {label: run of `make figures-train`}
    "saturation": {f"T = {t}": f"t{t}" for t in ("1", "1.4", "1.6", "1.8", "2")},
    "edges": {"without": "no-edges", "with": "t1.8"},
    "results": {"colorized": "t1.8"},
    "comparison": {
        "Iizuka et al. 2016": "iizuka2016",
        "Zhang et al. 2016": "zhang2016",
        "this network": "t1.8",
    },
}
TAKEN = ("gray", "photograph")  # labels of columns that are no networks


def main(arguments=None):
    with refusals("figures.py"):
        args, files = parse(arguments)
        import_keras_quietly()
        from evaluation import paper_figures

        paper_figures.make(args, files)


def parse(arguments=None):
    """(options, the networks' files {label: path}). Raises Refused where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="figures.py", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("figure", metavar="NAME", choices=list(USED), help=", ".join(USED))
    add("--data", type=Path, help="folder of photographs (default: scikit-image's)")
    options = {"nargs": "+", "action": "extend", "default": [], "metavar": "LABEL=FILE"}
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", help="networks", **options)
    text = "folder that `make figures-train` filled, instead of --model"
    source.add_argument("--runs", type=Path, help=text)
    add("--out", type=Path, required=True, help="folder of the figure, made if absent")
    count = {"type": number(int, 0, 2**32 - 1), "default": 0}
    add("--limit", help="at most so many pictures; 0: all", **count)
    add("--seed", help="of all that is drawn", **count)
    args = parser.parse_args(arguments)
    files = {}
    for text in args.model:
        label, _, path = text.partition("=")
        if not (label and path):
            raise Refused(f"--model {text}: must be LABEL=FILE")
        if label in files or label in TAKEN:
            raise Refused(f"--model {label}=...: this label is taken")
        files[label] = Path(path)
    if args.runs:
        used = USED[args.figure].items()
        files = {label: args.runs / run / "best.keras" for label, run in used}
    if not files and args.figure != "saturation":
        raise Refused(f"{args.figure} needs networks: --runs DIR or --model LABEL=FILE")
    check_folders(filter(None, [args.data]), args.out)
    return args, files


if __name__ == "__main__":
    main()
