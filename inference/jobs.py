"""IN and OUT of test.py and of `python -m data.gray`: which pictures are read, and where the results are written."""

import atexit
import hashlib
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pictures.formats import extensions, looks_like_picture
from pictures.writer import FORMATS
from utils import RECORD, find_files, number, printable, share

STREAM = "-"  # in place of a path: stdin or stdout


class BadPath(Exception):
    """An input or output path that cannot be used. The message is one clear line."""


def output_names(names, suffix=None):
    """The output's name for each name of a picture; depends on the names alone.

    a.jpg -> a.png. If two pictures would get one name, both keep their suffix: a.jpg -> a.jpg.png, a.png -> a.png.png.

    Args:
        suffix: of the outputs; None: that of the input if it is of a format that can be written, else ".png".

    Returns:
        dict, name -> output's name.
    """
    ends = {name: suffix or _own_suffix(name) or ".png" for name in names}
    short = {name: os.path.splitext(name)[0] + end for name, end in ends.items()}
    claims = Counter(
        claim.casefold() for name in names for claim in {short[name], name + ends[name]}
    )
    return {
        name: short[name] if claims[short[name].casefold()] == 1 else name + ends[name]
        for name in names
    }


def _own_suffix(name):
    suffix = os.path.splitext(name)[1]
    return suffix if suffix.lower() in FORMATS else ""


@dataclass
class Jobs:
    """The pictures of a batch job with their outputs, and what was not taken."""

    pairs: list[tuple[Path, Path]] = field(default_factory=list)  # (input, output)
    passed_over: list[Path] = field(default_factory=list)  # files that are not pictures
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # (folder, reason)
    folder: Path | None = None  # that holds all outputs; None: OUT names one file

    def _keep(self, source, prefix, index, shares):
        """Keep only share `index` of `shares`, by the paths below `prefix`, relative to `source`."""
        for found in (self.pairs, self.unreadable):
            found[:] = [
                pair
                for pair in found
                if share_of(prefix / pair[0].relative_to(source), shares) == index
            ]


def find_jobs(sources, out, suffix=None, share=None):
    """The jobs of a command.

    Args:
        sources: pictures and folders. The tree of one folder is mirrored under `out`, those of several inputs under
            `out` / name of the folder.
        out: a folder. For one picture, the output itself if it ends in the suffix of a format that can be written.
        suffix: of the outputs; None: that of each input, see `output_names`.
        share: (I, N), the I-th of N shares; None: all.

    Raises:
        BadPath: an input does not exist, an output would overwrite an input, or two would have one name.
    """
    sources, target = [Path(source) for source in sources], Path(out)
    if len(sources) > 1 and target.exists() and not target.is_dir():
        raise BadPath(
            f"{printable(target)}: a file, but several inputs need a folder for their results"
        )
    jobs = Jobs(folder=target)
    for source in sources:
        prefix = Path(source.resolve().name if len(sources) > 1 else "")
        if source.is_dir():
            part = _jobs_of_folder(source, target / prefix, suffix, target)
        elif not os.path.lexists(source):
            raise BadPath(f"{printable(source)}: no such file or folder")
        elif len(sources) == 1 and asked_format(sources, out):
            jobs.folder, part = None, Jobs([(source, target)])
        else:
            part = Jobs([(source, target / output_names([source.name], suffix)[source.name])])
        if share:
            part._keep(source, prefix, *share)
        for name in ("pairs", "passed_over", "unreadable"):
            getattr(jobs, name).extend(getattr(part, name))
    if len(sources) > 1 or jobs.folder is None or not sources[0].is_dir():
        _refuse_collisions(jobs.pairs)
    return jobs


def _refuse_collisions(pairs):
    """Raise BadPath if two results would have one name, or if one would overwrite an input."""
    inputs = {source.resolve(): source for source, _ in pairs}
    taken = {}
    for source, target in pairs:
        place = target.resolve()
        if place in inputs:
            raise BadPath(
                f"{printable(target)}: the output would overwrite the input; give another OUT"
            )
        if taken.setdefault(place, source) is not source:
            raise BadPath(
                f"{printable(taken[place])} and {printable(source)} would both become {printable(target)}"
            )


def _jobs_of_folder(source, out, suffix, root):
    if out.exists() and not out.is_dir():
        raise BadPath(
            f"{printable(out)}: a file, but the input is a folder and needs a folder for its results"
        )
    if source.resolve().is_relative_to(root.resolve()):
        raise BadPath(
            f"{printable(root)}: OUT is IN or holds it, so that results would fall among the inputs"
        )
    jobs = Jobs()
    pictures = {}  # folder -> names
    for path in find_files(
        source, root, lambda folder, error: jobs.unreadable.append((folder, error.strerror))
    ):
        if looks_like_picture(path):
            pictures.setdefault(path.parent, []).append(path.name)
        elif path.name != RECORD:
            jobs.passed_over.append(path)
    for folder, names in pictures.items():
        for name, result in output_names(names, suffix).items():
            jobs.pairs.append((folder / name, out / folder.relative_to(source) / result))
    return jobs


