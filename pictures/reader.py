"""Read picture files. Training, preparation, evaluation and colorizing all take their pixels from here.

The pixels are sRGB, upright, 8 or 16 bits. Alpha, EXIF, colour profile and resolution travel in the same `Picture`.
"""

import contextlib
import functools
import io
import os
import stat
import struct
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from pictures import formats, profiles, raw, tiff
from pictures.depth import BadPicture, deep_bits, read_deep, read_fits, scale_floats, scale_integers
from pictures.mend import mended, png_cicp
from pictures.metadata import read_dpi, read_exif, read_iptc, read_orientation, read_xmp
from pictures.transparency import fill_transparent, has_alpha
from utils import one_line

MAX_PIXELS = 200_000_000  # 10,000 x 20,000; larger pictures are refused by their header, before anything is decoded

# Pillow's own limit still guards pictures inside pictures (icons). Its warnings are silenced: this module either reads
# such a file or refuses it in one line.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in sRGB and the metadata of its file."""

    pixels: np.ndarray  # (H, W) or (H, W, 3), uint8 or uint16; (H, W) if R = G = B everywhere
    alpha: np.ndarray | None = None  # (H, W), of the dtype of pixels
    exif: bytes = b""  # without orientation, size and thumbnail, which would not fit the result
    icc: bytes = b""  # the RGB profile for a colour result; empty: none
    dpi: tuple[float, float] | None = None
    note: str = ""  # a remark on the reading, such as "first of 12 frames"
    xmp: bytes = b""
    iptc: bytes = b""


@contextlib.contextmanager
def open_picture(source, max_pixels=MAX_PIXELS, notes=None):
    """Open a picture without decoding it. Any error inside the block becomes BadPicture.

    Args:
        source: path, or a file in memory.
        notes: a list that takes remarks on which page is read.

    Yields:
        an image of Pillow, or a `tiff.WideTiff` or `raw.RawPicture`, which have the same attributes.
    """
    notes = [] if notes is None else notes
    head = b""
    try:
        with contextlib.ExitStack() as stack:
            file = source
            if not isinstance(source, io.BytesIO):
                status = os.stat(source)
                if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device could block
                    raise BadPicture("not a regular file")
                if status.st_size == 0:
                    raise BadPicture("an empty file")
                file = stack.enter_context(open(source, "rb"))
            head = file.read(16)
            file.seek(0)
            image = stack.enter_context(contextlib.closing(_open(file, head, source, notes)))
            if image.width * image.height > max_pixels:
                raise BadPicture(
                    f"{image.width} x {image.height} is too large, the limit is {max_pixels:,} pixels"
                )
            yield image
    except BadPicture:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on broken data
        raise BadPicture(_in_words(error, head, max_pixels)) from None


def _in_words(error, head, max_pixels):
    """Why a file cannot be read, in one line."""
    text = one_line(error)
    if isinstance(error, UnidentifiedImageError):
        return formats.why_unknown(head)
    if isinstance(error, Image.DecompressionBombError):
        return f"too large, the limit is {max_pixels:,} pixels"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, OSError) and error.strerror:  # of the file system
        return text
    is_sound = any(
        word in text.lower() for word in ("unsupported", "unimplemented", "not supported")
    )
    return f"{'this kind is not read' if is_sound else 'broken or cut short'}: {text}"


def _open(file, head, source, notes):
    suffix = "" if isinstance(source, io.BytesIO) else os.path.splitext(source)[1].lower()
    try:
        if raw.is_raw(head) or (head.startswith(tiff.MARKS) and suffix in raw.SUFFIXES):
            raise tiff.CameraRaw
        if head.startswith(tiff.MARKS):
            return tiff.open_tiff(file, formats.pillow_formats(), notes)
    except tiff.CameraRaw:
        return raw.RawPicture(source)
    return Image.open(file, formats=formats.pillow_formats())


