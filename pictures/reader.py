"""Read picture files. Training, evaluation and colorizing all take their pixels from here.

The pixels are sRGB, upright, 8 or 16 bits. Alpha, EXIF, colour profile and resolution travel in the
same `Picture`. What has no fixed range of values (floats, signed or 32-bit samples, camera raw) is
refused with a line that says what to convert it to.
"""

import contextlib
import os
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from pictures import formats, metadata, profiles, tiff
from utils import one_line

MAX_PIXELS = 200_000_000  # 10,000 x 20,000; larger ones are refused before anything is decoded

# Pillow's own limit still guards pictures inside pictures (icons). Its warnings are silenced: this
# module either reads such a file or refuses it in one line. So are OpenCV's.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # editing histories exceed 1 MiB
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class BadPicture(Exception):
    """A file that cannot be read as a picture. The message is one line without the path."""


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
    iptc: bytes = b""
    text: tuple[str, bytes] = ("", b"")  # format, and the chunks of PNG or the comment of JPEG


@contextlib.contextmanager
def _open(path, max_pixels, notes):
    """Open a picture without decoding it: (an image of Pillow or a `tiff.Page`, its file).

    Any error inside the block becomes BadPicture.
    """
    head = b""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device could block
            raise BadPicture("not a regular file")
        if status.st_size == 0:
            raise BadPicture("an empty file")
        with open(path, "rb") as file:
            head = file.read(32)
            file.seek(0)
            is_tiff = head.startswith(formats.TIFF_MARKS) and head[8:10] != b"CR"
            image = (
                tiff.Page(file, notes)
                if is_tiff
                else Image.open(file, formats=formats.pillow_formats())
            )
            with contextlib.closing(image):
                size = f"{image.width} x {image.height}"
                if not image.width * image.height:
                    raise BadPicture(f"broken: {size} pixels")
                if image.width * image.height > max_pixels:
                    raise BadPicture(f"{size} is too large, the limit is {max_pixels:,} pixels")
                yield image, file
    except BadPicture:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on broken data
        raise BadPicture(_in_words(error, head, max_pixels)) from None


def _in_words(error, head, max_pixels):
    """Why a file cannot be read, in one line."""
    text = one_line(error)
    if isinstance(error, UnidentifiedImageError):
        return formats.why_not_read(head)
    if isinstance(error, Image.DecompressionBombError):
        return f"too large, the limit is {max_pixels:,} pixels"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, tiff.NotRead) or (isinstance(error, OSError) and error.strerror):
        return text
    words = ("unsupported", "unimplemented", "not supported")
    is_other = any(word in text.lower() for word in words)
    return f"{'this kind is not read' if is_other else 'broken or cut short'}: {text}"[:200]


def picture_size(path, max_pixels=MAX_PIXELS):
    """(width, height) from the header alone, before orientation. Raises as `read_picture`."""
    with _open(path, max_pixels, []) as (image, _):
        return image.size


def read_picture(path, max_pixels=MAX_PIXELS, at_least=None, metadata=True):
    """Read a picture, whose format is decided by its content; docs/formats.md lists the formats.

    Of several frames the first is taken, of several pages the largest full picture. Orientation is
    applied; pixels are converted to sRGB from the file's profile; more than 8 bits become 16.
    Where a decoder warns of damage, the picture is what it made, and the note begins "damaged: ".

    Args:
        max_pixels: larger pictures are refused.
        at_least: JPEG is decoded at 1/2, 1/4 or 1/8 of its size if at least this many pixels remain
            on each side.
        metadata: False leaves EXIF, IPTC, XMP, text and resolution empty and may leave gray in
            three channels, which is faster.

    Returns:
        Picture.

    Raises:
        BadPicture: the file is missing, empty, broken, cut short, too large, or no picture.
    """
    notes = []
    with _open(path, max_pixels, notes) as (image, file):
        # MPO holds a preview beside the picture, PSD the layers of one picture
        one = not metadata or image.format in ("JPEG", "MPO", "PSD", "TIFF")
        if (frames := 1 if one else getattr(image, "n_frames", 1)) > 1:
            notes.append(f"first of {frames} frames")
        pixels, alpha = _decode(image, file, at_least, notes)
        orientation = _orientation(image)
        icc = _profile(image, file, notes)
        if alpha is not None and not alpha.any():
            notes.append("wholly transparent, taken as opaque")
            alpha = None
        if pixels.ndim == 3 and pixels.shape[2] == 3 and (metadata or icc):
            pixels = _reduce_neutral(pixels)  # how a profile is applied depends on it
        pixels, icc = _to_srgb(pixels, icc, notes)
        if orientation in _UPRIGHT:
            pixels, alpha = (
                a if a is None else np.ascontiguousarray(_UPRIGHT[orientation](a))
                for a in (pixels, alpha)
            )
        height, width = pixels.shape[:2]
        kept = _metadata(image, file, orientation, width, height, notes) if metadata else {}
    return Picture(pixels, alpha, icc=icc, note=", ".join(notes), **kept)


