"""Measure networks on photographs, beside references that need no training.

    python evaluate.py --data DIR [--model FILE ...] --out DIR [--paired]

Photographs -> the ab that each method predicts -> joined to their own lightness -> metrics of every
picture -> means with intervals, as tables, as files, as a page to look at.
"""

import argparse
import sys
from pathlib import Path

from evaluation import Refused, check_folders, refusals
from utils import import_keras_quietly, number

EXAMPLE = "example: evaluate.py --data PHOTOGRAPHS --model runs/tuned/best.keras --out measured"


def main(arguments=None):
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a code page may lack a name's letters
        stream.reconfigure(errors="backslashreplace")
    with refusals("evaluate.py"):
        args = parse(arguments)
        import_keras_quietly()
        if not args.film:
            from evaluation import tables

            return tables.run(args)
        from colorizer import Colorizer
        from evaluation import film

        try:
            film.show(args.film, Colorizer(args.model[0]))
        except ValueError as error:  # BadFilm, BadModel
            raise Refused(error) from error


def parse(arguments=None):
    """The options. Raises Refused where they do not go together."""
    description = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(
        prog="evaluate.py", description=description, epilog=EXAMPLE, allow_abbrev=False
    )
    add = parser.add_argument_group("what is measured").add_argument
    folders = {"type": Path, "nargs": "+"}
    add("--data", **folders, help="folders of photographs, searched recursively")
    text = "networks: best.keras of runs of train.py"
    add("--model", **folders, action="extend", default=[], help=text)
    text = "films with colours, measured in place of photographs: flicker and distance"
    add("--film", **folders, help=text)
    add("--out", type=Path, help="folder of the results, made if absent")
    text = "side of the squashed pictures (default 256); networks see them as test.py shows them"
    add("--size", type=number(int, 8, 4096), default=256, help=text)
    text = "at most so many files; 0: all"
    add("--limit", type=number(int, 0, 10**9), default=0, help=text)
    text = "of the choice, the faults and the intervals"
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, help=text)
    text = "photographs that say which colours are common: the training set (default: --data)"
    add("--prior-data", **folders, default=[], help=text)

    add = parser.add_argument_group("further rows and tables").add_argument
    text = "factors on ab of networks and ceiling when they colour (default 1); a row for each"
    add("--saturation", type=number(float, 0, 10), nargs="+", default=[1.0], help=text)
    text = "also each network with this branch, such as EDN, replaced by its mean over the pictures"
    add("--ablate", nargs="+", default=[], metavar="BRANCH", help=text)
    add("--paired", action="store_true", help="compare every two networks picture by picture")
    add("--groups", action="store_true", help="the means also by the top folder of a picture")
    text = "also measure each network on L with faults (data/degrade.py)"
    add("--degraded", action="store_true", help=text)
    text = "also how far a plain border around a picture moves each network's ab"
    add("--borders", action="store_true", help=text)

    args = parser.parse_args(arguments)
    args.saturation = list(dict.fromkeys(args.saturation))
    if args.film:
        if args.data or args.out or len(args.model) != 1:
            raise Refused("--film: goes with one --model, without --data and --out")
        return args
    if not (args.data and args.out):
        raise Refused("--data and --out are needed, or --film")
    if args.size % 8:
        raise Refused(f"--size: {args.size} is not divisible by 8")
    if (args.degraded or args.borders) and not args.model:
        raise Refused("--degraded, --borders: need networks, --model FILE")
    check_folders([*args.data, *args.prior_data], args.out)
    return args


if __name__ == "__main__":
    main()
