"""Write pictures as PNG, JPEG, WebP or TIFF, with the alpha and metadata of their source."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pictures import metadata, profiles
from pictures.reader import eight_bits
from utils import atomic

FORMATS = {
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}  # written
_LONGEST_IN_JPEG = 65_000  # bytes of a block of metadata


def write_picture(path, pixels, like, format="png", quality=95):
    """Write a picture, whole or not at all.

    Args:
        path: the file to write; its folder is made if absent.
        pixels: (H, W) or (H, W, 3), uint8 or uint16, sRGB.
        like: Picture whose alpha, profile, EXIF, XMP, IPTC and resolution the file carries.
        format: one of the values of FORMATS. JPEG is written at 4:4:4.
        quality: 1..100, for JPEG and WebP, which hold 8 bits.

    Returns:
        what the format could not hold, in words, or "".

    Raises:
        OSError: the disk takes no more.
        ValueError: the format does not allow this size.
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
    kept = {"exif": like.exif, "xmp": like.xmp, "iptc": like.iptc}
    for name, value in kept.items():
        if (format == "jpg" and len(value) > _LONGEST_IN_JPEG) or (
            format == "webp" and name == "iptc" and value
        ):
            lost.append(f"{name.upper()}{' of more than 64 KiB' * (format == 'jpg')}")
            kept[name] = b""
    if like.text[1] and like.text[0] != format:
        lost.append("the text of the file")
        kept["text"] = ("", b"")
    like = replace(like, alpha=alpha, icc=icc, **kept)
    data = _ENCODERS[format](pixels, like, quality)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return f"{format} cannot hold {' and '.join(lost)}" if lost else ""


def _join(pixels, alpha):
    """Pixels and alpha as one array (H, W, 1, 3 or 4). Gray with alpha becomes RGBA, as few readers
    know it in 16 bits."""
    if alpha is None:
        return pixels[..., None] if pixels.ndim == 2 else pixels
    return np.dstack([*([pixels] * 3 if pixels.ndim == 2 else [pixels]), alpha])


def _encode_png(pixels, like, quality):
    """PNG by OpenCV, which knows 16-bit colour; further chunks are put in behind the header."""
    values = _join(pixels, like.alpha)
    if values.shape[2] > 1:
        values = cv2.cvtColor(
            values, {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[values.shape[2]]
        )
    done, data = cv2.imencode(".png", values)
    if not done:
        raise ValueError("OpenCV cannot write this picture as PNG")
    data, chunks = data.tobytes(), b""
    for kind, body in (
        (b"iCCP", b"ICC profile\0\0" + zlib.compress(like.icc) if like.icc else b""),
        (b"eXIf", like.exif.removeprefix(b"Exif\0\0")),
        (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + like.xmp if like.xmp else b""),
        (b"zTXt", _png_iptc(like.iptc) if like.iptc else b""),
        (
            b"pHYs",
            struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in like.dpi), 1) if like.dpi else b"",
        ),
    ):
        if body:
            chunks += (
                struct.pack(">I", len(body))
                + kind
                + body
                + struct.pack(">I", zlib.crc32(kind + body))
            )
    chunks += like.text[1]
    header = 8 + 25  # signature, IHDR
    return data[:header] + chunks + data[header:]


def _png_iptc(records):
    """IPTC as ImageMagick and ExifTool keep it in PNG, which has no place of its own for it."""
    text = f"\niptc\n{len(records):8}\n{records.hex()}\n"
    return metadata.PNG_IPTC.encode() + b"\0\0" + zlib.compress(text.encode())


def _encode_jpg(pixels, like, quality):
    options = {"dpi": like.dpi} if like.dpi else {}
    if like.text[1]:
        options["comment"] = like.text[1]
    if like.iptc:  # a segment APP13
        record = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(like.iptc)) + like.iptc
        body = b"Photoshop 3.0\0" + record + bytes(len(record) % 2)
        options["extra"] = b"\xff\xed" + struct.pack(">H", 2 + len(body)) + body
    return _by_pillow(pixels, like, "JPEG", quality=quality, subsampling="4:4:4", **options)


def _encode_webp(pixels, like, quality):
    if like.dpi and not like.exif:  # WebP has no other place for it
        exif = Image.Exif()
        exif.update({282: like.dpi[0], 283: like.dpi[1], 296: 2})
        like = replace(like, exif=exif.tobytes())
    return _by_pillow(pixels, like, "WEBP", quality=quality)


def _by_pillow(pixels, like, format, **options):
    values = _join(pixels, like.alpha)
    buffer = io.BytesIO()
    if like.icc:
        options["icc_profile"] = like.icc
    if like.xmp:
        options["xmp"] = like.xmp
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(
        buffer, format, exif=like.exif, **options
    )
    return buffer.getvalue()


def _encode_tiff(pixels, like, quality):
    """TIFF in one deflated strip, its tags beside those of EXIF, byte for byte."""
    values = _join(pixels, like.alpha)
    height, width, channels = values.shape
    order, tags = metadata.exif_entries(like.exif) if like.exif else ("<", {})
    steps = values.copy()
    steps[:, 1:] -= values[:, :-1]  # predictor 2, horizontal differences that wrap around
    strip = zlib.compress(steps.astype(values.dtype.newbyteorder(order)).tobytes(), 1)

    def numbers(kind, form, *content):
        return kind, len(content), struct.pack(f"{order}{len(content)}{form}", *content)

    depth = 8 * values.itemsize
    tags |= {256: numbers(4, "I", width), 257: numbers(4, "I", height)}
    tags |= {258: numbers(3, "H", *[depth] * channels), 259: numbers(3, "H", 8)}  # deflate
    tags |= {262: numbers(3, "H", 1 if channels < 3 else 2)}  # black is zero; RGB
    tags |= {273: numbers(4, "I", 8), 277: numbers(3, "H", channels)}
    tags |= {278: numbers(4, "I", height), 279: numbers(4, "I", len(strip))}
    tags |= {284: numbers(3, "H", 1), 317: numbers(3, "H", 2)}  # one plane; the predictor
    if like.dpi:
        across, down = (round(dpi * 10_000) for dpi in like.dpi)
        tags |= {282: (5, 1, struct.pack(order + "2I", across, 10_000)), 296: numbers(3, "H", 2)}
        tags |= {283: (5, 1, struct.pack(order + "2I", down, 10_000))}
    if like.alpha is not None:
        tags |= {338: numbers(3, "H", 2)}  # alpha that does not multiply the colours
    blocks = ((34675, 7, like.icc), (metadata.XMP, 1, like.xmp), (metadata.IPTC, 7, like.iptc))
    tags |= {tag: (kind, len(block), block) for tag, kind, block in blocks if block}
    strip += bytes(len(strip) % 2)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    place = 8 + len(strip)
    return mark + struct.pack(order + "I", place) + strip + metadata.pack_ifd(tags, order, place)


_ENCODERS = {"png": _encode_png, "jpg": _encode_jpg, "webp": _encode_webp, "tiff": _encode_tiff}
