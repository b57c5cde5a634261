"""Measure networks on photographs, beside references that need no training.

Photographs -> the ab that each method predicts -> joined to their own lightness -> metrics of every
picture -> means with intervals: report.md, summary.json and metrics.csv.
"""

import argparse
import sys
from pathlib import Path

from evaluation import Refused, refusals
from utils import import_keras_quietly, number


def main(arguments=None):
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a code page may lack a name's letters
        stream.reconfigure(errors="backslashreplace")
    with refusals("evaluate.py"):
        args = parse(arguments)
        import_keras_quietly()
        if args.film:
            from colorizer import Colorizer
            from evaluation import film

            film.show(args.film, Colorizer(args.model[0]))
        else:
            from evaluation import tables

            tables.run(args)


def parse(arguments=None):
    """The options. Raises Refused where they do not go together."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description=__doc__.partition("\n")[0],
        epilog="example: evaluate.py --data PHOTOGRAPHS --model runs/tuned/best.keras --out measured",
        allow_abbrev=False,
    )

    def group(title):
        add_argument = parser.add_argument_group(title).add_argument
        return lambda name, text, **how: add_argument(name, help=text, **how)

    add, paths = group("what is measured"), {"type": Path, "nargs": "+", "default": []}
    add("--data", "folders of photographs, searched recursively", **paths)
    add("--model", "networks: best.keras of runs of train.py", action="extend", **paths)
    add("--film", "films with colours, in place of photographs: flicker and distance", **paths)
    add("--out", "folder of the results, made if absent", type=Path)
    count = {"type": number(int, 0, 2**32 - 1), "default": 0}
    text = "side of the squares that pictures are squashed to (default 256)"
    add("--size", text, type=number(int, 16, 1024), default=256)
    add("--limit", "at most so many files; 0: all", **count)
    add("--seed", "of the choice, the faults and the intervals", **count)

    add, flag = group("further rows and tables"), {"action": "store_true"}
    text = "factors on ab of networks and ceiling when they colour (default 1); a row for each"
    add("--saturation", text, type=number(float, 0, 10), nargs="+", default=[1.0])
    add("--paired", "compare every two networks, and each with gray, picture by picture", **flag)
    add("--degraded", "also measure each network on L with faults (data/degrade.py)", **flag)
    add("--borders", "also how far a plain border around a picture moves a network's ab", **flag)

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
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
