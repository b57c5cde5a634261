"""Reading pictures: formats, depths, orientation, frames; what is refused."""

import contextlib
import io
import os
import random
import socket
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import EpsImagePlugin, Image, ImageCms
from skimage import data

from data.preprocess import resize
from pictures import reader
from pictures.formats import looks_like_picture
from pictures.reader import BadPicture, read_picture, read_rgb
from pictures.writer import write_picture
from tests.samples import ADOBE, ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, same, save
from utils import find_files


def test_plain_modes(tmp_path):
    same(read_picture(save(tmp_path / "l.png", GRAY)).pixels, GRAY)
    same(read_picture(save(tmp_path / "rgb.png", COLOUR)).pixels, COLOUR)
    same(read_picture(save(tmp_path / "gray_as_rgb.png", np.dstack([GRAY] * 3))).pixels, GRAY)
    same(
        read_picture(save(tmp_path / "1.tiff", GRAY > 127)).pixels,
        np.where(GRAY > 127, 255, 0).astype(np.uint8),
    )
    palette = Image.fromarray(COLOUR).quantize(16)
    same(read_picture(save(tmp_path / "p.gif", palette)).pixels, np.asarray(palette.convert("RGB")))
    ycc = Image.fromarray(COLOUR).convert("YCbCr")
    found = read_picture(
        save(tmp_path / "ycc.tiff", ycc, compression="tiff_deflate")
    ).pixels.astype(int)
    assert (
        np.abs(found - np.asarray(ycc.convert("RGB"))).max() <= 1
    )  # libtiff rounds in its own way
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    same(read_picture(save(tmp_path / "cmyk.tiff", cmyk)).pixels, np.asarray(cmyk.convert("RGB")))


def test_resolution(tmp_path):
    for kind in ("png", "jpg", "tiff"):
        assert read_picture(save(tmp_path / f"a.{kind}", GRAY)).dpi is None
        assert read_picture(save(tmp_path / f"b.{kind}", GRAY, dpi=(300, 72))).dpi == pytest.approx(
            (300, 72), abs=0.02
        )


def test_training_takes_the_upright_pixels_of_a_reduced_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / "a.jpg"
    Image.fromarray(data.coffee()).resize((2400, 1600)).save(path, quality=95, exif=exif)
    whole, reduced = read_rgb(path, 9999), read_rgb(path, 256)
    same(whole, read_picture(path).pixels)
    assert whole.shape == (2400, 1600, 3) and reduced.shape == (1200, 800, 3)
    assert np.abs(resize(whole, 1200, 800).astype(int) - reduced).mean() < 1
    expected = resize(np.rot90(data.coffee(), -1), 1200, 800)
    assert np.abs(expected.astype(int) - reduced).mean() < 3


def test_cielab_tiff(tmp_path):
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOUR),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    pixels = read_picture(save(tmp_path / "lab.tiff", lab)).pixels
    assert np.abs(pixels.astype(int) - COLOUR).mean() < 2  # 8-bit Lab is coarse


@pytest.mark.parametrize(
    "mode", ["LA", "PA", "RGBA", "P with one clear colour", "L with one clear level"]
)
def test_transparency(tmp_path, mode):
    if mode == "P with one clear colour":
        path, alpha = tmp_path / "a.png", np.where(GRAY == 7, 0, 255)
        image = Image.fromarray(GRAY)
        image = image.convert("P")
        image.info["transparency"] = 7
        save(path, image, transparency=7)
    elif mode == "L with one clear level":
        clear = int(GRAY[0, 0])
        path, alpha = (
            save(tmp_path / "a.png", GRAY, transparency=clear),
            np.where(clear == GRAY, 0, 255),
        )
    else:
        path, alpha = tmp_path / "a.tiff", ALPHA
        save(path, np.dstack([GRAY, GRAY, GRAY, ALPHA]), mode)
    picture = read_picture(path)
    same(picture.pixels, GRAY)
    same(picture.alpha, alpha.astype(np.uint8))


@pytest.mark.parametrize("order", "<>")
def test_sixteen_bits(tmp_path, order):
    for name, pixels, options in (
        ("gray", GRAY16, {}),
        ("deflated", GRAY16, {"compression": "zlib", "predictor": True}),
        ("rgb", COLOUR16, {"photometric": "rgb"}),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, byteorder=order, **options)
        same(read_picture(tmp_path / f"{name}.tif").pixels, pixels)
    tifffile.imwrite(
        tmp_path / "planes.tif",
        np.moveaxis(COLOUR16, -1, 0),
        photometric="rgb",
        planarconfig="separate",
    )
    same(read_picture(tmp_path / "planes.tif").pixels, COLOUR16)
    if order == "<":  # Pillow reads this kind in this order alone
        tifffile.imwrite(tmp_path / "white0.tif", GRAY16, photometric="miniswhite")
        same(read_picture(tmp_path / "white0.tif").pixels, 65535 - GRAY16)


