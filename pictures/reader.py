"""Read picture files. Training, evaluation and colorizing all take their pixels from here.

The pixels are sRGB, upright, 8 or 16 bits. What has no fixed range of values (floats, signed or
32-bit samples, camera raw) is refused with a line that says what to convert it to.
"""

import contextlib
import os
import re
import stat
import threading
import warnings
import zlib
from dataclasses import dataclass

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from pictures import formats, profiles, tiff
from pictures.formats import BadPicture
from pictures.metadata import EXIF_IFD, INTEROP_IFD, ORIENTATION, png_chunks, read_metadata
from utils import one_line

MAX_PIXELS = 200_000_000  # 10,000 x 20,000; larger ones are refused before anything is decoded
TOGETHER = 50_000_000  # pixels that all threads decode at a time, or one larger picture
_turn, _decoding = threading.Condition(), []

# Pillow's own limit still guards pictures inside pictures (icons). Its warnings are silenced: this
# module either reads such a file or refuses it in one line. So are OpenCV's.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # editing histories exceed 1 MiB
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in sRGB and the metadata of its file."""

    pixels: np.ndarray  # (H, W) or (H, W, 3), uint8 or uint16; (H, W) if R = G = B everywhere
    alpha: np.ndarray | None = None  # (H, W), of the dtype of pixels
    exif: bytes = b""  # as the file has it, but for orientation, size and thumbnail
    icc: bytes = b""  # the RGB profile for a colour result; empty: none
    dpi: tuple[float, float] | None = None
    note: str = ""  # remarks on the reading, such as "first of 12 frames"; first "damaged: ..."
    xmp: bytes = b""
    text: tuple[str, bytes] = ("", b"")  # format, and the chunks of PNG or the comment of JPEG


@contextlib.contextmanager
def _open(path, notes):
    """Open without decoding: (an image of Pillow or a `tiff.Page`, its file). Any error inside the
    block becomes BadPicture."""
    head = b""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe or a device could block
            raise BadPicture("not a regular file")
        with open(path, "rb") as file:
            if not (head := file.read(32)):
                raise BadPicture("an empty file")
            file.seek(0)
            if head.startswith(formats.TIFF_MARKS) and head[8:10] != b"CR":
                image = tiff.Page(file, notes)
            else:
                image = Image.open(file, formats=formats.pillow_formats())
            size = f"{image.width} x {image.height}"
            if not image.width * image.height:
                raise BadPicture(f"broken: {size} pixels")
            if image.width * image.height > MAX_PIXELS:
                raise BadPicture(f"{size} is too large, the limit is {MAX_PIXELS:,} pixels")
            yield image, file
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture(formats.why_not_read(head)) from None
    except Image.DecompressionBombError:
        raise BadPicture(f"too large, the limit is {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise BadPicture("too large for the memory of this machine") from None
    except Exception as error:  # Pillow's readers raise almost anything on broken data
        why = "" if getattr(error, "strerror", None) else "broken or cut short, or not supported: "
        raise BadPicture(f"{why}{one_line(error)}"[:200]) from None


@contextlib.contextmanager
def _room_for(pixels):
    """Wait until what other threads decode leaves room for so many pixels, see TOGETHER."""
    pixels = min(pixels, TOGETHER)
    with _turn:
        _turn.wait_for(lambda: sum(_decoding) + pixels <= TOGETHER)
        _decoding.append(pixels)
    try:
        yield
    finally:
        with _turn:
            _decoding.remove(pixels)
            _turn.notify_all()


def picture_size(path):
    """(width, height) from the header alone, before orientation. Raises as `read_picture`."""
    with _open(path, []) as (image, _):
        return image.size


def read_picture(path, at_least=None, metadata=True):
    """Read a picture, whose format is decided by its content; docs/formats.md lists the formats.

    Of several frames the first is taken, of several pages the largest full picture. Where a decoder
    warns of damage, the picture is what it made, and the note begins "damaged: ".

    Args:
        at_least: JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least this many pixels remain
            on each side.
        metadata: False leaves EXIF, XMP, text and resolution empty and may leave gray in three
            channels, which is faster.

    Returns:
        Picture, upright and in sRGB.

    Raises:
        BadPicture: the file is missing, empty, broken, cut short, too large, or no picture.
    """
    notes = []
    with contextlib.ExitStack() as stack:
        image, file = stack.enter_context(_open(path, notes))
        if (frames := _frames(image)) > 1:
            notes.append(f"first of {frames} frames")
        share = min(image.size) // at_least if at_least and image.format in ("JPEG", "MPO") else 1
        factor = next((n for n in (8, 4, 2) if share >= n), 1)
        stack.enter_context(_room_for(image.width * image.height // factor**2))
        pixels, alpha = _decode(image, file, factor, notes)
        icc, orientation = _profile(image, file, notes), 1
        with contextlib.suppress(Exception):  # of any type, for broken EXIF
            orientation = image.getexif().get(ORIENTATION, 1)
        if alpha is not None and not alpha.any():
            notes.append("entirely transparent, taken as opaque")
            alpha = None
        if pixels.ndim == 3 and pixels.shape[2] == 3 and (metadata or icc):
            pixels = _reduce_neutral(pixels)  # how a profile is applied depends on it
        pixels, icc = profiles.to_srgb(pixels, icc, notes)
        if orientation in range(2, 9):
            pixels, alpha = _upright(pixels, orientation), _upright(alpha, orientation)
        kept = {}
        if metadata:
            has_parts = image.format in ("PNG", "GIF", "PSD", "JPEG2000")
            content = _content(file) if has_parts else b""
            kept = read_metadata(image, content, orientation, pixels.shape[1::-1], notes)
    return Picture(pixels, alpha, icc=icc, note=", ".join(notes), **kept)


def _frames(image):
    """How many pictures the file holds, without previews and layers."""
    if image.format == "MPO":
        kinds = [entry["Attribute"]["MPType"] for entry in image.mpinfo[0xB002][1:]]
        return 1 + sum("Thumbnail" not in kind for kind in kinds)
    return 1 if image.format == "PSD" else getattr(image, "n_frames", 1)


def _upright(array, orientation):
    """An array (H, W, ...) or None, as EXIF's orientation 2..8 says to show it."""
    if array is None:
        return None
    array = array.swapaxes(0, 1) if orientation > 4 else array
    up, left = -1 if orientation in (3, 4, 7, 8) else 1, -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(array[::up, ::left])


