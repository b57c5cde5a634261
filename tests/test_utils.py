"""Reading, writing and finding pictures, and `python -m data.gray`."""

import contextlib
import io
import os
import random
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import EpsImagePlugin, Image, ImageCms
from skimage import data

import utils
from data import profiles, reader
from data.gray import gray
from data.gray import main as gray_main
from data.jobs import output_names
from data.reader import BadPicture, Picture, looks_like_picture, read_picture
from data.writer import write_picture
from utils import find_files

GRAY = data.camera()[:40, :60].copy()  # uint8 (40, 60)
COLOUR = data.astronaut()[:40, :60].copy()
GRAY16 = np.random.default_rng(0).integers(0, 65536, (40, 60), np.uint16)
COLOUR16 = np.random.default_rng(1).integers(0, 65536, (40, 60, 3), np.uint16)
ALPHA = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(space, gamma, primaries=()):
    """A small ICC profile: one tone curve, and colorants under D50 (rows of XYZ) for an RGB one."""
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    tags = {b"kTRC": curve} if space == b"GRAY" else {channel + b"TRC": curve for channel in (b"r", b"g", b"b")}
    white = (0.9642, 1.0, 0.8249)
    for name, xyz in zip((b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), (white, *primaries), strict=False):
        tags[name] = struct.pack(">4s4x3i", b"XYZ ", *(round(65536 * value) for value in xyz))
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    table, body = b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4x4s4s4s4s12x4s", size, b"\2\x10\0\0", b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(65536 * value) for value in white))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ADOBE = profile(b"RGB ", 2.2, ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)))
GRAY_GAMMA = profile(b"GRAY", 1.75)


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)


# ---- reading


def test_plain_modes(tmp_path):
    same(read_picture(save(tmp_path / "l.png", GRAY)).pixels, GRAY)
    same(read_picture(save(tmp_path / "rgb.png", COLOUR)).pixels, COLOUR)
    same(read_picture(save(tmp_path / "gray_as_rgb.png", np.dstack([GRAY] * 3))).pixels, GRAY)
    same(read_picture(save(tmp_path / "1.tiff", GRAY > 127)).pixels, np.where(GRAY > 127, 255, 0).astype(np.uint8))
    palette = Image.fromarray(COLOUR).quantize(16)
    same(read_picture(save(tmp_path / "p.gif", palette)).pixels, np.asarray(palette.convert("RGB")))
    ycc = Image.fromarray(COLOUR).convert("YCbCr")
    found = read_picture(save(tmp_path / "ycc.tiff", ycc, compression="tiff_deflate")).pixels.astype(int)
    assert np.abs(found - np.asarray(ycc.convert("RGB"))).max() <= 1  # libtiff rounds in its own way
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    same(read_picture(save(tmp_path / "cmyk.tiff", cmyk)).pixels, np.asarray(cmyk.convert("RGB")))


def test_cielab_tiff(tmp_path):
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOUR), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    pixels = read_picture(save(tmp_path / "lab.tiff", lab)).pixels
    assert np.abs(pixels.astype(int) - COLOUR).mean() < 2  # 8-bit Lab is coarse


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "P with one clear colour", "L with one clear level"])
def test_transparency(tmp_path, mode):
    if mode == "P with one clear colour":
        path, alpha = tmp_path / "a.png", np.where(GRAY == 7, 0, 255)
        image = Image.fromarray(GRAY)
        image = image.convert("P")
        image.info["transparency"] = 7
        save(path, image, transparency=7)
    elif mode == "L with one clear level":
        clear = int(GRAY[0, 0])
        path, alpha = save(tmp_path / "a.png", GRAY, transparency=clear), np.where(clear == GRAY, 0, 255)
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
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(COLOUR16, -1, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(BadPicture, match="separate planes"):
        read_picture(tmp_path / "planes.tif")
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
    assert not picture.note
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(BadPicture, match="not numbers"):
        read_picture(tmp_path / "nan.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "16-bit tiff"])
def test_orientation_is_applied_once(tmp_path, orientation, kind):
    stored = np.zeros((48, 64), np.uint8)
    stored[:16, :16], stored[:16, -16:] = 255, 128  # marks in two corners tell all eight apart
    upright = Image.fromarray(stored).transpose(TURNS[orientation]) if orientation > 1 else Image.fromarray(stored)
    exif = Image.Exif()
    exif[0x0112], exif[271] = orientation, "Maker"
    path = tmp_path / f"a.{kind[-4:].strip()}"
    if kind == "16-bit tiff":
        deep = np.dstack([stored, stored, stored // 2]).astype(np.uint16) * 257
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[(0x0112, "H", 1, orientation, True)])
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


TURNS = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
), start=2))  # fmt: skip


def test_first_of_several_frames(tmp_path):
    frames = [Image.fromarray(np.roll(GRAY, 10 * i)) for i in range(3)]
    picture = read_picture(save(tmp_path / "a.tiff", frames[0], save_all=True, append_images=frames[1:]))
    same(picture.pixels, GRAY)
    assert picture.note == "first of 3 frames"


