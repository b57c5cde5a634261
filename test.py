"""Colorize a grayscale picture, or a folder of them with all its subfolders.

    python test.py IN [IN ...] OUT [--model FILE]

Paths -> pictures -> the network, at one fixed size -> its ab, enlarged and joined to each picture's
own lightness -> files.
"""

import functools
import os
import signal
import sys
import time
from dataclasses import fields

CHOOSE = "--overwrite makes them again, another OUT keeps them"


class Stop(Exception):
    """The job ends early: (exit status, message)."""


def main(arguments=None):
    """Colorize. The exit status: 0 all done, 1 some failed, 2 refused, 130 stopped."""
    for name in ("stdout", "stderr"):  # None in a program without a window, or where it is closed
        setattr(sys, name, getattr(sys, name) or open(os.devnull, "w"))  # noqa: SIM115
    try:
        from inference.options import parse
    except ModuleNotFoundError as error:
        sys.exit(f"test.py: {error}: run `make setup`, then .venv/bin/python test.py ...")
    options, jobs = parse(arguments)
    from colorizer import Colorizer  # slow, and so after what may be refused
    from inference.report import Report, say
    from inference.settings import Settings

    try:
        colorizer = Colorizer(options.model, options.size, options.batch, options.precision)
        given = {field.name: getattr(options, field.name) for field in fields(Settings)}
        settings = colorizer.settings(**given)
    except ValueError as error:  # a BadModel is one
        say(str(error), sys.stderr)
        return 2
    with Report(jobs) as report:
        try:
            message = colorize(options, jobs, colorizer, settings, report)
            status = 1 if report.counts["failed"] else 0
            if not options.json:
                say(message, sys.stdout)
        except Stop as stop:
            status, message = stop.args
            say(message, sys.stderr)
    if options.json:
        report.print_json(message)
    return status


def colorize(options, jobs, colorizer, settings, report):
    """Work through the jobs; returns what to say at the end. Raises Stop."""
    from inference.folder import colorize_all, left_to_do
    from inference.jobs import FILM
    from inference.settings import Record, digest, recorded
    from utils import is_out_of_memory, printable

    made_by = recorded(colorizer, settings, format=options.format, quality=options.quality)
    made_by |= {"smooth": options.smooth} if jobs.films else {}
    made_by |= {"hints": digest(options.hints)} if options.hints else {}
    record = Record(jobs.folder, made_by)
    todo = left_to_do(jobs.pairs, report, options.overwrite)
    if skipped := report.counts["skipped"]:
        if other := record.differences():
            made = f"its results were made with other settings ({other})"
            raise Stop(2, f"{printable(jobs.folder)}: {made}; {CHOOSE}")
        if record.stored is None:
            report.note(f"{skipped} results exist, with what settings is not known; {CHOOSE}")
    fit_batch(options, colorizer.engine, len(todo), report)
    if passed := [printable(path) for path, why in jobs.passed_over if why == FILM]:
        others = f" and {len(passed) - 3} more" * (len(passed) > 3)
        report.note(f"{', '.join(passed[:3])}{others}: films, passed over (--films takes them)")
    started = time.monotonic()
    again = f"the same command {'begins anew' if options.overwrite else 'goes on from here'}"
    try:
        pictures = [pair for pair in todo if pair[0] not in jobs.films]
        begin = functools.partial(record.begin, options.overwrite)
        how = {"begin": begin, "quality": options.quality}
        colorize_all(pictures, colorizer, settings, report, hints=options.hints_of, **how)
        if films := [pair for pair in todo if pair[0] in jobs.films]:
            from inference.film import colorize_films

            how |= {"smooth": options.smooth, "keep": options.keep}
            colorize_films(films, colorizer, settings, report, **how)
        if not options.shard:
            record.end()
        seconds = time.monotonic() - started
    except KeyboardInterrupt:
        raise Stop(130, f"stopped: {report}; {again}") from None
    except OSError as error:  # those of single pictures are counted
        reason = f"{printable(options.output)}: {error.strerror or error}"
        raise Stop(1, f"{report}; {reason}; {again}") from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        hint = f"try a smaller --size (now {max(colorizer.sizes)})"
        raise Stop(1, f"{report}; out of memory even with one picture at a time: {hint}") from None
    rate = report.counts["done"] / max(seconds, 1e-9)
    faint = report.counts["faint"]
    text = f"\n{faint} done with almost no colour in the result" if faint else ""
    return f"{report}; {seconds:.1f} s, {rate:.2f} {'files' if jobs.films else 'pictures'}/s{text}"


def fit_batch(options, engine, count, report):
    """Let the network see as many of `count` pictures at a time as the memory holds."""
    from inference.folder import fitting_batch
    from utils import memory_left

    # The batches of a shard have one shape: in another, a GPU may sum in another order.
    batch = options.batch if options.shard else max(1, min(options.batch, count))
    left = memory_left()
    fitting = fitting_batch(batch, engine.side, left)
    if not fitting:
        left = f"{left / 1e6:.0f} MB are left for one picture at a time"
        raise Stop(1, f"{report}; too little memory: {left}")
    if fitting < batch:
        report.note(f"too little memory for {batch} pictures at a time: {fitting} are taken")
    engine.batch = fitting


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the first picture or after the last
        sys.exit(130)
