"""Make a trained network fit to be shipped: half the size, a checksum beside it.

python -m inference.publish RUN/best.keras FILE.keras [--saturation F]
"""

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

from inference.options import add_size_option
from utils import atomic, import_keras_quietly, number

import_keras_quietly()

import numpy as np

from models import file as model_file


def publish(source, path, saturations=None, sizes=None, mirror=False):
    """Write a network with its weights rounded to half precision, and its SHA-256 beside it, which `load` checks.

    The weights are float32 still, so that plain Keras loads the file as it does any other; rounded, they compress to half.

    Args:
        source: of the network, see `model_file.load`.
        path: of the file to write.
        saturations: {"muted", "natural", "vivid": factor on ab}; natural is then the default of test.py, else 1.
        sizes: sides of the squares that this network sees of a picture unless test.py is told others; None: as trained.
        mirror: whether test.py averages ab with that of the mirror image unless it is told otherwise.

    Returns:
        The largest difference that rounding makes to a weight.
    """
    network, metadata = model_file.load(source)
    weights = network.get_weights()
    rounded = [array.astype(np.float16).astype(np.float32) for array in weights]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        if saturations:
            metadata |= {"colorize_saturation": saturations["natural"], "saturations": saturations}
        metadata |= {"sizes": sizes} if sizes else {}
        metadata |= {"mirror": True} if mirror else {}
        if "training" in metadata:
            metadata["training"] = pathless(metadata["training"])
        model_file.save(temporary, network.name, rounded, metadata)
        with zipfile.ZipFile(temporary) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        content = temporary.read_bytes()
    with atomic(model_file.checksum_of(path)) as temporary:
        temporary.write_text(
            f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        )  # as sha256sum writes and checks it
    return max(float(np.abs(a - b).max()) for a, b in zip(weights, rounded))


def pathless(training):
    """What a metadata tells of a training, and of those before it, without the folders of the machine that it ran on."""
    told = dict(training)
    if told.get("init_from"):
        told["init_from"] = Path(told["init_from"]).name
    if told.get("before"):
        told["before"] = pathless(told["before"])
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("source", type=Path, help="network: best.keras of a run of train.py")
    parser.add_argument("file", type=Path, help="the file to write")
    parser.add_argument(
        "--saturation", type=number(float, 0, 10), nargs=3, metavar=("MUTED", "NATURAL", "VIVID"),
        help="what test.py's --saturation means by these names; natural is its default (default: no names, 1)",
    )  # fmt: skip
    add_size_option(parser)
    parser.add_argument(
        "--mirror", action="store_true", help="test.py averages ab with that of the mirror image"
    )
    args = parser.parse_args()
    try:
        saturations = args.saturation and dict(zip(("muted", "natural", "vivid"), args.saturation))
        difference = publish(args.source, args.file, saturations, args.size, args.mirror)
    except (model_file.BadModel, OSError) as error:
        sys.exit(f"{error}")
    print(
        f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, weights rounded by {difference:.1e} at most"
    )


if __name__ == "__main__":
    main()
