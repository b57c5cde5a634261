"""Which files are pictures, by their suffix or their first bytes, and why some are not read."""

import contextlib
import functools
import importlib
import os
import re
import stat

from PIL import Image

from utils import PARTIAL

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
_PACKAGES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}  # plug-ins of Pillow, optional
_RAW = "3fr arw cr2 cr3 dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf"
_NOT_PICTURES = ("BUFR", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")

RAW = "a camera raw file: convert it to 16-bit TIFF (darktable, RawTherapee, dcraw -T -6)"
_HEIF = "HEIC needs the package pillow-heif: pip install pillow-heif, or convert to JPEG"
_JXL = "JPEG XL needs the package pillow-jxl-plugin: pip install pillow-jxl-plugin"
# What a file begins with, and why it is not read where Pillow does not know it.
_KINDS = (
    (rb"SIMPLE  =", "FITS has no fixed range of values: convert it to 16-bit TIFF or PNG"),
    (rb"FUJIFILMCCD-RAW|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM|....ftypcrx |II\*\x00....CR", RAW),
    (rb"%!PS|\xc5\xd0\xd3\xc6|%PDF", "PostScript or PDF, a program: convert it to PNG or TIFF"),
    (rb"8BPS\x00\x01", "a PSD of 16 or 32 bits, or broken: convert it to 16-bit TIFF or PNG"),
    (rb"8BPS", "a large document (PSB), or broken: convert it to TIFF or PNG"),
    (rb"\xff\xd8\xff", "a JPEG of 12 bits or without loss, or broken: convert it to TIFF or PNG"),
    (rb"....ftyp(hei[cx]|hevc|mif1|msf1)", _HEIF),
    (rb"\x00\x00\x00\x0cJXL \r\n|\xff\x0a", _JXL),
)
_SIGNATURES = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|8BPS\x00\x01|\x00\x00\x00\x0cj[PX]|\xff\x4f\xff\x51|qoif|II[*+]\x00"
    rb"|MM\x00[*+]|RIFF....WEBP|....ftyp(avi[fs]|hei[cx]|hevc|mif1|msf1|crx )"
    rb"|\x00\x00\x00\x0cJXL |\xff\x0a|FUJIFILMCCD-RAW|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM",
    re.DOTALL,
)


@functools.cache
def pillow_formats():
    """The formats that Pillow opens here, common ones first, as it tries them in order.

    EPS is not among them: it is a program, which Pillow runs in Ghostscript. Nor is what holds
    samples without a fixed range, such as FITS.
    """
    Image.init()
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "JPEG2000", "AVIF", "PPM", "TGA"]
    kinds += ["PSD", "PCX", "QOI", "ICO"]
    for kind, package in _PACKAGES.items():
        with contextlib.suppress(ImportError):
            getattr(importlib.import_module(package), "register_heif_opener", lambda: None)()
            kinds.append(kind)
    return kinds


@functools.cache
def extensions():
    """The suffixes of picture files, in lower case with the dot, of kinds not read as well:
    each file is named where reading fails."""
    pillow_formats()
    known = {
        end for end, kind in Image.registered_extensions().items() if kind not in _NOT_PICTURES
    }
    others = f"eps ps heic heif hif jxl fits fit srw x3f {_RAW}".split()
    return known | {f".{end}" for end in others}


def looks_like_picture(path):
    """Whether the file has the suffix of a picture or begins like one."""
    name = os.path.basename(path)
    if name.startswith((PARTIAL, "._")):  # macOS stores "._a.jpg" beside a.jpg on other disks
        return False
    if os.path.splitext(name)[1].lower() in extensions():
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return bool(_SIGNATURES.match(file.read(16)))
    except OSError:
        return False


def why_not_read(head):
    """In one line, why a file that begins so is not read."""
    for pattern, reason in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            return reason
    return "not a picture that can be read, or broken at its beginning: convert it to PNG or TIFF"
