"""Colorize a grayscale picture, or a folder of them with all its subfolders.

    python test.py IN OUT [--model FILE]

Paths -> groups of pictures -> the network, at one fixed size -> its chroma, enlarged and joined to each picture's own
lightness -> files. While the network looks at one group, the next is read and the one before is coloured and written:
three groups are in memory at most.
"""

import argparse
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

import utils  # what needs Keras is imported when the command line was found good: that takes seconds
from data import reader, writer
from data.jobs import add_output_options, parse_jobs
from inference import model_file

DEFAULT_MODEL = Path(__file__).parent / "models" / "pretrained" / "colorizer.keras"
GROUP_PIXELS = 64_000_000  # a group of pictures ends here, or where the network's batch is full
RESERVE, PICTURE_BYTES = 300_000_000, 40_000_000  # memory for the work, and for each 256 x 256 of a batch (measured: 30 MB)
FAINT = 4 / 255  # of full scale, between the channels of a pixel: less is no colour to the eye
SHEET_PICTURES, THUMBNAIL = 120, 240  # pictures on a contact sheet, their side in pixels: both at most


def main(arguments=None):
    args, jobs = parse(arguments)
    utils.import_keras_quietly()
    from inference.view import Colorizer, native_precision

    try:
        network, card = model_file.load(args.model, native_precision() if args.precision == "auto" else args.precision)
    except model_file.BadModel as error:
        return stop(2, error)
    if args.saturation is None:
        args.saturation = card.get("colorize_saturation", 1.0)
    with utils.Report(jobs) as report:
        todo = report.todo(jobs, args.overwrite)
        # A share's batches are all of one shape: of another, a GPU might choose other sums, and a pixel could differ.
        batch = args.batch if args.shard else max(1, min(args.batch, len(todo)))
        size = args.size or card["size"]
        fitting = fitting_batch(batch, size)
        if not fitting:
            return stop(
                1, f"{report}; too little memory: {utils.memory_left() / 1e6:.0f} MB are left for one picture at a time"
            )
        if fitting < batch:
            say(f"too little memory for {batch} pictures at a time: {fitting} are taken")
        colorizer = Colorizer(network, size, fitting)
        started, where = time.monotonic(), args.output
        again = "the same command" + " without --overwrite" * args.overwrite + " goes on from here"
        try:
            colorize_all(todo, colorizer, args, report)
            seconds, where = time.monotonic() - started, args.sheet
            if args.sheet:
                write_sheet([pair for pair in jobs.pairs if pair[1].exists()], args)
        except KeyboardInterrupt:
            return stop(130, f"stopped: {report}; {again}")
        except OSError as error:  # those of single pictures are counted
            return stop(1, f"{report}; {utils.printable(where)}: {error.strerror or error}; {again}")
        except Exception as error:
            if not utils.is_out_of_memory(error):
                raise
            return stop(1, f"{report}; out of memory even with one picture at a time: try a smaller --size (now {size})")
    print(f"{report}; {seconds:.1f} s, {report.counts['done'] / max(seconds, 1e-9):.2f} pictures/s")
    if faint := report.counts["faint"]:
        print(f"{faint} done with almost no colour in the result")
    return 1 if report.counts["failed"] else 0


def fitting_batch(batch, side):
    """
    `batch`, halved until the memory that is left holds that many squares of `side`; 0 if it does not hold one. Asked
    beforehand, because on a CPU a backend that gets no memory does not say so: it ends the process.
    """
    left = utils.memory_left() - RESERVE
    while batch * PICTURE_BYTES * (side / 256) ** 2 > max(0, left):
        batch //= 2
    return batch


def stop(status, message):
    say(message)
    return status


def say(message):
    """A line on stderr that does not tear the progress bar."""
    tqdm.write(str(message), file=sys.stderr)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    add_output_options(parser)
    number, side = utils.number, multiple_of_8
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="network: best.keras of a run of train.py")
    parser.add_argument("--size", type=side, help="side of the square that the network sees (default: as trained)")
    parser.add_argument("--guided", action="store_true", help="make the colours follow the edges of the lightness")
    parser.add_argument(
        "--gamut", choices=("chroma", "clip"), default="chroma", help="how colours outside sRGB are brought in"
    )
    parser.add_argument(
        "--saturation", type=number(float, 0, 10),
        help="factor on the chroma; 1: the network's own (default: what the network's file says, else 1)",
    )  # fmt: skip
    parser.add_argument("--side-by-side", action="store_true", help="write the input beside the result")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="also write a contact sheet of inputs and results")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "mixed_bfloat16"), default="auto",
        help="of the network (default auto: bfloat16 on processors that multiply in it, else float32)",
    )  # fmt: skip
    parser.add_argument("--batch", type=number(int, 1, 1024), default=4, help="pictures at a time (default 4)")
    args = parser.parse_args(arguments)
    if not args.model.is_file():
        parser.error(f"{utils.printable(args.model)}: no such network; --model takes the best.keras of a training run")
    jobs = parse_jobs(parser, args)
    if args.sheet:
        if args.shard:
            parser.error("--sheet: the shards would overwrite it; the same command without --shard writes it afterwards")
        name = f"--sheet {utils.printable(args.sheet)}"
        if args.sheet.suffix.lower() not in writer.FORMATS:
            parser.error(f"{name}: must end in one of {', '.join(writer.FORMATS)}")
        namesakes = (path for pair in jobs.pairs for path in pair if path.name == args.sheet.name)
        if args.sheet.is_dir() or any(path.resolve() == args.sheet.resolve() for path in namesakes):
            parser.error(f"{name}: is a folder, an input or a result")
    return args, jobs


