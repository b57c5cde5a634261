"""Samples of any depth and type as uint8 or uint16, scaled by the range of their type, and files that need it.

Pillow reads colour of more than 8 bits in 8 bits, and some other samples wrongly.
"""

import importlib.util
import re

import cv2
import numpy as np

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # the reader says in one line what cannot be read


class BadPicture(Exception):
    """A file that cannot be read as a picture. The message is one line without the path."""


def scale_integers(values, bits, notes):
    """Integers -> uint8 (up to 8 bits) or uint16, so that the range of their type becomes the full range.

    Signed integers without a negative value use the upper half of their range. Signed integers, and those of more than
    16 bits, that all fit into 0 to 255 or 0 to 65535 are taken as 8 or 16 bits.

    Args:
        values: integer array of any shape.
        bits: of a sample, of which the array's type may have more.
        notes: a list that takes a remark where the range is a guess or where bits are lost.
    """
    kind = np.uint8 if bits <= 8 else np.uint16
    full, low, top = np.iinfo(kind).max, 0, 2**bits - 1
    least, most = int(values.min()), int(values.max())
    is_signed = values.dtype.kind == "i"
    if is_signed:
        top = 2 ** (bits - 1) - 1
        low = -top - 1 if least < 0 else 0
    if least >= 0 and (is_signed or bits > 16):
        top = next((usual for usual in (255, 65535) if most <= usual < top), top)
    if top > 65535 or low < -32768:
        notes.append(f"{bits} bits read as 16")
    if is_signed or top < 2**bits - 1:
        notes.append(f"values {least} to {most} taken as {low} to {top}")
    if low == 0 and top == full:
        return values.astype(kind)
    if bits > 16:
        return np.rint((values.astype(np.float64) - low) * (full / (top - low))).astype(kind)
    table = np.rint(np.arange(top - low + 1) * (full / (top - low))).astype(kind)
    return table[np.clip(values, low, top).astype(np.int32) - low]


