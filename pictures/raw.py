"""Camera raw files, developed by LibRaw through the optional package rawpy."""

import numpy as np
from PIL import Image

from pictures.depth import BadPicture

SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
_MARKS = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")


def is_raw(head):
    """Whether a file that begins so is a camera raw file; those that begin as TIFF are found by its tags."""
    return (
        head.startswith(_MARKS)
        or head[4:12] == b"ftypcrx "
        or (head[:4] == b"II*\0" and head[8:10] == b"CR")
    )


class RawPicture:
    """A camera raw file, upright, in sRGB. In place of an image of Pillow."""

    format = "RAW"

    def __init__(self, path):
        try:
            import rawpy
        except ImportError:
            raise BadPicture(
                "a camera raw file, which needs the package rawpy: pip install rawpy"
            ) from None
        self.fp = open(path, "rb")  # noqa: SIM115, closed by `close`
        self.info = {}
        try:
            self.raw = rawpy.imread(self.fp)
        except Exception as error:  # LibRaw's own kinds
            self.fp.close()
            reason = str(error).removeprefix("b'").rstrip("'")
            raise BadPicture(f"a camera raw file that LibRaw cannot read: {reason}") from None
        self.size = self.width, self.height = self.raw.sizes.width, self.raw.sizes.height

    def getexif(self):
        exif = Image.Exif()
        self.fp.seek(0)
        if self.fp.read(4) in (b"II*\0", b"MM\0*"):
            self.fp.seek(0)
            exif.load_from_fp(self.fp)
        exif[0x0112] = 1  # LibRaw turns it upright
        return exif

    def close(self):
        self.raw.close()
        self.fp.close()

    def decode(self, notes):
        """Pixels, uint16 (H, W, 3), with the camera's white balance, and no alpha."""
        pixels = self.raw.postprocess(use_camera_wb=True, output_bps=16)
        return np.ascontiguousarray(
            np.dstack([pixels] * (3 // pixels.shape[2])) if pixels.ndim == 3 else pixels
        ), None