def multiple_of_8(text):
    """An argparse type: a side that the network's strides divide."""
    side = utils.number(int, 8, 4096)(text)
    if side % 8:
        raise argparse.ArgumentTypeError(f"{side} is not divisible by 8")
    return side


def colorize_all(todo, colorizer, args, report):
    """Read, colorize and write each (input, output) of `todo`; `report` counts what becomes of it."""
    from data.preprocess import colorize

    def read(source, target):
        with report.failures_of(source):
            picture = reader.read_picture(source)
            return source, target, picture, colorizer.views(picture.pixels)

    def write(source, target, picture, ab):
        with report.failures_of(source):
            if not np.isfinite(ab).all():
                raise reader.BadPicture("the network gave no finite colours for it")
            result = colorize(picture.pixels, ab, args.saturation, args.gamut, args.guided)
            faint = is_faint(result)
            lost = write_result(target, result, picture, args)
            report.count("done", source, picture.note, lost, "the result has almost no colour" * faint)
            with report.lock:
                report.counts["faint"] += faint

    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:  # more would drive each other out of the cache
        try:
            groups = in_groups(todo, colorizer.batch, report)
            reading, writing = [pool.submit(read, *pair) for pair in next(groups, [])], []
            while reading:
                following = [pool.submit(read, *pair) for pair in next(groups, [])]
                pictures = [picture for future in reading if (picture := future.result())]
                batch = colorizer.batch
                chroma = colorizer.chroma([views for *_, views in pictures]) if pictures else []
                if colorizer.batch < batch:
                    say(f"out of memory: from here on {colorizer.batch} pictures at a time, not {batch}")
                for future in writing:
                    future.result()
                writing = [pool.submit(write, *picture[:3], ab) for picture, ab in zip(pictures, chroma)]
                reading = following
            for future in writing:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is being written is finished, the rest is left
            raise


def in_groups(todo, batch, report):
    """Lists of at most `batch` pairs that together have at most GROUP_PIXELS pixels, or of one larger picture alone."""
    group, pixels = [], 0
    for source, target in todo:
        size = 0
        with report.failures_of(source):
            width, height = reader.picture_size(source)
            size = width * height
        if group and (len(group) == batch or pixels + size > GROUP_PIXELS):
            yield group
            group, pixels = [], 0
        if size:
            group.append((source, target))
            pixels += size
    if group:
        yield group


def is_faint(result):
    """Whether 99 of 100 pixels of a picture (H, W, 3) have no visible colour, judged on about 65,000 of them."""
    step = max(1, min(result.shape[:2]) // 256)
    sample = result[::step, ::step].astype(np.float32) / np.iinfo(result.dtype).max
    return bool(np.percentile(np.ptp(sample, axis=-1), 99) < FAINT)


def write_result(path, result, picture, args):
    """Write a result with all that the input carried; returns what the format could not hold."""
    if args.side_by_side:
        result = np.hstack([rgb(picture.pixels), result])
        picture = replace(picture, alpha=None if picture.alpha is None else np.hstack([picture.alpha] * 2))
    return writer.write_picture(path, result, picture, args.format, args.quality)


def rgb(pixels):
    return np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels


def write_sheet(pairs, args):
    """
    A contact sheet of inputs and results, read back from the disk, so that it holds those of an earlier run as well.
    Of many, SHEET_PICTURES are shown, evenly spaced in their order.
    """
    places = np.linspace(0, len(pairs) - 1, min(len(pairs), SHEET_PICTURES)).astype(int)
    shown = [pairs[i] for i in places]
    tiles = []
    for source, target in shown:
        try:
            files = [target] if args.side_by_side else [source, target]
            tiles.append(np.hstack([thumbnail(reader.read_picture(file).pixels, len(files)) for file in files]))
        except reader.BadPicture as error:
            say(f"{utils.printable(source)}: not on the sheet: {error}")
    if not tiles:
        return say("no contact sheet: there is no result to show")
    columns = math.ceil(math.sqrt(len(tiles) / 2))  # each is twice as wide as high
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    writer.write_picture(args.sheet, np.vstack(rows), reader.Picture(rows[0]), writer.FORMATS[args.sheet.suffix.lower()])
    return say(f"{utils.printable(args.sheet)}: {len(shown)} of {len(pairs)} results, input | result")


def thumbnail(pixels, files):
    """A picture fitted into a white tile (THUMBNAIL, 2 * THUMBNAIL / files, 3), uint8, its aspect kept."""
    image = Image.fromarray(rgb(writer.eight_bits(pixels)))
    return np.asarray(ImageOps.pad(image, (2 * THUMBNAIL // files, THUMBNAIL), color="white"))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the first picture or after the last
        sys.exit(130)