_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def _decode(image, file, at_least, notes):
    """Pixels (H, W), (H, W, 3) or of CMYK (H, W, 4), and alpha (H, W) or None, as the file has
    them, of 8 or 16 bits, still in its profile."""
    if image.format == "TIFF":
        return image.decode(notes)
    if image.format in ("JPEG", "MPO"):
        return _decode_jpeg(image, file, at_least, notes), None
    bits, is_alpha = _bits(image, file), _has_alpha(image, file)
    if bits > 8 and image.format in _DEEP:
        values = tiff.scale(_DEEP[image.format](image, file), bits)
        if values.shape[:2] != image.size[::-1]:
            raise ValueError("its parts differ in size")
        values = values if values.ndim == 3 else values[..., None]
        pixels, alpha = values[..., : (1, 1, 3, 3)[values.shape[2] - 1]], None
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        if values.shape[2] in (2, 4):
            alpha = values[..., -1].copy()
        pixels = np.ascontiguousarray(pixels)
    else:
        if bits > 8:
            notes.append(f"{bits} bits read as 8")
        if image.format == "PNG" and bits in (2, 4) and image.mode == "L":
            with contextlib.suppress(KeyError):  # Pillow compares it with scaled pixels
                image.info["transparency"] *= 255 // (2**bits - 1)
        image.load()
        pixels, alpha = _eight_bit_channels(image)
    if alpha is not None and not is_alpha:
        notes.append("a channel without a meaning is left out")
        alpha = None
    return pixels, alpha


def _content(file, size=-1):
    file.seek(0)
    return file.read(size)


