"""Writing pictures with what their source carried."""

import os

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from data.reader import Picture, eight_bits, read_picture
from data.writer import write_picture
from tests.samples import ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, SRGB, same


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"])
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
    assert (kept[271], kept.get_ifd(0x8769)[36867], kept.get_ifd(0x8825)[1]) == ("Maker", "2001:02:03 04:05:06", "N")
    if format == "tiff":  # a second reader
        values = tifffile.imread(path)
        if alpha:
            same(values[..., -1], clear)
            values = values[..., : pixels[0, 0].size].reshape(pixels.shape)
        same(values, pixels)


@pytest.mark.parametrize("format", ["jpg", "webp"])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"])
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
    assert write_picture(tmp_path / "a.jpg", COLOUR16, like, "jpg") == "jpg cannot hold 16 bits and transparency"
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "JPEG" and [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        assert image.info["dpi"] == (300, 300) and image.info["icc_profile"] == SRGB and image.getexif()[271] == "Maker"
    sizes = {}
    for quality in (20, 95):
        assert write_picture(tmp_path / f"{quality}.jpg", COLOUR, Picture(COLOUR), "jpg", quality) == ""
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


def test_nothing_remains_of_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_picture(path, GRAY, Picture(GRAY))
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.png"]
