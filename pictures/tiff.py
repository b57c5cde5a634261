"""TIFF files: which page is the picture, and its samples, by tifffile and imagecodecs.

A TIFF may hold a preview before the picture, reduced copies, masks, the pages of a document. The
largest of those marked as full pictures is taken. Camera raw files (DNG, NEF, ARW) are TIFFs too.
"""

import contextlib
import io
import itertools
import logging
import struct

import numpy as np
import simplejpeg
from PIL import Image

from pictures import metadata, profiles
from pictures.formats import RAW, BadPicture
from utils import one_line

_SENSOR, _DNG_VERSION = (32803, 34892), 50706  # photometric; a tag
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples by PhotometricInterpretation
_JPEG = (6, 7, 34892, 33007)  # compressions whose decoder gives RGB for YCbCr
_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}


class Page:
    """The page of a TIFF that is the picture, with the names of Pillow's images.

    Raises:
        BadPicture: its values have no fixed range, or it is of no kind that is read.
    """

    format, mode = "TIFF", ""

    def __init__(self, file, notes):
        import tifffile  # slow, and most pictures are no TIFF

        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        self.page = page = _choose(tifffile.TiffFile(file), notes)
        self.size = self.width, self.height = page.imagewidth, page.imagelength
        self.info = {"icc_profile": page.tags.valueof(34675) or b"", "dpi": page.get_resolution(2)}
        self.info |= {"iptc": True} if metadata.IPTC in page.tags else {}
        if metadata.EXIF_IFD in page.tags or metadata.GPS_IFD in page.tags:
            notes.append("its Exif and GPS entries are left out")
        entries = {}
        for tag in page.tags:
            if tag.code in (metadata.XMP, *metadata.DESCRIPTIVE) and tag.dtype <= 13:
                file.seek(tag.valueoffset)
                entries[tag.code] = tag.dtype, tag.count, file.read(tag.valuebytecount)
        self.info["xmp"] = entries.pop(metadata.XMP, (b"",))[-1]
        if entries:
            self.info["exif"] = metadata.exif_block(entries, page.parent.byteorder)
        _refuse(page)

    def getexif(self):
        return {metadata.ORIENTATION: self.page.tags.valueof(metadata.ORIENTATION, 1)}

    def decode(self, notes):
        """Pixels (H, W), (H, W, 3) or of CMYK (H, W, 4), and alpha (H, W) or None, 8 or 16 bits."""
        page, bits, colours = self.page, self.page.bitspersample, _COLOURS[self.page.photometric]
        values = page.asarray(maxworkers=1).reshape(page.shaped)[:, 0]
        if damage := _damage(page):
            notes.insert(0, f"damaged: {damage}")
        values = np.moveaxis(values, 0, 2)[..., 0] if page.planarconfig == 2 else values[0]
        if values.shape[:2] != (self.height, self.width) or values.shape[2] < colours:
            raise BadPicture("broken: its parts differ in size")
        total, kinds = values.shape[2], page.extrasamples
        alphas = [i for i, kind in enumerate(kinds) if kind in (1, 2) and colours + i < total]
        if (left := total - colours - bool(alphas)) > 0:
            notes.append(f"{left} of {total} channels left out, as they have no meaning")
        largest = np.max(page.tags.valueof(281, 0))  # MaxSampleValue
        if bits == 16 and largest in (2**n - 1 for n in range(9, 16)) and values.max() <= largest:
            bits = int(largest).bit_length()
            notes.append(f"values to {values.max()} taken as 0 to {largest}")
        samples, values = values, _scaled(values, bits)
        top = np.iinfo(values.dtype).max
        pixels = values[..., 0] if colours == 1 else values[..., :colours]
        alpha = values[..., colours + alphas[0]].copy() if alphas else None
        if page.photometric == 3:
            pixels = (page.colormap >> 8).astype(np.uint8).T[samples[..., 0]]
        elif page.photometric == 0:
            pixels = top - pixels
        elif page.photometric == 6 and page.compression not in _JPEG:
            pixels = np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
        elif page.photometric == 8:  # a and b are signed
            lab = pixels ^ np.array([0, 128, 128], np.uint8)
            pixels = profiles.transform(lab, profiles.LAB, profiles.SRGB, "lab")
            self.info["icc_profile"] = b""
        if alphas and kinds[alphas[0]] == 1:  # colours multiplied by alpha
            share = np.where(alpha == 0, 1, alpha / top)
            share = share if pixels.ndim == 2 else share[..., None]
            pixels = np.minimum(np.rint(pixels / share), top).astype(values.dtype)
        return np.ascontiguousarray(pixels), alpha


