"""What a file says of its picture: orientation, EXIF, IPTC, XMP and resolution, as far as a result can carry it."""

import contextlib
import re
import struct

from PIL import Image

EXIF_TAGS = (
    270,
    271,
    272,
    282,
    283,
    296,
    305,
    306,
    315,
    316,
    18246,
    33432,
    40091,
    40092,
    40093,
    40094,
    40095,
)
EXIF_BLOCKS, _SIZE_AND_INTEROP = (0x8769, 0x8825), (0xA002, 0xA003, 0xA005)
XMP, IPTC, PHOTOSHOP = 700, 33723, 34377  # tags of TIFF
PNG_IPTC = "Raw profile type iptc"  # the key of ImageMagick and ExifTool


def read_orientation(image):
    """1..8; whatever else the file says is taken as 1."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # any kind of error, for broken EXIF
        return 1


def read_exif(image, notes):
    """The EXIF block to keep: what describes the picture, not how the file stored it."""
    try:
        exif, kept = image.getexif(), Image.Exif()
        for tag in EXIF_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for tag in EXIF_BLOCKS:
            if block := {t: v for t, v in exif.get_ifd(tag).items() if t not in _SIZE_AND_INTEROP}:
                kept[tag] = block
        return kept.tobytes() if len(kept) else b""
    except Exception:  # any kind of error, for broken EXIF; the pixels are fine
        notes.append("its EXIF is broken and left out")
        return b""


def read_dpi(image):
    """(across, down), of the format's own field or of EXIF, or None if the file gives none that makes sense."""
    with contextlib.suppress(Exception):  # any kind of error, for broken fields
        dpi = image.info.get("dpi")
        if dpi is None:
            exif = image.getexif()
            unit = {2: 1, 3: 2.54}[exif.get(296, 2)]
            dpi = (unit * exif[282], unit * exif[283])
        dpi = tuple(float(value) for value in dpi)
        # Pillow gives 1 for a TIFF without a resolution
        return dpi if len(dpi) == 2 and all(1 < value < 1e6 for value in dpi) else None
    return None


def read_xmp(image):
    """The XMP packet, its orientation set to upright; b"" if there is none."""
    with contextlib.suppress(Exception):  # any kind of error, for broken tags
        xmp = image.info.get("xmp") or image.getexif().get(XMP) or b""
        xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))\s*\d", rb"\g<1>1", xmp.strip(b"\0"))
    return b""


def read_iptc(image):
    """The IPTC-IIM records; b"" if there are none."""
    with contextlib.suppress(Exception):  # any kind of error, for broken tags
        if image.format == "JPEG":
            return bytes(image.info.get("photoshop", {}).get(0x0404, b""))
        if image.format == "TIFF":
            return image.info.get(IPTC, b"").rstrip(b"\0") or resources(
                image.info.get(PHOTOSHOP, b"")
            ).get(0x0404, b"")
        if text := image.info.get(PNG_IPTC):
            _, size, *digits = str(text).split()
            records = bytes.fromhex("".join(digits))[: int(size)]
            return resources(records).get(0x0404, b"") if records.startswith(b"8BIM") else records
    return b""


def resources(data):
    """{number: content} of Photoshop's image resources."""
    found, place = {}, 0
    while data[place : place + 4] == b"8BIM":
        number, name = struct.unpack_from(">HB", data, place + 4)
        start = place + 6 + (name + 2) // 2 * 2
        (size,) = struct.unpack_from(">I", data, start)
        found[number] = data[start + 4 : start + 4 + size]
        place = start + 4 + size + size % 2
    return found


def resource(number, content):
    """One image resource of Photoshop, without a name."""
    return (
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
    )
