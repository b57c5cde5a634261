"""TIFF files: the page that is the picture, and samples that Pillow cannot read.

A TIFF may hold several pages: a preview before the picture, reduced copies of it, masks, the pages of a document. The
largest of those marked as full pictures is taken. Camera raw files (DNG, NEF, CR2, ARW) are TIFFs as well, whose first
page is a preview.
"""

import contextlib
import io
import logging
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from pictures.depth import BadPicture, scale_floats, scale_integers, separate_alpha
from pictures.metadata import IPTC, PHOTOSHOP

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
MAX_PAGES, MAX_SAMPLES = 1000, 16
CFA, LINEAR_RAW, DNG_VERSION = 32803, 34892, 50706
_DEFLATE, _WEBP = (8, 32946), 50001
_BY_OPENCV = (1, 5, 32773, *_DEFLATE)  # with LZW and PackBits


def open_tiff(file, formats, notes):
    """Open the picture of a TIFF file without decoding it.

    Args:
        file: open in binary mode, at its start.
        formats: of Pillow that may be opened.
        notes: takes a remark on which page was taken.

    Returns:
        an image of Pillow, or a WideTiff, which has the same attributes and reads what Pillow does not.

    Raises:
        CameraRaw: it is a camera raw file.
        Exception: of any type, if it is broken.
    """
    import tifffile  # slow to import

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        page, first = _choose(tifffile.TiffFile(file), notes)
    except CameraRaw:
        raise
    except Exception:  # of any type, on broken data: Pillow says what is wrong, or reads it
        file.seek(0)
        return Image.open(file, formats=formats)
    if (left := page.samplesperpixel - _samples_read(page)) > 0:
        notes.append(f"{left} of {page.samplesperpixel} channels left out, as they have no meaning")
    if page is not first:
        file.seek(0)
        file = _starting_at(file, page.offset)
    image = None
    if _is_plain(page):
        with contextlib.suppress(UnidentifiedImageError):
            file.seek(0)
            image = Image.open(file, formats=formats)
    image = image or WideTiff(page, file)
    for number in (
        IPTC,
        PHOTOSHOP,
    ):  # as bytes: Pillow reads only the first of the numbers that some programs write
        if tag := page.tags.get(number):
            file.seek(tag.valueoffset)
            image.info[number] = file.read(tag.valuebytecount)
    return image


class CameraRaw(Exception):
    """A TIFF that holds the samples of a camera's sensor."""


def _choose(tif, notes):
    """(the page of the picture, the first page)."""
    pages = []
    for i in range(MAX_PAGES):
        try:
            page = tif.pages[i]
        except IndexError:
            break
        pages += [page, *(page.pages or [])[:MAX_PAGES]] if page.subifds else [page]
    if any(page.photometric in (CFA, LINEAR_RAW) for page in pages) or DNG_VERSION in pages[0].tags:
        raise CameraRaw
    full = [
        page for page in pages if not (page.subfiletype & 5 or page.tags.valueof(255) == 2)
    ] or pages
    page = max(full, key=lambda page: page.imagewidth * page.imagelength)  # the first of equal ones
    if len(full) > 1:
        place = full.index(page) + 1
        notes.append(
            f"first of {len(full)} frames"
            if place == 1
            else f"page {place} of {len(full)}, the largest"
        )
    return page, pages[0]


def _starting_at(file, offset):
    """The file in memory, with another page as its first."""
    content = bytearray(file.read())
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\0", b"\0+")
    struct.pack_into(order + ("Q" if is_big else "I"), content, 8 if is_big else 4, offset)
    return io.BytesIO(content)


def _colours(page):
    return {2: 3, 5: 4, 6: 3, 8: 3}.get(page.photometric, 1)


def _bits(page):
    """The bits of a sample; fewer than the 16 that it takes if the file names 4095 or the like as its largest value."""
    largest = page.tags.valueof(281)
    largest = max(largest) if isinstance(largest, tuple) else largest
    is_wide = page.bitspersample == 16 and page.sampleformat in (None, 1)
    return (
        largest.bit_length()
        if is_wide and largest in (2**bits - 1 for bits in range(9, 16))
        else page.bitspersample
    )