def scale_floats(values, notes):
    """Floats -> uint16, scaled from the first usual range that holds them and of which they use a sixteenth.

    Raises:
        BadPicture: some are NaN or infinite.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadPicture("holds values that are not numbers")
    low, high = values.min(), values.max()
    for top in (1, 255, 65535):
        if low >= 0 and high <= top and (top == 1 or high > top / 16):
            span = f"0 to {top}"
            break
    else:
        values, top, span = values - low, high - low, "black to white"
    notes.append(f"values {low:g} to {high:g} taken as {span}")
    return np.rint(values * (65535 / top)).astype(np.uint16)


def separate_alpha(values):
    """(H, W, 1 to 4) -> pixels (H, W) or (H, W, 3) and alpha (H, W) or None."""
    channels = values.shape[2]
    alpha = np.ascontiguousarray(values[..., -1]) if channels in (2, 4) else None
    return np.ascontiguousarray(values[..., 0] if channels < 3 else values[..., :3]), alpha


def deep_bits(image):
    """Bits of a sample where a file holds more than Pillow keeps, or more than 8 and fewer than 16; else 0.

    image: of Pillow, opened and not yet loaded. TIFF is not looked at, see pictures/tiff.py.
    """
    layout = image.tile
    if image.format in ("PNG", "SGI"):
        return (
            16
            if image.mode in ("RGB", "RGBA", "LA", "L")
            and "16" in str([tile[0::3] for tile in layout])
            else 0
        )
    if image.format == "PPM" and image.mode == "RGB":
        maximum = (
            layout[0].args
            if layout[0].codec_name.startswith("ppm")
            else 65535 * ("16" in str(layout))
        )
        maximum = maximum[-1] if isinstance(maximum, tuple) else maximum
        return 16 if isinstance(maximum, int) and maximum > 255 else 0
    if image.format in ("JPEG2000", "AVIF"):
        head = _content(image)[:65536]
        if image.format == "AVIF":
            flags = head.find(b"av1C") + 6
            return (
                0
                if flags < 6 or len(head) <= flags or not head[flags] & 0x40
                else 12
                if head[flags] & 0x20
                else 10
            )
        start = head.find(b"\xff\x4f\xff\x51")
        bits = (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 0
        return bits if bits > 8 and (image.mode != "I;16" or bits < 16) else 0
    if image.format == "HEIF":
        return image.info.get("bit_depth", 8) if image.info.get("bit_depth", 8) > 8 else 0
    return 16 * (
        image.format == "JXL" and importlib.util.find_spec("imagecodecs") is not None
    )  # unknown before decoding


def read_deep(image, bits, notes):
    """Pixels and alpha, uint16, of a file for which `deep_bits` gives `bits`; None (with a note) if only 8 can be read."""
    try:
        values = {"PPM": _read_ppm, "HEIF": _read_heif, "JXL": _read_jxl}.get(
            image.format, _read_by_opencv
        )(image)
    except (
        Exception
    ):  # of any type, on broken data; the 8 bits may still be read, or say what is wrong
        values = None
    if values is None or values.dtype != np.uint16 or values.shape[:2] != image.size[::-1]:
        if image.format != "JXL" or values is None:
            notes.append(f"{bits} bits read as 8")
        return None
    if image.format == "PPM" and values.ndim == 3:
        return values, None
    top = np.uint16(2**bits - 1)
    pixels, alpha = separate_alpha(values if values.ndim == 3 else values[..., None])
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and pixels.ndim == 3:  # PNG: one colour is transparent
        alpha = np.where((pixels == np.array(clear, np.uint16)).all(axis=-1), 0, top).astype(
            np.uint16
        )
    return tuple(a if a is None else scale_integers(a, bits, notes) for a in (pixels, alpha))


def _content(image):
    """The bytes of the file that a Pillow image was opened from."""
    file = image.fp or image._fp
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    return content


def _read_by_opencv(image):
    values = cv2.imdecode(np.frombuffer(_content(image), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim == 2:
        return values
    return values[..., [2, 1, 0, 3][: values.shape[2]]]


def _read_ppm(image):
    tile = image.tile[0]
    maximum = tile.args if isinstance(tile.args, (tuple, list)) else (tile.args,)
    maximum = maximum[-1] if tile.codec_name.startswith("ppm") else 65535
    count = image.width * image.height * 3
    content = _content(image)
    if tile.codec_name == "ppm_plain":
        values = np.array(
            re.sub(rb"#[^\r\n]*", b"", content[tile.offset :]).split(None, count)[:count], np.int64
        )
    else:
        values = np.frombuffer(content, ">u2", count, tile.offset)
    values = values.reshape(image.height, image.width, 3)
    return np.rint(np.minimum(values, maximum) * (65535 / maximum)).astype(np.uint16)


def _read_heif(image):
    import pillow_heif

    values = np.asarray(pillow_heif.open_heif(image.fp, convert_hdr_to_8bit=False))
    return values >> (16 - image.info["bit_depth"])


def _read_jxl(image):
    import imagecodecs

    values = imagecodecs.jpegxl_decode(_content(image))
    return (
        np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
        if values.dtype.kind == "f"
        else values
    )


def read_fits(image, notes):
    """Pixels (H, W) of a FITS file that Pillow opened: its own type, BZERO and BSCALE (FITS standard 4.0, 4.4.2.5)."""
    content, offset = _content(image), image.tile[0].offset
    cards = {}
    for start in range(0, offset, 80):
        name, is_value, value = content[start : start + 80].partition(b"=")
        if is_value:
            cards[name.strip()] = value.partition(b"/")[0].strip()
    bits, zero, scale = (
        int(cards[b"BITPIX"]),
        float(cards.get(b"BZERO", 0)),
        float(cards.get(b"BSCALE", 1)),
    )
    kind = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[bits]
    count = image.width * image.height
    values = np.frombuffer(content, kind, count, offset).reshape(image.height, image.width)[::-1]
    if bits < 0:
        return scale_floats(values.astype(np.float64) * scale + zero, notes)
    if bits > 8 and zero == 2.0 ** (bits - 1):  # how FITS holds unsigned integers
        values = (
            values.astype(f"u{bits // 8}") ^ np.array(2 ** (bits - 1), f"u{bits // 8}")
        ).astype(f"u{bits // 8}")
    return scale_integers(values, bits, notes)
