"""
Pictures on disk: finding, reading and writing them. `python utils.py gray IN OUT` makes grayscale test pictures.

What is read is always sRGB, upright and in 8 or 16 bits; what the file carried beside its pixels (transparency, EXIF,
colour profile, resolution) travels in the same `Picture` and is written out with the result.
"""

import argparse
import contextlib
import errno
import functools
import hashlib
import io
import logging
import math
import os
import re
import secrets
import stat
import struct
import sys
import threading
import warnings
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError
from tqdm import tqdm

from data import profiles

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = None

MAX_PIXELS = 200_000_000  # 10,000 x 20,000; what is larger is refused by its header, before anything is decoded
FORMATS = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}  # written

# Pillow's own limit stays as a second fence around pictures inside pictures (icons). What it only warns of, this module
# either refuses in one line of its own or can read.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadPicture(Exception):
    """A file that gives no picture. The message is one clear line without the path."""


class BadPath(Exception):
    """An input or output path that cannot be used. The message is one clear line."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in sRGB and what its file carried beside the pixels."""

    pixels: np.ndarray  # (H, W) or (H, W, 3), uint8 or uint16; two axes whenever R = G = B everywhere
    alpha: np.ndarray | None = None  # (H, W), of the type of pixels
    exif: bytes = b""  # without orientation, size and thumbnail, which describe the file and not the result
    icc: bytes = b""  # the RGB profile that a colour result is written in; empty for none
    dpi: tuple[float, float] | None = None
    note: str = ""  # what is worth knowing of the reading, such as "first of 12 frames"


# ---------------------------------------------------------------------------------------------------- paths


def printable(path):
    """The path as one line of text for people: what is not UTF-8, control characters and line breaks are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(path))


PARTIAL = ".partial-"  # what is being written is named so, and is never taken for a picture


@contextlib.contextmanager
def atomic(path):
    """Yields a temporary path beside `path`, moved into place when the block ends well and removed when it does not."""
    path = Path(path)
    # The end of the name is kept, because some writers choose the format by it; a full name could grow too long.
    temporary = path.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{path.name[-32:]}")
    held = lock(temporary)  # as long as it is written: see remove_leftovers
    try:
        yield temporary
        if not fcntl:  # Windows moves no open file
            held.close()
        os.replace(temporary, path)
    finally:
        held.close()
        temporary.unlink(missing_ok=True)


def lock(path):
    """
    Takes the file `path`, made if absent, for this process alone, until the file that is returned is closed or the process
    ends, by whatever cause. None if another process has it. Where the system has no such locks, nobody is kept out.
    """
    file = open(path, "ab")  # noqa: SIM115, the caller closes it
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks
        pass
    return file


def remove_leftovers(folder):
    """Removes what killed processes left half written in a folder; what a living one is writing stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [entry.path for entry in entries if re.match(re.escape(PARTIAL) + "[0-9a-f]{8}-", entry.name)]
        for path in found if fcntl else ():
            with contextlib.suppress(OSError), open(path, "ab") as file:  # OSError: locked, or there are no locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)