def _decode_jpeg(image, file, at_least, notes):
    """The pixels of a JPEG by libjpeg-turbo, whose warnings Pillow and OpenCV do not pass on."""
    content = _content(file)
    share = min(image.size) // at_least if at_least else 1
    factor = next(n for n in (8, 4, 2, 1) if share >= n or n == 1)
    width, height = (-(-side // factor) if factor > 1 else 0 for side in image.size)
    how = {"colorspace": {"L": "GRAY"}.get(image.mode, image.mode), "fastupsample": False}
    how |= {"min_height": height, "min_width": width}
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


def _bits(image, file):
    """Bits of a sample, where a file may hold more than Pillow keeps."""
    if image.format == "PNG":
        return _content(file, 25)[24]
    if image.format == "PPM":
        maximum = image.tile[0].args
        maximum = maximum[-1] if isinstance(maximum, tuple) else maximum
        deep = isinstance(maximum, int) and maximum > 255 or "16" in f"{image.mode} {maximum}"
        return 16 if deep or image.mode == "I" else 8
    head = _content(file, 65536) if image.format in ("JPEG2000", "AVIF") else b""
    if image.format == "JPEG2000" and (
        found := re.search(rb"\xff\x4f\xff\x51.{38}(.)", head, re.S)
    ):
        return (found[1][0] & 0x7F) + 1
    if image.format == "AVIF" and (found := re.search(rb"av1C..(.)", head, re.S)):
        return 8 + 2 * (found[1][0] >> 6 & 1) + 2 * (found[1][0] >> 5 & found[1][0] >> 6 & 1)
    return image.info.get("bit_depth", 8) if image.format == "HEIF" else 8


def _deep_pnm(image, file):
    """The samples of a binary PGM or PPM of more than 8 bits, scaled to 16."""
    tile = image.tile[0]
    if tile.codec_name == "ppm_plain":
        raise tiff.NotRead("a plain PNM of more than 8 bits: convert it to PNG")
    maximum = tile.args[-1] if isinstance(tile.args, tuple) else 65535
    maximum = maximum if isinstance(maximum, int) else 65535
    bands = 3 if image.mode == "RGB" else 1
    shape = image.height, image.width, bands
    values = np.frombuffer(_content(file), ">u2", int(np.prod(shape)), tile.offset).reshape(shape)
    table = np.rint(np.arange(maximum + 1) * (65535 / maximum)).astype(np.uint16)
    return table[np.minimum(values, maximum)]


def _deep_png(_, file):
    """By libpng, which gets no chunk that it would remark upon on stderr."""
    content, needed = _content(file), (b"IHDR", b"IDAT", b"tRNS", b"IEND")
    chunks = [chunk for kind, chunk in metadata.png_chunks(content) if kind in needed]
    if any(zlib.crc32(c[4:-4]) != int.from_bytes(c[-4:], "big") for c in chunks):
        raise ValueError("a checksum is wrong")
    return imagecodecs.png_decode(content[:8] + b"".join(chunks))


# Decoders for samples of more than 8 bits
_DEEP = {
    "PNG": _deep_png,
    "PPM": _deep_pnm,
    "JPEG2000": lambda _, file: imagecodecs.jpeg2k_decode(_content(file)),
    "AVIF": lambda _, file: imagecodecs.avif_decode(_content(file), index=0),
}


def _has_alpha(image, file):
    """Whether the last channel is alpha by what the file says. Pillow takes every fourth channel
    for it: padding bytes of TGA, a saved selection of PSD, infrared. Refuses a PSD that holds a
    white page in place of its picture."""
    if image.format == "TGA":
        return bool(_content(file, 18)[17] & 15)  # the number of alpha bits
    if image.format == "JPEG2000":
        return image.mode != "RGBA" or b"cdef" in _content(file, 65536)  # what channels are
    if image.format == "PSD":
        content, place = _content(file), 26
        (size,) = struct.unpack_from(">I", content, place)
        place += 4 + size
        (size,) = struct.unpack_from(">I", content, place)
        version = metadata.resources(content[place + 4 : place + 4 + size]).get(
            1057, b"\0" * 4 + b"\1"
        )
        if not version[4]:
            raise tiff.NotRead(
                "a PSD without its composite: save it with maximized compatibility, or as TIFF"
            )
        layers, _, count = struct.unpack(">IIh", content[place + 4 + size :][:10].ljust(10, b"\0"))
        return layers > 0 and count < 0  # negative: the first extra channel is transparency
    return True


def _eight_bit_channels(image):
    """Pixels and alpha of a loaded image of Pillow."""
    if image.mode[0] in "IF":
        raise tiff.NotRead("samples without a fixed range: convert it to 16-bit TIFF or PNG")
    if image.mode == "CMYK":
        return np.asarray(image), None
    gray, clear = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
    mode = ("L" if gray else "RGB") + ("A" if clear else "")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    if not clear:
        return values, None
    pixels = values[..., 0] if gray else values[..., :3]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(values[..., -1])


def _reduce_neutral(pixels):
    """(H, W, 3) -> (H, W) if R = G = B everywhere; other pixels as they are."""

    def neutral(part):
        return (part[..., :1] == part[..., 1:]).all()

    if neutral(pixels[::16, ::16]) and neutral(pixels):  # a few pixels decide for most pictures
        return np.ascontiguousarray(pixels[..., 0])
    return pixels


def _orientation(image):
    """1..8; whatever else the file says is taken as 1."""
    if image.format == "TIFF":
        return image.orientation
    with contextlib.suppress(Exception):  # of any type, for broken EXIF
        return image.getexif().get(metadata.ORIENTATION, 1)
    return 1


def _profile(image, file, notes):
    """The ICC profile of the file's colours, b"" for sRGB. Of PNG, cICP goes before an ICC profile,
    which goes before sRGB, which goes before gAMA and cHRM. EXIF names Adobe RGB as DCF has it."""
    icc, info = image.info.get("icc_profile") or b"", image.info
    if image.format == "PNG":
        chunks = metadata.png_chunks(_content(file, 65536))
        cicp = next((chunk[8:12] for kind, chunk in chunks if kind == b"cICP"), b"")
        given = {"cICP": {"cicp": tuple(cicp)}} if cicp else {}
        if not icc and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
            given["gAMA and cHRM"] = {
                "gamma": info.get("gamma"),
                "chromaticities": info.get("chromaticity"),
            }
        for name, values in given.items():
            try:
                return profiles.of_png(**values)
            except (ValueError, ArithmeticError) as error:
                notes.append(f"its {name} cannot be used: {one_line(error)}")
    elif not icc and info.get("exif") and image.format != "TIFF":
        with contextlib.suppress(Exception):  # of any type, for broken EXIF
            exif = image.getexif()
            is_srgb = exif.get_ifd(metadata.EXIF_IFD).get(0xA001) == 1
            if not is_srgb and exif.get_ifd(metadata.INTEROP_IFD).get(1) == "R03":
                return profiles.ADOBE_RGB
    return icc if isinstance(icc, bytes) else b""


def _to_srgb(pixels, icc, notes):
    """(pixels in sRGB, profile for a colour result). An RGB profile is kept; gray and CMYK give
    way to sRGB."""
    space, is_cmyk = icc[16:20], pixels.ndim == 3 and pixels.shape[2] == 4
    try:
        if space == b"CMYK" and is_cmyk:
            return profiles.transform(pixels, icc, profiles.SRGB, "cmyk"), profiles.SRGB
        if space == b"RGB " and not is_cmyk:
            kept = icc if profiles.is_target(icc) else profiles.SRGB
            return profiles.convert(pixels, icc, profiles.SRGB), kept
        if space == b"GRAY" and pixels.ndim == 2:
            return profiles.convert(pixels, icc, profiles.SRGB), profiles.SRGB
    except Exception:  # LittleCMS raises any kind of error on a hostile profile
        pass
    if icc:
        notes.append("its colour profile cannot be used, taken as sRGB")
    if is_cmyk:  # without a profile: ink and black take away light
        top = int(np.iinfo(pixels.dtype).max)
        light = top - pixels[..., 3:].astype(np.uint32)
        pixels = (light - (pixels[..., :3] * light + top // 2) // top).astype(pixels.dtype)
    return pixels, b""


def _metadata(image, file, orientation, width, height, notes):
    """EXIF, XMP, IPTC, text and resolution, as `Picture` has them."""
    info, found, exif = image.info, {}, b""
    with contextlib.suppress(Exception):  # of any type; the pixels are fine
        exif = info.get("exif") or b""
        if not exif and image.format != "TIFF" and len(image.getexif()):  # in text of PNG
            exif = image.getexif().tobytes()
    try:
        found["exif"] = metadata.upright_exif(exif, width, height) if exif else b""
    except Exception:  # of any type, for broken EXIF
        notes.append("its EXIF is broken and left out")
    with contextlib.suppress(Exception):
        found["xmp"] = metadata.upright_xmp(info.get("xmp") or b"", notes)
    with contextlib.suppress(Exception):
        photoshop = info.get("photoshop") or {}
        if isinstance(photoshop, bytes):
            photoshop = metadata.resources(photoshop)
        found["iptc"] = bytes(info.get("iptc", b"").rstrip(b"\0") or photoshop.get(0x0404, b""))
        if text := info.get(metadata.PNG_IPTC):
            found["iptc"] = metadata.iptc_of_png(text)
    with contextlib.suppress(Exception):
        dpi = info.get("dpi")
        if dpi is None and image.format != "TIFF":
            tags = image.getexif()
            unit = {2: 1, 3: 2.54}[tags.get(296, 2)]
            dpi = unit * tags[282], unit * tags[283]
        dpi = tuple(float(value) for value in dpi)[:: -1 if orientation >= 5 else 1]
        if len(dpi) == 2 and all(1 < value < 1e5 for value in dpi):  # 1: there is none
            found["dpi"] = dpi
    with contextlib.suppress(Exception):
        found["text"] = _text(image, file)
    return found


def _text(image, file):
    """("png", its chunks of text and time), ("jpg", its comment) or ("", b"")."""
    if image.format == "PNG":
        elsewhere = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
        return "png", b"".join(
            chunk
            for kind, chunk in metadata.png_chunks(_content(file))
            if kind in (b"tEXt", b"zTXt", b"iTXt", b"tIME") and not chunk[8:].startswith(elsewhere)
        )
    comment = image.info.get("comment", b"")
    return ("jpg" if image.format in ("JPEG", "MPO") else "gif"), bytes(comment)


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
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
