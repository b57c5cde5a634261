"""IN and OUT of test.py: which files are read, and where the results are written."""

import hashlib
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pictures.films import FILMS, SUFFIXES, is_film
from pictures.formats import extensions, looks_like_picture
from pictures.writer import FORMATS
from utils import RECORD, find_files, printable

NO_PICTURE, HIDDEN = "not a picture", "hidden, or a folder of the system"
FILM, EARLIER = "a film (--films takes it)", "results of test.py"


class BadPath(Exception):
    """An input or output path that cannot be used. The message is one clear line."""


@dataclass
class Jobs:
    """The pictures and films of a batch job with their outputs, and what is not taken."""

    pairs: list[tuple[Path, Path]] = field(default_factory=list)  # (input, output)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)  # (file or folder, reason)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # (folder, reason)
    folder: Path | None = None  # that holds all outputs; None: OUT names one file
    films: set[Path] = field(default_factory=set)  # the inputs that are films


def find_jobs(sources, out, suffix=None, share=None, films=False):
    """The jobs of a command.

    Args:
        sources: pictures and folders. The tree of one folder is mirrored under `out`, those of
            several inputs under `out` / name of the folder.
        out: a folder; for one picture or film the output itself if it ends in the suffix of a
            format that can be written.
        suffix: of the outputs; None: that of each input, see `output_names`.
        share: (I, N), the I-th of N shares; None: all.
        films: whether those in folders are taken, too.

    Raises:
        BadPath: an input does not exist, an output would overwrite an input, or two would have one
            name.
    """
    if not all(map(os.fspath, (*sources, out))):  # Path would take the current folder
        raise BadPath("an empty path")
    sources, out = [Path(source) for source in sources], Path(out)
    several = len(sources) > 1
    place = out.absolute().parent if asked_format(sources, out) else out.absolute()
    nearest = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if not nearest.is_dir():  # a dangling link is none
        raise BadPath(f"{printable(nearest)}: a file, but the results need a folder")
    jobs, names = Jobs(folder=out), {}  # names: input -> its path below the prefix, for `share_of`
    for source in sources:
        prefix = Path(source.resolve().name if several else "")
        if source.is_dir():
            found = _walk(source, out, jobs, prefix, suffix, names, films)
        elif not os.path.lexists(source):
            raise BadPath(f"{printable(source)}: no such file or folder")
        else:
            found = [(source, out / _result_of(source, suffix, jobs))]
            if not several and asked_format(sources, out):
                jobs.folder, found = None, [(source, out)]
                if (out.suffix.lower() in FILMS) != bool(jobs.films):
                    kinds = ("film", "picture") if jobs.films else ("picture", "film")
                    raise BadPath("{}: a {} cannot become a {}".format(printable(out), *kinds))
        names |= {pair[0]: prefix / pair[0].relative_to(source) for pair in found}
        jobs.pairs += found
    if several or not sources[0].is_dir():
        _refuse_collisions(jobs.pairs)
    jobs.pairs = number_outputs(jobs.pairs)
    if share:
        for kept in (jobs.pairs, jobs.unreadable):
            kept[:] = [pair for pair in kept if share_of(names[pair[0]], share[1]) == share[0]]
    return jobs


def _result_of(source, suffix, jobs):
    """The name of the result of a single file."""
    if is_film(source):
        jobs.films.add(source)
        return film_name(source.name)
    return output_names([source.name], suffix)[source.name]