def import_keras_quietly():
    """Import Keras and let TensorFlow look for a GPU, without what it prints in C++ on the way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras

        if keras.backend.backend() == "tensorflow":
            keras.distribution.list_devices()
            # each of several networks is traced once, which TensorFlow takes for one that is traced again and again
            logging.getLogger("tensorflow").setLevel("ERROR")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def memory_left():
    """
    How many bytes this process may still take, by what Linux says of the machine, of its container and of `ulimit -v`;
    infinitely many on other systems.
    """
    try:
        with open("/proc/self/statm") as file:
            size, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split()[:2])
        with open("/proc/meminfo") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return math.inf
    left = [free]
    if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        left.append(limit - size)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of the container, in versions 2 and 1 of cgroups
        with contextlib.suppress(OSError, ValueError):  # "max": none
            left.append(int(Path("/sys/fs/cgroup", name).read_text()) - resident)
    return min(left)


def is_out_of_memory(error):
    """Whether an exception says that the device or the host has no memory left, in the words of any of the backends."""
    words = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OOM", "out of memory", "t allocate memory")
    return isinstance(error, MemoryError) or any(w in f"{type(error).__name__} {error}" for w in words)


def find_files(root, exclude=None, unreadable=lambda folder, error: None):
    """
    Yields the paths of everything under the folder `root` that is not a folder: sorted within each folder, a folder's
    own files before those of its subfolders, the same order on every machine.

    Links are followed and each folder is entered once, so that a loop of links ends. `exclude`: a folder to leave out.
    `unreadable(folder, error)` hears of each folder that cannot be listed, and the search goes on.
    """
    seen = {_identity(exclude)} if exclude is not None and os.path.isdir(exclude) else set()
    folders = [Path(root)]
    while folders:
        folder = folders.pop()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                found = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError as error:
            unreadable(folder, error)
            continue
        yield from (folder / name for name, is_folder in found if not is_folder)
        folders += [folder / name for name, is_folder in reversed(found) if is_folder]


def _identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"8BPS\0\x01",
    b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51", b"qoif",
)  # fmt: skip
# Pictures that are not read: a line that says so is better than silence.
_UNREADABLE = {".heic", ".heif", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".eps", ".ps"}


@functools.cache
def _formats():
    """Those that are read. EPS is a program, which Pillow would have Ghostscript run; the others it knows only by name."""
    Image.init()
    return [kind for kind in Image.OPEN if kind not in ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")]


@functools.cache
def _extensions():
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats()} | _UNREADABLE


def looks_like_picture(path):
    """Whether the file is named like a picture or begins like one. What does neither was never meant to be read."""
    name = os.path.basename(path)
    if name.startswith((PARTIAL, "._")):  # "._a.jpg" is what a Mac stores beside a.jpg on foreign disks
        return False
    if os.path.splitext(name)[1].lower() in _extensions():
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] == b"ftypavif"


def output_names(names, suffix):
    """
    The output's name for each of a folder's pictures: a.jpg -> a.png, unless another of them could claim that name as
    well; then the whole name is kept, a.jpg -> a.jpg.png and a.png -> a.png.png. Depends on the names alone.
    """
    short = {name: os.path.splitext(name)[0] + suffix for name in names}
    claims = Counter(claim.casefold() for name in names for claim in {short[name], name + suffix})
    return {name: short[name] if claims[short[name].casefold()] == 1 else name + suffix for name in names}


@dataclass
class Jobs:
    """What is to be made of what, and what else was met on the way."""

    pairs: list[tuple[Path, Path]] = field(default_factory=list)  # (input, output)
    passed_over: int = 0  # files that are no pictures
    unreadable: list[tuple[Path, str]] = field(default_factory=list)  # (folder, reason)

    def keep(self, source, index, shares):
        """Leave only what belongs to one of several shares, by the paths relative to `source`, the folder or picture."""
        for found in (self.pairs, self.unreadable):
            found[:] = [(path, rest) for path, rest in found if share_of(path.relative_to(source), shares) == index]


def find_jobs(source, out, suffix):
    """
    The jobs for `source`, a picture or a folder whose tree is mirrored under `out`; outputs end in `suffix`.
    For one picture, `out` is the output itself if it ends in the suffix of a format that can be written, else a folder.
    Raises BadPath for whatever would read from nothing or write over an input.
    """
    source, target = Path(source), Path(out)
    if source.is_dir():
        return _jobs_of_folder(source, target, suffix)
    if not os.path.lexists(source):
        raise BadPath(f"{printable(source)}: no such file or folder")
    if asked_format(source, out) is None:
        target /= output_names([source.name], suffix)[source.name]
    if target.resolve() == source.resolve():
        raise BadPath(f"{printable(target)}: the output would overwrite the input; give another OUT")
    return Jobs([(source, target)])


def _jobs_of_folder(source, out, suffix):
    if out.exists() and not out.is_dir():
        raise BadPath(f"{printable(out)}: a file, but the input is a folder and needs a folder for its results")
    if source.resolve().is_relative_to(out.resolve()):
        raise BadPath(f"{printable(out)}: OUT is IN or holds it, so that results would fall among the inputs")
    jobs = Jobs()
    pictures = {}  # folder -> names
    for path in find_files(source, out, lambda folder, error: jobs.unreadable.append((folder, error.strerror))):
        if looks_like_picture(path):
            pictures.setdefault(path.parent, []).append(path.name)
        else:
            jobs.passed_over += 1
    for folder, names in pictures.items():
        for name, result in output_names(names, suffix).items():
            jobs.pairs.append((folder / name, out / folder.relative_to(source) / result))
    return jobs


def share_of(path, shares):
    """
    Which of `shares` shares a path belongs to, 0..shares-1: by the hash of the path's bytes, so that it is the same on
    every machine and whatever else lies in the folder.
    """
    digest = hashlib.sha256(os.fsencode(Path(path).as_posix())).digest()
    return int.from_bytes(digest[:8], "big") % shares


def asked_format(source, out):
    """The format that the name `out` asks for, if the input is one picture; None if `out` means a folder."""
    if os.path.isdir(source) or os.path.isdir(out) or os.fspath(out).endswith(os.sep):
        return None
    suffix = Path(out).suffix.lower()
    if suffix in _extensions() and suffix not in FORMATS:
        raise BadPath(f"{printable(out)}: {suffix} cannot be written; known are {', '.join(FORMATS)}")
    return FORMATS.get(suffix)


# -------------------------------------------------------------------------------------------------- reading


@contextlib.contextmanager
def opened(path, max_pixels=MAX_PIXELS):
    """The picture opened by Pillow, nothing decoded yet. Everything that goes wrong inside becomes BadPicture."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device could wait for ever
            raise BadPicture("not a regular file")
        if status.st_size == 0:
            raise BadPicture("an empty file")
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                raise BadPicture(f"{image.width} x {image.height} is too large, the limit is {max_pixels:,} pixels")
            yield image
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture("not a picture that can be read, or broken at its beginning") from None
    except Image.DecompressionBombError:
        raise BadPicture(f"too large, the limit is {max_pixels:,} pixels") from None
    except MemoryError:
        raise BadPicture("too large for the memory of this machine") from None
    except OSError as error:
        raise BadPicture(("" if error.strerror else "broken or cut short: ") + _one_line(error)) from None
    except Exception as error:  # Pillow's readers raise almost anything on broken data
        raise BadPicture(f"broken: {_one_line(error)}") from None


