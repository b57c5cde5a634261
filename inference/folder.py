"""Many pictures in a bounded amount of memory: read, colorize, write, each beside the others.

While the network sees one group of pictures, the next is read and the one before is joined to its colours and written:
three groups are in memory at most.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from data.as_published import colorize_as_published, luma_as_published, repeated
from inference.scan import join, shown, whole
from pictures.reader import BadPicture, picture_size, read_picture
from pictures.writer import FORMATS, write_picture

GROUP_PIXELS = 64_000_000  # a group of pictures ends here, or where the network's batch is full
RESERVE, PICTURE_BYTES = (
    300_000_000,
    40_000_000,
)  # memory for the work, and for each 256 x 256 of a batch (measured: 30 MB)
LINE_ART = "a document or a drawing: left gray (--force colorizes it)"
FAINT = 4 / 255  # of full scale, between the channels of a pixel: less is no colour to the eye


def fitting_batch(batch, side, left):
    """`batch`, halved until `left` bytes of memory hold that many squares of `side`; 0 if they do not hold one.

    Asked beforehand, because on a CPU a backend that gets no memory does not say so: it ends the process.
    """
    while batch * PICTURE_BYTES * (side / 256) ** 2 > max(0, left - RESERVE):
        batch //= 2
    return batch


def colorize_all(todo, colorizer, options, report, begin=lambda: None):
    """Read, colorize and write each (input, output) of `todo`; `report` counts what becomes of it.

    `begin` is called before each result is written.
    """

    def read(source, target):
        with report.failures_of(source):
            picture = read_picture(source)
            if options.as_published:
                picture = replace(picture, alpha=None)
                scan = whole(luma_as_published(picture.pixels, *options.size))
            else:
                scan = shown(picture.pixels, picture.alpha, options.old)
            return (
                source,
                target,
                picture,
                scan,
                [colorizer.views(pixels) for pixels in scan.pictures],
            )

    def write(source, target, picture, scan, ab):
        with report.failures_of(source):
            if not np.isfinite(ab).all():
                raise BadPicture("the network gave no finite colours for it")
            gray = scan.line_art and not options.force
            saturation = 0 if gray else options.saturation
            if options.as_published:
                result = colorize_as_published(picture.pixels, repeated(ab[0], *options.size))
            else:
                how = {
                    "gamut": options.gamut,
                    "guided": options.guided,
                    "keep_tone": options.toned == "keep",
                }
                result = join(picture.pixels, scan.area, ab.mean(axis=0), saturation, **how)
            faint = not gray and is_faint(result)
            begin()
            lost = write_result(target, result, picture, options)
            why = LINE_ART if gray else "the result has almost no colour" * faint
            report.count("done", source, picture.note, lost, why)
            with report.lock:
                report.counts["faint"] += faint

    with ThreadPoolExecutor(
        (os.cpu_count() or 1) + 1
    ) as pool:  # more would drive each other out of the cache
        try:
            groups = in_groups(todo, colorizer.batch, report)
            reading, writing = [pool.submit(read, *pair) for pair in next(groups, [])], []
            while reading:
                following = [pool.submit(read, *pair) for pair in next(groups, [])]
                pictures = [picture for future in reading if (picture := future.result())]
                batch = colorizer.batch
                views = [view for *_, views in pictures for view in views]
                ab = colorizer.ab(views, options.mirror or options.old) if pictures else []
                if colorizer.batch < batch:
                    report.note(
                        f"out of memory: from here on {colorizer.batch} pictures at a time, not {batch}"
                    )
                for future in writing:
                    future.result()
                parts = np.split(np.asarray(ab), len(pictures)) if pictures else []
                writing = [
                    pool.submit(write, *picture[:4], part) for picture, part in zip(pictures, parts)
                ]
                reading = following
            for future in writing:
                future.result()
        except BaseException:
            pool.shutdown(
                cancel_futures=True
            )  # what is being written is finished, the rest is left
            raise


def in_groups(todo, batch, report):
    """Lists of at most `batch` pairs that together have at most GROUP_PIXELS pixels, or of one larger picture alone."""
    group, pixels = [], 0
    for source, target in todo:
        size = 0
        with report.failures_of(source):
            width, height = picture_size(source)
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


def write_result(path, result, picture, options):
    """Write a result with all that the input carried; returns what the format could not hold."""
    if options.side_by_side:
        result = np.hstack([rgb(picture.pixels), result])
        picture = replace(
            picture, alpha=None if picture.alpha is None else np.hstack([picture.alpha] * 2)
        )
    return write_picture(path, result, picture, FORMATS[path.suffix.lower()], options.quality)


def rgb(pixels):
    return np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels
