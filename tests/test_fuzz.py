"""Damaged pictures: read or refused in one line, within a time and a memory limit.

Each is made from its number. `python -m tests.test_fuzz FIRST LAST` prints the number before a file
is read, then what came of it. A file that takes more than SECONDS ends the process by SIGALRM, in
whatever code it hangs; one that wants more than MEMORY does not get it.
`python -m tests.test_fuzz NUMBER --keep FILE` writes the file to look at.
"""

import io
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import reader, writer
from pictures.profiles import ADOBE_RGB
from tests.samples import COLOUR, GRAY
from tests.test_reader import READ

SECONDS, MEMORY = 20, 4 << 30  # for one file; 200 million pixels of 8-bit colour are 0.6 GB
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def intact():
    """Files of every kind that the reader treats in a way of its own: {name: bytes}."""
    image, files = Image.fromarray(COLOUR), {name: content[0] for name, content in READ.items()}
    exif = Image.Exif()
    exif[0x0112], exif[271], exif[282] = 6, "Maker", 72.0
    exif.get_ifd(0x8769)[36867] = "2001:02:03 04:05:06"
    carried = {"exif": exif, "icc_profile": ADOBE_RGB, "dpi": (72, 72)}
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    for kind, picture, options in (
        ("PNG", image, carried | frames),
        ("JPEG", image, carried | {"xmp": b'<x xmlns:x="http://ns.adobe.com/hdr-gain-map/1.0/"/>'}),
        ("JPEG", image, carried | {"progressive": True}),
        ("MPO", image, frames),
        *(("TIFF", image, carried | {"compression": c}) for c in ("tiff_lzw", "jpeg", "packbits")),
        ("TIFF", Image.fromarray(GRAY > 99), {"compression": "group4"}),
        ("WEBP", image, carried),
        ("WEBP", image.convert("RGBA"), {"lossless": True}),
        *((kind, image, {}) for kind in ("AVIF", "JPEG2000", "BMP", "DIB", "PCX", "ICO", "QOI")),
    ):
        picture.save(buffer := io.BytesIO(), kind, **options)
        files[f"{kind} {len(files)}"] = buffer.getvalue()
    return files


def damaged(files, number):
    """(what was done, the bytes) of the damaged file of this number."""
    rng = random.Random(number)
    name = rng.choice(sorted(files))
    content = bytearray(files[name])
    kind = rng.choice(("flip", "head", "cut", "splice", "length", "length", "move", "fill"))
    size, start = len(content), rng.randrange(len(content))
    if kind == "flip":
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "head":
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(min(size, 600))] = rng.randrange(256)
    elif kind == "cut":
        del content[start:]
    elif kind == "splice":  # the beginning of one file, the rest of another
        content[min(start, 400) :] = files[rng.choice(sorted(files))][rng.randrange(200) :]
    elif kind == "length":
        for _ in range(rng.randrange(1, 3)):
            width, value = rng.choice((1, 2, 4)), rng.choice((*EXTREMES, rng.randrange(1 << 32)))
            place, order = rng.randrange(min(size - width, 2000)), rng.choice(("little", "big"))
            value &= (1 << 8 * width) - 1
            content[place : place + width] = value.to_bytes(width, order)
    elif kind == "move":
        piece = content[start : start + rng.randrange(1, 200)]
        del content[start : start + len(piece) * rng.randrange(2)]
        place = rng.randrange(len(content) + 1)
        content[place:place] = piece
    else:
        count = len(content[start : start + rng.randrange(1, 2000)])
        content[start : start + count] = bytes([rng.choice((0, 255, rng.randrange(256)))]) * count
    return f"{name}, {kind}", bytes(content)


def check(path):
    """Read a file as test.py does and as train.py does: "read" or "refused", or an error."""
    outcome = "refused"
    try:
        reader.picture_size(path)
        picture = reader.read_picture(path)
        pixels, alpha = picture.pixels, picture.alpha
        assert pixels.dtype in (np.uint8, np.uint16) and pixels.shape[2:] in ((), (3,))
        assert alpha is None or (alpha.shape, alpha.dtype) == (pixels.shape[:2], pixels.dtype)
        assert "\n" not in picture.note and pixels.size
        if pixels.size < 30_000:  # what it carried can be written as well
            result = np.dstack([pixels] * 3)[..., :3]
            for format in ("png", "tiff"):
                writer.write_picture(path.with_name(f"out.{format}"), result, picture, format)
        outcome = "read"
    except reader.BadPicture as error:
        assert "\n" not in str(error) and 5 < len(str(error)) < 250
    try:
        rgb = reader.read_rgb(path, 64)
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    except reader.BadPicture:
        pass
    return outcome


def main(first, last):
    files = intact()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        for number in range(first, last):
            what, content = damaged(files, number)
            path.write_bytes(content)
            print(f"{number} ({what}): ", end="", flush=True)
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            outcome = check(path)
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(f"{outcome} in {time.monotonic() - started:.2f} s", flush=True)


def outcomes(first, last):
    """["read" or "refused"] of a range; the process that reads must reach its end."""
    command = [sys.executable, "-m", "tests.test_fuzz", str(first), str(last)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, errors="replace")
    found = re.findall(r"^\d+ \(.*\): (read|refused) in [\d.]+ s$", done.stdout, re.M)
    assert not done.returncode and len(found) == last - first, (done.stdout[-200:], done.stderr)
    return found


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.soak)])
def test_damaged_pictures_are_read_or_refused(count):
    first = range(0, count, 1000)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = pool.map(outcomes, first, (min(start + 1000, count) for start in first))
        found = [outcome for part in parts for outcome in part]
    assert found.count("read") > count / 4 < found.count("refused")  # both are tried


if __name__ == "__main__":
    if "--keep" in sys.argv:
        Path(sys.argv[3]).write_bytes(damaged(intact(), int(sys.argv[1]))[1])
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
