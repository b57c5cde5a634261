"""Prepare a trained network for release: half the size, a checksum beside it.

python -m inference.publish RUN/best.keras FILE.keras [--saturation MUTED NATURAL VIVID]
"""

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np

from models.properties import BadModel, check_metadata
from utils import atomic, import_keras_quietly, number

NAMES = ("muted", "natural", "vivid")


def publish(source, path, properties):
    """Write a network with weights rounded to half precision, and its SHA-256, which `load` checks.

    The weights stay float32, so that plain Keras loads the file; rounded, they compress to half.
    `properties` with a value are added to the metadata, see `models.properties`. Raises BadModel if
    the source cannot be used or a property is invalid.
    """
    from models import file as model_file

    network, metadata = model_file.load(source)
    metadata |= {name: value for name, value in properties.items() if value}
    check_metadata(metadata)
    rounded = [w.astype(np.float16).astype(np.float32) for w in network.get_weights()]
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
        digest = model_file.sha256(temporary)
    with atomic(model_file.checksum_of(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n")  # the format of sha256sum


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("source", type=Path, help="network: best.keras of a run of train.py")
    parser.add_argument("file", type=Path, help="the file to write")
    text = "test.py's muted, natural (its default) and vivid"
    parser.add_argument("--saturation", type=number(float, 0, 10), nargs=3, metavar="X", help=text)
    text = "side of a square that the network sees; several times: their colours are averaged"
    parser.add_argument("--size", type=int, action="append", metavar="N", help=text)
    text = "average ab with that of the mirror image"
    parser.add_argument("--mirror", action="store_true", help=text)
    args = parser.parse_args(arguments)
    import_keras_quietly()
    properties = {"sizes": args.size, "mirror": args.mirror}
    if args.saturation:
        properties |= {"saturations": dict(zip(NAMES, args.saturation))}
        properties |= {"colorize_saturation": args.saturation[1]}
    try:
        publish(args.source, args.file, properties)
    except (BadModel, OSError) as error:
        sys.exit(f"{error}")
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
