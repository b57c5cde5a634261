"""The table of docs/formats.md, cell by cell: a file of each format with all that its writers can put into it."""

import importlib.util
import io
import re
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from pictures.formats import extensions
from pictures.reader import BadPicture, Picture, read_picture
from pictures.writer import FORMATS, write_picture
from tests.samples import ALPHA, COLOUR, COLOUR16, P3

ROOT = Path(__file__).parent.parent
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
IPTC = b"\x1c\2\x78\0\7caption"


def exif():
    found = Image.Exif()
    found[271], found[282], found[283], found[296] = "Maker", 300.0, 300.0, 2
    return found


ALL = {"exif": exif().tobytes(), "icc_profile": P3, "dpi": (300, 300), "xmp": XMP}


def by_writer(path, depth):
    pixels = COLOUR16 if depth == 16 else COLOUR
    alpha = ALPHA.astype(np.uint16) * 257 if depth == 16 else ALPHA
    like = Picture(pixels, alpha, ALL["exif"], P3, (300, 300), xmp=XMP, iptc=IPTC)
    write_picture(path, pixels, like, FORMATS[path.suffix])


def by_pillow(path, *options, mode="RGBA", **given):
    image = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    image.convert(mode).save(path, **{name: ALL[name] for name in options}, **given)


def avif(path):
    """Two files, because none of the writers here puts 10 bits and metadata into one."""
    by_pillow(path.with_stem("metadata"), "exif", "icc_profile", "xmp")
    cv2.imwrite(
        str(path), cv2.cvtColor(COLOUR16 >> 6, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_AVIF_DEPTH, 10]
    )


def heic(path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    by_pillow(path.with_stem("metadata"), "exif", "icc_profile", "xmp")
    pillow_heif.encode(
        "RGBA;16", (60, 40), np.dstack([COLOUR16, COLOUR16[..., 0]]).tobytes(), path, quality=-1
    )


def jxl(path):
    pytest.importorskip("pillow_jxl")
    by_pillow(path, "exif", "icc_profile", lossless=True)


def jp2(path):
    by_pillow(path.with_stem("metadata"))
    cv2.imwrite(str(path), COLOUR16[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])


def psd(path):
    size = len(P3)
    resources = b"8BIM" + struct.pack(">HHI", 1039, 0, size) + P3 + bytes(size % 2)
    layers = struct.pack(">Ih", 2, -1)
    planes = b"".join(
        np.ascontiguousarray(c).tobytes() for c in (*np.moveaxis(COLOUR, -1, 0), ALPHA)
    )
    head = (
        b"8BPS"
        + struct.pack(">H6xHIIHH", 1, 4, 40, 60, 8, 3)
        + struct.pack(">II", 0, len(resources))
        + resources
    )
    path.write_bytes(head + struct.pack(">I", len(layers)) + layers + bytes(2) + planes)


def gif(path):
    image = Image.fromarray(COLOUR).quantize(32)
    image.save(path, transparency=3)


def fits(path):
    values = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 60, "NAXIS2": 40, "BZERO": 32768}
    cards = "".join(
        f"{name:8}= {value:>20}".ljust(80) for name, value in values.items()
    ) + "END".ljust(80)
    body = (COLOUR16[..., 0].astype(np.int32) - 32768).astype(">i2").tobytes()
    path.write_bytes(cards.ljust(2880).encode() + body + bytes(-len(body) % 2880))


def raw(path):
    """A linear DNG with a preview, which LibRaw develops."""
    pytest.importorskip("rawpy")
    mosaic = np.kron(COLOUR16[..., 1] >> 4, np.ones((4, 4), np.uint16))
    cfa = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, b"\0\1\1\2", True),
        (50706, "B", 4, b"\1\4\0\0", True),
    ]
    cfa += [
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (271, "s", 0, "Maker", True),
    ]
    cfa += [(50717, "I", 1, 4095, True), (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True)]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=cfa, metadata=None)


def bmp(path):
    by_pillow(path, "dpi", mode="RGB")


