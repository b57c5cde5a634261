"""Files of every kind that people have: depths and types of samples, alpha, previews, sound files with faults."""

import importlib.util
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data as photographs

from pictures import tiff
from pictures.mend import png_chunks
from pictures.reader import BadPicture, Picture, eight_bits, read_picture, read_rgb
from pictures.transparency import fill_transparent
from pictures.writer import write_picture
from tests.samples import ALPHA, COLOUR, COLOUR16, GRAY, GRAY16, same, save

RAMP = np.arange(2400, dtype=np.uint16).reshape(40, 60).astype(np.uint8)
CLEAR = np.where(np.arange(60) < 20, 0, 65535).astype(np.uint16) * np.ones((40, 1), np.uint16)


def expected(codes, top, full=65535):
    return np.rint(codes * (full / top)).astype(np.uint16 if full > 255 else np.uint8)


def packed(values, bits):
    """Samples of so many bits, most significant bit first, each row filled up to whole bytes."""
    rows = values.reshape(len(values), -1)
    planes = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff_of(values, bits, tags=(), compress=False, order="<"):
    """A TIFF of one strip, laid out by hand, for depths that no library here writes."""
    height, width, samples = values.reshape(*values.shape[:2], -1).shape
    strip = packed(values, bits)
    strip = zlib.compress(strip) if compress else strip
    entries = {
        256: width,
        257: height,
        259: 8 if compress else 1,
        262: 1 if samples == 1 else 2,
        277: samples,
        278: height,
    }
    entries |= {258: (bits,) * samples, 273: 0, 279: len(strip)} | dict(tags)
    size, extra, body = 8 + 2 + 12 * len(entries) + 4, b"", b""
    long = max(2, samples) * 2 if samples > 2 else 0
    for tag, value in sorted(entries.items()):
        if isinstance(value, tuple) and len(value) > 2:
            body += struct.pack(order + "HHII", tag, 3, len(value), size)
            extra = struct.pack(f"{order}{len(value)}H", *value)
        elif isinstance(value, tuple):
            body += struct.pack(order + "HHI", tag, 3, len(value)) + struct.pack(
                f"{order}{len(value)}H", *value
            ).ljust(4, b"\0")
        else:
            body += struct.pack(order + "HHII", tag, 4, 1, size + long if tag == 273 else value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(entries)) + body + bytes(4) + extra + strip


@pytest.mark.parametrize("bits", [2, 4, 6, 9, 10, 12, 14])
@pytest.mark.parametrize("kind", ["gray", "colour", "deflated", "big-endian"])
def test_packed_samples_are_scaled_by_their_bits(tmp_path, bits, kind):
    codes = (COLOUR16 if kind == "colour" else GRAY16) >> (16 - bits)
    if kind == "colour" and bits < 8:
        pytest.skip(
            "not a TIFF that Pillow or tifffile reads without imagecodecs"
        ) if bits < 6 else None
    content = tiff_of(
        codes, bits, compress=kind == "deflated", order=">" if kind == "big-endian" else "<"
    )
    (tmp_path / "a.tif").write_bytes(content)
    picture = read_picture(tmp_path / "a.tif")
    assert not picture.note
    same(picture.pixels, expected(codes, 2**bits - 1, 65535 if bits > 8 else 255))


