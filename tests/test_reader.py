"""Reading pictures: a table of files, one of each kind, with what comes of it."""

import io
import os
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from skimage import data as photographs

from data.preprocess import resize
from pictures import reader
from pictures.formats import looks_like_picture
from pictures.reader import BadPicture, eight_bits, read_picture, read_rgb
from tests.samples import ADOBE, ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, GRAY_GAMMA, SRGB, same, save
from utils import find_files

COLOUR16X4 = np.dstack([COLOUR16, GRAY16])
NIBBLES = (GRAY16 >> 12).astype(np.uint8)
DEEP = COLOUR.astype(np.uint16) * 257
SMOOTH = cv2.blur(COLOUR, (9, 9))


def pil(pixels, kind, mode=None, **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def tif(pixels, photometric=None, **options):
    buffer, kind = io.BytesIO(), "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, pixels, photometric=photometric or kind, **options)
    return buffer.getvalue()


def pages(*written):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for pixels, options in written:
            options = {"photometric": "minisblack"} | options
            file.write(pixels, metadata=None, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels, *chunks, bits=8, kind=0):
    """A PNG laid out by hand. kind: 0 gray, 2 colour."""
    data = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", 60, 40, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def psd(has_composite=1):
    """A PSD of four channels that says whether it holds its picture."""
    body = struct.pack(">IB", 1, has_composite) + bytes(13)
    resource = b"8BIM" + struct.pack(">HHI", 1057, 0, 17) + body
    planes = b"".join(c.tobytes() for c in (*np.moveaxis(COLOUR, -1, 0), ALPHA))
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 40, 60, 8, 3) + bytes(4)
    return head + struct.pack(">I", len(resource)) + resource + bytes(4) + bytes(2) + planes


def scaled(values, bits):
    return np.rint(values * (65535 / (2**bits - 1))).astype(np.uint16)


def lit(pixels, gamma):
    """Codes of a gamma as codes of sRGB."""
    light = (pixels / np.iinfo(pixels.dtype).max) ** gamma
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(code * np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def dcf():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return exif


def to_adobe(pixels):
    return imagecodecs.cms_transform(pixels, SRGB, ADOBE, colorspace="rgb", outcolorspace="rgb")


def assoc():
    clear = np.where(np.arange(60) < 20, 0, 65535).astype(np.uint16) * np.ones((40, 1), np.uint16)
    stored = np.where(clear[..., None] > 0, COLOUR16, 0).astype(np.uint16)
    return np.dstack([stored, clear]), stored, clear


PALETTE = Image.fromarray(COLOUR).quantize(16)
ANIMATION = {"save_all": True, "append_images": [PALETTE.rotate(180)]}
CMYK = Image.fromarray(COLOUR).convert("CMYK")
CFA = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]
RAW = pages((COLOUR[:8, :8], {"photometric": "rgb", "subfiletype": 1, "subifds": 1}),
            (GRAY16, {"photometric": 32803, "extratags": CFA}))  # fmt: skip
CUT, NOT_APPLIED = "more than 8 bits read as 8", "its gAMA or cICP is not applied"
LEFT_OUT = "1 of 4 channels left out, as they have no meaning"

