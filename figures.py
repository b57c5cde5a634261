"""Make the figures of the paper. `make figures-train` trains the networks that they need.

    python figures.py NAME --runs RUNS --out DIR [--data DIR]
    python figures.py NAME --model LABEL=FILE ... --out DIR [--data DIR]

NAME is saturation, edges, results, comparison or ink. Photographs -> what each column makes of them
-> NAME.png shows some, drawn by --seed and never by their result; NAME.json holds the means over
all with 95 % bootstrap intervals, NAME.csv the metrics of every picture.
"""

import argparse
import json
import sys
from pathlib import Path

import utils
from utils import number, printable

USED = {  # figure: {label: run of `make figures-train`}
    "saturation": {f"T = {t}": f"t{t}" for t in ("1", "1.4", "1.6", "1.8", "2")},
    "edges": {"without": "no-edges", "with": "t1.8"},
    "results": {"colorized": "t1.8"},
    "comparison": {
        "Iizuka et al. 2016": "iizuka2016",
        "Zhang et al. 2016": "zhang2016",
        "this network": "t1.8",
    },
    "ink": {"colorized": "t1.8"},
}
TAKEN = ("gray", "photograph", "painting")  # labels of columns that are no networks


def main(arguments=None):
    args = parse(arguments)
    try:
        utils.import_keras_quietly()
        from evaluation import measure, paper_figures, statistics
    except ModuleNotFoundError as error:
        stop(f"{error.name} is not installed: run `make setup`, then .venv/bin/python figures.py")
    target = args.out / args.figure
    try:
        networks, size = load_all(args)
        title, blocks, study = getattr(paper_figures, args.figure)(networks, size, args)
        panels = sum(len(row) for rows, _ in blocks for row in rows)
        found = {"figure": args.figure, "title": title, "panels": panels} | study.numbers
        with utils.atomic(target.with_suffix(".png")) as temporary:
            paper_figures.draw(title, blocks).savefig(temporary)
        with utils.atomic(target.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(statistics.plain(found), indent=1, allow_nan=False))
        measure.write_rows(target.with_suffix(".csv"), sum(study.rows.values(), []))
    except measure.Refused as error:
        stop(*error.args)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        stop(f"{printable(error.filename or 'output')}: {error.strerror or error}", 1)
    print(f"{printable(target)}.png: {panels} panels. {title}")


def load_all(args):
    """(networks by their labels {label: Network}, the one size that they see)."""
    from configs import Config
    from evaluation.measure import Refused
    from evaluation.methods import load
    from models.properties import BadModel, sizes_of

    pairs = [text.partition("=")[::2] for text in args.model]
    if args.runs:
        runs = USED[args.figure].items()
        pairs = [(label, args.runs / run / "best.keras") for label, run in runs]
    try:
        networks = {label: load(path) for label, path in pairs}
    except BadModel as error:
        raise Refused(f"{error}; make figures-train makes it" if args.runs else error) from error
    sizes = sorted({max(sizes_of(own.metadata)) for own in networks.values()} or {Config.size})
    if len(sizes) > 1:
        listed = ", ".join(map(str, sizes))
        raise Refused(f"the networks see sizes {listed}: one figure takes one size")
    return networks, sizes[0]


def parse(arguments=None):
    """The options. Ends the program with a line and status 2 where they are wrong."""
    example = "figures.py results --model colorized=runs/tuned/best.keras --data DIR --out pages"
    parser = argparse.ArgumentParser(
        prog="figures.py",
        description=__doc__.partition("\n")[0],
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("figure", metavar="NAME", choices=list(USED), help=", ".join(USED))
    text = "photographs (ink: or one picture); default: scikit-image's, or a drawn landscape"
    add("--data", type=Path, help=text)
    source = parser.add_mutually_exclusive_group()
    options = {"nargs": "+", "action": "extend", "default": [], "metavar": "LABEL=FILE"}
    source.add_argument("--model", help="networks", **options)
    text = "folder that `make figures-train` filled, instead of --model"
    source.add_argument("--runs", type=Path, help=text)
    add("--out", type=Path, required=True, help="folder of the figure, made if absent")
    at_least_0 = number(int, 0, 10**9)
    add("--limit", type=at_least_0, default=0, help="at most so many pictures; 0: all")
    text = "squash, make gray and join as the authors' scripts do (docs/deviations.md)"
    add("--as-published", action="store_true", help=text)
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, help="of all that is drawn")
    args = parser.parse_args(arguments)
    if args.data and not (args.data.is_dir() or args.figure == "ink" and args.data.is_file()):
        stop(f"{printable(args.data)}: no such folder")
    if not (args.model or args.runs or args.figure == "saturation"):
        stop(f"{args.figure} needs networks: --runs DIR or --model LABEL=FILE")
    labels = [text.partition("=")[0] for text in args.model]
    for text, label in zip(args.model, labels):
        if not label or not text.partition("=")[2]:
            stop(f"--model {text}: must be LABEL=FILE")
        if labels.count(label) > 1 or label in TAKEN:
            stop(f"--model {label}=...: this label is taken")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{printable(args.out)}: {error.strerror}")
    return args


def stop(message, status=2):
    """End the program with one line."""
    print(f"figures.py: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