def picture_size(path, max_pixels=MAX_PIXELS):
    """(width, height) from the header alone, before orientation. Raises BadPicture as `read_picture`."""

    def read(source, notes):
        with open_picture(source, max_pixels) as image:
            return image.size

    return _read_or_mend(path, read)


def read_picture(path, max_pixels=MAX_PIXELS, at_least=None, metadata=True):
    """Read a picture, whose format is decided by its content; docs/formats.md lists the formats.

    Of several frames the first is taken, of several pages the largest full picture. Orientation is applied; pixels are
    converted to sRGB from the file's profile; more than 8 bits become 16, whatever their type.

    Args:
        max_pixels: larger pictures are refused.
        at_least: JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least this many pixels remain on each side.
        metadata: False leaves EXIF, IPTC, XMP, resolution and note empty and may leave gray in three channels, which
            is faster.

    Returns:
        Picture.

    Raises:
        BadPicture: the file is missing, empty, broken, cut short, too large, or no picture.
    """
    return _read_or_mend(
        path, functools.partial(_read, max_pixels=max_pixels, at_least=at_least, metadata=metadata)
    )


def _read_or_mend(path, read):
    """read(source, notes); where that fails, once more from a file in memory that is mended, if it can be."""
    try:
        return read(path, [])
    except BadPicture as error:
        if "broken" not in str(error):
            raise
        with contextlib.suppress(Exception):  # of any type: the file is as broken as it was
            with open(path, "rb") as file:
                content, note = mended(file.read())
            return read(io.BytesIO(content), [note])
        raise


def _read(source, notes, max_pixels, at_least, metadata):
    with open_picture(source, max_pixels, notes) as image:
        kept = {}
        # MPO holds a preview beside the picture, PSD the layers of one picture; the pages of TIFF are seen to
        one = not metadata or image.format in ("MPO", "PSD", "TIFF")
        if (frames := 1 if one else getattr(image, "n_frames", 1)) > 1:
            notes.append(f"first of {frames} frames")
        pixels, alpha, mode = _decode(image, notes, at_least)
        orientation = read_orientation(image)
        if alpha is not None and not alpha.any():
            notes.append("wholly transparent, taken as opaque")
            alpha = None
        if metadata or image.info.get("icc_profile"):  # how a profile is applied depends on it
            pixels = _reduce_neutral(pixels)
        pixels, icc = _read_profile(pixels, mode, image.info.get("icc_profile") or b"", notes)
        if metadata:
            kept = {"exif": read_exif(image, notes), "dpi": read_dpi(image)}
            kept |= {"xmp": read_xmp(image), "iptc": read_iptc(image)}
    if orientation in _UPRIGHT:
        pixels, alpha = (
            a if a is None else np.ascontiguousarray(_UPRIGHT[orientation](a))
            for a in (pixels, alpha)
        )
        if orientation >= 5 and kept.get("dpi"):
            kept["dpi"] = kept["dpi"][::-1]
    return Picture(pixels, alpha, icc=icc, note=", ".join(notes), **kept)


