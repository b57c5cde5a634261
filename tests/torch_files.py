"""Files as `torch.save` writes them, of both kinds, without torch."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

from evaluation import torchfile

STORAGES = {np.dtype(code): name for name, code in torchfile.DTYPES.items()}


class Global:
    """Pickled as the thing of that name in a module that need not be there."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("only named, never called here")


class Tensor:
    def __init__(self, array, key):
        self.array, self.key = array, key

    def __reduce__(self):
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        arguments = (Storage(self.array, self.key), 0, self.array.shape, strides, False, OrderedDict())
        return Global("torch._utils", "_rebuild_tensor_v2"), arguments


class Storage:
    def __init__(self, array, key):
        self.described = ("storage", Global("torch", STORAGES[array.dtype]), key, "cpu", array.size)


class Pickler(pickle._Pickler):
    old = False

    def persistent_id(self, thing):
        if isinstance(thing, Storage):
            return thing.described + ((None,) if self.old else ())
        return None

    def save_name(self, thing):
        self.write(f"c{thing.module}\n{thing.name}\n".encode())

    dispatch = pickle._Pickler.dispatch | {Global: save_name}


def pickled(thing, old=False):
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol=2)
    pickler.old = old
    pickler.dump(thing)
    return stream.getvalue()


def write(path, arrays, old=False):
    """Write {name: array} to a file, of the older kind or the newer."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    tensors = OrderedDict((name, Tensor(array, str(i))) for i, (name, array) in enumerate(arrays.items()))
    if old:
        keys = [str(i) for i in range(len(arrays))]
        parts = [torchfile.MAGIC, 1001, {"little_endian": True}, tensors, keys]
        numbers = (len(a.ravel()).to_bytes(8, "little") + a.tobytes() for a in arrays.values())
        path.write_bytes(b"".join([*(pickled(part, old) for part in parts), *numbers]))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights/data.pkl", pickled(tensors))
            archive.writestr("weights/byteorder", "little")
            for i, array in enumerate(arrays.values()):
                archive.writestr(f"weights/data/{i}", array.tobytes())