def _one_line(error):
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return printable(reason)


def picture_size(path, max_pixels=MAX_PIXELS):
    """(width, height) from the header alone. Raises BadPicture as read_picture does."""
    with opened(path, max_pixels) as image:
        return image.size


def read_picture(path, max_pixels=MAX_PIXELS):
    """
    Reads a file of any format that Pillow reads, decided by its content. Of several frames or pages the first is taken.
    EXIF orientation is applied; pixels are converted to sRGB from the file's profile; 16 bits stay 16 bits.
    Raises BadPicture for what is missing, empty, broken, cut short, larger than `max_pixels`, or no picture.
    """
    with opened(path, max_pixels) as image:
        notes = []
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in ("MPO", "PSD"):  # a preview beside the picture; layers of one picture
            notes.append(f"first of {frames} frames")
        deep = _has_deep_colour(image)  # asked before loading, which forgets how the file is laid out
        image.load()
        orientation, exif = _read_exif(image, notes)
        pixels, alpha = (_read_deep_colour(path, image) if deep else None) or _read_pixels(image, notes)
        if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., 1:]).all():
            pixels = np.ascontiguousarray(pixels[..., 0])
        pixels, icc = _read_profile(pixels, image, notes)
        dpi = _read_dpi(image)
    if orientation in _UPRIGHT:
        pixels, alpha = (a if a is None else np.ascontiguousarray(_UPRIGHT[orientation](a)) for a in (pixels, alpha))
        dpi = dpi[::-1] if dpi and orientation >= 5 else dpi
    return Picture(pixels, alpha, exif, icc, dpi, ", ".join(notes))


