"""What a file says of its picture: EXIF, XMP, text and resolution. EXIF and XMP stay bytes.

EXIF is a small TIFF (TIFF 6.0, section 2): a header, then directories of 12-byte entries.
"""

import contextlib
import re
import struct

ORIENTATION, XMP, IPTC, EXIF_IFD, GPS_IFD, INTEROP_IFD = 274, 700, 33723, 34665, 34853, 40965
# Entries of the first directory that describe the picture and not how a file stores it
DESCRIPTIVE = {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096)}
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# XMP in GIF and JPEG 2000; IPTC, EXIF and XMP in PSD
_UNREAD = re.compile(rb"XMP DataXMP|\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8|8BIM\x04[\x04\x22\x24]")


def read_metadata(image, content, orientation, size, notes):
    """EXIF, XMP, text and resolution of an open image, as `Picture` has them.

    `content` are the bytes of a PNG, GIF, PSD or JPEG 2000, `size` is (width, height) upright.
    `notes` takes remarks on what is left out.
    """
    info, found = image.info, {}
    with contextlib.suppress(Exception):  # of any type, here and below; the pixels are fine
        in_text = {"Raw profile type exif", "Raw profile type iptc"}  # of PNG, by ImageMagick
        is_unread = "iptc" in info or 0x0404 in info.get("photoshop", ()) or in_text & info.keys()
        if is_unread or (image.format != "PNG" and _UNREAD.search(content)):
            notes.append("its IPTC, or EXIF or XMP that is stored in a rare way, is left out")
    try:
        if exif := info.get("exif"):
            found["exif"] = _upright_exif(exif, *size)
    except Exception:
        notes.append("its EXIF is broken and left out")
    with contextlib.suppress(Exception):
        found["xmp"] = _upright_xmp(info.get("xmp") or b"", notes)
    with contextlib.suppress(Exception):
        dpi = tuple(float(value) for value in info["dpi"])[:: -1 if orientation >= 5 else 1]
        if all(1 < value < 1e5 for value in dpi):  # 1: there is none
            found["dpi"] = dpi
    with contextlib.suppress(Exception):
        if image.format == "PNG":
            kinds, others = (b"tEXt", b"zTXt", b"iTXt", b"tIME"), (b"XML:com.adobe.xmp", b"Raw pro")
            chunks = [chunk for kind, chunk in png_chunks(content) if kind in kinds]
            text = [chunk for chunk in chunks if not chunk[8:].startswith(others)]
            found["text"] = "png", b"".join(text)
        elif comment := info.get("comment"):
            found["text"] = "jpg" if image.format in ("JPEG", "MPO") else "gif", bytes(comment)
    return found


def png_chunks(content):
    """(kind, all bytes) of each chunk of a PNG."""
    place = 8
    while place + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place : place + 12 + size]
        place += 12 + size


def _entries(data, order, start):
    """(tag, type, count, value or its place, where that stands) of each entry of a directory."""
    (count,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        yield *struct.unpack_from(order + "HHII", data, place), place + 8


def exif_entries(exif):
    """(byte order, {tag: (type, count, bytes)} of the first directory) of an EXIF block."""
    data = exif.removeprefix(b"Exif\0\0")
    order, found = _ORDERS[bytes(data[:4])], {}
    (first,) = struct.unpack_from(order + "I", data, 4)
    for tag, kind, count, value, place in _entries(data, order, first):
        size = _BYTES.get(kind, 0) * count
        start = place if size <= 4 else value
        if 0 < size <= len(data) - start:
            found[tag] = kind, count, data[start : start + size]
    return order, found


def exif_block(entries, order):
    """The EXIF block of {tag: (type, count, bytes)}."""
    head, rows, values = b"II*\0" if order == "<" else b"MM\0*", b"", b""
    for tag, (kind, count, value) in sorted(entries.items()):
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack(order + "I", 8 + 6 + 12 * len(entries) + len(values))
            values += value + bytes(len(value) % 2)
        rows += struct.pack(order + "HHI", tag, kind, count) + field
    head += struct.pack(order + "IH", 8, len(entries))
    return b"Exif\0\0" + head + rows + bytes(4) + values


def _upright_exif(exif, width, height):
    """An EXIF block byte for byte, but for orientation and size, and without a link to a thumbnail.
    Raises exceptions of any type if it is broken."""
    data = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = _ORDERS[bytes(data[:4])]
    right = {ORIENTATION: 1, 256: width, 257: height, 0xA002: width, 0xA003: height}
    (first,) = struct.unpack_from(order + "I", data, 4)
    starts = [first]
    for start in starts:
        for tag, kind, count, value, place in _entries(data, order, start):
            if tag == EXIF_IFD and start == first:
                starts.append(value)
            elif tag in right and count == 1 and kind in (3, 4):
                form, most = ("H2x", 65535) if kind == 3 else ("I", 2**32 - 1)
                struct.pack_into(order + form, data, place, min(right[tag], most))
    link = first + 2 + 12 * struct.unpack_from(order + "H", data, first)[0]
    data[link : link + 4] = bytes(4)
    return b"Exif\0\0" + bytes(data)


# Properties of XMP, (namespace, names), of what lies beside the pixels and is not kept; first those
# of motion photos
_GONE = (
    (rb"ns.[\w.]+/photos/1.0/camera/", rb"(?:Motion|Micro|OLive|Video|XMPMeta)\w*"),
    (rb"ns.google.com/photos/(?:1.0/(?:container|depthmap|image|audio)|dd/1.0)/[\w/]*", rb"\w+"),
    (rb"ns.(?:adobe.com/hdr-gain-map|apple.com/(?:HDRGainMap|pixeldatainfo))/1.0/", rb"\w+"),
    (rb"ns.adobe.com/xmp/note/", rb"HasExtendedXMP"),
    (rb"ns.adobe.com/xap/1.0/", rb"Thumbnails"),
)


def _upright_xmp(xmp, notes):
    """An XMP packet set to upright, without what it says of things beside the pixels (_GONE)."""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    xmp = re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))\s*\d", rb"\g<1>1", xmp.strip(b"\0"))
    before = xmp
    for space, names in _GONE:
        declared = rb"xmlns:([\w-]+)\s*=\s*[\"']http://" + space + rb"[\"']"
        for prefix in set(re.findall(declared, before)):
            name = re.escape(prefix) + b":" + names
            xmp = re.sub(rb"\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
            xmp = re.sub(rb"<(" + name + rb")(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)", b"", xmp, flags=re.S)
    if b"HasExtendedXMP" in before:
        notes.append("its XMP beyond 64 KiB is left out")
    elif len(xmp) < len(before):
        notes.append("a video, gain map or the like beside the pixels is left out")
    return xmp