def test_content_decides_and_not_the_name(tmp_path):
    same(read_picture(save(tmp_path / "a.jpg", GRAY, format="PNG")).pixels, GRAY)
    same(read_picture(save(tmp_path / "nameless", GRAY, format="PNG")).pixels, GRAY)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_first_frame_of_an_animation(tmp_path, kind):
    frames = [Image.fromarray(np.roll(COLOUR, 10 * i)) for i in range(3)]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    path = save(tmp_path / "a", frames[0], format=kind, save_all=True, append_images=frames[1:], **options)
    picture = read_picture(path)
    assert picture.note == "first of 3 frames" and np.abs(picture.pixels.astype(int) - COLOUR).mean() < 12


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
    content[content.index(b"\xff\xc0") + 1] = 0xC9  # its Huffman codes, read as an arithmetic code, are some picture
    (tmp_path / "arithmetic.jpg").write_bytes(content)
    try:
        assert read_picture(tmp_path / "arithmetic.jpg").pixels.shape == GRAY.shape
    except BadPicture as error:
        assert "\n" not in str(error)


# ---- what is no picture


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
    bad |= {"flipped.png": bytes(png), "text.jpg": b"hello", "empty.png": b"", "zeros.tif": bytes(1000)}
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
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
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


# ---- finding


def test_find_files_order_links_and_loops(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/x.png", "z.png", ".hidden.png", "skip/no.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "b")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, exclude=tmp_path / "skip")]
    assert found == [".hidden.png", "self", "z.png", "a/x.png", "again/10.png", "again/2.png"]


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.png").touch()
    scandir = os.scandir

    def refuse(folder):  # permissions do not stop root, under whom tests may run
        if folder.name == "shut":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    heard = []
    found = list(find_files(tmp_path, unreadable=lambda folder, error: heard.append((folder, error.strerror))))
    assert found == [tmp_path / "a.png"] and heard == [(tmp_path / "shut", "Permission denied")]


def test_output_names_never_collide():
    assert output_names(["a.jpg", "b.tif", "c"], ".png") == {"a.jpg": "a.png", "b.tif": "b.png", "c": "c.png"}
    assert output_names(["a.jpg", "a.png"], ".png") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}
    assert output_names(["A.jpg", "a.png"], ".png") == {"A.jpg": "A.jpg.png", "a.png": "a.png.png"}
    rng = random.Random(0)
    for _ in range(300):
        names = {"".join(rng.choice(["a", ".jpg", ".png"]) for _ in range(rng.randrange(1, 4))) for _ in range(6)}
        outputs = output_names(sorted(names), ".png")
        assert len(set(outputs.values())) == len(names)
        assert output_names(sorted(names, reverse=True), ".png") == outputs


# ---- writing


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
    back = read_picture(path) if not (alpha and format == "tiff" and pixels is GRAY16) else None
    if back is None:  # Pillow cannot read what it is, others can
        same(tifffile.imread(path), np.dstack([pixels, clear]))
        return
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
        same(values if not alpha else values[..., :-1].reshape(pixels.shape), pixels)


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


def test_atomic(tmp_path):
    path = tmp_path / ("é" * 100 + ".weights.h5")  # as long as a name may be
    with utils.atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and temporary.name.endswith(".weights.h5") and not path.exists()
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1
    with pytest.raises(KeyboardInterrupt), utils.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and len(os.listdir(tmp_path)) == 1


# ---- colour profiles


def test_gray_profile_becomes_srgb(tmp_path):
    for name, pixels, top in (("8.tiff", GRAY, 255), ("16.tiff", GRAY16, 65535)):
        picture = read_picture(save(tmp_path / name, pixels, icc_profile=GRAY_GAMMA))
        light = (pixels / top) ** 1.75
        expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * top
        assert picture.pixels.dtype == pixels.dtype
        assert np.abs(picture.pixels - expected).max() < (1 if top == 255 else 9)
        assert picture.icc == profiles.SRGB  # a gray profile cannot describe the result


def test_made_profiles_are_the_same_in_every_run():
    time.sleep(1.1)  # LittleCMS writes the second into them
    code = "import sys; from data import profiles; sys.stdout.buffer.write(profiles.SRGB + profiles.LAB)"
    later = subprocess.run([sys.executable, "-c", code], cwd=Path(utils.__file__).parent, capture_output=True, check=True)
    assert later.stdout == profiles.SRGB + profiles.LAB