FILES = {
    "PNG": ("png", lambda path: by_writer(path, 16)),
    "TIFF, BigTIFF": ("tiff", lambda path: by_writer(path, 16)),
    "JPEG": ("jpg", lambda path: by_writer(path, 8)),
    "WebP": ("webp", lambda path: by_writer(path, 8)),
    "AVIF": ("avif", avif),
    "HEIC": ("heic", heic),
    "JPEG XL": ("jxl", jxl),
    "camera raw": ("dng", raw),
    "JPEG 2000": ("jp2", jp2),
    "PSD": ("psd", psd),
    "GIF": ("gif", gif),
    "BMP": ("bmp", bmp),
    "TGA": ("tga", by_pillow),
    "PNM": (
        "ppm",
        lambda path: path.write_bytes(b"P6 60 40 65535\n" + COLOUR16.astype(">u2").tobytes()),
    ),
    "FITS": ("fits", fits),
}
HEAD, _, *ROWS = re.findall(
    r"^\| (.+) \|$", (ROOT / "docs/formats.md").read_text().split("\n## ")[0], re.M
)
TABLE = [dict(zip(HEAD.split(" | "), row.split(" | "))) for row in ROWS]


def test_the_table_holds_every_format_once():
    assert [row["format"] for row in TABLE] == list(FILES)
    assert {row["format"] for row in TABLE if row["written"] == "yes"} == {
        "PNG",
        "TIFF, BigTIFF",
        "JPEG",
        "WebP",
    }
    assert {suffix for suffix, _ in FILES.values()} <= {suffix[1:] for suffix in extensions()}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["format"])
def test_cells(tmp_path, row):
    suffix, make = FILES[row["format"]]
    make(tmp_path / f"a.{suffix}")
    found = dict.fromkeys(HEAD.split(" | "), "no") | {"bits": 0}
    for path in tmp_path.iterdir():
        picture = read_picture(path)
        assert not picture.note
        found["bits"] = max(found["bits"], 8 * picture.pixels.dtype.itemsize)
        has = {
            "alpha": picture.alpha is not None,
            "profile": bool(picture.icc),  # JPEG XL stores another one of equal meaning
            "EXIF": b"Maker" in picture.exif,
            "XMP": picture.xmp == XMP,
            "IPTC": picture.iptc == IPTC,
            "resolution": picture.dpi is not None and abs(picture.dpi[0] - 300) < 0.1,
        }
        found |= {name: "yes" for name, is_there in has.items() if is_there}
    found |= {"format": row["format"], "read": "yes", "bits": str(found["bits"])}
    found["written"] = "yes" if "." + suffix in FORMATS else "no"
    package = re.fullmatch(r"with `(.+)`", row["read"])
    assert found == row | {"read": "yes"} and (package is None) == (
        row["format"] not in ("HEIC", "JPEG XL", "camera raw")
    )


@pytest.mark.parametrize(
    "head, package",
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0", "pillow-heif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0", "pillow-heif"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "pillow-jxl-plugin"),
        (b"\xff\x0a\xfa\x7f\x01", "pillow-jxl-plugin"),
        (b"II*\0\x10\0\0\0CR\2\0", "rawpy"),
    ],
)
def test_a_missing_package_is_named(tmp_path, head, package, monkeypatch):
    if package.startswith("pillow") and importlib.util.find_spec(
        package.replace("-plugin", "").replace("-", "_")
    ):
        pytest.skip("it is installed")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (tmp_path / "a").write_bytes(head + bytes(300))
    with pytest.raises(BadPicture, match=f"needs the package {package}: pip install {package}"):
        read_picture(tmp_path / "a")


def test_others_read_the_file_of_each_written_format(tmp_path):
    for suffix in ("png", "tiff", "jpg", "webp"):
        by_writer(tmp_path / f"a.{suffix}", 8)
        with Image.open(io.BytesIO((tmp_path / f"a.{suffix}").read_bytes())) as image:
            image.load()
            assert image.info["icc_profile"] == P3 and image.size == (60, 40)
