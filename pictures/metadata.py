"""What a file says of its picture: EXIF, XMP, IPTC and text, as bytes.

EXIF is a small TIFF (TIFF 6.0, section 2): a header, then directories of 12-byte entries.
"""

import io
import re
import struct

ORIENTATION, XMP, IPTC, PHOTOSHOP, EXIF_IFD, GPS_IFD, INTEROP_IFD = (
    274, 700, 33723, 34377, 34665, 34853, 40965,
)  # fmt: skip
# Entries of the first directory that describe the picture and not how a file stores it
DESCRIPTIVE = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 33432}
DESCRIPTIVE |= {*range(40091, 40096), EXIF_IFD, GPS_IFD}
PNG_IPTC = "Raw profile type iptc"  # the key of ImageMagick and ExifTool
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def byte_order(header):
    """ "<" or ">" of a TIFF or an EXIF block. Raises KeyError for anything else."""
    return {b"II*\0": "<", b"MM\0*": ">"}[bytes(header[:4])]


def read_ifd(file, order, start, keep=None):
    """The entries of a directory, {tag: (type, count, bytes)}; a dict for what leads to another.

    Args:
        file: open in binary mode.
        keep: the tags to read; None: all.

    Raises:
        struct.error: it is broken.
    """
    file.seek(start)
    (count,) = struct.unpack(order + "H", file.read(2))
    rows, entries = file.read(12 * count), {}
    for tag, kind, number, field in struct.iter_unpack(order + "HHI4s", rows):
        place = struct.unpack(order + "I", field)[0]
        if keep is not None and tag not in keep:
            continue
        if tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
            if keep is not None or tag == INTEROP_IFD:  # one level each, so that loops end
                entries[tag] = read_ifd(
                    file, order, place, None if tag == EXIF_IFD else range(1 << 16)
                )
            continue
        size = _BYTES.get(kind, 0) * number
        if size > 4:
            file.seek(place)
            field = file.read(size)
        if 0 < size <= len(field):  # others are broken
            entries[tag] = kind, number, field[:size]
    return entries


def pack_ifd(entries, order, start):
    """The bytes of a directory and of all it leads to, which will stand at `start`."""
    place, rows, values = start + 6 + 12 * len(entries), b"", b""
    for tag, entry in sorted(entries.items()):
        if isinstance(entry, dict):
            entry = 4, 1, pack_ifd(entry, order, place + len(values)), True
        kind, number, value, *is_directory = entry
        field = value.ljust(4, b"\0")
        if is_directory or len(value) > 4:
            field = struct.pack(order + "I", place + len(values))
            values += value + bytes(len(value) % 2)
        rows += struct.pack(order + "HHI", tag, kind, number) + field
    return struct.pack(order + "H", len(entries)) + rows + bytes(4) + values


def exif_entries(exif):
    """(byte order, the descriptive entries) of an EXIF block."""
    data = exif.removeprefix(b"Exif\0\0")
    order = byte_order(data)
    (start,) = struct.unpack_from(order + "I", data, 4)
    return order, read_ifd(io.BytesIO(data), order, start, DESCRIPTIVE)


def exif_of_tiff(file, order, start):
    """The descriptive entries of a TIFF's directory as an EXIF block, b"" if there are none."""
    entries = read_ifd(file, order, start, DESCRIPTIVE)
    head = b"II*\0" if order == "<" else b"MM\0*"
    block = b"Exif\0\0" + head + struct.pack(order + "I", 8) + pack_ifd(entries, order, 8)
    return block if entries else b""


def upright_exif(exif, width, height):
    """An EXIF block byte for byte, but for orientation, size and thumbnail.

    Raises:
        Exception: of any type, if it is broken.
    """
    data = bytearray(exif.removeprefix(b"Exif\0\0"))
    order, values = byte_order(data), {ORIENTATION: 1, 256: width, 257: height}
    values |= {0xA002: width, 0xA003: height}
    (first,) = struct.unpack_from(order + "I", data, 4)

    def entries(start):
        (count,) = struct.unpack_from(order + "H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            yield *struct.unpack_from(order + "HHII", data, place), place + 8

    for start in [first, *(value for tag, _, _, value, _ in entries(first) if tag == EXIF_IFD)]:
        for tag, kind, count, _, place in entries(start):
            if tag in values and count == 1 and kind in (3, 4):
                form, value = ("H2x", min(values[tag], 65535)) if kind == 3 else ("I", values[tag])
                struct.pack_into(order + form, data, place, value)
    link = first + 2 + 12 * struct.unpack_from(order + "H", data, first)[0]
    if len(data) >= link + 4 and (second := struct.unpack_from(order + "I", data, link)[0]):
        data[link : link + 4] = bytes(4)
        thumbnail = {tag: value for tag, _, _, value, _ in entries(second)}
        start, size = thumbnail.get(513, 0), thumbnail.get(514, 0)
        if start > 8 and size:
            end = start + size
            data[start:end] = b"" if end >= len(data) else bytes(size)
    return b"Exif\0\0" + bytes(data)


# Properties of XMP that describe what lies beside the pixels and is not kept: (namespace, names)
_GONE = (
    (b"http://ns.google.com/photos/1.0/camera/", rb"(?:Motion|Micro)\w*"),
    (rb"http://ns.google.com/photos/1.0/(?:container|depthmap|image|audio)/(?:item/)?", rb"\w+"),
    (b"http://ns.google.com/photos/dd/1.0/\\w+/", rb"\w+"),
    (b"http://ns.adobe.com/hdr-gain-map/1.0/", rb"\w+"),
    (b"http://ns.apple.com/(?:HDRGainMap|pixeldatainfo)/1.0/", rb"\w+"),
    (b"http://ns.adobe.com/xmp/note/", b"HasExtendedXMP"),
    (b"http://ns.adobe.com/xap/1.0/", b"Thumbnails"),
)


def upright_xmp(xmp, notes):
    """An XMP packet set to upright, without what it says of videos, gain maps and depth maps that
    lie beside the pixels, and of a further packet. `notes` takes a remark on what is lost."""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    xmp = re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))\s*\d", rb"\g<1>1", xmp.strip(b"\0"))
    if b"HasExtendedXMP" in xmp:
        notes.append("its XMP beyond 64 KiB is left out")
    before = xmp
    for space, names in _GONE:
        for prefix in set(re.findall(rb"xmlns:([\w-]+)\s*=\s*[\"']" + space + rb"[\"']", before)):
            name = re.escape(prefix) + b":" + names
            xmp = re.sub(rb"\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
            xmp = re.sub(rb"<(" + name + rb")(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)", b"", xmp, flags=re.S)
    if len(xmp) < len(before) and b"HasExtendedXMP" not in before:
        notes.append("a video, gain map or the like beside the pixels is left out")
    return xmp


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


def iptc_of_png(text):
    """The IPTC records of the text chunk that holds them."""
    _, size, *digits = str(text).split()
    records = bytes.fromhex("".join(digits))[: int(size)]
    return resources(records).get(0x0404, b"") if records.startswith(b"8BIM") else records


def png_chunks(content):
    """(kind, the whole chunk) of each chunk of a PNG."""
    place = 8
    while place + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place : place + 12 + size]
        place += 12 + size
