"""Read picture files. Training, preparation, evaluation and colorizing all take their pixels from here.

The pixels are sRGB, upright, 8 or 16 bits. Alpha, EXIF, colour profile and resolution travel in the same `Picture`.
"""

import contextlib
import functools
import os
import stat
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from data import profiles
from utils import PARTIAL, one_line

MAX_PIXELS = 200_000_000  # 10,000 x 20,000; larger pictures are refused by their header, before anything is decoded

# Pillow's own limit still guards pictures inside pictures (icons). Its warnings are silenced: this module either reads
# such a file or refuses it in one line.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadPicture(Exception):
    """A file that cannot be read as a picture. The message is one line without the path."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in sRGB and the metadata of its file."""

    pixels: np.ndarray  # (H, W) or (H, W, 3), uint8 or uint16; (H, W) if R = G = B everywhere
    alpha: np.ndarray | None = None  # (H, W), of the dtype of pixels
    exif: bytes = b""  # without orientation, size and thumbnail, which would not fit the result
    icc: bytes = b""  # the RGB profile for a colour result; empty: none
    dpi: tuple[float, float] | None = None
    note: str = ""  # a remark on the reading, such as "first of 12 frames"


_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # JPEG
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"8BPS\0\x01",  # PSD
    b"\0\0\0\x0cjP  \r\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"qoif",
)
# Pictures of formats that are not read count as pictures, so that each is reported as failed.
_UNREADABLE = {".heic", ".heif", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".eps", ".ps"}