def _choose(tif, notes):
    """The page of the picture."""
    pages = [p for page in itertools.islice(tif.pages, 1000) for p in (page, *(page.pages or ()))]
    if any(page.photometric in _SENSOR or _DNG_VERSION in page.tags for page in pages):
        raise BadPicture(RAW)
    full = [page for page in pages if not (page.subfiletype & 5 or page.tags.valueof(255) == 2)]
    full = full or pages
    if not full:
        raise BadPicture("broken or cut short: it has no page")
    page = max(full, key=lambda page: page.imagewidth * page.imagelength)  # the first of equal ones
    if len(full) > 1:
        place = full.index(page) + 1
        of_many = f"page {place} of {len(full)}, the largest"
        notes.append(f"first of {len(full)} frames" if place == 1 else of_many)
    return page


def _damage(page):
    """What is wrong with the codes of a page of JPEG or fax, which tifffile does not say; or ""."""
    file, is_jpeg = page.parent.filehandle, page.compression == 7
    with contextlib.suppress(Exception):  # where these decoders know less
        try:
            if is_jpeg:
                start = page.jpegtables[:-2] if page.jpegtables else b"\xff\xd8"
                for strip, _ in file.read_segments(page.dataoffsets, page.databytecounts):
                    simplejpeg.decode_jpeg(start + strip[2:])
            elif page.compression in (2, 3, 4) and not page.parent.is_bigtiff:
                import av

                file.seek(0)
                content = bytearray(file.read())
                struct.pack_into(page.parent.byteorder + "I", content, 4, page.offset)
                with av.open(io.BytesIO(content), format="tiff_pipe") as container:
                    container.streams.video[0].codec_context.options = {"err_detect": "explode"}
                    next(container.decode(video=0))
        except ValueError as error:
            return one_line(error) if not is_jpeg or "Corrupt" in str(error) else ""
    return ""


def _refuse(page):
    bits, format = page.bitspersample, _FORMATS.get(page.sampleformat, "unsigned")
    kind = getattr(page.photometric, "name", page.photometric)
    colours, tile = _COLOURS.get(page.photometric, 99), page.tilewidth * page.tilelength
    why = ""
    if format != "unsigned" or bits > 16:
        why = f"{bits}-bit {format} samples have no fixed range"
    elif not colours <= page.samplesperpixel <= 16 or kind == "CIELAB" and bits != 8:
        why = f"a TIFF of kind {kind}, {page.samplesperpixel} channels, {bits} bits is not read"
    elif page.imagedepth != 1 or tile > 4 * page.imagewidth * page.imagelength + 2**20:
        why = "a volume, or tiles larger than the picture"
    if why:
        raise BadPicture(f"{why}: convert it to 16-bit TIFF or PNG")


def _scaled(values, bits):
    """Unsigned samples of so many bits as uint8, or as uint16 above 8 bits, over its full range."""
    top, kind = 2**bits - 1, np.uint8 if bits <= 8 else np.uint16
    full = np.iinfo(kind).max
    if top == full:
        return values.astype(kind, copy=False)
    table = np.rint(np.arange(top + 1) * (full / top)).astype(kind)
    return table[np.minimum(values, top).astype(kind)]