# Photoshop's resource 1057, version 1, says that the file holds a white page for its picture
_NO_COMPOSITE = re.compile(rb"8BIM\x04\x21\x00\x00....\x00\x00\x00\x01\x00", re.DOTALL)
# More than 8 bits: of PPM, of AVIF and HEIC (the box of ISO/IEC 23008-12), of JPEG 2000 (SIZ)
_DEEP = re.compile(
    rb"P[36]\s+\d+\s+\d+\s+\d{4}|pixi.{5}[\x09-\x10]|\xff\x4f\xff\x51.{38}[\x08-\x0f]", re.DOTALL
)

# Its decoder notices wrong codes, that of Pillow does not
_KNOWS_AVIF = re.search("AVIF: +avif", cv2.getBuildInformation()) is not None


def _content(file, size=-1):
    file.seek(0)
    return file.read(size)


def _decode(image, file, factor, notes):
    """Pixels (H, W), (H, W, 3) or of CMYK (H, W, 4), and alpha (H, W) or None, 8 or 16 bits."""
    if image.format == "TIFF":
        return image.decode(notes)
    if image.format in ("JPEG", "MPO"):
        return _decode_jpeg(image, file, factor, notes), None
    # Pillow cuts 16 bits to 8, and of 2 and 4 bits mistakes the transparent level
    if image.format == "PNG" and _content(file, 25)[24] in (2, 4, 16):
        values = _decode_png(_content(file))
    else:
        values = _decode_by_pillow(image, file, notes)
    if values.shape[:2] != image.size[::-1]:
        raise ValueError("its parts differ in size")
    channels = values.shape[2] if values.ndim == 3 else 1
    if channels in (1, 3) or image.mode == "CMYK":
        return values, None
    pixels, alpha = values[..., 0] if channels == 2 else values[..., :3], values[..., -1]
    pixels, alpha = np.ascontiguousarray(pixels), np.ascontiguousarray(alpha)
    if image.format != "PSD":
        return pixels, alpha
    notes.append("its alpha channel is left out")  # it may be a saved selection
    return pixels, None


