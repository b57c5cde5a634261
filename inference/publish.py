"""Prepare a trained network for release: half the size, a checksum beside it.

python -m inference.publish RUN/best.keras FILE.keras [--saturation MUTED NATURAL VIVID]
"""

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np

from inference.options import multiple_of_8
from models.properties import BadModel
from utils import atomic, import_keras_quietly, number

NAMES = ("muted", "natural", "vivid")


def publish(source, path, saturations=None, sizes=None, mirror=False):
    """Write a network with weights rounded to half precision, and its SHA-256, which `load` checks.

    The weights stay float32, so that plain Keras loads the file; rounded, they compress to half.

    Args:
        source: of the network, see `models.file.load`.
        path: of the file to write.
        saturations: factors on ab by NAMES; "natural" is then the default of test.py, else 1.
        sizes: sides of the squares that the network sees by default; None: the training's.
        mirror: whether ab is averaged with that of the mirror image by default.

    Returns:
        The largest difference that rounding makes to a weight.
    """
    from models import file as model_file

    network, metadata = model_file.load(source)
    weights = network.get_weights()
    rounded = [array.astype(np.float16).astype(np.float32) for array in weights]
    if saturations:
        metadata |= {"saturations": saturations, "colorize_saturation": saturations["natural"]}
    metadata |= ({"sizes": sizes} if sizes else {}) | ({"mirror": True} if mirror else {})
    training = metadata.get("training")
    while training:  # no folders of the machine that it ran on
        if training.get("init_from"):
            training["init_from"] = Path(training["init_from"]).name
        training = training.get("before")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, flush=True) as temporary:
        model_file.save(temporary, network.name, rounded, metadata)
        with zipfile.ZipFile(temporary) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    with atomic(model_file.checksum_of(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n")  # the format of sha256sum
    return max(float(np.abs(a - b).max()) for a, b in zip(weights, rounded))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("source", type=Path, help="network: best.keras of a run of train.py")
    parser.add_argument("file", type=Path, help="the file to write")
    text = "what test.py's --saturation means by these names; natural is its default"
    kind = number(float, 0, 10)
    names = tuple(name.upper() for name in NAMES)
    parser.add_argument("--saturation", type=kind, nargs=3, metavar=names, help=text)
    text = "side of a square that the network sees; several times: their colours are averaged"
    parser.add_argument("--size", type=multiple_of_8, action="append", metavar="N", help=text)
    text = "test.py averages ab with that of the mirror image"
    parser.add_argument("--mirror", action="store_true", help=text)
    args = parser.parse_args(arguments)
    import_keras_quietly()
    saturations = args.saturation and dict(zip(NAMES, args.saturation))
    try:
        difference = publish(args.source, args.file, saturations, args.size, args.mirror)
    except (BadModel, OSError) as error:
        sys.exit(f"{error}")
    size = args.file.stat().st_size / 1e6
    print(f"{args.file}: {size:.1f} MB, weights rounded by {difference:.1e} at most")


if __name__ == "__main__":
    main()