# name: (the file, its pixels, alpha, note, the largest difference of a pixel)
READ = {
    "gray": (pil(GRAY, "PNG"), GRAY),
    "colour": (pil(COLOUR, "PNG"), COLOUR),
    "gray in three channels": (pil(np.dstack([GRAY] * 3), "PNG"), GRAY),
    "1 bit": (pil(GRAY > 127, "TIFF"), np.where(GRAY > 127, 255, 0).astype(np.uint8)),
    "palette": (pil(PALETTE, "TIFF"), np.asarray(PALETTE.convert("RGB"))),
    "palette, animated": (pil(PALETTE, "GIF", **ANIMATION), np.asarray(PALETTE.convert("RGB")),
                          None, "first of 2 frames"),
    "YCbCr": (pil(COLOUR, "TIFF", "YCbCr", compression="tiff_deflate"), COLOUR, None, "", 3),
    "CMYK": (pil(CMYK, "TIFF"), np.asarray(CMYK.convert("RGB"))),
    "CMYK JPEG": (pil(SMOOTH, "JPEG", "CMYK", quality=98), SMOOTH, None, "", 8),
    "gray JPEG": (pil(SMOOTH[..., 0], "JPEG", quality=98), SMOOTH[..., 0], None, "", 4),
    "fax": (pil(GRAY > 127, "TIFF", compression="group4"),
            np.where(GRAY > 127, 255, 0).astype(np.uint8)),
    "JPEG in TIFF": (pil(SMOOTH, "TIFF", compression="jpeg", quality=98), SMOOTH, None, "", 9),
    "two pictures": (pil(SMOOTH, "MPO", quality=98, save_all=True, append_images=[CMYK.convert("RGB")]), SMOOTH, None,
                     "first of 2 frames", 12),
    "progressive JPEG": (pil(SMOOTH, "JPEG", quality=98, subsampling=0, progressive=True), SMOOTH,
                         None, "", 8),
    "JPEG without its end marker": (pil(SMOOTH, "JPEG", quality=98, subsampling=0)[:-2], SMOOTH,
                                    None, "", 8),
    "16-bit gray PNG": (png(GRAY16.astype(">u2"), bits=16), GRAY16),
    "16-bit colour PNG": (cv2.imencode(".png", COLOUR16[..., ::-1])[1].tobytes(), COLOUR16),
    "16-bit PNG with alpha": (cv2.imencode(".png", COLOUR16X4[..., [2, 1, 0, 3]])[1].tobytes(),
                              COLOUR16, GRAY16),
    "16-bit PNG, one clear colour": (
        png(COLOUR16.astype(">u2"), (b"tRNS", struct.pack(">3H", *COLOUR16[3, 4])),
            bits=16, kind=2),
        COLOUR16, np.where((COLOUR16[3, 4] == COLOUR16).all(-1), 0, 65535).astype(np.uint16)),
    "4-bit PNG, one clear level": (
        png(NIBBLES[:, ::2] << 4 | NIBBLES[:, 1::2],
            (b"tRNS", struct.pack(">H", 7)), bits=4),
        NIBBLES * 17, np.where(NIBBLES == 7, 0, 255).astype(np.uint8)),
    "PNG with 2 MiB of text": (
        png(GRAY, (b"zTXt", b"Comment\0\0" + zlib.compress(b"note " * 400_000))), GRAY),
    "4-bit palette": (pil(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB"))),
    "linear PNG": (png(GRAY, (b"gAMA", struct.pack(">I", 100_000))), GRAY, None, NOT_APPLIED),
    "cICP of sRGB before gAMA": (
        png(GRAY, (b"cICP", bytes((1, 13, 0, 1))), (b"gAMA", struct.pack(">I", 100_000))), GRAY),
    "cICP of HDR": (png(GRAY, (b"cICP", bytes((9, 16, 0, 1)))), GRAY, None, NOT_APPLIED),
    "12-bit TIFF": (tif(GRAY16 >> 4, bitspersample=12), scaled(GRAY16 >> 4, 12)),
    "12 bits in 16": (tif(COLOUR16 >> 4, extratags=[(281, "H", 1, 4095, True)]),
                      scaled(COLOUR16 >> 4, 12), None,
                      f"values to {(COLOUR16 >> 4).max()} taken as 0 to 4095"),
    "16-bit planes": (tif(np.moveaxis(COLOUR16, -1, 0), planarconfig="separate"), COLOUR16),
    "16-bit tiles, zstd": (tif(COLOUR16, tile=(16, 16), compression="zstd"), COLOUR16),
    "16-bit big-endian BigTIFF": (tif(COLOUR16, byteorder=">", bigtiff=True), COLOUR16),
    "16-bit min is white": (tif(GRAY16, "miniswhite"), 65535 - GRAY16),
    "8-bit min is white": (tif(GRAY, "miniswhite"), 255 - GRAY),
    "infrared": (tif(COLOUR16X4, extrasamples=["unspecified"]), COLOUR16, None, LEFT_OUT),
    "16-bit TIFF with alpha": (tif(COLOUR16X4, extrasamples=["unassalpha"]), COLOUR16, GRAY16),
    "multiplied by alpha": (tif(assoc()[0], extrasamples=["assocalpha"]), *assoc()[1:]),
    "all transparent": (tif(np.dstack([COLOUR, 0 * GRAY]), extrasamples=["unassalpha"]), COLOUR,
                        None, "entirely transparent, taken as opaque"),
    "preview first": (pages((GRAY[::4, ::4], {"subfiletype": 1}), (GRAY16, {})), GRAY16),
    "picture below a preview": (pages((GRAY[::4, ::4], {"subfiletype": 1, "subifds": 1}),
                                      (GRAY, {})), GRAY),
    "largest of the pages": (pages((GRAY[::4, ::4], {}), (GRAY, {}), (GRAY[::-1], {})), GRAY, None,
                             "page 2 of 3, the largest"),
    "10-bit PPM": (b"P6 60 40 1023\n" + (DEEP >> 6).astype(">u2").tobytes(), COLOUR, None, CUT, 1),
    "10-bit PGM": (b"P5 60 40 1023\n" + (GRAY16 >> 6).astype(">u2").tobytes(),
                   scaled(GRAY16 >> 6, 10)),
    "16-bit PGM": (b"P5 60 40 65535\n" + GRAY16.astype(">u2").tobytes(), GRAY16),
    "12-bit JPEG 2000": (
        imagecodecs.jpeg2k_encode(DEEP >> 4, level=0, reversible=True, bitspersample=12),
        COLOUR, None, CUT, 1),
    "16-bit gray JPEG 2000": (imagecodecs.jpeg2k_encode(GRAY16, level=0, reversible=True), GRAY16),
    "10-bit AVIF": (imagecodecs.avif_encode(DEEP >> 6, 100, bitspersample=10), COLOUR, None, CUT,
                    2),
    "TGA with alpha": (pil(np.dstack([COLOUR, ALPHA]), "TGA"), COLOUR, ALPHA),
    "PSD": (psd(), COLOUR, None, "its alpha channel is left out"),
    "gray profile": (pil(GRAY, "TIFF", icc_profile=GRAY_GAMMA), lit(GRAY, 1.75), None, "", 1),
    "16-bit gray profile": (tif(GRAY16, iccprofile=GRAY_GAMMA), lit(GRAY16, 1.75), None, "", 2),
    "Adobe RGB": (pil(to_adobe(SMOOTH), "PNG", icc_profile=ADOBE), SMOOTH, None, "", 4),
    "16-bit Adobe RGB": (tif(to_adobe(DEEP), iccprofile=ADOBE), DEEP, None, "", 700),
    "Adobe RGB by DCF": (pil(to_adobe(SMOOTH), "JPEG", quality=100, subsampling=0, exif=dcf()),
                         SMOOTH, None, "", 8),
    "a profile of another space": (pil(COLOUR, "PNG", icc_profile=GRAY_GAMMA), COLOUR, None,
                                   "its colour profile cannot be used, taken as sRGB"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_files_that_are_read(tmp_path, name, capfd):
    content, pixels, *others = READ[name]
    alpha, note, near = others + [None, "", 0][len(others) :]
    (tmp_path / "a").write_bytes(content)
    picture = read_picture(tmp_path / "a")
    assert picture.note == note
    assert picture.pixels.dtype == pixels.dtype and picture.pixels.shape == pixels.shape
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= near
    assert (picture.alpha is None) == (alpha is None) and (
        alpha is None or np.array_equal(picture.alpha, alpha)
    )
    rgb = read_rgb(tmp_path / "a", 64)  # training sees the same
    expected = eight_bits(reader.fill_transparent(picture.pixels, picture.alpha))
    same(rgb, expected if expected.ndim == 3 else np.dstack([expected] * 3))
    assert reader.picture_size(tmp_path / "a") == (60, 40)
    assert capfd.readouterr().err == ""


ASTRONAUT = photographs.astronaut()


def damaged(kind, how, pixels=ASTRONAUT, **options):
    """A file that is damaged in its middle."""
    content = pil(pixels, kind, **options)
    half = len(content) // 2
    ends = {"end kept": content[-2:], "hole": content[half + 3000 :]}
    return content[:half] + ends.get(how, bytes(300) + content[half + 300 :])


HALF = {kind: pil(ASTRONAUT, kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "GIF")}
REFUSED = {
    "floats": (tif((GRAY / 255).astype(np.float32)),
               "32-bit floating-point samples have no fixed range: convert it to 16-bit TIFF"),
    "signed": (tif(GRAY.astype(np.int16)), "16-bit signed samples have no fixed range"),
    "32 bits": (tif(GRAY.astype(np.uint32)), "32-bit unsigned samples have no fixed range"),
    "complex": (tif(GRAY.astype(np.complex64)), "complex samples have no fixed range"),
    "17 channels": (tif(np.dstack([GRAY] * 17), "minisblack", planarconfig="contig"),
                    "17 channels"),
    "FITS": (b"SIMPLE  =                    T".ljust(2880), "not a picture that is read"),
    "camera raw": (RAW, "a camera raw file: convert it to 16-bit TIFF"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(300), "a camera raw file: convert it"),
    "RAF": (b"FUJIFILMCCD-RAW 0201" + bytes(300), "a camera raw file: convert it"),
    "PSD without composite": (psd(0), "a PSD without its composite: save it with"),
    "12-bit JPEG": (pil(GRAY, "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"),
                    "not a picture that is read"),
    "HEIC": (b"\0\0\0\x1cftypheic" + bytes(99), "HEIC needs the package pillow-heif"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "needs the package pillow-jxl-plugin"),
    "empty": (b"", "an empty file"),
    "zeros": (b"II*\0" + bytes(1000), "broken"),
    "huge": (png(GRAY)[:8] + chunk(b"IHDR", struct.pack(">II5B", 10**5, 10**5, 8, 0, 0, 0, 0))
             + chunk(b"IDAT", bytes(10)), "too large"),
} | {f"half a {kind}": (content[: len(content) // 2], "broken or cut short")
     for kind, content in HALF.items()}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused_in_a_line(tmp_path, name, capfd):
    (tmp_path / "a").write_bytes(REFUSED[name][0])
    for read in (read_picture, lambda path: read_rgb(path, 64)):
        with pytest.raises(BadPicture) as error:
            read(tmp_path / "a")
        assert REFUSED[name][1] in str(error.value) and "\n" not in str(error.value)
        assert len(str(error.value)) < 250
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "content",
    [
        *(damaged("JPEG", how) for how in ("end kept", "zeros", "hole")),
        damaged("TIFF", "zeros", compression="jpeg"),
        damaged("TIFF", "zeros", ASTRONAUT[..., 0] > 99, compression="group3"),
        damaged("TIFF", "zeros", ASTRONAUT[..., 0] > 99, compression="group4"),
        damaged("AVIF", "zeros", speed=10),
    ],
)
def test_damage_that_a_decoder_hears(tmp_path, content, capfd):
    """The picture is made, and the note says so; training leaves it out."""
    (tmp_path / "a").write_bytes(content)
    picture = read_picture(tmp_path / "a")
    assert picture.pixels.shape[:2] == (512, 512) and picture.note.startswith("damaged: ")
    with pytest.raises(BadPicture, match="damaged"):
        read_rgb(tmp_path / "a", 64)
    assert capfd.readouterr().err == ""


def test_training_takes_the_upright_pixels_of_a_reduced_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / "a.jpg"
    Image.fromarray(photographs.coffee()).resize((2400, 1600)).save(path, quality=95, exif=exif)
    full, reduced = read_rgb(path, 9999), read_rgb(path, 256)
    same(full, read_picture(path).pixels)
    assert full.shape == (2400, 1600, 3) and reduced.shape == (1200, 800, 3)
    assert np.abs(resize(full, 1200, 800).astype(int) - reduced).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "16-bit tiff"])
def test_orientation(tmp_path, orientation, kind):
    stored = np.zeros((48, 64), np.uint8)
    stored[:16, :16], stored[:16, -16:] = 255, 128  # marks in two corners tell all eight apart
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "16-bit tiff":
        deep = np.dstack([stored, stored, stored // 2]).astype(np.uint16) * 257
        tags = [(0x0112, "H", 1, orientation, True)]
        (tmp_path / "a").write_bytes(tif(deep, extratags=tags))
    else:
        name = {"jpg": "JPEG"}.get(kind, kind)
        save(tmp_path / "a", np.dstack([stored, stored, stored // 2]), format=name, exif=exif)
    with Image.open(save(tmp_path / "b.png", stored, exif=exif)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    values = eight_bits(read_picture(tmp_path / "a").pixels)[..., 0].astype(int)
    assert values.shape == upright.shape and np.abs(values - upright).mean() < 4


def test_what_is_hidden_does_not_matter(tmp_path):
    """Training sees the same picture whatever lies under alpha 0."""
    seen = np.hypot(*np.mgrid[-20:20, -30:30]) < 18
    found = []
    for under in (COLOUR, 0, 255):
        pixels = np.where(seen[..., None], COLOUR, under).astype(np.uint8)
        save(tmp_path / "a.png", np.dstack([pixels, seen * np.uint8(255)]))
        same(read_picture(tmp_path / "a.png").pixels, pixels)  # the result's own lightness
        found.append(read_rgb(tmp_path / "a.png", 64))
    same(found[0], found[1])
    same(found[0], found[2])
    same(found[0][seen], COLOUR[seen])
    assert np.abs(found[0][~seen] - COLOUR[seen].mean(axis=0)).max() <= 0.5


def test_limit_of_pixels(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", GRAY)
    for read in (read_picture, reader.picture_size):
        monkeypatch.setattr(reader, "MAX_PIXELS", 2399)
        with pytest.raises(BadPicture, match="60 x 40 is too large, the limit is 2,399 pixels"):
            read(path)
        monkeypatch.setattr(reader, "MAX_PIXELS", 2400)
        read(path)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it for reading would wait for ever
    for path in (tmp_path / "pipe.jpg", "/dev/zero", tmp_path):
        with pytest.raises(BadPicture, match="not a regular file"):
            read_picture(path)
    with pytest.raises(BadPicture, match="No such file"):
        read_picture(tmp_path / "missing.png")


def test_what_looks_like_a_picture(tmp_path):
    (tmp_path / "notes.txt").write_text("P5 is how a PGM begins, BM a bitmap")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    (tmp_path / "text.JPG").write_text("no picture, but it says so")
    (tmp_path / "a.cr2").write_text("a line says why it is not read")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".partial-1234-a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "pipe")
    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
    for kind in kinds:
        save(tmp_path / f"{kind}_without_suffix", COLOUR, format=kind)
    found = {path.name for path in find_files(tmp_path) if looks_like_picture(path)}
    assert found == {"text.JPG", "a.cr2", *(f"{kind}_without_suffix" for kind in kinds)}
