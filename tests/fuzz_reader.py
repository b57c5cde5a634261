"""Reads damaged pictures, each made from its number: `python tests/fuzz_reader.py FIRST LAST`.

A line for each: its number before it is read, then what came of it and the time it took. A file
that takes more than SECONDS ends the process by SIGALRM, in whatever code it hangs; one that wants
more than MEMORY does not get it. The last number printed is the file to look at:
`python tests/fuzz_reader.py NUMBER --keep FILE` writes it.
"""

import io
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
import tifffile
from PIL import Image
from skimage import data

from pictures import reader, writer
from pictures.profiles import ADOBE_RGB

SECONDS, MEMORY = 20, 4 << 30  # for one file; 200 million pixels of 8-bit colour are 0.6 GB
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def intact():
    """Files of every kind that the reader treats in a way of its own: {name: bytes}."""
    colour, gray = data.astronaut()[100:148, 200:260], data.camera()[100:148, 200:260]
    image, deep, files = Image.fromarray(colour), colour.astype(np.uint16) * 257, {}
    exif = Image.Exif()
    exif[0x0112], exif[271], exif[282] = 6, "Maker", 72.0
    exif.get_ifd(0x8769)[36867] = "2001:02:03 04:05:06"
    carried = {"exif": exif, "icc_profile": ADOBE_RGB, "dpi": (72, 72)}
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}

    def add(name, kind, picture=image, **options):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files[name] = buffer.getvalue()

    add("png", "PNG", **carried)
    add("png palette", "PNG", image.quantize(16), transparency=3)
    add("png animated", "PNG", **frames)
    add("jpeg", "JPEG", **carried, xmp=b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>')
    add("jpeg progressive", "JPEG", progressive=True, **carried)
    add("jpeg cmyk", "JPEG", image.convert("CMYK"))
    add("jpeg gray", "JPEG", Image.fromarray(gray))
    add("mpo", "MPO", save_all=True, append_images=[image.rotate(180)])
    for packing in (None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        add(f"tiff {packing}", "TIFF", compression=packing, **carried)
    add("tiff 1 bit", "TIFF", Image.fromarray(gray > 99), compression="group4")
    add("tiff pages", "TIFF", **frames)
    add("gif", "GIF", image.quantize(32), save_all=True, append_images=[image.quantize(8)])
    add("webp", "WEBP", exif=exif, icc_profile=ADOBE_RGB)
    add("webp lossless", "WEBP", image.convert("RGBA"), lossless=True)
    for kind in ("AVIF", "JPEG2000", "BMP", "DIB", "PPM", "TGA", "PCX", "ICO", "QOI"):
        add(kind, kind)
    for end, pixels in (("png", deep), ("ppm", deep), ("png", deep[..., 1]), ("jp2", deep)):
        files[f"{end} {pixels.ndim} 16 bits"] = cv2.imencode(f".{end}", pixels)[1].tobytes()
    rgb = {"photometric": "rgb"}
    for name, pixels, options in (
        ("tiff 16 bits", deep, rgb | {"iccprofile": ADOBE_RGB}),
        ("tiff 16 bits gray", deep[..., 1], {"compression": "zlib", "predictor": True}),
        ("tiff float", (colour[..., 1] / 255).astype(np.float32), {}),
        ("tiff tiles", colour, rgb | {"tile": (16, 16), "compression": "zstd"}),
        ("tiff big", colour, rgb | {"bigtiff": True}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        files[name] = buffer.getvalue()
    return files


def damaged(files, number):
    """(what was done, the bytes) of the damaged file of this number."""
    rng = random.Random(number)
    name = rng.choice(sorted(files))
    content = bytearray(files[name])
    kind = rng.choice(("flip", "head", "cut", "splice", "length", "length", "move", "fill"))
    size = len(content)
    if kind == "flip":
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "head":
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(min(size, 600))] = rng.randrange(256)
    elif kind == "cut":
        del content[rng.randrange(size) :]
    elif kind == "splice":  # the beginning of one file, the rest of another
        rest = files[rng.choice(sorted(files))][rng.randrange(200) :]
        content = content[: rng.randrange(min(size, 400))] + rest
    elif kind == "length":
        for _ in range(rng.randrange(1, 3)):
            width, value = rng.choice((1, 2, 4)), rng.choice((*EXTREMES, rng.randrange(1 << 32)))
            place, order = rng.randrange(min(size - width, 2000)), rng.choice(("little", "big"))
            value &= (1 << 8 * width) - 1
            content[place : place + width] = value.to_bytes(width, order)
    elif kind == "move":
        start, count = rng.randrange(size), rng.randrange(1, 200)
        piece = content[start : start + count]
        del content[start : start + count * rng.randrange(2)]
        place = rng.randrange(len(content) + 1)
        content[place:place] = piece
    else:
        start, count = rng.randrange(size), rng.randrange(1, 2000)
        count = len(content[start : start + count])
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


if __name__ == "__main__":
    if "--keep" in sys.argv:
        Path(sys.argv[3]).write_bytes(damaged(intact(), int(sys.argv[1]))[1])
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