@pytest.mark.parametrize(
    "values, codes, top",
    [
        (GRAY16.astype(np.uint32) * 65537, GRAY16, 65535),
        (COLOUR16.astype(np.uint32) * 65537, COLOUR16, 65535),
        ((GRAY16.astype(np.int32) - 32768).astype(np.int16), GRAY16, 65535),
        ((GRAY16 >> 1).astype(np.int16), GRAY16 >> 1, 32767),
        ((RAMP.astype(np.int16) - 128).astype(np.int8), RAMP, None),
        (((GRAY16.astype(np.int64) * 65537) - 2**31).astype(np.int32), GRAY16, 65535),
        ((GRAY16.astype(np.uint64) * 65537 * (2**32 + 1) // 2).astype(np.int64), GRAY16, 65535),
        ((COLOUR16 / 65535).astype(np.float32), COLOUR16, 65535),
        ((GRAY / 255).astype(np.float16), GRAY.astype(np.uint16) * 257, None),
    ],
    ids=[
        "uint32",
        "uint32-colour",
        "int16",
        "int16-positive",
        "int8",
        "int32",
        "int64",
        "float32-colour",
        "float16",
    ],
)
def test_types_are_scaled_by_their_range(tmp_path, values, codes, top):
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack"
    )
    picture = read_picture(tmp_path / "a.tif")
    right = codes if top is None else expected(codes, top)
    assert picture.pixels.dtype == right.dtype
    assert np.abs(picture.pixels.astype(int) - right).max() <= (
        16 if values.dtype == np.float16 else 1
    )
    assert ("32 bits read as 16" in picture.note) == (
        values.dtype.itemsize == 4 and values.dtype.kind != "f"
    )


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("top", [255, 65535])
def test_wide_types_that_hold_the_values_of_narrow_ones(tmp_path, kind, top):
    if kind == np.int16 and top > 255:
        pytest.skip("they do not fit")
    codes = GRAY if top == 255 else GRAY16
    tifffile.imwrite(tmp_path / "a.tif", codes.astype(kind))
    picture = read_picture(tmp_path / "a.tif")
    same(picture.pixels, expected(codes, top))
    assert picture.note == f"values {codes.min()} to {codes.max()} taken as 0 to {top}"


def test_floats_beyond_one_are_not_nearly_black(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (GRAY / 64).astype(np.float32))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.max() == 65535 and "taken as black to white" in picture.note


@pytest.mark.parametrize("pixels", [GRAY16, COLOUR16], ids=["gray", "colour"])
def test_twelve_bits_in_sixteen_by_the_largest_value_that_the_file_names(tmp_path, pixels):
    codes = pixels >> 4
    options = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", codes, extratags=[(281, "H", 1, 4095, True)], **options)
    picture = read_picture(tmp_path / "a.tif")
    same(picture.pixels, expected(codes, 4095))
    assert "taken as 0 to 4095" in picture.note
    for values, largest in (
        (pixels, 4095),
        (codes, 4000),
        (codes, 65535),
    ):  # wrong, or a mere statistic
        tifffile.imwrite(
            tmp_path / "a.tif", values, extratags=[(281, "H", 1, largest, True)], **options
        )
        same(read_picture(tmp_path / "a.tif").pixels, values)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("is_signed", [False, True])
def test_wide_and_signed_types_that_only_pillow_decodes(tmp_path, monkeypatch, bits, is_signed):
    codes = GRAY16 >> (16 - min(bits, 16))
    values = codes.astype(f"u{bits // 8}") * np.array(65537 if bits == 32 else 1, f"u{bits // 8}")
    if is_signed:
        values = (values ^ np.array(2 ** (bits - 1), values.dtype)).view(f"i{bits // 8}")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    monkeypatch.setattr(tiff.WideTiff, "_samples", lambda self: None)
    pixels = read_picture(tmp_path / "a.tif").pixels
    assert (
        pixels.dtype == codes.astype(f"u{min(bits, 16) // 8}").dtype
        and np.abs(pixels.astype(int) - codes).max() <= 1
    )


def test_twelve_bits_that_only_pillow_decodes(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff.WideTiff, "_samples", lambda self: None)
    codes = GRAY16 >> 4
    (tmp_path / "a.tif").write_bytes(tiff_of(codes, 12))
    picture = read_picture(tmp_path / "a.tif")
    same(picture.pixels, expected(codes, 4095))


@pytest.mark.skipif(
    importlib.util.find_spec("imagecodecs") is not None, reason="imagecodecs reads them"
)
@pytest.mark.parametrize("compression, name", [(50001, "WEBP"), (50002, "JPEGXL"), (34887, "LERC")])
def test_a_compression_that_needs_a_package_is_not_called_broken(tmp_path, compression, name):
    (tmp_path / "a.tif").write_bytes(tiff_of(GRAY, 8, {259: compression}))
    with pytest.raises(
        BadPicture, match=f"compression {name}, which is not read; the package imagecodecs may help"
    ):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "layout",
    ["planes", "tiles", "lzw", "gray with alpha", "planes with alpha", "big", "big-endian"],
)
def test_layouts_of_sixteen_bit_tiffs(tmp_path, layout):
    pixels, alpha, options = COLOUR16, None, {"photometric": "rgb"}
    if "alpha" in layout:
        alpha, options["extrasamples"] = GRAY16[::-1].copy(), ["unassalpha"]
    if layout == "gray with alpha":
        pixels, options["photometric"] = GRAY16, "minisblack"
    values = pixels if alpha is None else np.dstack([pixels, alpha])
    options |= {
        "tiles": {"tile": (16, 16)},
        "big": {"bigtiff": True},
        "big-endian": {"byteorder": ">"},
    }.get(layout, {})
    if layout.startswith("planes"):
        values, options["planarconfig"] = np.moveaxis(values, -1, 0), "separate"
    elif layout == "gray with alpha":
        options["planarconfig"] = "contig"
    if layout == "lzw":
        cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    else:
        tifffile.imwrite(tmp_path / "a.tif", values, **options)
    picture = read_picture(tmp_path / "a.tif")
    assert not picture.note
    same(picture.pixels, pixels)
    assert alpha is None or np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extra", ["unspecified", "unassalpha", "assocalpha", None, "two"])
