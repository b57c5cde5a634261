"""Writing pictures with what their source carried."""

import os
import re
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin, PngImagePlugin

from pictures.reader import Picture, eight_bits, read_picture
from pictures.writer import write_picture
from tests.samples import ADOBE, ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, SRGB, same


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"]
)
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_formats_keep_everything(tmp_path, format, pixels, alpha):
    top = np.iinfo(pixels.dtype).max
    exif = Image.Exif()
    exif[271], exif[315] = "Maker", "Ätist"
    exif.get_ifd(0x8769)[36867] = "2001:02:03 04:05:06"
    exif.get_ifd(0x8825)[1] = "N"
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
    assert (kept[271], kept.get_ifd(0x8769)[36867], kept.get_ifd(0x8825)[1]) == (
        "Maker",
        "2001:02:03 04:05:06",
        "N",
    )
    if format == "tiff":  # a second reader
        values = tifffile.imread(path)
        if alpha:
            same(values[..., -1], clear)
            values = values[..., : pixels[0, 0].size].reshape(pixels.shape)
        same(values, pixels)


@pytest.mark.parametrize("format", ["jpg", "webp"])
@pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"]
)
@pytest.mark.parametrize("alpha", [False, True])
def test_lossy_formats_keep_eight_bits(tmp_path, format, pixels, alpha):
    path, smooth = tmp_path / f"a.{format}", cv2.blur(pixels, (9, 9))  # noise would not survive
    clear = np.full((40, 60), np.iinfo(pixels.dtype).max // 2, pixels.dtype) if alpha else None
    lost = write_picture(path, smooth, Picture(smooth, clear), format)
    assert ("16 bits" in lost) == (pixels.dtype == np.uint16)
    assert ("transparency" in lost) == (alpha and format == "jpg")
    back = read_picture(path)
    assert back.pixels.dtype == np.uint8 and back.pixels.shape == smooth.shape
    assert np.abs(back.pixels.astype(int) - eight_bits(smooth)).mean() < 4
    assert (back.alpha is not None) == (alpha and format == "webp")


def test_jpeg_is_444_and_keeps_what_it_can(tmp_path):
    exif = Image.Exif()
    exif[271] = "Maker"
    like = Picture(COLOUR16, GRAY16, exif.tobytes(), SRGB, (300.0, 300.0))
    assert (
        write_picture(tmp_path / "a.jpg", COLOUR16, like, "jpg")
        == "jpg cannot hold 16 bits and transparency"
    )
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "JPEG" and [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        assert (
            image.info["dpi"] == (300, 300)
            and image.info["icc_profile"] == SRGB
            and image.getexif()[271] == "Maker"
        )
    sizes = {}
    for quality in (20, 95):
        assert (
            write_picture(tmp_path / f"{quality}.jpg", COLOUR, Picture(COLOUR), "jpg", quality)
            == ""
        )
        sizes[quality] = (tmp_path / f"{quality}.jpg").stat().st_size
    assert sizes[20] < sizes[95]


def test_webp_keeps_alpha_profile_and_resolution(tmp_path):
    like = Picture(COLOUR, ALPHA, b"", SRGB, (300.0, 300.0))
    assert write_picture(tmp_path / "a.webp", COLOUR, like, "webp", 100) == ""
    back = read_picture(tmp_path / "a.webp")
    same(back.alpha, ALPHA)
    opaque = ALPHA > 200
    assert back.icc == SRGB and np.abs(back.pixels.astype(int) - COLOUR)[opaque].mean() < 8
    exif = Image.Exif()
    exif.load(back.exif)
    assert exif[282] == 300 and exif[296] == 2


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'
IPTC_RECORDS = b"\x1c\2\x78\0\x0cA caption ab\x1c\2\x19\0\4word"


def upright(xmp):
    """Whether it is XMP % 1, or, as Pillow reads it from TIFF, without the orientation."""
    return xmp in (XMP % 1, (XMP % 1).replace(b'tiff:Orientation="1"', b""))


@pytest.mark.parametrize("source", ["png", "jpg", "webp", "tiff", "tiff with numbers"])
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "tiff"])
def test_captions_are_kept(tmp_path, source, target):
    """XMP, whose orientation becomes upright, and IPTC, through the formats that can hold them."""
    path = tmp_path / f"a.{source[:4].strip()}"
    if source == "tiff with numbers":  # of 32 bits, as Photoshop writes it
        records = IPTC_RECORDS + bytes(-len(IPTC_RECORDS) % 4)
        numbers = struct.unpack(f"<{len(records) // 4}I", records)
        tags = [(700, 1, len(XMP % 6), XMP % 6, True), (33723, 4, len(numbers), numbers, True)]
        tifffile.imwrite(path, COLOUR, photometric="rgb", extratags=tags)
    else:
        write_picture(path, COLOUR, Picture(COLOUR, xmp=XMP % 6, iptc=IPTC_RECORDS), source)
    picture = read_picture(path)
    assert upright(picture.xmp) and picture.iptc == (b"" if source == "webp" else IPTC_RECORDS)
    lost = write_picture(tmp_path / f"b.{target}", COLOUR, picture, target)
    back = read_picture(tmp_path / f"b.{target}")
    assert upright(back.xmp)
    if target == "webp":
        assert lost == ("webp cannot hold IPTC" if picture.iptc else "") and not back.iptc
    else:
        assert not lost and back.iptc == picture.iptc


