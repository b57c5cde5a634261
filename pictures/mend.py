"""Sound files that Pillow refuses: a JPEG that lacks its end marker, a PNG with much text or damage beside the pixels."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

PngImagePlugin.MAX_TEXT_CHUNK = (
    PngImagePlugin.MAX_TEXT_MEMORY
)  # 64 MiB: editing histories in XMP exceed 1 MiB

_END = b"\xff\xd9"
_NOISE = bytes(
    np.random.default_rng(0).integers(1, 255, 65536, np.uint8)
)  # no 255, which begins a marker
_TEXT_AND_ANIMATION = (b"tEXt", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT")


def mended(content):
    """(the bytes of a file that can be read, a note), made of those of one that Pillow refused; None if it is broken."""
    if content.startswith(b"\xff\xd8\xff") and not content.endswith(_END):
        return _with_end_marker(content.rstrip(b"\xff"))
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pixels_alone(content)
    return None


def _with_end_marker(content):
    """A JPEG whose rows are complete. Where they are not, noise before the end marker would be decoded as the rest."""
    mended = content + _END

    def decoded(data):
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.asarray(image)

    if np.array_equal(decoded(mended), decoded(content + _NOISE + _END)):
        return mended, "its end marker is missing"
    return None


def png_chunks(content):
    """(kind, start, end) of each chunk of a PNG, of which 8 bytes come before the data and 4 after it."""
    start = 8
    while start + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        yield kind, start, start + 12 + size
        start += 12 + size


def png_cicp(file):
    """The four numbers of the cICP chunk of an open PNG, which Pillow passes over; None if there is none."""
    place = file.tell()
    file.seek(0)
    head = file.read(place)  # up to the pixels
    file.seek(place)
    start = next((start for kind, start, _ in png_chunks(head) if kind == b"cICP"), 0)
    return tuple(head[start + 8 : start + 12]) if start > 0 else None


def _pixels_alone(content):
    """A PNG without text, animation and damaged metadata."""
    kept = []
    for kind, start, end in png_chunks(content):
        is_sound = zlib.crc32(content[start + 4 : end - 4]) == int.from_bytes(
            content[end - 4 : end], "big"
        )
        is_needed = kind[:1].isupper() or kind == b"tRNS"  # a capital: critical
        if is_needed or (is_sound and kind not in _TEXT_AND_ANIMATION):
            kept.append(content[start:end])
    return content[:8] + b"".join(
        kept
    ), "its text, animation or metadata is damaged or very long and left out"