def test_alpha_is_what_the_tiff_says(tmp_path, bits, extra):
    pixels, clear = (COLOUR, (CLEAR >> 8).astype(np.uint8)) if bits == 8 else (COLOUR16, CLEAR)
    stored = np.where(clear[..., None] > 0, pixels, 0) if extra == "assocalpha" else pixels
    values = (
        np.dstack([stored, clear]) if extra != "two" else np.dstack([stored, pixels[..., 0], clear])
    )
    if extra == "two":
        tifffile.imwrite(
            tmp_path / "a.tif",
            values,
            photometric="rgb",
            extrasamples=["unspecified", "unassalpha"],
        )
    else:
        tifffile.imwrite(
            tmp_path / "a.tif", values, photometric="rgb", extrasamples=[extra or "unspecified"]
        )
    if extra is None:  # a fourth sample without a word on what it is
        content = bytearray((tmp_path / "a.tif").read_bytes())
        place = content.index(struct.pack("<HHI", 338, 3, 1))
        content[place : place + 2] = struct.pack("<H", 340)
        (tmp_path / "a.tif").write_bytes(content)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == pixels.dtype
    if extra in ("unspecified", None):
        same(picture.pixels, pixels)
        assert (
            picture.alpha is None
            and picture.note == "1 of 4 channels left out, as they have no meaning"
        )
    else:
        assert picture.note == (
            "1 of 5 channels left out, as they have no meaning" if extra == "two" else ""
        )
        same(picture.alpha, clear)
        same(picture.pixels[clear > 0], pixels[clear > 0])


def test_premultiplied_colours_are_divided(tmp_path):
    alpha = np.maximum(GRAY16, 5000)
    stored = np.rint(COLOUR16 * (alpha[..., None] / 65535)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.dstack([stored, alpha]),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    picture = read_picture(tmp_path / "a.tif")
    same(picture.alpha, alpha)
    assert np.abs(picture.pixels.astype(int) - COLOUR16).max() <= 8


@pytest.mark.parametrize("kind", ["png", "tiff", "tiff16", "webp", "tga"])
def test_alpha_that_is_zero_everywhere_is_opaque(tmp_path, kind):
    path = tmp_path / f"a.{kind[:4]}"
    if kind == "tiff16":
        tifffile.imwrite(
            path, np.dstack([COLOUR16, 0 * GRAY16]), photometric="rgb", extrasamples=["unassalpha"]
        )
    else:
        save(
            path,
            np.dstack([COLOUR, 0 * GRAY]),
            **({"lossless": True, "exact": True} if kind == "webp" else {}),
        )
    picture = read_picture(path)
    same(picture.pixels, COLOUR16 if kind == "tiff16" else COLOUR)
    assert picture.alpha is None and picture.note == "wholly transparent, taken as opaque"


def test_padding_bytes_of_tga_are_no_alpha(tmp_path):
    path = save(tmp_path / "a.tga", np.dstack([COLOUR, ALPHA]))
    same(read_picture(path).alpha, ALPHA)
    content = bytearray(path.read_bytes())
    content[17] &= 0xF0  # no alpha bits
    path.write_bytes(content)
    picture = read_picture(path)
    same(picture.pixels, COLOUR)
    assert picture.alpha is None and "without a meaning" in picture.note


def psd(layers):
    """A PSD of four channels, with a layer section of the given count of layers."""
    info = struct.pack(">Ih", 2, layers) if layers else struct.pack(">I", 0)
    section = struct.pack(">I", len(info)) + info
    planes = b"".join(
        np.ascontiguousarray(c).tobytes() for c in (*np.moveaxis(COLOUR, -1, 0), ALPHA)
    )
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 40, 60, 8, 3)
    return head + struct.pack(">II", 0, 0) + section + struct.pack(">H", 0) + planes