def test_other_programs_read_the_captions(tmp_path):
    like = Picture(COLOUR, xmp=XMP % 1, iptc=IPTC_RECORDS)
    for format in ("png", "jpg", "webp", "tiff"):
        write_picture(tmp_path / f"a.{format}", COLOUR, like, format)
        with Image.open(tmp_path / f"a.{format}") as image:
            image.load()
            assert image.info["xmp"] in (XMP % 1, (XMP % 1).decode())
            if format in ("jpg", "tiff"):
                found = IptcImagePlugin.getiptcinfo(image)
                assert found[(2, 120)] == b"A caption ab" and found[(2, 25)] == b"word"
    with tifffile.TiffFile(tmp_path / "a.tiff") as file:
        assert file.pages[0].tags[33723].value == IPTC_RECORDS


def test_metadata_too_long_for_jpeg_are_named(tmp_path):
    like = Picture(COLOUR, xmp=b"x" * 70_000, iptc=b"i" * 70_000)
    lost = write_picture(tmp_path / "a.jpg", COLOUR, like, "jpg")
    assert lost == "jpg cannot hold XMP of more than 64 KiB and IPTC of more than 64 KiB"
    assert write_picture(tmp_path / "a.png", COLOUR, like, "png") == ""
    back = read_picture(tmp_path / "a.png")
    assert back.xmp == like.xmp and back.iptc == like.iptc


def exif_block(order):
    """EXIF with text in UTF-8, a turned picture, a size, a maker note and a thumbnail."""
    pack = lambda form, *values: struct.pack(order + form, *values)  # noqa: E731
    text, note, thumbnail = "Großmutter in Köln".encode() + b"\0", b"NOTE" * 5, b"\xff\xd8THUMBNAIL"
    text += bytes(len(text) % 2)
    first = 8
    exif_ifd = first + 2 + 3 * 12 + 4 + len(text)
    second = exif_ifd + 2 + 2 * 12 + 4 + len(note)
    rows = pack("HHII", 270, 2, len(text), exif_ifd - len(text)) + pack("HHIH2x", 274, 3, 1, 6)
    rows += pack("HHII", 34665, 4, 1, exif_ifd)
    data = pack("H", 3) + rows + pack("I", second) + text
    data += pack("H", 2) + pack("HHII", 37500, 7, len(note), second - len(note))
    data += pack("HHII", 40962, 4, 1, 9999) + bytes(4) + note
    place = second + 2 + 2 * 12 + 4
    data += pack("H", 2) + pack("HHII", 513, 4, 1, place)
    data += pack("HHII", 514, 4, 1, len(thumbnail)) + bytes(4) + thumbnail
    return b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + pack("I", 8) + data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tiff"])
def test_exif_stays_byte_for_byte(tmp_path, source, order):
    """But for orientation, size and thumbnail. TIFF holds the same entries in its own directory."""
    image, kind = Image.fromarray(COLOUR), {"jpg": "JPEG"}.get(source, source)
    image.save(tmp_path / "in", kind, **{} if source == "tiff" else {"exif": exif_block(order)})
    if source == "tiff":
        write_picture(tmp_path / "in", COLOUR, Picture(COLOUR, exif=exif_block(order)), "tiff")
    picture = read_picture(tmp_path / "in")
    assert not picture.note
    for target in ("jpg", "png", "webp", "tiff"):
        path = tmp_path / f"out.{target}"
        write_picture(path, picture.pixels, picture, target)
        content = path.read_bytes()
        assert "Großmutter in Köln".encode() in content and b"NOTE" * 5 in content
        assert b"THUMBNAIL" not in content
        with Image.open(path) as image:
            exif = image.getexif()
            assert exif.get(274, 1) == 1
            assert exif.get_ifd(34665)[40962] == image.width
        back = read_picture(path)
        same(back.pixels[:, :0], picture.pixels[:, :0])  # turned no second time
        assert back.pixels.shape == picture.pixels.shape


NAMESPACES = b"".join(
    b' xmlns:%s="%s"' % pair
    for pair in (
        (b"C", b"http://ns.google.com/photos/1.0/camera/"),
        (b"Container", b"http://ns.google.com/photos/1.0/container/"),
        (b"Item", b"http://ns.google.com/photos/1.0/container/item/"),
        (b"hdrgm", b"http://ns.adobe.com/hdr-gain-map/1.0/"),
        (b"xmpNote", b"http://ns.adobe.com/xmp/note/"),
        (b"dc", b"http://purl.org/dc/elements/1.1/"),
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
        for target in ("png", "jpg", "webp", "tiff"):
            lost = write_picture(tmp_path / f"b.{target}", COLOUR, picture, target)
            content = (tmp_path / f"b.{target}").read_bytes()
            is_kept = target == source
            assert all((word.encode() in content) == is_kept for word in words)
            assert lost == ("" if is_kept else f"{target} cannot hold the text of the file")


def test_an_rgb_profile_is_kept_and_means_the_same(tmp_path):
    inner = np.clip(COLOUR, 60, 200)  # inside sRGB as well, so that nothing is lost
    for pixels, near in ((inner, 2), (inner.astype(np.uint16) * 257, 16)):
        write_picture(tmp_path / "a.tiff", pixels, Picture(pixels), "tiff")
        picture = Picture(pixels, icc=ADOBE)
        for format in ("png", "tiff"):
            write_picture(tmp_path / f"b.{format}", pixels, picture, format)
            back = read_picture(tmp_path / f"b.{format}")
            assert back.icc == ADOBE and not back.note
            assert np.abs(back.pixels.astype(int) - pixels).max() <= near
        values = tifffile.imread(tmp_path / "b.tiff")  # other colours stand in the file
        assert np.abs(values.astype(int) - pixels).mean() > 1


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff"])
def test_resolution(tmp_path, format):
    write_picture(tmp_path / "a", COLOUR, Picture(COLOUR, dpi=(300.0, 150.0)), format)
    assert read_picture(tmp_path / "a").dpi == pytest.approx((300, 150), abs=0.02)


def test_nothing_remains_of_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        write_picture(path, GRAY, Picture(GRAY))
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.png"]
