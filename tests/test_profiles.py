"""ICC profiles: read to sRGB, written back."""

import io
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
from PIL import Image, ImageCms
from skimage.color import rgb2lab

import utils
from data.batches import Batches
from data.preprocess import resize
from pictures import profiles
from pictures.reader import eight_bits, read_picture
from pictures.writer import write_picture
from tests import samples
from tests.samples import (
    ADOBE,
    COLOUR,
    GRAY,
    GRAY16,
    GRAY_GAMMA,
    P3,
    PROPHOTO,
    SRGB,
    assemble,
    same,
    save,
)


def test_gray_profile_becomes_srgb(tmp_path):
    for name, pixels, top in (("8.tiff", GRAY, 255), ("16.tiff", GRAY16, 65535)):
        picture = read_picture(save(tmp_path / name, pixels, icc_profile=GRAY_GAMMA))
        light = (pixels / top) ** 1.75
        expected = (
            np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * top
        )
        assert picture.pixels.dtype == pixels.dtype
        assert np.abs(picture.pixels - expected).max() < (1 if top == 255 else 9)
        assert picture.icc == profiles.SRGB  # a gray profile cannot describe the result


def test_made_profiles_are_the_same_in_every_run():
    time.sleep(1.1)  # LittleCMS writes the second into them
    code = "import sys; from pictures import profiles; sys.stdout.buffer.write(profiles.SRGB + profiles.LAB)"
    later = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(utils.__file__).parent,
        capture_output=True,
        check=True,
    )
    assert later.stdout == profiles.SRGB + profiles.LAB


def test_rgb_profile_is_kept_and_means_the_same(tmp_path):
    wide = np.clip(
        COLOUR, 60, 200
    )  # inside sRGB as well, so that the way there and back loses nothing
    picture = read_picture(save(tmp_path / "a.png", wide, icc_profile=ADOBE))
    assert picture.icc == ADOBE
    expected = ImageCms.profileToProfile(
        Image.fromarray(wide),
        ImageCms.ImageCmsProfile(io.BytesIO(ADOBE)),
        ImageCms.createProfile("sRGB"),
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
    assert (
        np.abs(picture.pixels / 257 - np.asarray(expected)).max() < 1.5
    )  # LittleCMS in 8 bits says the same
    write_picture(tmp_path / "16.png", picture.pixels, picture)
    assert (
        np.abs(cv2.imread(str(tmp_path / "16.png"), -1)[..., ::-1].astype(int) - deep).max() <= 16
    )


def test_srgb_profile_changes_no_pixel(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", COLOUR, icc_profile=SRGB))
    same(picture.pixels, COLOUR)
    assert picture.icc == SRGB


def test_profile_that_cannot_be_used_is_said_and_dropped(tmp_path):
    for icc in (b"not a profile" * 20, ADOBE[:150], GRAY_GAMMA):
        picture = read_picture(save(tmp_path / "a.png", COLOUR, icc_profile=icc))
        same(picture.pixels, COLOUR)
        assert "profile" in picture.note and picture.icc == b""


GRAY_AS_RGB = np.dstack([GRAY] * 3)
DEEP = COLOUR.astype(np.uint16) * 257


@pytest.mark.parametrize(
    "pixels, mode, icc",
    [
        (COLOUR, None, None),
        (COLOUR, None, SRGB),
        (COLOUR, None, P3),
        (COLOUR, None, PROPHOTO),
        (COLOUR, "CMYK", samples.cmyk_profile()),
        (COLOUR, "CMYK", None),
        (GRAY, None, GRAY_GAMMA),
        (GRAY_AS_RGB, None, P3),
        (GRAY_AS_RGB, None, None),
        (GRAY16, None, None),
        (GRAY16, None, GRAY_GAMMA),
        (DEEP, None, None),
        (DEEP, None, P3),
        (DEEP, None, PROPHOTO),
    ],
)
def test_training_and_colorizing_see_the_same_pixels(tmp_path, pixels, mode, icc):
    if pixels is DEEP:
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=icc)
    else:
        save(tmp_path / "a.tif", pixels, mode, icc_profile=icc)
    picture = read_picture(tmp_path / "a.tif")
    assert not picture.note
    colorized = eight_bits(picture.pixels)
    if colorized.ndim == 2:
        colorized = np.dstack([colorized] * 3)
    trained = Batches([tmp_path / "a.tif"], 40, 1)[0][0][0]
    same(trained, resize(colorized, 40, 40))
    given = np.asarray(Image.fromarray(eight_bits(pixels)).convert("RGB"))
    changed = np.abs(colorized.astype(int) - given).mean() > 1
    assert (
        changed == (icc in (P3, PROPHOTO, GRAY_GAMMA) and pixels is not GRAY_AS_RGB)
        or mode == "CMYK"
    )


def test_cmyk_goes_through_its_profile(tmp_path):
    image, icc = Image.fromarray(COLOUR).convert("CMYK"), samples.cmyk_profile()
    picture = read_picture(save(tmp_path / "a.tif", image, icc_profile=icc))
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    expected = np.asarray(
        ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    ).astype(int)
    assert picture.icc == profiles.SRGB and not picture.note
    assert np.abs(picture.pixels - expected).max() <= 1
    assert np.abs(picture.pixels - np.asarray(image.convert("RGB")).astype(int)).mean() > 5


def png_with(path, pixels, *chunks):
    """A PNG that OpenCV writes, with chunks put behind its header."""
    data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
    body = b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    path.write_bytes(data[:33] + body + data[33:])
    return read_picture(path)


def gama(gamma):
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def chrm(*values):
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


SRGB_PLACES, P3_PLACES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06), (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
D65 = (0.3127, 0.329)


@pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, GRAY16, DEEP], ids=["gray", "colour", "gray16", "colour16"]
)
def test_gamma_of_png(tmp_path, pixels):
    """Linear light is encoded as sRGB; 1/2.2 with the primaries of sRGB, or beside an sRGB chunk, is sRGB already."""
    top = np.iinfo(pixels.dtype).max
    picture = png_with(tmp_path / "a.png", pixels, gama(1))
    light = pixels / top
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * top
    assert not picture.note and picture.pixels.dtype == pixels.dtype
    assert np.abs(picture.pixels - expected).max() <= (1 if top == 255 else 16)
    for chunks in (
        [gama(1 / 2.2)],
        [gama(1 / 2.2), chrm(*D65, *SRGB_PLACES)],
        [gama(1), (b"sRGB", b"\0")],
    ):
        picture = png_with(tmp_path / "a.png", pixels, *chunks)
        same(picture.pixels, pixels)
        assert picture.icc == b"" and not picture.note


