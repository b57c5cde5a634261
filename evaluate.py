"""Measure networks on photographs, beside references that need no training.

    python evaluate.py --data DIR [--model FILE ...] --out DIR [--paired]

Photographs -> the ab that each method predicts -> joined to their own lightness -> metrics of every
picture -> means with intervals, as tables, as files, as a page to look at.
"""

import argparse
import csv
import sys
from pathlib import Path

from utils import import_keras_quietly, number, printable

EXAMPLE = "example: evaluate.py --data PHOTOGRAPHS --model runs/tuned/best.keras --out measured"


def main(arguments=None):
    args = parse(arguments)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a code page may lack a name's letters
        stream.reconfigure(errors="backslashreplace")
    try:
        import_keras_quietly()
        from evaluation import film, tables
        from evaluation.measure import Refused
    except ModuleNotFoundError as error:
        stop(f"{error.name} is not installed: run `make setup`, then .venv/bin/python evaluate.py")
    try:
        if args.film:
            from colorizer import Colorizer

            try:
                film.show(args.film, Colorizer(args.model[0]))
            except ValueError as error:  # BadFilm, BadModel
                stop(error)
        else:
            tables.run(args)
    except Refused as error:
        stop(*error.args)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        stop(f"{printable(error.filename or 'output')}: {error.strerror or error}", 1)


def parse(arguments=None):
    """The options. Ends the program with a line and status 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description=__doc__.partition("\n")[0],
        epilog=EXAMPLE,
        allow_abbrev=False,
    )
    seed, at_least_0 = number(int, 0, 2**32 - 1), number(int, 0, 10**9)

    add = parser.add_argument_group("what is measured").add_argument
    text = "folders of photographs, searched recursively"
    add("--data", type=Path, nargs="+", help=text)
    text = "networks: best.keras of runs of train.py"
    add("--model", type=Path, nargs="+", action="extend", default=[], help=text)
    text = "films with colours, measured in place of photographs: flicker and distance"
    add("--film", type=Path, nargs="+", help=text)
    add("--out", type=Path, help="folder of the results, made if absent")
    text = "side of the squashed pictures (default 256); networks see them as test.py shows them"
    add("--size", type=number(int, 8, 4096), default=256, help=text)
    add("--limit", type=at_least_0, default=0, help="at most so many files; 0: all")
    add("--seed", type=seed, default=0, help="of the choice, the faults and the intervals")
    text = "photographs that say which colours are common: the training set (default: --data)"
    add("--prior-data", type=Path, nargs="+", help=text)

    add = parser.add_argument_group("further rows").add_argument
    text = "factors on ab of networks and ceiling when they colour (default 1); a row for each"
    add("--saturation", type=number(float, 0, 10), nargs="+", default=[1.0], help=text)
    text = "also each network with this branch, such as EDN, replaced by its mean over the pictures"
    add("--ablate", nargs="+", default=[], metavar="BRANCH", help=text)

    add = parser.add_argument_group("further tables").add_argument
    add("--paired", action="store_true", help="compare every two networks picture by picture")
    text = (
        "the means also by group: the top folder of a picture below --data, or what two columns of "
        "a CSV file (top folder, group) make of it; folders that it lacks are in the group other"
    )
    add("--groups", nargs="?", const="", metavar="FILE.csv", help=text)
    text = "also measure each network on L with faults (data/degrade.py)"
    add("--degraded", action="store_true", help=text)
    text = "also how far a plain border around a picture moves each network's ab"
    add("--borders", action="store_true", help=text)

    args = parser.parse_args(arguments)
    args.saturation = list(dict.fromkeys(args.saturation))
    if args.film:
        if args.data or args.out or len(args.model) != 1:
            stop("--film: goes with one --model, without --data and --out; it prints a table")
        return args
    if not (args.data and args.out):
        stop("--data and --out are needed, or --film")
    if args.size % 8:
        stop(f"--size: {args.size} is not divisible by 8")
    if (args.degraded or args.borders) and not args.model:
        stop("--degraded, --borders: need networks, --model FILE")
    for folder in [*args.data, *(args.prior_data or [])]:
        if not folder.is_dir():
            stop(f"{printable(folder)}: no such folder")
    args.group_of = read_groups(args.groups) if args.groups else None
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"{printable(args.out)}: {error.strerror}")
    return args


def read_groups(path):
    """{top folder: group} of a CSV file. A header does no harm, unless a folder has its name."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except OSError as error:
        stop(f"--groups {printable(path)}: {error.strerror}")
    except (csv.Error, UnicodeDecodeError):
        rows = []
    if not rows or any(len(row) != 2 for row in rows):
        stop(f"--groups {printable(path)}: must have two columns, top folder and group")
    return dict(rows)


def stop(message, status=2):
    """End the program with one line."""
    print(f"evaluate.py: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