def test_sixteen_bits_beside_tiff(tmp_path):
    cv2.imwrite(str(tmp_path / "g.png"), GRAY16)
    cv2.imwrite(str(tmp_path / "c.png"), COLOUR16[..., ::-1])
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([COLOUR16[..., ::-1], GRAY16]))
    cv2.imwrite(str(tmp_path / "c.ppm"), COLOUR16[..., ::-1])
    cv2.imwrite(str(tmp_path / "g.pgm"), GRAY16)
    cv2.imwrite(str(tmp_path / "g.jp2"), GRAY16, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    for name in ("g.png", "g.pgm", "g.jp2"):
        same(read_picture(tmp_path / name).pixels, GRAY16)
    for name in ("c.png", "c.ppm"):
        same(read_picture(tmp_path / name).pixels, COLOUR16)
    picture = read_picture(tmp_path / "a.png")
    same(picture.pixels, COLOUR16)
    same(picture.alpha, GRAY16)


def test_wide_values_say_how_they_are_scaled(tmp_path):
    ramp = np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)
    expected = np.rint(ramp.astype(np.float64) * 65535)
    for name, values, words in (
        ("one", ramp, "0 to 1"),
        ("bytes", ramp * 255, "0 to 255"),
        ("words", ramp * 65535, "0 to 65535"),
        ("signed", ramp * 4 - 2, "black to white"),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
        picture = read_picture(tmp_path / f"{name}.tif")
        assert picture.pixels.dtype == np.uint16 and np.abs(picture.pixels - expected).max() <= 1
        assert picture.note.endswith(f"taken as {words}")
    tifffile.imwrite(tmp_path / "int.tif", GRAY16.astype(np.int32))
    picture = read_picture(tmp_path / "int.tif")
    same(picture.pixels, GRAY16)
    assert picture.note.endswith("taken as 0 to 65535")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(BadPicture, match="not numbers"):
        read_picture(tmp_path / "nan.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "16-bit tiff"])
def test_orientation_is_applied_once(tmp_path, orientation, kind):
    stored = np.zeros((48, 64), np.uint8)
    stored[:16, :16], stored[:16, -16:] = 255, 128  # marks in two corners tell all eight apart
    upright = (
        Image.fromarray(stored).transpose(TURNS[orientation])
        if orientation > 1
        else Image.fromarray(stored)
    )
    exif = Image.Exif()
    exif[0x0112], exif[271] = orientation, "Maker"
    path = tmp_path / f"a.{kind[-4:].strip()}"
    if kind == "16-bit tiff":
        deep = np.dstack([stored, stored, stored // 2]).astype(np.uint16) * 257
        tifffile.imwrite(
            path, deep, photometric="rgb", extratags=[(0x0112, "H", 1, orientation, True)]
        )
    else:
        save(path, np.dstack([stored, stored, stored // 2]), exif=exif)
    picture = read_picture(path)
    values = reader.eight_bits(picture.pixels)[..., 0].astype(int)
    assert values.shape == upright.size[::-1]
    assert np.abs(values - np.asarray(upright)).mean() < 4
    write_picture(tmp_path / "out.png", picture.pixels, picture)
    same(read_picture(tmp_path / "out.png").pixels, picture.pixels)  # turned no second time
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif().get(0x0112, 1) == 1
        assert kind == "16-bit tiff" or out.getexif()[271] == "Maker"


TURNS = dict(
    enumerate(
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        start=2,
    )
)


def test_first_of_several_frames(tmp_path):
    frames = [Image.fromarray(np.roll(GRAY, 10 * i)) for i in range(3)]
    picture = read_picture(
        save(tmp_path / "a.tiff", frames[0], save_all=True, append_images=frames[1:])
    )
    same(picture.pixels, GRAY)
    assert picture.note == "first of 3 frames"


def test_content_decides_and_not_the_name(tmp_path):
    same(read_picture(save(tmp_path / "a.jpg", GRAY, format="PNG")).pixels, GRAY)
    same(read_picture(save(tmp_path / "nameless", GRAY, format="PNG")).pixels, GRAY)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_first_frame_of_an_animation(tmp_path, kind):
    frames = [Image.fromarray(np.roll(COLOUR, 10 * i)) for i in range(3)]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    path = save(
        tmp_path / "a", frames[0], format=kind, save_all=True, append_images=frames[1:], **options
    )
    picture = read_picture(path)
    assert (
        picture.note == "first of 3 frames"
        and np.abs(picture.pixels.astype(int) - COLOUR).mean() < 12
    )


def test_less_usual_jpegs(tmp_path):
    """Progressive; CMYK; YCCK, which Adobe's marker tells from CMYK; coded arithmetically: a picture or one line."""
    same(
        read_picture(save(tmp_path / "p.jpg", COLOUR, progressive=True, quality=95)).pixels,
        np.asarray(Image.open(save(tmp_path / "b.jpg", COLOUR, quality=95))),
    )
    cmyk = save(tmp_path / "cmyk.jpg", COLOUR, "CMYK", quality=95)
    assert np.abs(read_picture(cmyk).pixels.astype(int) - COLOUR).mean() < 5
    content = bytearray(cmyk.read_bytes())
    content[content.index(b"Adobe") + 11] = 2
    (tmp_path / "ycck.jpg").write_bytes(content)
    with Image.open(tmp_path / "ycck.jpg") as image:
        expected = np.asarray(image.convert("RGB"))
    same(read_picture(tmp_path / "ycck.jpg").pixels, expected)
    content = bytearray(save(tmp_path / "gray.jpg", GRAY).read_bytes())
    content[content.index(b"\xff\xc0") + 1] = (
        0xC9  # its Huffman codes, read as an arithmetic code, are some picture
    )
    (tmp_path / "arithmetic.jpg").write_bytes(content)
    try:
        assert read_picture(tmp_path / "arithmetic.jpg").pixels.shape == GRAY.shape
    except BadPicture as error:
        assert "\n" not in str(error)


def test_postscript_is_no_picture_but_a_program(tmp_path, monkeypatch):
    """Pillow hands EPS, whatever its name, to Ghostscript."""
    ghostscript, trace = tmp_path / "gs", tmp_path / "ran"
    ghostscript.write_text(f"#!/bin/sh\ntouch {trace}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = save(tmp_path / "a.jpg", COLOUR, format="EPS")
    with Image.open(path) as image, contextlib.suppress(OSError):
        image.load()
    trace.unlink()  # the trap works
    with pytest.raises(BadPicture, match="not a picture that can be read"):
        read_picture(path)
    assert not trace.exists() and looks_like_picture(tmp_path / "a.eps")  # a line says so


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_files_are_one_line(tmp_path):
    whole = {}
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray(data.astronaut()).save(buffer, kind)
        whole[kind] = buffer.getvalue()
    bad = {f"half.{kind}": content[: len(content) // 2] for kind, content in whole.items()}
    bad |= {f"head.{kind}": content[:20] for kind, content in whole.items()}
    png = bytearray(whole["PNG"])
    png[len(png) // 2] ^= 255
    bad |= {
        "flipped.png": bytes(png),
        "text.jpg": b"hello",
        "empty.png": b"",
        "zeros.tif": bytes(1000),
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadPicture) as error:
            read_picture(tmp_path / name)
        assert 3 < len(str(error.value)) < 120 and "\n" not in str(error.value)
    with pytest.raises(BadPicture, match="No such file"):
        read_picture(tmp_path / "missing.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_never_escapes_as_another_error(tmp_path):
    """Bytes changed at random either still decode or give BadPicture."""
    rng = random.Random(0)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "TGA"):
        buffer = io.BytesIO()
        Image.fromarray(COLOUR).save(buffer, kind, icc_profile=ADOBE)
        for _ in range(25):
            content = bytearray(buffer.getvalue())
            for _ in range(4):
                content[rng.randrange(min(len(content), 900))] = rng.randrange(256)
            (tmp_path / "a").write_bytes(content)
            try:
                read_picture(tmp_path / "a", max_pixels=10**6)
            except BadPicture as error:
                assert "\n" not in str(error)


def test_too_large_is_refused_by_the_header(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    bomb += struct.pack(">I", 10) + b"IDAT" + bytes(14)
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(BadPicture, match="too large"):
        read_picture(tmp_path / "bomb.png")
    path = save(tmp_path / "a.png", GRAY)
    for read in (read_picture, reader.picture_size):
        with pytest.raises(BadPicture, match="60 x 40 is too large, the limit is 2,399 pixels"):
            read(path, max_pixels=2399)
        read(path, max_pixels=2400)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it for reading would wait for ever
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
    for path in (tmp_path / "pipe.jpg", tmp_path / "s.png", "/dev/zero", tmp_path):
        with pytest.raises(BadPicture, match="not a regular file"):
            read_picture(path)
    os.rename(tmp_path / "pipe.jpg", tmp_path / "pipe")
    assert not looks_like_picture(tmp_path / "pipe")


def test_what_looks_like_a_picture(tmp_path):
    (tmp_path / "notes.txt").write_text("P5 is how a PGM begins, BM a bitmap")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    (tmp_path / "text.JPG").write_text("no picture, but it says so")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".partial-1234-a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
    for kind in kinds:
        save(tmp_path / f"{kind}_without_suffix", COLOUR, format=kind)
    found = {path.name for path in find_files(tmp_path) if looks_like_picture(path)}
    assert found == {"text.JPG", *(f"{kind}_without_suffix" for kind in kinds)}
