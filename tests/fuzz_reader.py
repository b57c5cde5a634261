"""Reads damaged pictures, each made from its number alone: `python tests/fuzz_reader.py FIRST LAST`.

A line for each: its number before it is read, then what came of it and the time it took. A file that takes more than
SECONDS ends the process by SIGALRM, in whatever code it hangs; one that wants more than MEMORY does not get it. The last
number printed is the file to look at: `python tests/fuzz_reader.py NUMBER --keep FILE` writes it.
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
from PIL import Image, ImageCms
from skimage import data

from pictures import reader, writer
from pictures.reader import read_rgb

SECONDS, MEMORY = (
    20,
    4 << 30,
)  # for one file; 200 million pixels, the most that is read, are 0.6 GB in 8-bit colour
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def sound():
    """Whole files of every kind that the reader treats in a way of its own: {name: bytes}."""
    colour, gray = data.astronaut()[100:148, 200:260], data.camera()[100:148, 200:260]
    deep = colour.astype(np.uint16) * 257
    image, profile = (
        Image.fromarray(colour),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    exif = Image.Exif()
    exif[0x0112], exif[271], exif[282] = 6, "Maker", 72.0
    exif.get_ifd(0x8769)[36867] = "2001:02:03 04:05:06"
    files = {}

    def add(name, picture, kind, **options):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files[name] = buffer.getvalue()

    carried = {"exif": exif, "icc_profile": profile, "dpi": (72, 72)}
    frames = {
        "save_all": True,
        "append_images": [image.rotate(90, expand=False), image.rotate(180)],
    }
    add("png", image, "PNG", **carried)
    add("png palette", image.quantize(16), "PNG", transparency=3)
    add("png animated", image, "PNG", **frames)
    add("jpeg", image, "JPEG", **carried)
    add("jpeg progressive", image, "JPEG", progressive=True, **carried)
    add("jpeg cmyk", image.convert("CMYK"), "JPEG", icc_profile=profile)
    add("jpeg gray", Image.fromarray(gray), "JPEG")
    add("mpo", image, "MPO", save_all=True, append_images=[image.rotate(180)])
    for packing in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        add(
            f"tiff {packing}",
            image,
            "TIFF",
            compression=None if packing == "raw" else packing,
            **carried,
        )
    add("tiff 1 bit", Image.fromarray(gray > 99), "TIFF", compression="group4")
    add("tiff pages", image, "TIFF", **frames)
    add(
        "gif",
        image.quantize(32),
        "GIF",
        save_all=True,
        append_images=[image.rotate(180).quantize(32)],
    )
    add("webp", image, "WEBP", **{key: carried[key] for key in ("exif", "icc_profile")})
    add("webp lossless", image.convert("RGBA"), "WEBP", lossless=True)
    add("webp animated", image, "WEBP", **frames)
    add("avif", image, "AVIF")
    add("jpeg 2000", image, "JPEG2000")
    for kind in (
        "BMP",
        "DIB",
        "PPM",
        "TGA",
        "PCX",
        "SGI",
        "ICO",
        "ICNS",
        "DDS",
        "IM",
        "MSP",
        "XBM",
        "SPIDER",
        "QOI",
    ):
        picture = {
            "MSP": image.convert("1"),
            "XBM": image.convert("1"),
            "SPIDER": image.convert("F"),
        }.get(kind, image)
        add(kind.lower(), picture, kind)
    for name, pixels in (
        ("png 16 bits", deep),
        ("ppm 16 bits", deep),
        ("png 16 bits gray", deep[..., 1]),
    ):
        files[name] = cv2.imencode(f".{name[:3]}", pixels)[1].tobytes()
    for name, pixels, options in (
        ("tiff 16 bits", deep, {"photometric": "rgb", "iccprofile": profile}),
        ("tiff 16 bits gray", deep[..., 1], {"compression": "zlib", "predictor": True}),
        ("tiff float", (colour[..., 1] / 255).astype(np.float32), {}),
        ("tiff tiles", colour, {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}),
        ("tiff big", colour, {"photometric": "rgb", "bigtiff": True}),
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
    kind = rng.choice(("flip", "flip head", "cut", "splice", "length", "length", "move", "fill"))
    size = len(content)
    if kind == "flip":
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "flip head":
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(min(size, 600))] = rng.randrange(256)
    elif kind == "cut":
        del content[rng.randrange(size) :]
    elif kind == "splice":  # the beginning of one file, the rest of another
        content = (
            content[: rng.randrange(min(size, 400))]
            + files[rng.choice(sorted(files))][rng.randrange(200) :]
        )
    elif kind == "length":
        for _ in range(rng.randrange(1, 3)):
            width = rng.choice((1, 2, 4))
            place = rng.randrange(min(size - width, 2000))
            value = rng.choice((rng.choice(EXTREMES), rng.randrange(1 << 32))) & (
                (1 << 8 * width) - 1
            )
            content[place : place + width] = value.to_bytes(width, rng.choice(("little", "big")))
    elif kind == "move":
        start, count = rng.randrange(size), rng.randrange(1, 200)
        piece = content[start : start + count]
        if rng.random() < 0.5:
            del content[start : start + count]
        place = rng.randrange(len(content) + 1)
        content[place:place] = piece
    else:
        start, count = rng.randrange(size), rng.randrange(1, 2000)
        content[start : start + count] = bytes([rng.choice((0, 255, rng.randrange(256)))]) * len(
            content[start : start + count]
        )
    return f"{name}, {kind}", bytes(content)


def check(path):
    """Read a file as test.py does and as train.py does. Returns "read" or "refused"; anything else is an error."""
    outcome = "refused"
    try:
        reader.picture_size(path)
        picture = reader.read_picture(path)
        height, width = picture.pixels.shape[:2]
        assert (
            picture.pixels.dtype in (np.uint8, np.uint16)
            and picture.pixels.shape[2:] in ((), (3,))
            and height
            and width
        )
        assert picture.alpha is None or (picture.alpha.shape, picture.alpha.dtype) == (
            (height, width),
            picture.pixels.dtype,
        )
        assert "\n" not in picture.note
        if height * width < 10_000:  # what it carried can be written as well
            writer.write_picture(
                path.with_name("out.png"), np.dstack([picture.pixels] * 3)[..., :3], picture
            )
            writer.write_picture(path.with_name("out.tiff"), picture.pixels, picture, "tiff")
        outcome = "read"
    except reader.BadPicture as error:
        assert "\n" not in str(error) and str(error)
    try:
        rgb = read_rgb(path, 64)
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    except reader.BadPicture:
        pass
    return outcome


def main(first, last):
    files = sound()
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
        Path(sys.argv[3]).write_bytes(damaged(sound(), int(sys.argv[1]))[1])
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