def _samples_read(page):
    """How many samples are colours, or alpha by what the page says."""
    return _colours(page) + any(kind in (1, 2) for kind in page.extrasamples)


def _is_plain(page):
    """Whether Pillow reads all that the page holds."""
    bits, samples = page.bitspersample, page.samplesperpixel
    if page.sampleformat not in (None, 1) or page.compression == _WEBP or _bits(page) != bits:
        return False
    if page.photometric == 2 and samples == 4 and not page.extrasamples:
        return False  # Pillow takes the fourth sample for alpha
    if page.photometric in (0, 1) and samples == 1 and bits == 16:
        return True
    return bits in (1, 2, 4, 8)


class WideTiff:
    """A page of a TIFF whose samples Pillow does not read. In place of an image of Pillow."""

    format = "TIFF"

    def __init__(self, page, file):
        self.page, self.fp = page, file
        self.size = self.width, self.height = page.imagewidth, page.imagelength
        icc = page.tags.valueof(34675)
        self.info = {"icc_profile": icc} if isinstance(icc, bytes) else {}
        with contextlib.suppress(Exception):  # of any type, on broken data
            unit = {2: 1, 3: 2.54}[page.tags.valueof(296, 2)]
            self.info["dpi"] = tuple(
                unit * a / b for a, b in (page.tags.valueof(tag) for tag in (282, 283))
            )

    def getexif(self):
        exif = Image.Exif()
        self.fp.seek(0)
        if self.page.parent.is_bigtiff:  # which Pillow's Exif does not read
            exif[0x0112] = self.page.tags.valueof(0x0112, 1)
        else:
            exif.load_from_fp(self.fp)
        return exif

    def close(self):
        self.fp.close()

    def decode(self, notes):
        """Pixels (H, W) or (H, W, 3) and alpha (H, W) or None, uint8 or uint16, still in the file's profile."""
        page, bits, colours = self.page, _bits(self.page), _colours(self.page)
        if page.samplesperpixel > MAX_SAMPLES:
            raise BadPicture(f"{page.samplesperpixel} samples for each pixel cannot be read")
        values = (
            self._samples()
            if page.photometric in (0, 1, 2) and page.samplesperpixel >= colours
            else None
        )
        if values is None:
            return self._by_pillow(notes)
        alphas = [i for i, kind in enumerate(page.extrasamples) if kind in (1, 2)][:1]
        values = values[..., [*range(colours), *(colours + i for i in alphas)]]
        if values.dtype.kind == "c":
            raise BadPicture("holds complex numbers")
        if values.dtype.kind == "f":
            scaled = scale_floats(values[..., :colours], notes)
            if alphas:  # alpha of floats is 0 to 1
                alpha = np.rint(65535 * np.clip(values[..., -1:].astype(np.float64), 0, 1)).astype(
                    np.uint16
                )
                scaled = np.concatenate([scaled, alpha], axis=-1)
        else:
            if values.max() >= 2**bits:
                bits = page.bitspersample
            elif bits < page.bitspersample:
                notes.append(f"values {values.min()} to {values.max()} taken as 0 to {2**bits - 1}")
            scaled = scale_integers(values, bits, notes)
        pixels, alpha = separate_alpha(scaled)
        if page.photometric == 0:
            pixels = np.iinfo(pixels.dtype).max - pixels
        if alphas and page.extrasamples[alphas[0]] == 1:
            pixels = _without_multiplying(pixels, alpha)
        return pixels, alpha

    def _samples(self):
        """(H, W, samples) as the file holds them; None if neither OpenCV nor tifffile can decode them."""
        page = self.page
        shape = page.imagelength, page.imagewidth, page.samplesperpixel
        chunky = page.planarconfig == 1 and shape[2] in (3, 4) and page.compression in _BY_OPENCV
        if page.bitspersample == 16 and page.sampleformat == 1 and chunky:
            self.fp.seek(0)
            content = bytearray(self.fp.read())
            if tag := page.tags.get(0x0112):  # the orientation, which OpenCV would apply
                struct.pack_into(page.parent.byteorder + "H", content, tag.valueoffset, 1)
            values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            if values is not None and values.dtype == np.uint16 and values.shape == shape:
                return values[..., [2, 1, 0, 3][: shape[2]]]
        try:
            self._refuse_bombs()
            values = page.asarray(maxworkers=1)
        except Exception as error:  # of any type
            if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                raise
            return self._unpacked(shape)
        if page.planarconfig == 2 and shape[2] > 1:
            values = np.moveaxis(values.reshape(shape[2], *shape[:2]), 0, -1)
        return values.reshape(shape)

    def _strips(self):
        for offset, count in zip(self.page.dataoffsets, self.page.databytecounts):
            self.fp.seek(offset)
            yield self.fp.read(count)

    def _refuse_bombs(self):
        """Raise BadPicture if a deflated strip or tile holds more than the whole picture."""
        if self.page.compression in _DEFLATE:
            limit = 2 * self.width * self.height * self.page.samplesperpixel * 8 + 65536
            for strip in self._strips():
                decoder, left = zlib.decompressobj(), limit
                while strip and left > 0:
                    left -= len(decoder.decompress(strip, 1 << 20))
                    strip = decoder.unconsumed_tail
                if left <= 0:
                    raise BadPicture("broken: a strip holds more than the picture")

    def _unpacked(self, shape):
        """Samples of 9 to 15 bits, packed row by row; None if they are laid out in another way, or need a package."""
        page, bits = self.page, self.page.bitspersample
        plain = (
            page.compression in (1, *_DEFLATE)
            and page.predictor == page.fillorder == page.planarconfig == 1
        )
        if not plain or page.is_tiled or not 1 < bits < 16:
            return None
        strips = self._strips()
        data = b"".join(strips if page.compression == 1 else map(zlib.decompress, strips))
        height, row = shape[0], (shape[1] * shape[2] * bits + 7) // 8
        rows = np.frombuffer(data, np.uint8, height * row).reshape(height, row)
        values = np.empty(shape, np.uint16)
        for i in range(height):
            one = np.unpackbits(rows[i])[: shape[1] * shape[2] * bits].reshape(-1, bits)
            values[i] = (one @ (1 << np.arange(bits - 1, -1, -1))).reshape(shape[1:])
        return values

    def _by_pillow(self, notes):
        """(pixels, alpha) or an image of Pillow, where tifffile lacks a decoder: colour in 8 bits."""
        page = self.page
        try:
            if page.compression == _WEBP:
                raise UnidentifiedImageError  # Pillow's libtiff would say so on stderr
            self.fp.seek(0)
            image = Image.open(io.BytesIO(self.fp.read()), formats=["TIFF"])
            image.load()
        except Exception:  # of any type
            colours, packing = (
                getattr(value, "name", value) for value in (page.photometric, page.compression)
            )
            samples = f"{page.samplesperpixel} samples of {page.bitspersample} bits"
            advice = "; the package imagecodecs may help" * (page.photometric in (0, 1, 2))
            raise BadPicture(
                f"a TIFF of {samples}, {colours}, compression {packing}, which is not read{advice}"
            ) from None
        if image.mode in ("I", "I;16") or (image.mode == "L" and page.sampleformat == 2):
            values = np.asarray(image)
            if page.sampleformat == 2:
                values = values.astype(f"i{page.bitspersample // 8}")
            elif image.mode == "I":
                values = values.view(np.uint32)
            pixels = scale_integers(values, page.bitspersample, notes)
            return np.iinfo(pixels.dtype).max - pixels if page.photometric == 0 else pixels, None
        if page.bitspersample > 8 and image.mode != "F":
            notes.append(f"{page.bitspersample} bits read as 8")
        opaque = not any(kind in (1, 2) for kind in page.extrasamples)
        return image.convert(image.mode[:-1]) if opaque and image.mode in ("LA", "RGBA") else image


def _without_multiplying(pixels, alpha):
    """Divide colours that were multiplied by alpha."""
    top = np.iinfo(pixels.dtype).max
    share = np.where(alpha == 0, 1, alpha / top)
    share = share if pixels.ndim == 2 else share[..., None]
    return np.minimum(np.rint(pixels / share), top).astype(pixels.dtype)
