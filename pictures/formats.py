"""Which files are pictures, by their suffix or their first bytes, and why some are not read."""

import contextlib
import functools
import importlib.util
import os
import stat

from PIL import Image

from pictures import raw, tiff
from utils import PARTIAL

_JPEG = b"\xff\xd8\xff"
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    _JPEG,
    b"GIF87a",
    b"GIF89a",
    b"8BPS\0\x01",  # PSD
    b"\0\0\0\x0cjP  \r\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"qoif",
    *tiff.MARKS,
)
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_HEIF, _JXL = "pillow-heif", "pillow-jxl-plugin"
_BRANDS = dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"mif1", b"msf1"), _HEIF
)  # of the ISO base media format
# Suffixes of formats that are read with an optional package, or not at all: each file is named where that fails.
_UNREADABLE = {".eps", ".ps", ".heic", ".heif", ".hif", ".jxl", *raw.SUFFIXES}


def _module(package):
    return package.removesuffix("-plugin").replace("-", "_")


@functools.cache
def pillow_formats():
    """The formats that are read, common ones first, as Pillow tries them in order.

    EPS is a program, which Pillow runs in Ghostscript; the others that are left out it only recognizes.
    """
    Image.init()
    for package in (_HEIF, _JXL):
        with contextlib.suppress(ImportError):
            plugin = importlib.import_module(_module(package))
            getattr(plugin, "register_heif_opener", lambda: None)()
    kinds = dict.fromkeys(["JPEG", "PNG", "TIFF", *Image.OPEN])
    return [
        kind for kind in kinds if kind not in ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
    ]


@functools.cache
def extensions():
    """The suffixes of picture files, in lower case with the dot."""
    known = pillow_formats()
    return {
        suffix for suffix, kind in Image.registered_extensions().items() if kind in known
    } | _UNREADABLE


def looks_like_picture(path):
    """Whether the file has the suffix of a picture or begins like one."""
    name = os.path.basename(path)
    if name.startswith(
        (PARTIAL, "._")
    ):  # macOS stores "._a.jpg" beside a.jpg on other file systems
        return False
    if os.path.splitext(name)[1].lower() in extensions():
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    known = (
        _package(head)
        or raw.is_raw(head)
        or head[8:12] == b"WEBP"
        or head[4:12] in (b"ftypavif", b"ftypavis")
    )
    return bool(known) or head.startswith(_SIGNATURES)


def _package(head):
    """The package that reads a file that begins so; "" for none."""
    if head.startswith((b"\0\0\0\x0cJXL \r\n", b"\xff\x0a")):
        return _JXL
    return _BRANDS.get(head[8:12], "") if head[4:8] == b"ftyp" else ""


def why_unknown(head):
    """In one line, why Pillow does not know a file that begins so."""
    package = _package(head)
    if package and importlib.util.find_spec(_module(package)) is None:
        return f"this format needs the package {package}: pip install {package}"
    if head.startswith(_POSTSCRIPT):
        return "not a picture that can be read, but PostScript, a program that would have to be run"
    if head.startswith(b"8BPS"):
        return (
            "not a picture that can be read: a PSD of 16 or 32 bits, or one broken at its beginning"
        )
    if head.startswith(_JPEG):
        return "not a picture that can be read: a JPEG of 12 bits or without loss, or one broken at its beginning"
    return "not a picture that can be read, or broken at its beginning"