def test_rgb_profile_is_kept_and_means_the_same(tmp_path):
    wide = np.clip(COLOUR, 60, 200)  # inside sRGB as well, so that the way there and back loses nothing
    picture = read_picture(save(tmp_path / "a.png", wide, icc_profile=ADOBE))
    assert picture.icc == ADOBE
    expected = ImageCms.profileToProfile(
        Image.fromarray(wide), ImageCms.ImageCmsProfile(io.BytesIO(ADOBE)), ImageCms.createProfile("sRGB")
    )
    assert np.abs(picture.pixels.astype(int) - np.asarray(expected)).max() <= 1
    write_picture(tmp_path / "b.png", picture.pixels, picture)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == ADOBE
        assert np.abs(np.asarray(image).astype(int) - wide).max() <= 2
    deep = wide.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "16.tif", deep, photometric="rgb", iccprofile=ADOBE)
    picture = read_picture(tmp_path / "16.tif")
    assert picture.icc == ADOBE and picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels / 257 - np.asarray(expected)).max() < 1.5  # LittleCMS in 8 bits says the same
    write_picture(tmp_path / "16.png", picture.pixels, picture)
    assert np.abs(cv2.imread(str(tmp_path / "16.png"), -1)[..., ::-1].astype(int) - deep).max() <= 16


def test_srgb_profile_changes_no_pixel(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", COLOUR, icc_profile=SRGB))
    same(picture.pixels, COLOUR)
    assert picture.icc == SRGB


def test_profile_that_cannot_be_used_is_said_and_dropped(tmp_path):
    for icc in (b"not a profile" * 20, ADOBE[:150], GRAY_GAMMA):
        picture = read_picture(save(tmp_path / "a.png", COLOUR, icc_profile=icc))
        same(picture.pixels, COLOUR)
        assert "profile" in picture.note and picture.icc == b""


# ---- the command


def test_gray_is_pillows_luma():
    same(gray(COLOUR), np.asarray(Image.fromarray(COLOUR).convert("L")))
    deep = gray(COLOUR.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - gray(COLOUR)).max() <= 0.5


def test_gray_command(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    save(source / "a.jpg", COLOUR)
    save(source / "a.png", COLOUR)
    save(source / "sub/b.png", COLOUR)
    (source / "notes.txt").write_text("no picture")
    (source / "broken.png").write_text("nor this")
    assert gray_main([str(source), str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == "3 done, 0 skipped, 1 failed, 1 passed over"
    assert printed.err.count("broken.png: not a picture") == 1
    files = sorted(str(path.relative_to(out)) for path in find_files(out))
    assert files == ["a.jpg.png", "a.png.png", "sub/b.png"]
    with Image.open(out / "sub/b.png") as image:
        same(np.asarray(image), gray(COLOUR))
    assert gray_main([str(source), str(out)]) == 1
    assert capsys.readouterr().out.strip() == "0 done, 3 skipped, 1 failed, 1 passed over"
    assert gray_main([str(source / "a.jpg"), str(tmp_path / "one.tif")]) == 0
    with Image.open(tmp_path / "one.tif") as image:
        assert (image.format, image.mode) == ("TIFF", "L")


@pytest.mark.parametrize("arguments, words", [
    (["{in}", "{in}"], "among the inputs"),
    (["{in}/sub", "{in}"], "among the inputs"),
    (["{in}/a.png", "{in}"], "overwrite the input"),
    (["{in}/a.png", "{in}/a.png"], "overwrite the input"),
    (["{in}/a.png", "{in}/link.png"], "overwrite the input"),
    (["{in}/missing", "{in}/out"], "no such file"),
    (["{in}", "{in}/a.png"], "needs a folder"),
    (["{in}/sub", "{in}/out"], "no pictures"),
    (["{in}/a.png", "{in}/x.gif"], "cannot be written"),
    (["{in}/a.png", "{in}/x.jpg", "--format", "png"], "contradicts"),
    (["{in}/a.png", "{in}/o", "--quality", "0"], "from 1 to 100"),
    (["{in}/a.png", "{in}/o", "--qual", "10"], "unrecognized"),
])  # fmt: skip
def test_refusals_are_one_line(tmp_path, capsys, arguments, words):
    (tmp_path / "sub").mkdir()
    save(tmp_path / "a.png", GRAY)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(SystemExit) as end:
        gray_main([*(argument.replace("{in}", str(tmp_path)) for argument in arguments)])
    assert end.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "a.png").read_bytes() == before


def test_out_inside_in_is_no_input(tmp_path, capsys):
    save(tmp_path / "a.png", COLOUR)
    for _ in range(2):
        assert gray_main([str(tmp_path), str(tmp_path / "out"), "--overwrite"]) == 0
        assert capsys.readouterr().out.startswith("1 done, 0 skipped, 0 failed, 0 passed over")


def test_strange_names_are_printed(tmp_path, capsys):
    name = os.fsencode(str(tmp_path)) + b"/a\xff\nb\x1b[1m.jpg"
    with open(name, "wb") as file:
        file.write(b"no picture")
    assert gray_main([str(tmp_path), str(tmp_path / "out")]) == 1
    line = capsys.readouterr().err.strip()
    assert line.encode().count(b"\n") == 0 and r"a\udcff\nb\x1b[1m.jpg: not a picture" in line


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_memory_left_keeps_to_the_limit_of_the_process():
    code = (
        "import resource, utils; print(utils.memory_left());"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 50_000_000,) * 2); print(utils.memory_left())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(utils.__file__).parent, capture_output=True, text=True)
    free, limited = map(int, done.stdout.split())
    assert 0 < limited <= 50_000_000 < free
