"""The command line of test.py. Nothing slow is imported: what is wrong is refused at once."""

import argparse
from pathlib import Path

from inference.jobs import FILM, BadPath, asked_format, find_jobs
from pictures.writer import FORMATS
from utils import number, printable, share

PRETRAINED = Path(__file__).parent.parent / "models" / "pretrained"
DEFAULT_MODEL = PRETRAINED / "colorizer.onnx"  # needs no Keras; exported from KERAS_MODEL
KERAS_MODEL, PAPER_MODEL = PRETRAINED / "colorizer.keras", PRETRAINED / "aciids2020.keras"
LOSSLESS = "lossless"
AS_PUBLISHED = {"size": [256], "saturation": 1.0, "gamut": "clip", "mirror": False, "guided": False}

EPILOG = """exit status:
  0    all pictures are done, or were skipped because their results exist
  1    some pictures failed, each with one line; or the disk or the memory ran out
  2    the command was refused: a wrong option or path, or OUT holds results of other settings
  130  stopped by Ctrl-C or SIGTERM

examples:
  test.py MyScans Colored
  test.py a.jpg b.jpg folder Colored --json
  test.py film.mp4 coloured.mp4"""


def parse(arguments=None):
    """(options, jobs) of test.py. Ends the program with one line and status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="test.py",
        description="Colorize a picture, or a folder of them with all its subfolders.",
        usage="test.py IN [IN ...] OUT [options]",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def group(title):
        add_argument = parser.add_argument_group(title).add_argument
        return lambda *names, text, **how: add_argument(*names, help=text, **how)

    add = group("files")
    add("input", metavar="IN", nargs="+", text="pictures, films, and folders with all below them")
    add("output", metavar="OUT", text="a folder, which mirrors IN; for one picture also a file")

    add = group("results")
    text = "of the results (default: by the name OUT, else as each input if possible, else png)"
    add("--format", choices=sorted(set(FORMATS.values())), text=text)
    text = "of jpg, webp and films, 1..100 (default 95); lossless: of films"
    add("--quality", type=quality, default=95, metavar="N", text=text)
    add("--overwrite", action="store_true", text="replace results that exist (default: skip them)")
    text = "take share I = 0..N-1 of N, by the names; N such commands may write one OUT at a time"
    add("--shard", type=share, metavar="I/N", text=text)
    text = "print one JSON object on stdout: counts, and each file's status, note and result"
    add("--json", action="store_true", text=text)

    add = group("colours")
    text = (
        "on ab, 0 to 10, 1: the network's own; or muted, natural or vivid, if the network's file "
    )
    text += "has them (default: the file's, else 1)"
    add("--saturation", type=saturation, metavar="FACTOR", text=text)
    text = 'JSON file of colours at places: {"a.jpg": [[x, y, "#7a5230"], ...]}'
    add("--hints", type=Path, metavar="FILE", text=text)
    text = "let the colours follow the edges of the lightness (default: yes)"
    add("--guided", action=argparse.BooleanOptionalAction, default=True, text=text)
    text = "how colours outside sRGB are brought in (default chroma)"
    add("--gamut", choices=("chroma", "clip"), default="chroma", text=text)
    text = "for faded photographs: the network also sees a copy with stretched tones, and --mirror"
    add("--old", action="store_true", text=text)
    text = (
        "average the colours of the picture and its mirror image (default: by the network's file)"
    )
    add("--mirror", action=argparse.BooleanOptionalAction, text=text)
    text = "colorize documents and drawings too, which are left gray"
    add("--force", action="store_true", text=text)
    text = "the authors' own steps: squashed to 256 x 256 by nearest neighbour, Rec. 709 luma, ab "
    text += "doubled by repetition, clipped; the result is 256 x 256 (docs/networks.md)"
    add("--as-published", action="store_true", text=text)

    add = group("films")
    add("--films", action="store_true", text="colorize the films in folders, too")
    text = "share of the colours of the frame before that a frame keeps, 0..1 (default 0.9)"
    add("--smooth", type=number(float, 0, 1), default=0.9, metavar="SHARE", text=text)
    text = "when stopped, keep the frames until then as NAME.stopped.mp4"
    add("--keep", action="store_true", text=text)

    add = group("network")
    text = "network: best.keras of a run of train.py, or an .onnx file"
    add("--model", type=Path, default=DEFAULT_MODEL, text=text)
    text = "side of the square that the network sees; given several times, the colours of all are "
    text += "averaged (default: by the network's file)"
    add("--size", type=multiple_of_8, action="append", metavar="N", text=text)
    text = (
        "of a .keras file (default auto: bfloat16 on processors that multiply in it, else float32)"
    )
    add("--precision", choices=("auto", "float32", "mixed_bfloat16"), default="auto", text=text)
    text = "pictures at a time (default 4)"
    add("--batch", type=number(int, 1, 1024), default=4, text=text)

    options = parser.parse_args(arguments)
    try:
        return _check(options, parser.get_default)
    except BadPath as error:
        parser.error(str(error))


def _check(options, default):
    """(options, jobs). Raises BadPath for paths and options that do not fit."""

    def refuse(names, reason):
        for name in names:
            if getattr(options, name) != default(name):
                raise BadPath(reason.format(f"--{name.replace('_', '-')}"))

    if options.model == DEFAULT_MODEL and options.as_published:
        options.model = PAPER_MODEL
    if options.model == DEFAULT_MODEL and options.precision != "auto":
        options.model = KERAS_MODEL
    if not options.model.is_file():
        raise BadPath(f"{printable(options.model)}: no such network; --model takes a best.keras")
    if options.as_published:
        others = (*AS_PUBLISHED, "old", "force", "hints")
        refuse(others, "--as-published: does not go with {}")
        vars(options).update(AS_PUBLISHED)
        options.precision = options.precision.replace("auto", "float32")
    asked = asked_format(options.input, options.output)
    if options.format and asked and asked != options.format:
        raise BadPath(f"{printable(options.output)} contradicts --format {options.format}")
    suffix = options.format and "." + options.format
    jobs = find_jobs(options.input, options.output, suffix, options.shard, options.films)
    if jobs.films:
        refuse(("gamut", "old", "as_published"), "{}: not for films")
    if options.quality == LOSSLESS and len(jobs.films) < len(jobs.pairs):
        raise BadPath("--quality lossless: for films only; png and tif pictures lose nothing")
    if not jobs.pairs and not jobs.unreadable and not options.shard:
        films = ", but films (--films takes them)" * any(why == FILM for _, why in jobs.passed_over)
        raise BadPath(f"{printable(options.input[0])}: no pictures in it{films}")
    options.hints_of = {}  # input -> hints
    if options.hints:
        from inference.hints import read_hints  # it imports what reads pictures

        pictures = [source for source, _ in jobs.pairs if source not in jobs.films]
        try:
            options.hints_of = read_hints(options.hints, pictures, options.input, options.shard)
        except ValueError as error:
            raise BadPath(f"--hints {error}") from error
    return options, jobs


def quality(text):
    """An argparse type: 1 to 100, or "lossless"."""
    return text if text == LOSSLESS else number(int, 1, 100)(text)


def multiple_of_8(text):
    """An argparse type: a side that the strides of every network divide."""
    side = number(int, 8, 4096)(text)
    if side % 8:
        raise argparse.ArgumentTypeError(f"{side} is not divisible by 8")
    return side


def saturation(text):
    """An argparse type: a factor, 0 to 10, or a name that the file of a network may define."""
    return text if text in ("muted", "natural", "vivid") else number(float, 0, 10)(text)
