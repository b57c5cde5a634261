"""The networks by name, and their files: one `.keras` file holds all that colorizing needs."""

import json
import zipfile
from pathlib import Path

from keras import saving

from models import aciids2020, iizuka2016, zhang2016
from models.keras2 import BadModel, is_keras2, read_keras2

NETWORKS = {"aciids2020": aciids2020, "iizuka2016": iizuka2016, "zhang2016": zhang2016}
CARD = "colorizer.json"  # beside Keras' own members in the archive


def save(path, network, weights, card):
    """Write a network to a `.keras` file that plain Keras loads too, on any backend, in safe mode.

    Args:
        path: of the file, ending in .keras; overwritten.
        network: a key of NETWORKS.
        weights: arrays in the order of `get_weights()`.
        card: JSON-serialisable dict that travels in the file: "arguments" (of the network's `build`, without precision),
            "size" (side of the training pictures) and whatever else describes the training.
    """
    model = NETWORKS[network].build(**card["arguments"])  # float32, whatever the precision of the training was
    model.set_weights(weights)
    saving.save_model(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD, json.dumps({"network": network} | card, indent=1))


def load(path, precision="float32"):
    """Read a network that `save` wrote, or a whole-model HDF5 file of the authors' scripts (Keras 2).

    Only numbers are taken from the file: the network is built by this repository from the card's arguments, and nothing
    that the file describes is run.

    Returns:
        (network, card): the keras.Model as `build` describes it, computing in `precision`, and the card.

    Raises:
        BadModel: the file is missing, damaged, or not of these kinds; the message is one line.
    """
    path = Path(path)
    if not path.is_file():
        raise BadModel(f"{path}: no such file")
    try:
        if is_keras2(path):
            return _from_keras2(path, precision)
        with zipfile.ZipFile(path) as archive:
            card = json.loads(archive.read(CARD))
        model = NETWORKS[card["network"]].build(**card["arguments"], precision=precision)
        model.load_weights(path)
    except BadModel:
        raise
    except Exception as error:  # zipfile, json, h5py and Keras each have their own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BadModel(f"{path}: not a network that train.py saved, or damaged ({reason})") from error
    return model, card


def start(network, arguments, path):
    """Give a new network the weights of a file; one trained on smaller pictures is grown (`aciids2020.grown`).

    Args:
        network: of `build(**arguments)`.
        path: of a file that `load` reads, of the same network and arguments but for "whole" and "initializer".

    Raises:
        BadModel: as `load` does, or the file's network differs; the message is one line.
    """
    source, card = load(path)
    own, its = (
        {"network": name} | values for name, values in ((network.name, arguments), (source.name, card["arguments"]))
    )
    differ = [name for name in own if name not in ("whole", "initializer") and its.get(name) != own[name]]
    if differ:
        raise BadModel(f"{path}: has {differ[0]} {its.get(differ[0])}, the new network {own[differ[0]]}")
    weights = source.get_weights()
    if "whole" in own and its["whole"] != own["whole"]:
        if own["whole"] % its["whole"]:
            raise BadModel(f"{path}: was trained at size {its['whole']}, of which {own['whole']} is no multiple")
        weights = aciids2020.grown(source, own["whole"])
    network.set_weights(weights)


def _from_keras2(path, precision):
    weights = read_keras2(path)
    full = aciids2020.build().get_layer("lfn_conv1").filters
    arguments = {"edges": True, "width": weights["lfn_conv1"][0].shape[-1] / full, "whole": 256}
    arguments |= {"input_scale": 1.0, "input_offset": 0.0}
    model = aciids2020.build(**arguments, precision=precision)
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)
    return model, {"network": "aciids2020", "arguments": arguments, "size": 256, "training": {"by": "Keras 2"}}
