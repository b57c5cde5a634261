"""ICC profiles: read to sRGB, written back."""

import io
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

import utils
from data import profiles
from data.batches import Batches
from data.preprocess import resize
from data.reader import eight_bits, read_picture
from data.writer import write_picture
from tests import samples
from tests.samples import ADOBE, COLOUR, GRAY, GRAY16, GRAY_GAMMA, P3, PROPHOTO, SRGB, same, save


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
    assert changed == (icc in (P3, PROPHOTO, GRAY_GAMMA) and pixels is not GRAY_AS_RGB) or mode == "CMYK"


def test_cmyk_goes_through_its_profile(tmp_path):
    image, icc = Image.fromarray(COLOUR).convert("CMYK"), samples.cmyk_profile()
    picture = read_picture(save(tmp_path / "a.tif", image, icc_profile=icc))
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    expected = np.asarray(ImageCms.profileToProfile(image, source, target, outputMode="RGB")).astype(int)
    assert picture.icc == profiles.SRGB and not picture.note
    assert np.abs(picture.pixels - expected).max() <= 1
    assert np.abs(picture.pixels - np.asarray(image.convert("RGB")).astype(int)).mean() > 5
