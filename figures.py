"""Make the figures of the paper. `make figures-train` trains the networks that they need.

    python figures.py NAME --runs RUNS --out DIR [--data DIR]
    python figures.py NAME --model LABEL=FILE ... --out DIR [--data DIR]

NAME is saturation, edges, results, comparison or ink. Photographs -> what each column makes of them -> NAME.png shows some,
drawn by --seed and never by their result; NAME.json holds the means over all with 95 % bootstrap intervals, NAME.csv the
metrics of every picture. Measured are the pictures squashed to the size of training, as in the paper's test; they are shown
in their own shape.
"""

import argparse
import json
import sys
from pathlib import Path

try:
    import utils

    utils.import_keras_quietly()
except ModuleNotFoundError as error:
    sys.exit(
        f"figures.py: {error.name} is not installed: run `make setup`, then .venv/bin/python figures.py ..."
    )

import configs
from evaluation import page, statistics
from evaluation.figures import FIGURES, GRAY, PHOTOGRAPH, USED, FigureError
from evaluation.measure import write_rows
from evaluation.methods import load
from models import file as model_file
from models.properties import sizes_of


def main(arguments=None):
    args = parse(sys.argv[1:] if arguments is None else arguments)
    networks = load_all(args)
    sizes = {max(sizes_of(network.metadata)) for network in networks.values()} or {
        configs.Config.size
    }
    if len(sizes) > 1:
        stop(
            f"the networks see sizes {', '.join(map(str, sorted(sizes)))}: one figure takes one size"
        )
    try:
        title, blocks, study = FIGURES[args.figure](networks, *sizes, args)
    except FigureError as error:
        stop(*error.args)
    sheet = page.draw(title, blocks)
    write(
        args,
        sheet,
        {"figure": args.figure, "title": title, "panels": len(sheet.images)} | study.numbers,
        study.rows,
    )
    print(f"{utils.printable(args.out / args.figure)}.png: {len(sheet.images)} panels. {title}")


def write(args, sheet, numbers, rows):
    target = args.out / args.figure
    with utils.atomic(target.with_suffix(".png")) as temporary:
        page.save(temporary, sheet)
    with utils.atomic(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(statistics.plain(numbers), indent=1, allow_nan=False))
    write_rows(target.with_suffix(".csv"), sum(rows.values(), []))


# --- the command line


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], allow_abbrev=False,
        epilog="example: figures.py results --model colorized=runs/tuned/best.keras --data PHOTOGRAPHS --out pages",
    )  # fmt: skip
    figures = "; ".join(
        f"{name}: {make.__doc__.partition(chr(10))[0]}" for name, make in FIGURES.items()
    )
    parser.add_argument("figure", metavar="NAME", choices=list(FIGURES), help=figures)
    text = (
        "folder of photographs (ink: or a picture); default: scikit-image's, or a drawn landscape"
    )
    parser.add_argument("--data", type=Path, help=text)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="LABEL=FILE", help="networks"
    )
    source.add_argument(
        "--runs", type=Path, help="folder that `make figures-train` filled, instead of --model"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the figure, made if absent"
    )
    parser.add_argument(
        "--limit",
        type=utils.number(int, 0, 10**9),
        default=0,
        help="at most so many pictures; 0: all",
    )
    text = "squash, make gray and join as the authors' scripts do (docs/deviations.md); panels are as small as the view"
    parser.add_argument("--as-published", action="store_true", help=text)
    parser.add_argument(
        "--seed", type=utils.number(int, 0, 2**32 - 1), default=0, help="of all that is drawn"
    )
    args = parser.parse_args(arguments)
    check(args)
    return args


def check(args):
    if args.data and not (args.data.is_dir() or args.figure == "ink" and args.data.is_file()):
        stop(f"{utils.printable(args.data)}: no such folder")
    if not (args.model or args.runs or args.figure == "saturation"):
        stop(f"{args.figure} needs networks: --runs DIR or --model LABEL=FILE")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{utils.printable(args.out)}: {error.strerror}")


def load_all(args):
    """The networks by their labels: {label: Network}."""
    pairs = [text.partition("=")[::2] for text in args.model]
    if args.runs:
        pairs = [
            (label, args.runs / run / "best.keras") for label, run in USED[args.figure].items()
        ]
    labels = [label for label, _ in pairs]
    for label, path in pairs:
        if not label or not path:
            stop(f"--model {label}{path}: must be LABEL=FILE")
        if labels.count(label) > 1 or label in (GRAY.name, PHOTOGRAPH.name, "painting"):
            stop(f"--model {label}=...: this label is taken")
    try:
        return {label: load(path) for label, path in pairs}
    except model_file.BadModel as error:
        stop(f"{error}; make figures-train makes it" if args.runs else error)


def stop(message, status=2):
    print(f"figures.py: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        stop(f"{utils.printable(error.filename or 'output')}: {error.strerror or error}", 1)