@pytest.mark.parametrize("layers, alpha", [(-1, True), (1, False), (0, False)])
def test_a_saved_selection_of_psd_is_no_alpha(tmp_path, layers, alpha):
    (tmp_path / "a.psd").write_bytes(psd(layers))
    picture = read_picture(tmp_path / "a.psd")
    same(picture.pixels, COLOUR)
    assert (picture.alpha is not None) == alpha and (
        not alpha or np.array_equal(picture.alpha, ALPHA)
    )


def png(rows, size, depth, kind, *chunks, end=True):
    """A PNG laid out by hand. kind: 0 gray, 2 colour, 3 palette."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
    data = b"".join(b"\0" + row for row in rows)
    parts = [
        chunk(b"IHDR", head),
        *(chunk(*c) for c in chunks),
        chunk(b"IDAT", zlib.compress(data)),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"") * end


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_transparent_level_of_png(tmp_path, bits):
    codes = GRAY16 >> (16 - bits)
    level = int(codes[0, 0])
    rows = (
        [row.astype(">u2").tobytes() for row in codes]
        if bits == 16
        else [packed(row[None], bits) for row in codes]
    )
    (tmp_path / "a.png").write_bytes(
        png(rows, codes.shape, bits, 0, (b"tRNS", struct.pack(">H", level)))
    )
    picture = read_picture(tmp_path / "a.png")
    full = 65535 if bits == 16 else 255
    same(picture.pixels, expected(codes, 2**bits - 1, full))
    assert np.array_equal(picture.alpha, np.where(codes == level, 0, full))


def test_one_transparent_colour_of_a_sixteen_bit_png(tmp_path):
    level = struct.pack(">3H", *COLOUR16[3, 4])
    content = png(
        [row.astype(">u2").tobytes() for row in COLOUR16], (40, 60), 16, 2, (b"tRNS", level)
    )
    (tmp_path / "a.png").write_bytes(content)
    picture = read_picture(tmp_path / "a.png")
    same(picture.pixels, COLOUR16)
    assert (
        picture.alpha[3, 4] == 0
        and (picture.alpha == 0).sum() == (COLOUR16[3, 4] == COLOUR16).all(-1).sum()
    )


@pytest.mark.parametrize("maximum", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("colour", [False, True])
def test_maxval_of_pnm(tmp_path, maximum, colour):
    codes = np.rint((COLOUR16 if colour else GRAY16) / 65535 * maximum).astype(
        ">u2" if maximum > 255 else "u1"
    )
    head = b"P%d\n60 40\n%d\n" % (6 if colour else 5, maximum)
    (tmp_path / "a.ppm").write_bytes(head + codes.tobytes())
    pixels = read_picture(tmp_path / "a.ppm").pixels
    full = 65535 if maximum > 255 else 255
    assert pixels.dtype == (np.uint16 if maximum > 255 else np.uint8)
    assert np.abs(pixels - codes.astype(float) * full / maximum).max() <= 1


def test_plain_pnm_of_sixteen_bits(tmp_path):
    text = "\n".join(" ".join(map(str, row.ravel())) for row in COLOUR16)
    (tmp_path / "a.ppm").write_text(f"P3 60 40 65535\n# a remark 1 2 3\n{text}\n")
    same(read_picture(tmp_path / "a.ppm").pixels, COLOUR16)


def test_sixteen_bits_that_cannot_be_kept_are_named(tmp_path):
    head = struct.pack(">hBBHHHHii", 474, 0, 2, 3, 60, 40, 3, 0, 65535).ljust(512, b"\0")
    (tmp_path / "a.sgi").write_bytes(
        head + np.moveaxis(COLOUR16[::-1], -1, 0).astype(">u2").tobytes()
    )
    assert read_picture(tmp_path / "a.sgi").note == "16 bits read as 8"
    (tmp_path / "a.psd").write_bytes(
        b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 40, 60, 16, 3) + bytes(14500)
    )
    with pytest.raises(BadPicture, match="a PSD of 16 or 32 bits"):
        read_picture(tmp_path / "a.psd")
    tifffile.imwrite(tmp_path / "a.tif", (GRAY / 255).astype(np.complex64))
    with pytest.raises(BadPicture, match="holds complex numbers"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "bits, zero", [(8, 0), (8, -128), (16, 0), (16, 32768), (32, 2**31), (-32, 0), (-64, 0)]
)
def test_fits_by_type_and_offset(tmp_path, bits, zero):
    kind = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}[bits]
    if bits < 0:
        values, right = (GRAY16 / 65535).astype(kind), GRAY16
    elif bits == 8:
        values = right = RAMP
    else:
        values = (GRAY16.astype(np.int64) * (1 if bits == 16 else 65537) - 2 ** (bits - 1)).astype(
            kind
        )
        right = GRAY16
    text = {
        "SIMPLE": "T",
        "BITPIX": bits,
        "NAXIS": 2,
        "NAXIS1": 60,
        "NAXIS2": 40,
        "BZERO": zero,
        "BSCALE": 1,
    }
    cards = "".join(
        f"{name:8}= {value:>20}".ljust(80) for name, value in text.items()
    ) + "END".ljust(80)
    body = values[::-1].tobytes()
    (tmp_path / "a.fits").write_bytes(cards.ljust(2880).encode() + body + bytes(-len(body) % 2880))
    picture = read_picture(tmp_path / "a.fits")
    assert (
        picture.pixels.dtype == right.dtype
        and np.abs(picture.pixels.astype(int) - right).max() <= 1
    )


@pytest.mark.parametrize("suffix", ["jp2", "avif"])
def test_sixteen_bit_colour_beside_tiff_and_png(tmp_path, suffix):
    deep = cv2.blur(cv2.resize(photographs.astronaut(), (60, 40)), (3, 3)).astype(np.uint16) * 257
    if suffix == "jp2":
        cv2.imwrite(
            str(tmp_path / "a.jp2"), deep[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
        )
    else:
        options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100]
        cv2.imwrite(str(tmp_path / "a.avif"), (deep >> 6)[..., ::-1], options)
    picture = read_picture(tmp_path / f"a.{suffix}")
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels.astype(int) - deep).mean() < (1 if suffix == "jp2" else 700)
    if suffix == "jp2":
        cv2.imwrite(
            str(tmp_path / "a.jp2"), deep[..., 0], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
        )
        same(read_picture(tmp_path / "a.jp2").pixels, deep[..., 0])


def raw_file(path):
    """A preview as the first directory, the sensor's samples below it: how DNG, NEF and ARW are laid out."""
    cfa = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]
    with tifffile.TiffWriter(path) as file:
        file.write(COLOUR[:24, :32], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(GRAY16, photometric=32803, subfiletype=0, metadata=None, extratags=cfa)


@pytest.mark.parametrize("name", ["a.dng", "a.nef", "a.arw", "a.tif", "a"])
def test_a_camera_raw_file_is_no_preview(tmp_path, name):
    raw_file(tmp_path / name)
    try:
        import rawpy  # noqa: F401
    except ImportError:
        with pytest.raises(BadPicture, match="needs the package rawpy: pip install rawpy"):
            read_picture(tmp_path / name)
    else:
        try:
            assert max(read_picture(tmp_path / name).pixels.shape) == 60
        except BadPicture as error:
            assert "LibRaw" in str(error)


@pytest.mark.parametrize(
    "head",
    [
        b"FUJIFILMCCD-RAW 0201",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"II*\0\x10\0\0\0CR\2\0",
        b"IIU\0\x18\0\0\0",
        b"IIRO\x08\0",
    ],
)
def test_other_raw_files_are_named(tmp_path, head):
    (tmp_path / "a").write_bytes(head + bytes(200))
    with pytest.raises(BadPicture, match="camera raw file"):
        read_picture(tmp_path / "a")


def test_the_full_picture_and_not_a_preview(tmp_path):
    """As first page marked as reduced, or in a sub-directory; of unmarked pages the largest."""
    path, small = tmp_path / "a.tif", GRAY[::4, ::4].copy()

    def write(*pages):
        with tifffile.TiffWriter(path) as file:
            for pixels, options in pages:
                file.write(pixels, photometric="minisblack", metadata=None, **options)

    for picture in (GRAY, GRAY16):
        write((small, {"subfiletype": 1}), (picture, {"subfiletype": 0}))
        assert read_picture(path).note == ""
        same(read_picture(path).pixels, picture)
        same(read_rgb(path, 64)[..., 0], eight_bits(picture))
        write((small, {"subfiletype": 1, "subifds": 1}), (picture, {"subfiletype": 0}))
        same(read_picture(path).pixels, picture)
    write((GRAY, {}), (small, {"subfiletype": 1}))
    assert read_picture(path).note == ""
    write((small, {}), (GRAY, {}), (GRAY[::-1], {}))
    same(read_picture(path).pixels, GRAY)
    assert read_picture(path).note == "page 2 of 3, the largest"


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", ["iTXt", "zTXt", "tEXt"])
def test_png_with_much_text(tmp_path, kind, place):
    text = b"<x/>" * (600_000 if kind != "tEXt" else 30_000_000)
    body = {
        "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text),
        "zTXt": b"Comment\0\0" + zlib.compress(text),
        "tEXt": b"Comment\0" + text,
    }[kind]
    content = png([row.tobytes() for row in GRAY], (40, 60), 8, 0, (kind.encode(), body))
    if place == "behind":
        (chunk,) = (
            content[start:end] for name, start, end in png_chunks(content) if name == kind.encode()
        )
        rest = content.replace(chunk, b"")
        content = rest[:-12] + chunk + rest[-12:]
    (tmp_path / "a.png").write_bytes(content)
    picture = read_picture(tmp_path / "a.png")
    same(picture.pixels, GRAY)
    assert kind != "iTXt" or len(picture.xmp) == len(text)


@pytest.mark.parametrize("kind", [b"tEXt", b"pHYs", b"fcTL"])
def test_png_with_damage_beside_the_pixels(tmp_path, kind):
    """A checksum that is wrong, or frames of an animation in no order."""
    animation = [
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"fcTL", struct.pack(">5I", 7, 60, 40, 0, 0) + bytes(6)),
    ]
    chunks = animation if kind == b"fcTL" else [(kind, bytes(9))]
    content = png([row.tobytes() for row in GRAY], (40, 60), 8, 0, *chunks)
    if kind != b"fcTL":
        (end,) = (end for name, _, end in png_chunks(content) if name == kind)
        content = content[: end - 1] + bytes([content[end - 1] ^ 1]) + content[end:]
    (tmp_path / "a.png").write_bytes(content)
    picture = read_picture(tmp_path / "a.png")
    same(picture.pixels, GRAY)
    assert "left out" in picture.note


