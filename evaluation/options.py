"""The command line of evaluate.py. Nothing slow is imported: what is wrong is refused at once."""

import argparse
import csv
import sys
from pathlib import Path

from inference.options import multiple_of_8
from utils import number, printable

SMALLEST_LPIPS = 32  # side of a picture that LPIPS' AlexNet has anything left of after its poolings
EXAMPLE = "example: evaluate.py --data PHOTOGRAPHS --model runs/tuned/best.keras runs/paper/best.keras --out measured"


def parse(arguments=None):
    """The options of evaluate.py. Ends the program with a line and status 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py", description="Measure networks on photographs, beside references that need no training.",
        epilog=EXAMPLE, allow_abbrev=False,
    )  # fmt: skip
    add = parser.add_argument_group("what is measured").add_argument
    add(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="folders of photographs, searched recursively",
    )
    add(
        "--model",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="networks: best.keras of runs of train.py",
    )
    add("--out", type=Path, required=True, help="folder of the results, made if absent")
    add(
        "--size", type=multiple_of_8, default=256,
        help="side of the squashed pictures, at which networks see them (default 256)",
    )  # fmt: skip
    add(
        "--squashed-only",
        action="store_true",
        help="leave out the pictures at their own size: in half of the time",
    )
    add(
        "--own-sizes",
        action="store_true",
        help="networks see pictures at the sizes of test.py, not at --size",
    )
    add("--limit", type=number(int, 0, 10**9), default=0, help="at most so many files; 0: all")
    add(
        "--seed",
        type=number(int, 0, 2**32 - 1),
        default=0,
        help="of the choice, the faults and the intervals",
    )
    add(
        "--prior-data", type=Path, nargs="+",
        help="photographs that say which colours are common: the training set (default: --data)",
    )  # fmt: skip

    add = parser.add_argument_group("further rows").add_argument
    add(
        "--saturation", type=number(float, 0, 10), nargs="+", default=[1.0],
        help="factors on the ab of networks and ceiling when they colour (default 1); a row for each",
    )  # fmt: skip
    add(
        "--ablate", nargs="+", default=[], metavar="BRANCH",
        help="also measure each network with this branch, such as EDN, saying the same of "
        "every picture: its mean over them",
    )  # fmt: skip

    add = parser.add_argument_group("further metrics").add_argument
    add("--fid", action="store_true", help="also FID (needs requirements-metrics.txt)")
    add("--lpips", action="store_true", help="also LPIPS (needs requirements-metrics.txt)")
    add("--paired", action="store_true", help="compare every two networks picture by picture")
    add(
        "--groups", nargs="?", const="", metavar="FILE.csv",
        help="the means also by group: the top folder of a picture below --data, or what two columns of a CSV file "
        "(top folder, group) make of it; folders that it lacks are in the group other",
    )  # fmt: skip
    add(
        "--degraded",
        action="store_true",
        help="also measure each network on L with faults (data/degrade.py)",
    )
    add(
        "--borders",
        action="store_true",
        help="also how far a plain border around a picture moves each network's ab",
    )

    args = parser.parse_args(arguments)
    args.saturation = list(dict.fromkeys(args.saturation))
    if args.lpips and args.size < SMALLEST_LPIPS:
        stop(f"--lpips: AlexNet needs a --size of {SMALLEST_LPIPS} or more")
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
