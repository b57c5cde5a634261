"""The command line of test.py. Nothing slow is imported: what is wrong is refused at once."""

import argparse
from pathlib import Path

from inference.jobs import STREAM, add_output_options, parse_jobs
from pictures.writer import FORMATS
from utils import number, printable

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "pretrained" / "colorizer.keras"


EPILOG = """exit status:
  0    all pictures are done, or were skipped because their results exist
  1    some pictures failed, each with one line; or the disk or the memory ran out
  2    the command was refused: a wrong option or path, or OUT holds results of other settings
  130  stopped by Ctrl-C or SIGTERM

examples:
  test.py MyScans Colored
  test.py a.jpg b.jpg folder Colored --json
  test.py - - < gray.png > colour.png"""


def parse(arguments=None):
    """(options, jobs) of test.py. Ends the program with one line and status 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="test.py", description="Colorize a picture, or a folder of them with all its subfolders.",
        usage="test.py IN [IN ...] OUT [options]", epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_output_options(parser)
    parser.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="network: best.keras of a run of train.py"
    )
    add_size_option(parser)
    parser.add_argument(
        "--guided", action="store_true", help="make the colours follow the edges of the lightness"
    )
    parser.add_argument(
        "--gamut",
        choices=("chroma", "clip"),
        default="chroma",
        help="how colours outside sRGB are brought in",
    )
    parser.add_argument(
        "--saturation", type=saturation, metavar="FACTOR",
        help="on ab, 0 to 10, 1: the network's own; or muted, natural or vivid, where the network's file says what "
        "they are (default: what it says, else 1)",
    )  # fmt: skip
    parser.add_argument(
        "--old", action="store_true",
        help="for faded photographs: the network also sees a copy whose tones are stretched, and --mirror",
    )  # fmt: skip
    parser.add_argument(
        "--mirror", action=argparse.BooleanOptionalAction,
        help="average the colours of the picture and of its mirror image (default: what the network's file says, else no)",
    )  # fmt: skip
    parser.add_argument(
        "--toned", choices=("replace", "keep"), default="replace",
        help="the tone of a sepia print or a colour picture: replace it, or keep its mean under the new colours",
    )  # fmt: skip
    parser.add_argument(
        "--as-published", action="store_true",
        help="the authors' own steps: squashed to 256 x 256 by nearest neighbour, Rec. 709 luma, ab doubled by "
        "repetition, clipped; the result is 256 x 256 (docs/deviations.md)",
    )  # fmt: skip
    parser.add_argument(
        "--force",
        action="store_true",
        help="colorize documents and drawings too, which are left gray",
    )
    parser.add_argument(
        "--side-by-side", action="store_true", help="write the input beside the result"
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="also write a contact sheet of inputs and results",
    )
    parser.add_argument(
        "--precision", choices=("auto", "float32", "mixed_bfloat16"), default="auto",
        help="of the network (default auto: bfloat16 on processors that multiply in it, else float32)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=number(int, 1, 1024), default=4, help="pictures at a time (default 4)"
    )
    options = parser.parse_args(arguments)
    if not options.model.is_file():
        parser.error(
            f"{printable(options.model)}: no such network; --model takes the best.keras of a training run"
        )
    if options.as_published:
        for name in (
            "size",
            "saturation",
            "gamut",
            "guided",
            "old",
            "mirror",
            "toned",
            "force",
            "side_by_side",
        ):
            if getattr(options, name) != parser.get_default(name):
                parser.error(f"--as-published: does not go with --{name.replace('_', '-')}")
        if options.model.suffix.lower() == ".onnx":
            parser.error(
                "--as-published: needs a .keras or .h5 file; an .onnx file resizes pictures in its own way"
            )
        options.size, options.saturation, options.gamut, options.mirror = [256], 1.0, "clip", False
        if options.precision == "auto":
            options.precision = "float32"
    jobs = parse_jobs(parser, options)
    if options.sheet:
        if options.to_stdout:
            parser.error(f"--sheet: does not go with OUT {STREAM}")
        if options.shard:
            parser.error(
                "--sheet: the shards would overwrite it; the same command without --shard writes it afterwards"
            )
        name = f"--sheet {printable(options.sheet)}"
        if options.sheet.suffix.lower() not in FORMATS:
            parser.error(f"{name}: must end in one of {', '.join(FORMATS)}")
        namesakes = (
            path for pair in jobs.pairs for path in pair if path.name == options.sheet.name
        )
        if options.sheet.is_dir() or any(
            path.resolve() == options.sheet.resolve() for path in namesakes
        ):
            parser.error(f"{name}: is a folder, an input or a result")
    return options, jobs


def add_size_option(parser):
    parser.add_argument(
        "--size", type=multiple_of_8, action="append", metavar="N",
        help="side of the square that the network sees; given several times, the colours of all are averaged (default: "
        "what the network's file says, else as trained)",
    )  # fmt: skip


def multiple_of_8(text):
    """An argparse type: a side that the network's strides divide."""
    side = number(int, 8, 4096)(text)
    if side % 8:
        raise argparse.ArgumentTypeError(f"{side} is not divisible by 8")
    return side


def saturation(text):
    """An argparse type: a factor, 0 to 10, or one of the names that the file of a network may define."""
    return text if text in ("muted", "natural", "vivid") else number(float, 0, 10)(text)
