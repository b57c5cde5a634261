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

FORMATS = {  # that are written, by their suffixes
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_LONGEST_IN_JPEG = 65_000  # bytes of a block of metadata


def write_picture(path, pixels, like, format="png", quality=95):
    """Write a picture, completely or not at all.

    Args:
        path: the file to write; its folder is made if absent.
        pixels: (H, W) or (H, W, 3), uint8 or uint16, sRGB.
        like: Picture whose alpha, profile, EXIF, XMP, text and resolution the file carries.
        format: one of the values of FORMATS. JPEG is written at 4:4:4.
        quality: 1..100, for JPEG and WebP, which hold 8 bits.

    Returns:
        what the format could not hold, in words, or "".

    Raises:
        OSError: the disk takes no more.
        ValueError: the format does not allow this size.
    """
    lost, kept = [], {}
    # A gray result is plain sRGB gray: an RGB profile may not stand in a gray file.
    icc = like.icc if pixels.ndim == 3 else b""
    pixels = profiles.convert(pixels, profiles.SRGB, icc) if icc else pixels
    alpha = like.alpha
    if format in ("jpg", "webp") and pixels.dtype == np.uint16:
        lost.append("16 bits")
        pixels, alpha = (a if a is None else eight_bits(a) for a in (pixels, alpha))
    if format == "jpg":
        if alpha is not None:
            lost.append("transparency")
            alpha = None
        for name in ("exif", "xmp"):
            if len(getattr(like, name)) > _LONGEST_IN_JPEG:
                lost.append(f"{name.upper()} of more than 64 KiB")
                kept[name] = b""
    if like.text[1] and like.text[0] != format:
        lost.append("the text of the file")
        kept["text"] = ("", b"")
    entries = metadata.exif_entries(like.exif)[1] if format == "tiff" and like.exif else {}
    if metadata.EXIF_IFD in entries or metadata.GPS_IFD in entries:
        lost.append("the Exif and GPS entries")
    if format == "webp" and like.dpi and not like.exif:
        lost.append("the resolution")
    encode = {"png": _encode_png, "tiff": _encode_tiff}.get(format, _encode_lossy)
    data = encode(pixels, replace(like, alpha=alpha, icc=icc, **kept), format, quality)
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


def _encode_png(pixels, like, *_):
    """PNG by OpenCV, which knows 16-bit colour; further chunks are put in behind the header."""
    values = _join(pixels, like.alpha)
    if values.shape[2] > 1:
        order = cv2.COLOR_RGB2BGR if values.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        values = cv2.cvtColor(values, order)
    done, data = cv2.imencode(".png", values)
    if not done:
        raise ValueError("OpenCV cannot write this picture as PNG")
    header = 8 + 25  # signature, IHDR
    data, chunks = data.tobytes(), b""
    dots = [round(dpi / 0.0254) for dpi in like.dpi or ()]  # in a metre
    for kind, body in (
        (b"iCCP", like.icc and b"ICC profile\0\0" + zlib.compress(like.icc)),
        (b"eXIf", like.exif.removeprefix(b"Exif\0\0")),
        (b"iTXt", like.xmp and b"XML:com.adobe.xmp" + bytes(5) + like.xmp),
        (b"pHYs", dots and struct.pack(">IIB", *dots, 1)),
    ):
        if body:
            checksum = struct.pack(">I", zlib.crc32(kind + body))
            chunks += struct.pack(">I", len(body)) + kind + body + checksum
    return data[:header] + chunks + like.text[1] + data[header:]


def _encode_lossy(pixels, like, format, quality):
    """JPEG or WebP by Pillow."""
    values, options = _join(pixels, like.alpha), {"quality": quality, "exif": like.exif}
    if format == "jpg":
        options |= {"subsampling": "4:4:4", "comment": like.text[1]}
        options |= {"dpi": like.dpi} if like.dpi else {}
    for name, block in (("icc_profile", like.icc), ("xmp", like.xmp)):
        if block:
            options[name] = block
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    image.save(buffer := io.BytesIO(), "WEBP" if format == "webp" else "JPEG", **options)
    return buffer.getvalue()


def _encode_tiff(pixels, like, *_):
    """TIFF by tifffile, with the descriptive entries of EXIF byte for byte."""
    import tifffile  # slow, and most results are no TIFF

    values = _join(pixels, like.alpha)
    order, entries = metadata.exif_entries(like.exif) if like.exif else ("<", {})
    entries = {tag: entry for tag, entry in entries.items() if tag in metadata.DESCRIPTIVE}
    entries |= {metadata.XMP: (1, len(like.xmp), like.xmp)} if like.xmp else {}
    tifffile.imwrite(
        buffer := io.BytesIO(),
        values if values.shape[2] > 1 else values[..., 0],
        byteorder=order,
        photometric="rgb" if values.shape[2] > 1 else "minisblack",
        extrasamples=["unassalpha"] * (like.alpha is not None),
        compression="zlib",
        compressionargs={"level": 1},
        predictor=True,
        resolution=like.dpi,
        resolutionunit="inch" if like.dpi else None,
        iccprofile=like.icc or None,
        extratags=[(tag, *entry, True) for tag, entry in entries.items()],
        metadata=None,
        software=False,
    )
    return buffer.getvalue()
