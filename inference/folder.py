"""Colorize many picture files in bounded memory: read, colorize and write, beside each other.

While the network sees one group of pictures, the next is read and the one before is joined to its
colours and written: three groups are in memory at most.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from models.properties import BadModel
from pictures.films import FILMS
from pictures.reader import BadPicture, picture_size, read_picture
from pictures.writer import FORMATS, write_picture
from utils import cpu_count, remove_leftovers

GROUP_PIXELS = 64_000_000  # a group of pictures ends here, or where the network's batch is full
# Memory for the work, and for each 256 x 256 of a batch (measured: 30 MB)
RESERVE, PICTURE_BYTES = 300_000_000, 40_000_000
LINE_ART = "a document or a drawing: left gray (--force colorizes it)"
NEWER = "newer than its result, skipped (--overwrite makes it again)"
FAINT = 4 / 255  # of full scale, between the channels of a pixel: less is no colour to the eye


def fitting_batch(batch, side, left):
    """`batch`, halved until `left` bytes of memory hold so many squares of `side`; 0: not even one.

    Checked beforehand, because a backend that gets no memory on a CPU ends the process.
    """
    while batch * PICTURE_BYTES * (side / 256) ** 2 > max(0, left - RESERVE):
        batch //= 2
    return batch


def left_to_do(pairs, report, overwrite):
    """The pairs whose result is absent or unreadable, or all with `overwrite`.

    The others are reported as skipped. What killed processes left half written is removed.
    """
    for folder in {target.parent for _, target in pairs}:
        remove_leftovers(folder)
    todo = []
    for source, target in pairs:
        if overwrite or not is_readable(target):
            todo.append((source, target))
        else:
            newer = os.path.exists(source) and os.stat(source).st_mtime > os.stat(target).st_mtime
            report.count("skipped", source, NEWER * newer)
    return todo


def is_readable(path):
    """Whether a result exists and is complete. Most formats show that at their ends."""
    try:
        with open(path, "rb") as file:
            head, size = file.read(12), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 12))
            tail = file.read()
        if path.suffix.lower() in FILMS:  # written in one move
            return size > 0
        is_png = head[:4] == b"\x89PNG" and tail[4:8] == b"IEND"
        is_jpeg = head[:3] == b"\xff\xd8\xff" and tail[-2:] == b"\xff\xd9"
        is_webp = head[8:] == b"WEBP" and int.from_bytes(head[4:8], "little") + 8 == size
        return is_png or is_jpeg or is_webp or "damaged" not in read_picture(path).note
    except IsADirectoryError:
        return True  # nothing can be written there
    except (BadPicture, OSError):
        return False


def colorize_all(todo, colorizer, settings, report, quality=95, begin=lambda: None, hints=None):
    """Read, colorize and write each (input, output) of `todo`; `report` counts what becomes of it.

    Args:
        colorizer, settings: a Colorizer and its `settings`.
        quality: of JPEG and WebP.
        begin: called before each result is written.
        hints: {input: hints}, see `inference.hints.parse_hints`.
    """

    def read(source, target):
        with report.failures_of(source):
            picture = read_picture(source)
            if settings.as_published:  # the result has another shape
                picture = replace(picture, alpha=None)
            own = (hints or {}).get(source, ())
            prepared = colorizer.prepare(picture.pixels, settings, picture.alpha, own)
            return source, target, picture, prepared

    def write(source, target, picture, prepared, ab):
        with report.failures_of(source):
            if not np.isfinite(ab).all():
                raise BadModel("the network gave no finite colours for it")
            view = prepared.view
            result = colorizer.join(picture.pixels, view, ab, settings)
            gray = view.line_art and not (settings.force or view.hints)
            faint = not gray and is_faint(result)
            begin()
            lost = write_picture(target, result, picture, FORMATS[target.suffix.lower()], quality)
            why = LINE_ART if gray else "the result has almost no colour" * faint
            report.count("done", source, picture.note, lost, why)
            with report.lock:
                report.counts["faint"] += faint

    # more threads would compete for the cache
    with ThreadPoolExecutor(cpu_count() + 1) as pool:
        try:
            writing = []
            groups = in_groups(todo, colorizer, report)
            reading = [pool.submit(read, *pair) for pair in next(groups, [])]
            while reading:
                following = [pool.submit(read, *pair) for pair in next(groups, [])]
                pictures = [picture for future in reading if (picture := future.result())]
                batch = colorizer.engine.batch
                found = colorizer.infer([prepared for *_, prepared in pictures], settings)
                if colorizer.engine.batch < batch:
                    taken = f"{colorizer.engine.batch} pictures at a time, not {batch}"
                    report.note(f"out of memory: from here on {taken}")
                for future in writing:
                    future.result()
                writing = [pool.submit(write, *one, ab) for one, ab in zip(pictures, found)]
                reading = following
            for future in writing:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is being written is finished
            raise


def in_groups(todo, colorizer, report):
    """Lists of pairs: at most a batch, and at most GROUP_PIXELS or one larger picture."""
    group, pixels = [], 0
    for source, target in todo:
        size = 0
        with report.failures_of(source):
            size = int(np.prod(picture_size(source)))
        if group and (len(group) == colorizer.engine.batch or pixels + size > GROUP_PIXELS):
            yield group
            group, pixels = [], 0
        if size:
            group.append((source, target))
            pixels += size
    if group:
        yield group


def is_faint(result):
    """Whether 99 of 100 pixels have no visible colour, judged on about 65,000 of (H, W, 3)."""
    step = max(1, min(result.shape[:2]) // 256)
    sample = result[::step, ::step].astype(np.float32) / np.iinfo(result.dtype).max
    return bool(np.percentile(np.ptp(sample, axis=-1), 99) < FAINT)