def _decode_jpeg(image, file, factor, notes):
    """The pixels of a JPEG by libjpeg-turbo, whose warnings Pillow and OpenCV do not pass on."""
    content, how = _content(file), {"fastupsample": False}
    how["colorspace"] = {"L": "GRAY"}.get(image.mode, image.mode)
    if factor > 1:
        how |= {"min_width": -(-image.width // factor), "min_height": -(-image.height // factor)}
    try:
        pixels = simplejpeg.decode_jpeg(content, **how)
    except ValueError as error:
        if "Premature end of JPEG file" in str(error):  # nothing but the end marker may be missing
            content += b"\xff\xd9"
            pixels = simplejpeg.decode_jpeg(content, **how)
        else:
            pixels = simplejpeg.decode_jpeg(content, strict=False, **how)
            notes.insert(0, f"damaged: {one_line(error)}")
    if factor == 1 and pixels.shape[:2] != image.size[::-1]:
        raise ValueError("its parts differ in size")
    return 255 - pixels if image.mode == "CMYK" else pixels[..., 0] if image.mode == "L" else pixels


def _decode_png(content):
    """By libpng, which gets no chunk that it would remark upon on stderr."""
    needed = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    chunks = [chunk for kind, chunk in png_chunks(content) if kind in needed]
    if any(zlib.crc32(c[4:-4]) != int.from_bytes(c[-4:], "big") for c in chunks):
        raise ValueError("a checksum is wrong")
    return imagecodecs.png_decode(content[:8] + b"".join(chunks))


def _decode_by_pillow(image, file, notes):
    """(H, W) or (H, W, 2 to 4): 8 bits, of gray JPEG 2000 and PNM up to 16."""
    if image.format == "PSD" and _NO_COMPOSITE.search(_content(file)):
        raise BadPicture("a PSD without its composite: save it with maximized compatibility")
    image.load()
    if image.format == "AVIF" and image.mode == "RGB" and _KNOWS_AVIF:
        values = np.frombuffer(_content(file), np.uint8)
        if cv2.imdecode(values, cv2.IMREAD_GRAYSCALE) is None:
            notes.insert(0, "damaged: its codes are wrong")
    if image.format in ("PPM", "JPEG2000", "AVIF", "HEIF"):
        if image.mode[0] == "I":
            return np.asarray(image).astype(np.uint16)
        if _DEEP.search(_content(file, 65536)):
            notes.append("more than 8 bits read as 8")
    if image.mode[0] in "IF":
        raise BadPicture("samples without a fixed range: convert it to 16-bit TIFF or PNG")
    mode = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    mode += "A" if image.has_transparency_data else ""
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _reduce_neutral(pixels):
    """(H, W, 3) -> (H, W) if R = G = B everywhere; other pixels as they are."""
    for part in (pixels[::16, ::16], pixels):  # a few pixels decide for most pictures
        if (part[..., :1] != part[..., 1:]).any():
            return pixels
    return np.ascontiguousarray(pixels[..., 0])


def _profile(image, file, notes):
    """The ICC profile of the file's colours, b"" for sRGB. EXIF names Adobe RGB as DCF has it."""
    icc, info = image.info.get("icc_profile") or b"", image.info
    if image.format == "PNG":
        chunks = png_chunks(_content(file, 65536))
        cicp = next((chunk[8:10] for kind, chunk in chunks if kind == b"cICP"), b"")
        is_odd = cicp != b"\1\r" if cicp else not icc and "srgb" not in info
        if is_odd and (cicp or abs(info.get("gamma", 1 / 2.2) * 2.2 - 1) > 0.02):
            notes.append("its gAMA or cICP is not applied")
    elif not icc and info.get("exif") and image.format != "TIFF":
        with contextlib.suppress(Exception):  # of any type, for broken EXIF
            exif = image.getexif()
            is_srgb = exif.get_ifd(EXIF_IFD).get(0xA001) == 1
            if not is_srgb and exif.get_ifd(INTEROP_IFD).get(1) == "R03":
                return profiles.ADOBE_RGB
    return icc if isinstance(icc, bytes) else b""


def read_rgb(path, size):
    """The pixels of `read_picture` as training and evaluation take them: uint8 sRGB (H, W, 3).

    What lies under full transparency is filled in with the mean of what is seen.
    JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least 2 * size pixels remain on each side.

    Raises:
        BadPicture: as `read_picture`, and for a picture that is damaged.
    """
    picture = read_picture(path, at_least=2 * size, metadata=False)
    if picture.note.startswith("damaged"):
        raise BadPicture(picture.note)
    pixels = eight_bits(fill_transparent(picture.pixels, picture.alpha))
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def fill_transparent(pixels, alpha):
    """Pixels in which what lies under alpha 0 has the mean of the visible ones; the same array if
    nothing is hidden, or all."""
    if alpha is None or alpha.all() or not alpha.any():
        return pixels
    result = pixels.copy()
    result[alpha == 0] = np.rint(pixels[alpha > 0].mean(axis=0)).astype(pixels.dtype)
    return result


def eight_bits(values):
    """uint8 or uint16 -> uint8, rounded."""
    if values.dtype == np.uint8:
        return values
    return cv2.convertScaleAbs(values, alpha=1 / 257).reshape(values.shape)