def _walk(source, out, jobs, prefix, suffix, names, films):
    """The pairs of a folder; what is not taken is added to `jobs`."""
    if source.resolve().is_relative_to(out.resolve()):
        raise BadPath(f"{printable(out)}: OUT is IN or holds it: results would be among the inputs")

    def unreadable(folder, error):
        names[folder] = prefix / folder.relative_to(source)
        jobs.unreadable.append((folder, error.strerror))

    def hidden(path):
        jobs.passed_over.append((path, HIDDEN))

    def earlier(folder, inside):
        is_earlier = RECORD in inside and folder != source
        jobs.passed_over.extend([(folder, EARLIER)] * is_earlier)
        return is_earlier

    pictures, found = {}, []  # folder -> names; films
    for path in find_files(source, out, unreadable, earlier, hidden):
        if looks_like_picture(path):
            pictures.setdefault(path.parent, []).append(path.name)
        elif not is_film(path):
            jobs.passed_over.append((path, NO_PICTURE))
        elif films:
            found.append(path)
        else:
            jobs.passed_over.append((path, FILM))
    jobs.films.update(found)
    results = [
        (folder / name, result)
        for folder, own in pictures.items()
        for name, result in output_names(own, suffix).items()
    ]
    results += [(path, film_name(path.name)) for path in sorted(found)]
    return [(p, out / prefix / p.parent.relative_to(source) / name) for p, name in results]


def film_name(name):
    """The name of a film's result: with its own suffix if that can be written, else .mkv."""
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in FILMS else f"{stem}.mkv"


def output_names(names, suffix=None):
    """The output's name for each name of a picture in a folder: a dict.

    a.jpg -> a.png. If two pictures would get one name, both keep their suffix: a.jpg -> a.jpg.png,
    a.png -> a.png.png.

    Args:
        suffix: of the outputs; None: the input's if its format can be written, else ".png".
    """
    short, long = {}, {}
    for name in names:
        stem, own = os.path.splitext(name)
        end = suffix or (own if own.lower() in FORMATS else ".png")
        short[name], long[name] = stem + end, name + end
    claims = Counter(_fold(claim) for n in names for claim in {short[n], long[n]})
    return {n: short[n] if claims[_fold(short[n])] == 1 else long[n] for n in names}


def number_outputs(pairs):
    """Pairs whose outputs differ in more than case and Unicode form, by numbers: x.png, x (2).png.

    Disks of Windows and macOS take names that differ in no more for one.
    """
    taken = {_fold(target) for _, target in pairs}
    first, result = set(), []
    for source, target in pairs:
        name, number = target, 2
        if _fold(target) in first:
            while _fold(name) in taken:
                name, number = target.with_stem(f"{target.stem} ({number})"), number + 1
        taken.add(_fold(name))
        first.add(_fold(name))
        result.append((source, name))
    return result


def _fold(path):
    text = unicodedata.normalize("NFC", os.fspath(path)).casefold()
    return unicodedata.normalize("NFC", text)


def _refuse_collisions(pairs):
    """Raise BadPath if two results would have one name, or if one would overwrite an input."""
    inputs, taken = {source.resolve() for source, _ in pairs}, {}
    for source, target in pairs:
        place = target.resolve()
        if place in inputs:
            raise BadPath(f"{printable(target)}: would overwrite the input; give another OUT")
        if taken.setdefault(place, source) is not source:
            both = f"{printable(taken[place])} and {printable(source)}"
            raise BadPath(f"{both} would both become {printable(target)}")


def share_of(path, shares):
    """The share of a path, 0..shares-1: by a hash of its bytes, the same on every machine."""
    digest = hashlib.sha256(os.fsencode(Path(path).as_posix())).digest()
    return int.from_bytes(digest[:8], "big") % shares


def asked_format(sources, out):
    """The format or the film's suffix that `out` asks for if the input is one file; None: a folder.

    Raises:
        BadPath: the suffix is that of a format that cannot be written.
    """
    suffix, text = Path(out).suffix.lower(), os.fspath(out)
    if len(sources) > 1 or os.path.isdir(sources[0]) or os.path.isdir(out) or text[-1:] == os.sep:
        return None
    for known, written in ((extensions(), FORMATS), (SUFFIXES, FILMS)):
        if suffix in known and suffix not in written:
            names = ", ".join(written)
            raise BadPath(f"{printable(out)}: {suffix} cannot be written; known are {names}")
    return suffix if suffix in FILMS else FORMATS.get(suffix)