def test_chromaticities_of_png(tmp_path):
    code = COLOUR / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[1.2249, -0.2247, 0], [-0.042, 1.0419, 0], [-0.0197, -0.0786, 1.0979]]
    )  # Display P3 -> sRGB
    light = np.clip(light @ matrix.T, 0, 1)
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    picture = png_with(tmp_path / "a.png", COLOUR, gama(1 / 2.2), chrm(*D65, *P3_PLACES))
    assert (
        np.abs(picture.pixels.astype(int) - expected).max() < 2 and picture.icc and not picture.note
    )
    write_picture(tmp_path / "b.png", picture.pixels, picture)  # the profile is kept
    assert np.abs(read_picture(tmp_path / "b.png").pixels.astype(int) - picture.pixels).max() <= 2
    cicp = png_with(tmp_path / "a.png", COLOUR, (b"cICP", bytes((12, 13, 0, 1))), (b"sRGB", b"\0"))
    assert np.abs(cicp.pixels.astype(int) - picture.pixels).max() <= 1
    other = png_with(
        tmp_path / "a.png", COLOUR, (b"cICP", bytes((1, 13, 0, 1))), gama(1)
    )  # cICP goes first
    same(other.pixels, COLOUR)


@pytest.mark.parametrize(
    "chunk", [(b"cICP", bytes((9, 16, 0, 1))), chrm(0.3, 0, 0, 0, 0, 0, 0, 0), chrm(*[0.3] * 8)]
)
def test_colours_that_are_not_supported_are_named(tmp_path, chunk):
    picture = png_with(tmp_path / "a.png", COLOUR, chunk)
    same(picture.pixels, COLOUR)
    assert "cannot be used" in picture.note


def test_an_unsupported_cicp_gives_way_to_the_other_chunks(tmp_path):
    linear = png_with(tmp_path / "a.png", COLOUR, gama(1))
    for cicp in ((9, 16, 0, 1), (1, 13, 0, 0), (2, 2, 0, 1)):  # PQ, narrow range, unspecified
        picture = png_with(tmp_path / "a.png", COLOUR, (b"cICP", bytes(cicp)), gama(1))
        same(picture.pixels, linear.pixels)
        assert "its cICP cannot be used" in picture.note


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
def test_a_profile_of_tables_that_is_no_target(tmp_path, pixels, depth):
    """As of a scanner: the result is in sRGB."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3, indexing="ij"), -1)
    table = np.rint(np.clip(rgb2lab(grid**0.7) * (2.55, 1, 1) + (0, 128, 128), 0, 255)).astype(
        np.uint8
    )
    head = struct.pack(">4s4x4B9i", b"mft1", 3, 3, 9, 0, *(65536 * np.eye(3, dtype=int)).ravel())
    ramps = 3 * bytes(range(256))
    icc = assemble(b"scnr", b"RGB ", b"Lab ", {b"A2B0": head + ramps + table.tobytes() + ramps})
    scale = 1 if depth == 8 else 257
    options = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "iccprofile": icc}
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels.astype(f"u{depth // 8}") * np.array(scale, f"u{depth // 8}"),
        **options,
    )
    picture = read_picture(tmp_path / "a.tif")
    right = 255 * (pixels / 255) ** 0.7
    error = np.abs(picture.pixels / scale - right)[right > 50]
    assert picture.pixels.dtype.itemsize == depth // 8 and error.mean() < 3 and not picture.note
    write_picture(tmp_path / "b.png", np.dstack([picture.pixels] * 3)[..., :3], picture)
    assert np.array_equal(read_picture(tmp_path / "b.png").pixels, picture.pixels)
