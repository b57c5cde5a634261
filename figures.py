"""Make the figures of the paper, and train the networks that they need.

    python figures.py train --data DIR --out RUNS [--pictures N] [-- FLAGS OF train.py]
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
    sys.exit(f"figures.py: {error.name} is not installed: run `make setup`, then .venv/bin/python figures.py ...")

import configs
from evaluation import page, runs, statistics
from evaluation.figures import FIGURES, GRAY, PHOTOGRAPH, USED, FigureError
from evaluation.measure import write_rows
from evaluation.methods import load
from inference import model_file


def main(arguments=None):
    args = parse(sys.argv[1:] if arguments is None else arguments)
    if args.figure == "train":
        used = {run for figure in args.figures for run in USED[figure].values()}
        try:
            return runs.train(used, args.data, args.val, args.out, args.pictures, args.preset, args.flags)
        except runs.Failed as error:
            stop(*error.args)
    networks = load_all(args)
    sizes = {network.metadata["size"] for network in networks.values()} or {configs.Config.size}
    if len(sizes) > 1:
        stop(f"the networks were trained at sizes {', '.join(map(str, sorted(sizes)))}: one figure takes one size")
    try:
        title, blocks, study = FIGURES[args.figure](networks, *sizes, args)
    except FigureError as error:
        stop(*error.args)
    sheet = page.draw(title, blocks)
    write(args, sheet, {"figure": args.figure, "title": title, "panels": len(sheet.images)} | study.numbers, study.rows)
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
    """The options; what follows a "--" is for train.py."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="figure", required=True, metavar="|".join([*FIGURES, "train"]))
    for name, make in FIGURES.items():
        command = commands.add_parser(name, help=make.__doc__.partition("\n")[0], allow_abbrev=False)
        command.add_argument("--data", type=Path, help="folder of photographs (ink: or a picture); default: "
                             "scikit-image's, or a drawn landscape")  # fmt: skip
        source = command.add_mutually_exclusive_group()
        source.add_argument("--model", nargs="+", action="extend", default=[], metavar="LABEL=FILE", help="networks")
        source.add_argument("--runs", type=Path, help="folder that the train command filled, instead of --model")
        command.add_argument("--out", type=Path, required=True, help="folder of the figure, made if absent")
        command.add_argument(
            "--limit", type=utils.number(int, 0, 10**9), default=0, help="at most so many pictures; 0: all"
        )
        command.add_argument("--as-published", action="store_true", help="squash, make gray and join as the authors' "
                             "scripts do (docs/deviations.md); panels are as small as the networks see them")  # fmt: skip
        command.add_argument("--seed", type=utils.number(int, 0, 2**32 - 1), default=0, help="of all that is drawn")
    command = commands.add_parser("train", help="Train the networks that the figures need.", allow_abbrev=False)
    command.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photographs")
    command.add_argument("--val", type=Path, nargs="+", default=[], help="folders to validate on")
    command.add_argument("--out", type=Path, required=True, help="folder of the runs, made if absent")
    command.add_argument("--figures", nargs="+", choices=list(FIGURES), default=list(FIGURES), help="train for these alone")
    command.add_argument("--pictures", type=utils.number(int, 1, 10**12), default=2**16, help="that each network sees, "
                         "repetitions counted (default 65536)")  # fmt: skip
    command.add_argument("--preset", choices=list(configs.PRESETS), default="tuned", help="of train.py (default tuned)")
    args = parser.parse_args(arguments[:cut])
    if args.figure == "train":
        args.flags = arguments[cut + 1 :]
    elif arguments[cut:]:
        parser.error('"--": only train takes further flags')
    else:
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
        pairs = [(label, args.runs / run / "best.keras") for label, run in USED[args.figure].items()]
    labels = [label for label, _ in pairs]
    for label, path in pairs:
        if not label or not path:
            stop(f"--model {label}{path}: must be LABEL=FILE")
        if labels.count(label) > 1 or label in (GRAY.name, PHOTOGRAPH.name, "painting"):
            stop(f"--model {label}=...: this label is taken")
    try:
        return {label: load(path) for label, path in pairs}
    except model_file.BadModel as error:
        stop(f"{error}; figures.py train makes it" if args.runs else error)


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