def share_of(path, shares):
    """The share of a path, 0..shares-1: by a hash of its bytes, the same on every machine and in any company."""
    digest = hashlib.sha256(os.fsencode(Path(path).as_posix())).digest()
    return int.from_bytes(digest[:8], "big") % shares


def asked_format(sources, out):
    """The format that the name `out` asks for if the input is one picture; None if `out` is a folder.

    Raises:
        BadPath: the suffix is that of a format that cannot be written.
    """
    if (
        len(sources) > 1
        or os.path.isdir(sources[0])
        or os.path.isdir(out)
        or os.fspath(out).endswith(os.sep)
    ):
        return None
    suffix = Path(out).suffix.lower()
    if suffix in extensions() and suffix not in FORMATS:
        raise BadPath(
            f"{printable(out)}: {suffix} cannot be written; known are {', '.join(FORMATS)}"
        )
    return FORMATS.get(suffix)


def add_output_options(parser):
    """Add IN, OUT and the options shared by the commands that write pictures."""
    text = "pictures, and folders that are searched recursively; - reads one picture from stdin"
    parser.add_argument("input", metavar="IN", nargs="+", help=text)
    text = "a folder, which mirrors IN; for one picture also a file, or - for stdout"
    parser.add_argument("output", metavar="OUT", help=text)
    text = "of the results (default: by the name OUT, else as each input where it can be written, else png)"
    parser.add_argument("--format", choices=sorted(set(FORMATS.values())), help=text)
    parser.add_argument(
        "--quality",
        type=number(int, 1, 100),
        default=95,
        help="of jpg and webp, 1..100 (default 95)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that exist (default: skip them)"
    )
    text = "take share I = 0..N-1 of N, by the names of the pictures; N such commands may write one OUT at a time"
    parser.add_argument("--shard", type=share, metavar="I/N", help=text)
    text = "print one JSON object on stdout: counts, and for each file its status, note and result"
    parser.add_argument("--json", action="store_true", help=text)
    parser.add_argument(
        "--verbose", action="store_true", help="also name the files that are passed over"
    )


def parse_jobs(parser, args):
    """The jobs of the command line. Ends the program with one line and status 2 for an invalid path."""
    try:
        args.to_stdout = args.output == STREAM
        if args.to_stdout and args.json:
            raise BadPath("--json and OUT - would both use stdout")
        if STREAM in args.input or args.to_stdout:
            _open_streams(args)
        asked = asked_format(args.input, args.output)
        if args.format and asked and asked != args.format:
            raise BadPath(f"{printable(args.output)} contradicts --format {args.format}")
        jobs = find_jobs(args.input, args.output, args.format and "." + args.format, args.shard)
        if not jobs.pairs and not jobs.unreadable and not args.shard:
            raise BadPath(f"{printable(args.input[0])}: no pictures in it")
        return jobs
    except BadPath as error:
        parser.error(str(error))


def _open_streams(args):
    """Replace - in IN and OUT by files in a folder that is removed when the program ends."""
    if len(args.input) > 1:
        raise BadPath("- stands for one picture, and so does not go with other inputs")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    source = Path(args.input[0])
    if args.input[0] == STREAM:
        content = sys.stdin.buffer.read()
        source = Path(folder.name, "stdin" + _suffix_of(content))
        source.write_bytes(content)
        args.input = [source]
    if args.to_stdout:
        if source.is_dir():
            raise BadPath("OUT - takes one picture, and the input is a folder")
        suffix = args.format and "." + args.format
        args.output = Path(folder.name, "stdout" + (suffix or _own_suffix(source.name) or ".png"))


def _suffix_of(content):
    """The suffix of the format that a file of these bytes has, of those that can be written."""
    marks = {b"\xff\xd8\xff": ".jpg", b"II*\0": ".tif", b"MM\0*": ".tif", b"RIFF": ".webp"}
    return next((suffix for mark, suffix in marks.items() if content.startswith(mark)), ".png")


def end_jobs(args, report, text):
    """Print the end of a batch job, in words or as JSON, and write the result where it was asked for on stdout."""
    if args.to_stdout and os.path.exists(args.output):
        sys.stdout.buffer.write(Path(args.output).read_bytes())
        sys.stdout.buffer.flush()
    if args.json:
        report.print_json(text)
    else:
        print(text, file=sys.stderr if args.to_stdout else sys.stdout)
