"""Which files are pictures, by their suffix or their first bytes, and why some are not read."""

import contextlib
import functools
import importlib
import re
import stat
from pathlib import Path

from PIL import Image

from utils import PARTIAL

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
_PACKAGES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}  # plug-ins of Pillow, optional
# Of kinds that Pillow does not know, or not without its plug-ins
_OTHER_SUFFIXES = """eps ps heic heif hif jxl fits fit x3f 3fr arw cr2 cr3 dcr dng erf iiq kdc mef
mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw"""
_FORMATS = "JPEG PNG WEBP GIF BMP DIB JPEG2000 AVIF PPM TGA PSD PCX QOI ICO"

RAW = "a camera raw file: convert it to 16-bit TIFF (darktable, RawTherapee, dcraw -T -6)"
_RAW_MARKS = rb"FUJIFILMCCD-RAW|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM|....ftypcrx "
_HEIF_MARKS = rb"....ftyp(hei[cx]|hevc|mif1|msf1)"
_JXL_MARKS = rb"\x00\x00\x00\x0cJXL |\xff\x0a"
# What a file begins with, and why it is not read where Pillow does not know it.
_REASONS = {
    _RAW_MARKS + rb"|II\*\x00....CR": RAW,
    _HEIF_MARKS: "HEIC needs the package pillow-heif: pip install pillow-heif, or convert to JPEG",
    _JXL_MARKS: "JPEG XL needs the package pillow-jxl-plugin: pip install pillow-jxl-plugin",
    rb"": "not a picture that is read, or broken at its start: convert it to 16-bit TIFF or PNG",
}
_SIGNATURES = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|8BPS\x00\x01|\x00\x00\x00\x0cj[PX]|\xff\x4f\xff\x51|qoif|"
    rb"II[*+]\x00|MM\x00[*+]|RIFF....WEBP|....ftypavi[fs]|"
    + b"|".join((_RAW_MARKS, _HEIF_MARKS, _JXL_MARKS)),
    re.DOTALL,
)


class BadPicture(Exception):
    """A file that cannot be read as a picture. The message is one line without the path."""


@functools.cache
def pillow_formats():
    """The formats that Pillow opens here, in the order in which it tries them. EPS is not among
    them: it is a program, which Pillow runs in Ghostscript. Nor is FITS: no fixed range."""
    Image.init()
    kinds = _FORMATS.split()
    for kind, package in _PACKAGES.items():
        with contextlib.suppress(ImportError):
            getattr(importlib.import_module(package), "register_heif_opener", lambda: None)()
            kinds.append(kind)
    return kinds


@functools.cache
def extensions():
    """The suffixes of picture files, in lower case with the dot, and of some kinds that are not
    read, whose files are then named."""
    kinds = (*pillow_formats(), "TIFF")
    known = {end for end, kind in Image.registered_extensions().items() if kind in kinds}
    return known | {f".{end}" for end in _OTHER_SUFFIXES.split()}


def looks_like_picture(path):
    """Whether the file has the suffix of a picture or begins like one."""
    path = Path(path)
    if path.name.startswith((PARTIAL, "._")):  # macOS stores "._a.jpg" beside a.jpg on other disks
        return False
    if path.suffix.lower() in extensions():
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with open(path, "rb") as file:
            return bool(_SIGNATURES.match(file.read(16)))
    except OSError:
        return False


def why_not_read(head):
    """In one line, why a file that begins so is not read."""
    return next(why for marks, why in _REASONS.items() if re.match(marks, head, re.DOTALL))
