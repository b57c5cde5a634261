"""Colorize a grayscale picture, or a folder of them with all its subfolders.

    python test.py IN [IN ...] OUT [--model FILE]

Paths -> pictures -> the network, at one fixed size -> its ab, enlarged and joined to each picture's own lightness -> files.
"""

import signal
import sys
import time

try:
    from inference.options import parse
except ModuleNotFoundError as error:
    sys.exit(
        f"test.py: {error.name} is not installed: run `make setup`, then .venv/bin/python test.py ..."
    )

PARSED = parse() if __name__ == "__main__" else None  # refused before the imports that take seconds

from inference.engine import open_network
from inference.folder import colorize_all, fitting_batch
from inference.jobs import end_jobs
from inference.report import Report
from inference.settings import Record, settings_of
from inference.sheet import write_sheet
from models.properties import factor_of, mirror_of, sizes_of
from utils import is_out_of_memory, memory_left, printable

CHOOSE = "--overwrite makes them again, another OUT keeps them"


def main(options, jobs):
    """Colorize; returns the exit status: 0 all done, 1 some failed, 2 refused, 130 stopped."""
    try:
        make, metadata = open_network(options.model, options.precision)
        sizes = sizes_of(metadata, options.size)
        colorizer = make(sizes, options.batch)
        options.saturation = factor_of(options.saturation, metadata)
        options.mirror = mirror_of(metadata, options.mirror)
    except ValueError as error:  # a BadModel is one
        return stop(2, error)
    folder = None if options.to_stdout else jobs.folder
    record = Record(folder, settings_of(options, options.saturation, sizes), options.overwrite)
    with Report(jobs, options.verbose, options.json) as report:

        def end(status, message):
            if options.json:
                report.print_json(message)
            return stop(status, message)

        todo = report.todo(jobs, options.overwrite, record.is_outdated)
        if report.counts["skipped"]:
            if other := record.differences():
                return end(
                    2,
                    f"{printable(jobs.folder)}: its results were made with other settings ({other}); {CHOOSE}",
                )
            if record.stored is None:
                report.note(
                    f"{report.counts['skipped']} results exist, with what settings is not known; {CHOOSE}"
                )
        # A share's batches are all of one shape: of another, a GPU might choose other sums, and a pixel could differ.
        batch = options.batch if options.shard else max(1, min(options.batch, len(todo)))
        left = memory_left()
        fitting = fitting_batch(batch, colorizer.side, left)
        if not fitting:
            return end(
                1,
                f"{report}; too little memory: {left / 1e6:.0f} MB are left for one picture at a time",
            )
        if fitting < batch:
            report.note(f"too little memory for {batch} pictures at a time: {fitting} are taken")
        colorizer.batch = fitting
        started, where = time.monotonic(), options.output
        again = (
            "the same command" + " without --overwrite" * options.overwrite + " goes on from here"
        )
        try:
            colorize_all(todo, colorizer, options, report, record.begin)
            if not options.shard:
                record.end()
            seconds, where = time.monotonic() - started, options.sheet
            if options.sheet:
                made = [pair for pair in jobs.pairs if pair[1].exists()]
                for line in write_sheet(made, options.sheet, options.side_by_side):
                    report.note(line)
        except KeyboardInterrupt:
            return end(130, f"stopped: {report}; {again}")
        except OSError as error:  # those of single pictures are counted
            return end(1, f"{report}; {printable(where)}: {error.strerror or error}; {again}")
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return end(
                1,
                f"{report}; out of memory even with one picture at a time: try a smaller --size (now {max(sizes)})",
            )
    text = f"{report}; {seconds:.1f} s, {report.counts['done'] / max(seconds, 1e-9):.2f} pictures/s"
    if faint := report.counts["faint"]:
        text += f"\n{faint} done with almost no colour in the result"
    end_jobs(options, report, text)
    return 1 if report.counts["failed"] else 0


def stop(status, message):
    print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        sys.exit(main(*PARSED))
    except KeyboardInterrupt:  # before the first picture or after the last
        sys.exit(130)
