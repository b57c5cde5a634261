"""Writing pictures with what their source carried."""

import os
import re
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from pictures.reader import Picture, eight_bits, read_picture
from pictures.writer import write_picture
from tests.samples import ADOBE, ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, SRGB, same

FORMATS = ("png", "jpg", "webp", "tiff")
PIXELS = pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"]
)
LINKS = "tiff cannot hold the Exif and GPS entries"


@pytest.mark.parametrize("format", ["png", "tiff"])
@PIXELS
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_formats_keep_everything(tmp_path, format, pixels, alpha):
    top = np.iinfo(pixels.dtype).max
    exif = Image.Exif()
    exif[271], exif[315] = "Maker", "Artist"
    clear = ALPHA.astype(pixels.dtype) * pixels.dtype.type(top // 255) if alpha else None
    like = Picture(pixels, clear, exif.tobytes(), SRGB, (300.0, 150.0))
    path = tmp_path / "deep/er" / f"a.{format}"
    assert write_picture(path, pixels, like, format) == ""
    back = read_picture(path)
    same(back.pixels, pixels)
    assert (back.alpha is None) == (not alpha)
    if alpha:
        same(back.alpha, clear)
    assert back.icc == (SRGB if pixels.ndim == 3 else b"")
    assert back.dpi == pytest.approx((300, 150), abs=0.02)
    kept = Image.Exif()
    kept.load(back.exif)
    assert (kept[271], kept[315]) == ("Maker", "Artist")


@pytest.mark.parametrize("format", ["jpg", "webp"])
@PIXELS
@pytest.mark.parametrize("alpha", [False, True])
def test_lossy_formats_keep_eight_bits(tmp_path, format, pixels, alpha):
    path, smooth = tmp_path / f"a.{format}", cv2.blur(pixels, (9, 9))  # noise would not survive
    clear = np.full((40, 60), np.iinfo(pixels.dtype).max // 2, pixels.dtype) if alpha else None
    lost = write_picture(path, smooth, Picture(smooth, clear, icc=SRGB), format)
    assert ("16 bits" in lost) == (pixels.dtype == np.uint16)
    assert ("transparency" in lost) == (alpha and format == "jpg")
    back = read_picture(path)
    assert back.pixels.dtype == np.uint8 and back.pixels.shape == smooth.shape
    assert np.abs(back.pixels.astype(int) - eight_bits(smooth)).mean() < 4
    assert (back.alpha is not None) == (alpha and format == "webp")
    assert back.icc == (SRGB if pixels.ndim == 3 else b"")


def test_jpeg_is_444_and_minds_the_quality(tmp_path):
    for quality, name in ((20, "low"), (95, "high")):
        assert write_picture(tmp_path / name, COLOUR, Picture(COLOUR), "jpg", quality) == ""
        with Image.open(tmp_path / name) as image:
            assert image.format == "JPEG" and [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
    assert (tmp_path / "low").stat().st_size < (tmp_path / "high").stat().st_size


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_xmp_and_resolution_are_kept(tmp_path, source, target):
    """The orientation in XMP becomes upright. WebP has no place for the resolution."""
    write_picture(tmp_path / "a", COLOUR, Picture(COLOUR, xmp=XMP % 6, dpi=(300, 150)), source)
    picture = read_picture(tmp_path / "a")
    lost = write_picture(tmp_path / "b", COLOUR, picture, target)
    back = read_picture(tmp_path / "b")
    assert back.xmp == XMP % 1
    with Image.open(tmp_path / "b") as image:  # another reader
        xmp = image.info["xmp"]
        assert b"Caf\xc3\xa9" in (xmp.encode() if isinstance(xmp, str) else xmp)
    if "webp" in (source, target):
        assert back.dpi is None and ("resolution" in lost) == (source != "webp")
    else:
        assert not lost and sorted(back.dpi) == pytest.approx([150, 300], abs=0.02)


def test_metadata_too_long_for_jpeg_are_named(tmp_path):
    like = Picture(COLOUR, xmp=b"x" * 70_000)
    lost = write_picture(tmp_path / "a.jpg", COLOUR, like, "jpg")
    assert lost == "jpg cannot hold XMP of more than 64 KiB"
    assert write_picture(tmp_path / "a.png", COLOUR, like, "png") == ""
    assert read_picture(tmp_path / "a.png").xmp == like.xmp


def test_iptc_is_named(tmp_path):
    records = b"\x1c\2\x78\0\x0cA caption ab"
    resource = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(records)) + records + b"\0"
    segment = b"Photoshop 3.0\0" + resource
    extra = b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", extra=extra)
    tags = [(33723, 7, len(records), records, True)]
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", extratags=tags)
    Image.fromarray(GRAY).save(tmp_path / "a.gif")
    with open(tmp_path / "a.gif", "ab") as file:
        file.write(b"!\xff\x0bXMP DataXMP<x/>")
    for name in ("a.jpg", "a.tif", "a.gif"):
        assert read_picture(tmp_path / name).note.startswith("its IPTC, or EXIF or XMP")


def exif_block(order):
    """EXIF with text in UTF-8, a turned picture, a size, a maker note and a thumbnail."""
    pack = lambda form, *values: struct.pack(order + form, *values)  # noqa: E731
    text, note, thumbnail = "Großmutter in Köln".encode() + b"\0", b"NOTE" * 5, b"\xff\xd8THUMBNAIL"
    text += bytes(len(text) % 2)
    exif_ifd = 8 + 2 + 3 * 12 + 4 + len(text)
    second = exif_ifd + 2 + 2 * 12 + 4 + len(note)
    data = pack("H", 3) + pack("HHII", 270, 2, len(text), exif_ifd - len(text))
    data += pack("HHIH2x", 274, 3, 1, 6) + pack("HHII", 34665, 4, 1, exif_ifd)
    data += pack("I", second) + text
    data += pack("H", 2) + pack("HHII", 37500, 7, len(note), second - len(note))
    data += pack("HHII", 40962, 4, 1, 9999) + bytes(4) + note
    place = second + 2 + 2 * 12 + 4
    data += pack("H", 2) + pack("HHII", 513, 4, 1, place)
    data += pack("HHII", 514, 4, 1, len(thumbnail)) + bytes(4) + thumbnail
    return b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + pack("I", 8) + data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_exif_stays_byte_for_byte(tmp_path, source, target, order):
    """But for orientation, size and thumbnail. TIFF holds what describes the picture."""
    exif, path = exif_block(order), tmp_path / "out"
    if source == "tiff":
        assert write_picture(tmp_path / "in", COLOUR, Picture(COLOUR, exif=exif), "tiff") == LINKS
    else:
        kind = {"jpg": "JPEG"}.get(source, source)
        Image.fromarray(COLOUR).save(tmp_path / "in", kind, exif=exif)
    picture = read_picture(tmp_path / "in")
    assert not picture.note
    is_short = "tiff" in (source, target)
    lost = write_picture(path, picture.pixels, picture, target)
    assert lost == (LINKS if is_short and source != "tiff" else "")
    content = path.read_bytes()
    assert "Großmutter in Köln".encode() in content and (b"NOTE" * 5 in content) != is_short
    with Image.open(path) as image:
        found = image.getexif()
        assert found.get(274, 1) == 1 and 513 not in found.get_ifd(1)
        assert is_short or found.get_ifd(34665)[40962] == image.width
    assert read_picture(path).pixels.shape == picture.pixels.shape  # turned no second time


def test_entries_of_tiff_that_are_left_out_are_named(tmp_path):
    exif = Image.Exif()
    exif[271], exif[0x8769] = "Maker", {36867: "2001:02:03 04:05:06"}
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", exif=exif.tobytes())
    picture = read_picture(tmp_path / "a.tif")
    assert picture.note == "its Exif and GPS entries are left out" and b"Maker" in picture.exif


NAMESPACES = b"".join(
    b' xmlns:%s="http://%s"' % pair
    for pair in (
        (b"C", b"ns.google.com/photos/1.0/camera/"),
        (b"Container", b"ns.google.com/photos/1.0/container/"),
        (b"Item", b"ns.google.com/photos/1.0/container/item/"),
        (b"hdrgm", b"ns.adobe.com/hdr-gain-map/1.0/"),
        (b"xmpNote", b"ns.adobe.com/xmp/note/"),
        (b"dc", b"purl.org/dc/elements/1.1/"),
    )
)
BESIDE = "a video, gain map or the like beside the pixels is left out"


@pytest.mark.parametrize(
    "attributes, body, gone, note",
    [
        (b'C:MotionPhoto="1" C:MicroVideoOffset=\'9\'', b"", b"Motion|Micro", BESIDE),
        (b"", b"<C:MotionPhoto>1</C:MotionPhoto>", b"Motion", BESIDE),
        (b'hdrgm:Version="1.0"', b"<hdrgm:Min><a/></hdrgm:Min>", b"hdrgm:[VM]", BESIDE),
        (b"", b'<Container:Directory><Container:Item Item:Mime="video/mp4"/></Container:Directory>',
         b"Directory|Item:Mime", BESIDE),
        (b'xmpNote:HasExtendedXMP="0123"', b"", b"HasExtended",
         "its XMP beyond 64 KiB is left out"),
        (b'xmlns:O="http://ns.oplus.com/photos/1.0/camera/" O:OLivePhotoVersion="2"', b"",
         b"OLivePhoto", BESIDE),
        (b'C:BurstID="7" tiff:Orientation="1"', b"", b"nothing", ""),
    ],
)  # fmt: skip
def test_xmp_claims_nothing_that_is_gone(tmp_path, attributes, body, gone, note):
    keep = b"<dc:title>Hafen</dc:title>"
    xmp = b"<rdf:Description" + NAMESPACES + b" " + attributes + b">" + keep + body
    xmp += b"</rdf:Description>"
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", xmp=xmp)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.note == note and keep in picture.xmp
    assert not re.search(gone, picture.xmp) and (note or picture.xmp == xmp)


def test_text_of_png_and_jpeg(tmp_path):
    """Kept in the same format, else named."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Hafen")
    info.add_itxt("Description", "Köln")
    Image.fromarray(COLOUR).save(tmp_path / "a.png", pnginfo=info)
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", comment=b"by hand")
    for source, words in (("png", ("Hafen", "Köln")), ("jpg", ("by hand",))):
        picture = read_picture(tmp_path / f"a.{source}")
        for target in FORMATS:
            lost = write_picture(tmp_path / f"b.{target}", COLOUR, picture, target)
            content, is_kept = (tmp_path / f"b.{target}").read_bytes(), target == source
            assert all((word.encode() in content) == is_kept for word in words)
            assert lost == ("" if is_kept else f"{target} cannot hold the text of the file")


def test_an_rgb_profile_is_kept_and_means_the_same(tmp_path):
    inner = np.clip(COLOUR, 60, 200)  # inside sRGB as well, so that nothing is lost
    for pixels, near in ((inner, 2), (inner.astype(np.uint16) * 257, 16)):
        for format in ("png", "tiff"):
            write_picture(tmp_path / "a", pixels, Picture(pixels, icc=ADOBE), format)
            back = read_picture(tmp_path / "a")
            assert back.icc == ADOBE and not back.note
            assert np.abs(back.pixels.astype(int) - pixels).max() <= near
        values = tifffile.imread(tmp_path / "a")  # other colours stand in the file
        assert np.abs(values.astype(int) - pixels).mean() > 1


def test_nothing_remains_of_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        write_picture(path, GRAY, Picture(GRAY))
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.png"]