def _decode(image, notes, at_least):
    """(pixels, alpha, mode of Pillow): as the file has them, of 8 or 16 bits, still in its profile."""
    if not isinstance(image, Image.Image):
        decoded = image.decode(notes)
        if isinstance(decoded, Image.Image):  # a TIFF that Pillow decodes after all
            return *_read_pixels(decoded, notes), decoded.mode
        return *decoded, ""
    if at_least:
        image.draft(None, (at_least, at_least))
    # before loading, which discards the layout of the file
    bits, is_alpha = deep_bits(image), has_alpha(image)
    decoded = read_deep(image, bits, notes) if bits else None
    if image.format == "FITS" and image.tile[0].codec_name == "raw":
        decoded = read_fits(image, notes), None
    if image.format == "PNG":
        _describe_png(image, notes)
    image.load()
    pixels, alpha = decoded or _read_pixels(image, notes)
    if alpha is not None and not is_alpha:
        notes.append("a channel without a meaning is left out")
        alpha = None
    return pixels, alpha, image.mode


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
        if (
            image.format == "TIFF"
            and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        ):
            pixels = 65535 - pixels  # white is zero, which Pillow handles in 8 bits only
        clear = image.info.get("transparency")
        return pixels, None if clear is None else np.where(pixels == clear, 0, 65535).astype(
            np.uint16
        )
    if image.mode == "I":
        return scale_integers(
            np.asarray(image).astype(np.uint32), 16, notes
        ), None  # PGM, scaled by Pillow
    if image.mode == "F":
        return scale_floats(np.asarray(image), notes), None
    if image.mode == "LAB":
        image = profiles.rgb_image(image, profiles.LAB)
    icc = image.info.get("icc_profile") or b""
    if image.mode == "CMYK" and icc[16:20] == b"CMYK":
        with contextlib.suppress(
            OSError, ImageCms.PyCMSError
        ):  # broken: Pillow's plain conversion below is used
            image = profiles.rgb_image(image, icc)
    gray, clear = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
    mode = ("L" if gray else "RGB") + ("A" if clear else "")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    if not clear:
        return values, None
    return values[..., 0] if gray else np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(
        values[..., -1]
    )


def _reduce_neutral(pixels):
    """(H, W, 3) -> (H, W) if R = G = B everywhere; other pixels as they are."""

    def neutral(part):
        return (part[..., :1] == part[..., 1:]).all()

    if (
        pixels.ndim == 3 and neutral(pixels[::16, ::16]) and neutral(pixels)
    ):  # a few pixels decide for most pictures
        return np.ascontiguousarray(pixels[..., 0])
    return pixels


def _describe_png(image, notes):
    """Give a PNG the profile of its cICP, gAMA and cHRM chunks; iCCP goes before the latter two, as sRGB does."""
    given = {"cICP": {"cicp": png_cicp(image.fp)}}
    if not (image.info.get("icc_profile") or "srgb" in image.info):
        given["gAMA and cHRM"] = {
            "gamma": image.info.get("gamma"),
            "chromaticities": image.info.get("chromaticity"),
        }
    for name, values in given.items():
        if any(values.values()):
            try:
                image.info["icc_profile"] = profiles.of_png(**values)
                return
            except (ValueError, ArithmeticError, struct.error, np.linalg.LinAlgError) as error:
                notes.append(f"its {name} cannot be used: {one_line(error)}")


def _read_profile(pixels, mode, icc, notes):
    """(pixels in sRGB, profile for a colour result). An RGB profile is kept; gray and CMYK give way to sRGB."""
    if not icc or mode == "LAB":
        return pixels, b""
    space = icc[16:20]
    try:
        if space == b"CMYK" and mode == "CMYK":
            profiles.open_profile(icc)
            return pixels, profiles.SRGB  # converted while decoding
        if space == b"RGB " and (pixels.ndim == 3 or mode != "CMYK"):
            return profiles.convert(pixels, icc, profiles.SRGB), icc if profiles.is_target(
                icc
            ) else profiles.SRGB
        if space == b"GRAY" and pixels.ndim == 2:
            return profiles.convert(pixels, icc, profiles.SRGB), profiles.SRGB
    except Exception:  # LittleCMS raises any kind of error on a hostile profile
        pass
    notes.append("its colour profile cannot be used, taken as sRGB")
    return pixels, b""


def read_rgb(path, size):
    """The pixels of `read_picture` as training, preparation and evaluation take them: uint8 sRGB (H, W, 3).

    What lies under full transparency is filled in from its surroundings.
    JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least 2 * size pixels remain on each side.

    Raises:
        BadPicture: as `read_picture`.
    """
    picture = read_picture(path, at_least=2 * size, metadata=False)
    pixels = eight_bits(fill_transparent(picture.pixels, picture.alpha))
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def eight_bits(values):
    """uint8 or uint16 -> uint8, rounded."""
    return (
        values
        if values.dtype == np.uint8
        else ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    )
