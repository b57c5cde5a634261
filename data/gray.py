"""Make grayscale copies of pictures.

python -m data.gray IN OUT
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.jobs import add_output_options, end_jobs, parse_jobs
from data.reader import read_picture
from data.report import Report
from data.writer import FORMATS, write_picture
from utils import one_line, printable


def gray(pixels):
    """Rec. 601 luma of the encoded sRGB values; in 8 bits exactly Pillow's mode "L".

    Args:
        pixels: (H, W, 3), or (H, W), which is returned as it is; uint8 or uint16.

    Returns:
        (H, W), of the same dtype.
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = np.moveaxis(pixels.astype(np.uint64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(pixels.dtype)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="data.gray", description="Make grayscale copies of pictures (Rec. 601 luma).", allow_abbrev=False
    )
    add_output_options(parser)
    args = parser.parse_args(arguments)
    jobs = parse_jobs(parser, args)

    def convert(source, target):
        with report.failures_of(source):
            picture = read_picture(source)
            lost = write_picture(target, gray(picture.pixels), picture, FORMATS[target.suffix.lower()], args.quality)
            report.count("done", source, picture.note, lost)

    with Report(jobs, args.verbose, args.json) as report, ThreadPoolExecutor() as pool:
        todo = report.todo(jobs, args.overwrite)
        try:
            for start in range(0, len(todo), 256):  # a million futures would take much memory
                list(pool.map(convert, *zip(*todo[start : start + 256])))
        except OSError as error:  # of the disk
            report.note(f"{printable(args.output)}: {one_line(error)}; {report}")
            return 1
    end_jobs(args, report, str(report))
    return 1 if report.counts["failed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