_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def _read_pixels(image, notes):
    """Pixels (H, W) or (H, W, 3) and alpha (H, W) or None, still in the file's own gray or RGB profile."""
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
        if image.format == "TIFF" and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            pixels = 65535 - pixels  # white is zero, which Pillow minds in 8 bits alone
        clear = image.info.get("transparency")
        return pixels, None if clear is None else np.where(pixels == clear, 0, 65535).astype(np.uint16)
    if image.mode in ("I", "F"):
        return _from_wide(np.asarray(image, np.float64), image.mode, notes), None
    if image.mode == "LAB":
        image = profiles.rgb_image(image, profiles.LAB)
    icc = image.info.get("icc_profile") or b""
    if image.mode == "CMYK" and icc[16:20] == b"CMYK":
        with contextlib.suppress(OSError, ImageCms.PyCMSError):  # broken: Pillow's plain conversion is left
            image = profiles.rgb_image(image, icc)
    gray, clear = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
    values = np.array(image.convert(("L" if gray else "RGB") + ("A" if clear else "")))
    if not clear:
        return values, None
    return values[..., 0] if gray else np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(values[..., -1])


def _from_wide(values, mode, notes):
    """32-bit integers or floats (H, W) -> uint16 by the first of the usual ranges that holds them."""
    if not np.isfinite(values).all():
        raise BadPicture("holds values that are not numbers")
    low, high = values.min(), values.max()
    for top in (65535,) if mode == "I" else (1, 255, 65535):
        if low >= 0 and high <= top:
            break
    else:
        values, top = values - low, high - low
    if mode == "F" or top != 65535:
        span = f"0 to {top}" if top in (1, 255, 65535) else "black to white"
        notes.append(f"values {low:g} to {high:g} taken as {span}")
    return np.rint(values * (65535 / top)).astype(np.uint16)


def _has_deep_colour(image):
    """Whether the file holds 16 bits of each colour, of which Pillow keeps 8."""
    if image.mode not in ("RGB", "RGBA", "LA") or "transparency" in image.info:
        return False
    if image.format == "TIFF":
        deep = set(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, ())) == {16}
        if deep and image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2:  # Pillow and OpenCV would give noise
            raise BadPicture("16-bit colours in separate planes cannot be read")
        return deep and image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES) != (1,)  # not premultiplied
    layout = str(image.tile)
    return (image.format == "PNG" and ";16" in layout) or (image.format == "PPM" and "65535" in layout)


def _read_deep_colour(path, image):
    """Pixels and alpha in uint16 by OpenCV, or None where OpenCV does not read the file in 16 bits."""
    with open(path, "rb") as file:
        values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[:2] != image.size[::-1]:
        return None
    alpha = np.ascontiguousarray(values[..., 3]) if values.shape[2] == 4 else None
    return np.ascontiguousarray(values[..., 2::-1]), alpha


def _read_profile(pixels, image, notes):
    """(pixels in sRGB, the profile for a colour result): an RGB profile stays, gray or CMYK ones cannot describe it."""
    icc = image.info.get("icc_profile") or b""
    if not icc or image.mode == "LAB":
        return pixels, b""
    space = icc[16:20]
    try:
        if space == b"CMYK" and image.mode == "CMYK":
            profiles.opened(icc)
            return pixels, profiles.SRGB  # converted while decoding
        if space == b"RGB " and (pixels.ndim == 3 or image.mode != "CMYK"):
            return profiles.convert(pixels, icc, profiles.SRGB), icc
        if space == b"GRAY" and pixels.ndim == 2:
            return profiles.convert(pixels, icc, profiles.SRGB), profiles.SRGB
    except Exception:  # LittleCMS and a hostile profile: again any kind of error
        pass
    notes.append("its colour profile cannot be used, taken as sRGB")
    return pixels, b""