def test_a_sound_jpeg_of_another_kind_is_told_from_a_broken_one(tmp_path):
    content = save(tmp_path / "a.jpg", GRAY).read_bytes()
    place = content.index(b"\xff\xc0") + 4
    (tmp_path / "a.jpg").write_bytes(content[:place] + bytes([12]) + content[place + 1 :])
    with pytest.raises(BadPicture, match="a JPEG of 12 bits"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"quality": 100}], ids=str
)
@pytest.mark.parametrize(
    "pixels",
    [photographs.camera()[:203, :301], photographs.coffee()[:203, :301]],
    ids=["gray", "colour"],
)
def test_jpeg_without_its_end_marker(tmp_path, options, pixels):
    whole = save(tmp_path / "whole.jpg", pixels, **options)
    content = whole.read_bytes()
    for missing in (1, 2):
        (tmp_path / "a.jpg").write_bytes(content[:-missing])
        picture = read_picture(tmp_path / "a.jpg")
        same(picture.pixels, read_picture(whole).pixels)
        assert picture.note in ("its end marker is missing", "")  # some decoders do not look for it
        same(read_rgb(tmp_path / "a.jpg", 64), read_rgb(whole, 64))
    for missing in (30, len(content) // 3):
        (tmp_path / "a.jpg").write_bytes(content[:-missing])
        with pytest.raises(BadPicture, match="cut short"):
            read_picture(tmp_path / "a.jpg")


def test_what_is_hidden_does_not_matter(tmp_path):
    """Training sees the same picture whatever lies under alpha 0, and the visible pixels as they are."""
    rows, columns = np.mgrid[:160, :200]
    photograph = photographs.coffee()[:160, :200]
    seen = ((columns - 90) / 70) ** 2 + ((rows - 80) / 75) ** 2 < 1
    found = []
    for under in (photograph, 0, 255, np.random.default_rng(0).integers(0, 256, photograph.shape)):
        pixels = np.where(seen[..., None], photograph, under).astype(np.uint8)
        save(tmp_path / "a.png", np.dstack([pixels, seen * np.uint8(255)]))
        found.append(read_rgb(tmp_path / "a.png", 160))
        same(read_picture(tmp_path / "a.png").pixels, pixels)  # the result's own lightness
    assert all(np.array_equal(found[0], other) for other in found[1:])
    same(found[0][seen], photograph[seen])
    low, high = photograph[seen].min(axis=0), photograph[seen].max(axis=0)
    assert ((found[0] >= low) & (found[0] <= high)).all() and found[0][~seen].std() > 3
    border = np.abs(np.diff(found[0].astype(int), axis=0))[(seen[1:] != seen[:-1])].mean()
    assert border < 25  # continued, not cut out


def test_filling_leaves_other_pictures_alone():
    assert fill_transparent(COLOUR, None) is COLOUR
    assert fill_transparent(COLOUR, ALPHA | 1) is COLOUR
    assert fill_transparent(GRAY16, 0 * GRAY16) is GRAY16
    alpha = np.where(np.arange(60) < 59, 0, 65535).astype(np.uint16) * np.ones((40, 1), np.uint16)
    filled = fill_transparent(GRAY16, alpha)
    assert filled.dtype == np.uint16 and np.array_equal(filled[:, 59], GRAY16[:, 59])


@pytest.mark.parametrize("format", ["png", "tiff", "webp", "jpg"])
@pytest.mark.parametrize(
    "pixels", [GRAY, COLOUR, GRAY16, COLOUR16], ids=["gray", "colour", "gray16", "colour16"]
)
@pytest.mark.parametrize("alpha", [False, True])
def test_what_is_written_is_read(tmp_path, format, pixels, alpha):
    clear = (ALPHA.astype(np.uint16) * 257).astype(pixels.dtype) if alpha else None
    clear = (
        (ALPHA if pixels.dtype == np.uint8 else ALPHA.astype(np.uint16) * 257) if alpha else clear
    )
    path = tmp_path / f"a.{format}"
    write_picture(path, pixels, Picture(pixels, clear), format, 100)
    picture = read_picture(path)
    assert not picture.note and picture.pixels.shape[:2] == (40, 60)
    assert (picture.alpha is not None) == (alpha and format != "jpg")
    with io.BytesIO(path.read_bytes()) as file, Image.open(file) as image:
        image.load()  # others read it as well