@functools.cache
def _formats():
    """The formats that are read. EPS is a program, which Pillow runs in Ghostscript; the others it only recognizes."""
    Image.init()
    return [kind for kind in Image.OPEN if kind not in ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")]


@functools.cache
def extensions():
    """The suffixes of picture files, in lower case with the dot."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats()} | _UNREADABLE


def looks_like_picture(path):
    """Whether the file has the suffix of a picture or begins like one."""
    name = os.path.basename(path)
    if name.startswith((PARTIAL, "._")):  # macOS stores "._a.jpg" beside a.jpg on other file systems
        return False
    if os.path.splitext(name)[1].lower() in extensions():
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] == b"ftypavif"


@contextlib.contextmanager
def open_picture(path, max_pixels=MAX_PIXELS):
    """Open a picture by Pillow without decoding it. Any error inside the block becomes BadPicture."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device could block
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
        raise BadPicture(("" if error.strerror else "broken or cut short: ") + one_line(error)) from None
    except Exception as error:  # Pillow's readers raise almost anything on broken data
        raise BadPicture(f"broken: {one_line(error)}") from None


def picture_size(path, max_pixels=MAX_PIXELS):
    """(width, height) from the header alone, before orientation. Raises BadPicture as `read_picture`."""
    with open_picture(path, max_pixels) as image:
        return image.size


def read_picture(path, max_pixels=MAX_PIXELS, at_least=None, metadata=True):
    """Read a file of any format that Pillow reads, decided by its content.

    Of several frames or pages the first is taken. EXIF orientation is applied; pixels are converted to sRGB from the
    file's profile; 16 bits stay 16 bits.

    Args:
        max_pixels: larger pictures are refused.
        at_least: JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least this many pixels remain on each side.
        metadata: False leaves EXIF, resolution and note empty and may leave gray in three channels, which is faster.

    Returns:
        Picture.

    Raises:
        BadPicture: the file is missing, empty, broken, cut short, too large, or no picture.
    """
    with open_picture(path, max_pixels) as image:
        notes, exif, dpi = [], b"", None
        frames = getattr(image, "n_frames", 1) if metadata else 1
        if frames > 1 and image.format not in ("MPO", "PSD"):  # a preview beside the picture; layers of one picture
            notes.append(f"first of {frames} frames")
        if at_least:
            image.draft(None, (at_least, at_least))
        deep = _has_deep_colour(image)  # before loading, which discards the layout of the file
        image.load()
        orientation = _read_orientation(image)
        pixels, alpha = (_read_deep_colour(path, image) if deep else None) or _read_pixels(image, notes)
        if metadata or "icc_profile" in image.info:  # how a profile is applied depends on it
            pixels = _reduce_neutral(pixels)
        pixels, icc = _read_profile(pixels, image, notes)
        if metadata:
            exif, dpi = _read_exif(image, notes), _read_dpi(image)
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
            pixels = 65535 - pixels  # white is zero, which Pillow handles in 8 bits only
        clear = image.info.get("transparency")
        return pixels, None if clear is None else np.where(pixels == clear, 0, 65535).astype(np.uint16)
    if image.mode in ("I", "F"):
        return _from_wide(np.asarray(image, np.float64), image.mode, notes), None
    if image.mode == "LAB":
        image = profiles.rgb_image(image, profiles.LAB)
    icc = image.info.get("icc_profile") or b""
    if image.mode == "CMYK" and icc[16:20] == b"CMYK":
        with contextlib.suppress(OSError, ImageCms.PyCMSError):  # broken: Pillow's plain conversion below is used
            image = profiles.rgb_image(image, icc)
    gray, clear = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
    mode = ("L" if gray else "RGB") + ("A" if clear else "")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    if not clear:
        return values, None
    return values[..., 0] if gray else np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(values[..., -1])


def _reduce_neutral(pixels):
    """(H, W, 3) -> (H, W) if R = G = B everywhere; other pixels as they are."""

    def neutral(part):
        return (part[..., :1] == part[..., 1:]).all()

    if pixels.ndim == 3 and neutral(pixels[::16, ::16]) and neutral(pixels):  # a few pixels decide for most pictures
        return np.ascontiguousarray(pixels[..., 0])
    return pixels


def _from_wide(values, mode, notes):
    """32-bit integers or floats (H, W) -> uint16, scaled from the first usual range that holds them."""
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
    """Whether the file holds 16 bits for each colour, of which Pillow keeps 8."""
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
    """Pixels and alpha in uint16 by OpenCV; None if OpenCV does not read the file in 16 bits."""
    with open(path, "rb") as file:
        values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[:2] != image.size[::-1]:
        return None
    alpha = np.ascontiguousarray(values[..., 3]) if values.shape[2] == 4 else None
    return np.ascontiguousarray(values[..., 2::-1]), alpha


def _read_profile(pixels, image, notes):
    """(pixels in sRGB, profile for a colour result). An RGB profile is kept; gray and CMYK give way to sRGB."""
    icc = image.info.get("icc_profile") or b""
    if not icc or image.mode == "LAB":
        return pixels, b""
    space = icc[16:20]
    try:
        if space == b"CMYK" and image.mode == "CMYK":
            profiles.open_profile(icc)
            return pixels, profiles.SRGB  # converted while decoding
        if space == b"RGB " and (pixels.ndim == 3 or image.mode != "CMYK"):
            return profiles.convert(pixels, icc, profiles.SRGB), icc
        if space == b"GRAY" and pixels.ndim == 2:
            return profiles.convert(pixels, icc, profiles.SRGB), profiles.SRGB
    except Exception:  # LittleCMS raises any kind of error on a hostile profile
        pass
    notes.append("its colour profile cannot be used, taken as sRGB")
    return pixels, b""


_EXIF_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
EXIF_BLOCKS, _SIZE_AND_INTEROP = (0x8769, 0x8825), (0xA002, 0xA003, 0xA005)


def _read_orientation(image):
    """1..8; whatever else the file says is taken as 1."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # any kind of error, for broken EXIF
        return 1


def _read_exif(image, notes):
    """The EXIF block to keep: what describes the picture, not how the file stored it."""
    try:
        exif, kept = image.getexif(), Image.Exif()
        for tag in _EXIF_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for tag in EXIF_BLOCKS:
            if block := {t: v for t, v in exif.get_ifd(tag).items() if t not in _SIZE_AND_INTEROP}:
                kept[tag] = block
        return kept.tobytes() if len(kept) else b""
    except Exception:  # any kind of error, for broken EXIF; the pixels are fine
        notes.append("its EXIF is broken and left out")
        return b""


def _read_dpi(image):
    try:
        dpi = tuple(float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    # Pillow gives 1 for a TIFF without a resolution
    return dpi if len(dpi) == 2 and all(1 < value < 1e6 for value in dpi) else None


def read_rgb(path, size):
    """The pixels of `read_picture` as training, preparation and evaluation take them: uint8 sRGB (H, W, 3).

    JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least 2 * size pixels remain on each side.

    Raises:
        BadPicture: as `read_picture`.
    """
    pixels = eight_bits(read_picture(path, at_least=2 * size, metadata=False).pixels)
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def eight_bits(values):
    """uint8 or uint16 -> uint8, rounded."""
    return values if values.dtype == np.uint8 else ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
