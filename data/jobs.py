"""IN and OUT of test.py and of `python -m data.gray`: which pictures are read, and where the results are written."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from data.reader import extensions, looks_like_picture
from data.writer import FORMATS
from utils import find_files, number, printable, share


class BadPath(Exception):
    """An input or output path that cannot be used. The message is one clear line."""


def output_names(names, suffix):
    """The output's name for each name of a picture; depends on the names alone.

    a.jpg -> a.png. If two pictures would get one name, both keep their suffix: a.jpg -> a.jpg.png, a.png -> a.png.png.

    Returns:
        dict, name -> output's name.
    """
    short = {name: os.path.splitext(name)[0] + suffix for name in names}
    claims = Counter(claim.casefold() for name in names for claim in {short[name], name + suffix})
    return {name: short[name] if claims[short[name].casefold()] == 1 else name + suffix for name in names}


@dataclass
class Jobs:
    """The pictures of a batch job with their outputs, and what was not taken."""

    pairs: list[tuple[Path, Path]] = field(default_factory=list)  # (input, output)
    passed_over: int = 0  # number of files that are not pictures
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # (folder, reason)

    def keep(self, source, index, shares):
        """Keep only share `index` of `shares`, by the paths relative to `source`, the folder or picture."""
        for found in (self.pairs, self.unreadable):
            found[:] = [(path, rest) for path, rest in found if share_of(path.relative_to(source), shares) == index]


def find_jobs(source, out, suffix):
    """The jobs of a command.

    Args:
        source: a picture, or a folder whose tree is mirrored under `out`.
        out: a folder. For one picture, the output itself if it ends in the suffix of a format that can be written.
        suffix: of the outputs.

    Raises:
        BadPath: `source` does not exist, or an output would overwrite an input.
    """
    source, target = Path(source), Path(out)
    if source.is_dir():
        return _jobs_of_folder(source, target, suffix)
    if not os.path.lexists(source):
        raise BadPath(f"{printable(source)}: no such file or folder")
    if asked_format(source, out) is None:
        target /= output_names([source.name], suffix)[source.name]
    if target.resolve() == source.resolve():
        raise BadPath(f"{printable(target)}: the output would overwrite the input; give another OUT")
    return Jobs([(source, target)])


def _jobs_of_folder(source, out, suffix):
    if out.exists() and not out.is_dir():
        raise BadPath(f"{printable(out)}: a file, but the input is a folder and needs a folder for its results")
    if source.resolve().is_relative_to(out.resolve()):
        raise BadPath(f"{printable(out)}: OUT is IN or holds it, so that results would fall among the inputs")
    jobs = Jobs()
    pictures = {}  # folder -> names
    for path in find_files(source, out, lambda folder, error: jobs.unreadable.append((folder, error.strerror))):
        if looks_like_picture(path):
            pictures.setdefault(path.parent, []).append(path.name)
        else:
            jobs.passed_over += 1
    for folder, names in pictures.items():
        for name, result in output_names(names, suffix).items():
            jobs.pairs.append((folder / name, out / folder.relative_to(source) / result))
    return jobs


def share_of(path, shares):
    """The share of a path, 0..shares-1: by a hash of its bytes, the same on every machine and in any company."""
    digest = hashlib.sha256(os.fsencode(Path(path).as_posix())).digest()
    return int.from_bytes(digest[:8], "big") % shares


def asked_format(source, out):
    """The format that the name `out` asks for if the input is one picture; None if `out` is a folder.

    Raises:
        BadPath: the suffix is that of a format that cannot be written.
    """
    if os.path.isdir(source) or os.path.isdir(out) or os.fspath(out).endswith(os.sep):
        return None
    suffix = Path(out).suffix.lower()
    if suffix in extensions() and suffix not in FORMATS:
        raise BadPath(f"{printable(out)}: {suffix} cannot be written; known are {', '.join(FORMATS)}")
    return FORMATS.get(suffix)


def add_output_options(parser):
    """Add IN, OUT and the options shared by the commands that write pictures."""
    parser.add_argument("input", metavar="IN", help="a picture, or a folder that is searched recursively")
    parser.add_argument("output", metavar="OUT", help="a folder, which mirrors IN; for one picture also a file")
    parser.add_argument(
        "--format", choices=sorted(set(FORMATS.values())), help="of the results (default by the name OUT, else png)"
    )
    parser.add_argument("--quality", type=number(int, 1, 100), default=95, help="of jpg and webp, 1..100 (default 95)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist (default: skip them)")
    text = "take share I = 0..N-1 of N, by the names of the pictures; N such commands may write one OUT at a time"
    parser.add_argument("--shard", type=share, metavar="I/N", help=text)


def parse_jobs(parser, args):
    """The jobs of the command line; sets args.format. Ends the program with one line and status 2 for an invalid path."""
    try:
        asked = asked_format(args.input, args.output)
        if args.format and asked and asked != args.format:
            raise BadPath(f"{printable(args.output)} contradicts --format {args.format}")
        args.format = args.format or asked or "png"
        jobs = find_jobs(args.input, args.output, "." + args.format)
        if not jobs.pairs and not jobs.unreadable:
            raise BadPath(f"{printable(args.input)}: no pictures in it")
        if args.shard:
            jobs.keep(args.input, *args.shard)
        return jobs
    except BadPath as error:
        parser.error(str(error))