_EXIF_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
_EXIF, _GPS, _SIZE_AND_INTEROP = 0x8769, 0x8825, (0xA002, 0xA003, 0xA005)


def _read_exif(image, notes):
    """(orientation 1..8, the EXIF block to keep): what describes the picture, not how the file stored it."""
    orientation = 1
    try:
        exif, kept = image.getexif(), Image.Exif()
        orientation = exif.get(0x0112, 1)
        for tag in _EXIF_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for tag in (_EXIF, _GPS):
            if block := {t: v for t, v in exif.get_ifd(tag).items() if t not in _SIZE_AND_INTEROP}:
                kept[tag] = block
        return orientation, kept.tobytes() if len(kept) else b""
    except Exception:  # any kind of error, for broken EXIF; the pixels are fine
        notes.append("its EXIF is broken and left out")
        return orientation, b""


def _read_dpi(image):
    try:
        dpi = tuple(float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return dpi if len(dpi) == 2 and all(0 < value < 1e6 for value in dpi) else None


# -------------------------------------------------------------------------------------------------- writing


def write_picture(path, pixels, like, format="png", quality=95):
    """
    Writes sRGB pixels (H, W) or (H, W, 3), uint8 or uint16, with the alpha, EXIF, profile and resolution of the picture
    `like`, whole or not at all. JPEG is written at 4:4:4; `quality` 1..100 is for JPEG and WebP, 8 bits both.
    Returns what the format could not hold, in words, or "". Raises OSError, or ValueError for a size it does not allow.
    """
    lost = []
    # A gray result is plain sRGB gray: an RGB profile may not stand in a gray file.
    icc = like.icc if pixels.ndim == 3 else b""
    pixels = profiles.convert(pixels, profiles.SRGB, icc) if icc else pixels
    alpha = like.alpha
    if format in ("jpg", "webp") and pixels.dtype == np.uint16:
        lost.append("16 bits")
        pixels, alpha = (a if a is None else eight_bits(a) for a in (pixels, alpha))
    if format == "jpg" and alpha is not None:
        lost.append("transparency")
        alpha = None
    exif = like.exif
    if format == "jpg" and len(exif) > 65_533:
        lost.append("EXIF longer than 64 KiB")
        exif = b""
    like = replace(like, alpha=alpha, exif=exif, icc=icc)
    data = _ENCODERS[format](pixels, like, quality)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return f"{format} cannot hold {' and '.join(lost)}" if lost else ""


def eight_bits(values):
    """uint8 or uint16 -> uint8, rounded."""
    return values if values.dtype == np.uint8 else ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _joined(pixels, alpha):
    """Pixels and alpha as one array (H, W, channels)."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels if alpha is None else np.dstack([pixels, alpha])


def _encode_png(pixels, like, quality):
    """PNG by OpenCV, which knows 16-bit colour; the chunks that it does not write are put in behind the header."""
    values = _joined(pixels, like.alpha)
    if values.shape[2] == 2:  # OpenCV writes no gray with alpha
        values = values[..., [0, 0, 0, 1]]
    if values.shape[2] > 1:
        values = cv2.cvtColor(values, {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[values.shape[2]])
    done, data = cv2.imencode(".png", values)
    if not done:
        raise ValueError("OpenCV cannot write this picture as PNG")
    data, chunks = data.tobytes(), b""
    for kind, body in (
        (b"iCCP", b"ICC profile\0\0" + zlib.compress(like.icc) if like.icc else b""),
        (b"eXIf", like.exif.removeprefix(b"Exif\0\0")),
        (b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in like.dpi), 1) if like.dpi else b""),
    ):
        if body:
            chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = 8 + 25  # signature, IHDR
    return data[:header] + chunks + data[header:]


def _encode_jpg(pixels, like, quality):
    dpi = {"dpi": like.dpi} if like.dpi else {}
    return _by_pillow(pixels, like, "JPEG", quality=quality, subsampling="4:4:4", **dpi)


def _encode_webp(pixels, like, quality):
    if like.dpi:  # WebP has no place for it but EXIF
        exif = Image.Exif()
        exif.load(like.exif)
        exif.update({282: like.dpi[0], 283: like.dpi[1], 296: 2})
        like = replace(like, exif=exif.tobytes())
    return _by_pillow(pixels, like, "WEBP", quality=quality)


def _by_pillow(pixels, like, format, **options):
    values = _joined(pixels, like.alpha)
    buffer = io.BytesIO()
    if like.icc:
        options["icc_profile"] = like.icc
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(buffer, format, exif=like.exif, **options)
    return buffer.getvalue()


def _encode_tiff(pixels, like, quality):
    """TIFF in one deflated strip. Pillow lays out the tags, EXIF among them, but writes no 16-bit colour."""
    values = _joined(pixels, like.alpha)
    height, width, channels = values.shape
    steps = values.copy()
    steps[:, 1:] -= values[:, :-1]  # predictor 2, horizontal differences that wrap around
    strip = zlib.compress(steps.astype(values.dtype.newbyteorder("<")).tobytes(), 1)  # more is slow and saves little
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    exif = Image.Exif()
    exif.load(like.exif)
    tags.update({tag: exif.get_ifd(tag) if tag in (_EXIF, _GPS) else exif[tag] for tag in exif})
    if like.dpi:
        tags.update({282: like.dpi[0], 283: like.dpi[1], 296: 2})  # per inch
    if like.icc:
        tags[TiffImagePlugin.ICCPROFILE] = like.icc
    if like.alpha is not None:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that does not multiply the colours
    tags.update({
        TiffImagePlugin.IMAGEWIDTH: width,
        TiffImagePlugin.IMAGELENGTH: height,
        TiffImagePlugin.BITSPERSAMPLE: (8 * values.itemsize,) * channels,
        TiffImagePlugin.COMPRESSION: 8,  # deflate
        TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 1 if channels < 3 else 2,  # black is zero; RGB
        TiffImagePlugin.STRIPOFFSETS: 0,  # counted from the end of the tags, Pillow adds the rest
        TiffImagePlugin.SAMPLESPERPIXEL: channels,
        TiffImagePlugin.ROWSPERSTRIP: height,
        TiffImagePlugin.STRIPBYTECOUNTS: len(strip),
        TiffImagePlugin.PREDICTOR: 2,
    })  # fmt: skip
    buffer = io.BytesIO()
    tags.save(buffer)
    return buffer.getvalue() + strip


_ENCODERS = {"png": _encode_png, "jpg": _encode_jpg, "webp": _encode_webp, "tiff": _encode_tiff}


# ------------------------------------------------------------------------------------------ command-line parts


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTCONN, errno.ESTALE}


class Report:
    """
    Counts what becomes of the pictures, and prints what is worth a line on stderr without tearing the progress bar.
    Threads may share it; as a context manager it shows the bar, on a terminal alone.
    """

    def __init__(self, jobs):
        self.counts = Counter({"passed over": jobs.passed_over})
        self.lock = threading.Lock()
        self.bar = tqdm(total=len(jobs.pairs), unit=" pictures", disable=None)
        for folder, reason in jobs.unreadable:
            self.counts["failed"] += 1
            self.say(folder, reason)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def __str__(self):
        return ", ".join(f"{self.counts[kind]} {kind}" for kind in ("done", "skipped", "failed", "passed over"))

    def say(self, path, text):
        tqdm.write(f"{printable(path)}: {text}", file=sys.stderr)

    def count(self, kind, path, *notes):
        """One more picture is "done", "skipped" or "failed"; notes that are not empty make a line."""
        with self.lock:
            self.counts[kind] += 1
            if text := ", ".join(filter(None, notes)):
                self.say(path, text)
            self.bar.update()

    @contextlib.contextmanager
    def failures_of(self, path):
        """
        Around the work on one picture: whatever goes wrong counts as failed and ends the block, not the run. But for a disk
        that takes no more results: that is raised.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            self.count("failed", path, _one_line(error))

    def todo(self, jobs, overwrite):
        """
        The pairs of `jobs` that are left to do: those whose result exists are skipped unless `overwrite`. What killed
        processes left in the folders of the results is removed; several living ones may write there side by side.
        """
        for folder in {target.parent for _, target in jobs.pairs}:
            remove_leftovers(folder)
        todo = [pair for pair in jobs.pairs if overwrite or not pair[1].exists()]
        self.counts["skipped"] = len(jobs.pairs) - len(todo)
        self.bar.update(self.counts["skipped"])
        return todo


def add_output_options(parser):
    """IN, OUT and the options that every command shares that turns pictures into pictures."""
    parser.add_argument("input", metavar="IN", help="a picture, or a folder that is searched recursively")
    parser.add_argument("output", metavar="OUT", help="a folder, which mirrors IN; for one picture also a file")
    parser.add_argument("--format", choices=_ENCODERS, help="of the results (default by the name OUT, else png)")
    parser.add_argument("--quality", type=number(int, 1, 100), default=95, help="of jpg and webp, 1..100 (default 95)")
    parser.add_argument("--overwrite", action="store_true", help="make results anew that exist already (default: skip)")
    parser.add_argument(
        "--shard", type=share, metavar="I/N",
        help="take share I = 0..N-1 of N, by the names of the pictures; N such commands may write one OUT at a time",
    )  # fmt: skip


def number(kind, low, high):
    """An argparse type: a number of `kind` from `low` to `high`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if kind is int else ''}number from {low} to {high}")

    return parse


def share(text):
    """An argparse type: "i/n" -> (i, n), 0 <= i < n."""
    with contextlib.suppress(ValueError):
        i, n = map(int, text.split("/"))
        if 0 <= i < n:
            return i, n
    raise argparse.ArgumentTypeError(f"{text!r} is no I/N with I from 0 to N - 1")


def parse_jobs(parser, args):
    """The jobs of the command line; sets args.format. Unusable paths end the program with one line and status 2."""
    try:
        asked = asked_format(args.input, args.output)
        if args.format and asked and asked != args.format:
            raise BadPath(f"{printable(args.output)} contradicts --format {args.format}")
        args.format = args.format or asked or "png"
        jobs = find_jobs(args.input, args.output, "." + args.format)
        if not jobs.pairs and not jobs.unreadable:
            raise BadPath(f"{printable(args.input)}: no pictures in it")
        if args.shard:
            jobs.keep(args.input, *args.shard)
        return jobs
    except BadPath as error:
        parser.error(str(error))


def gray(pixels):
    """(H, W, 3) uint8 or uint16 sRGB -> (H, W): Rec. 601 luma of the encoded values, in 8 bits exactly Pillow's "L"."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = np.moveaxis(pixels.astype(np.uint64), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(pixels.dtype)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Helpers for pictures on disk.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("gray", help="make grayscale copies (Rec. 601 luma)", allow_abbrev=False)
    add_output_options(command)
    args = parser.parse_args(arguments)
    jobs = parse_jobs(command, args)

    def convert(source, target):
        with report.failures_of(source):
            picture = read_picture(source)
            lost = write_picture(target, gray(picture.pixels), picture, args.format, args.quality)
            report.count("done", source, picture.note, lost)

    with Report(jobs) as report, ThreadPoolExecutor() as pool:
        todo = report.todo(jobs, args.overwrite)
        try:
            for start in range(0, len(todo), 256):  # not a million of them in line at once
                list(pool.map(convert, *zip(*todo[start : start + 256])))
        except OSError as error:  # of the disk
            report.say(args.output, f"{_one_line(error)}; {report}")
            return 1
    print(report)
    return 1 if report.counts["failed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
