"""Numbers out of a file that `torch.save` wrote, without torch, and nothing else: no code in the file is run.

Such a file is a pickle that describes the tensors and the raw numbers beside it: in a ZIP archive, or, before PyTorch 1.6,
as one stream.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from inference.hdf5 import BadModel

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file of the older kind
DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor's numbers lie in its storage; offset and strides count numbers."""

    storage: tuple  # (key, dtype, count)
    offset: int
    shape: tuple
    strides: tuple

    def array(self, storages):
        key, dtype, count = self.storage
        numbers = np.frombuffer(storages[key], dtype, count)
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.ndarray(self.shape, dtype, numbers, self.offset * numbers.itemsize, strides).copy()  # checks the bounds


class _Unpickler(pickle.Unpickler):
    KNOWN = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: _Tensor(
            storage, offset, tuple(shape), tuple(strides)
        ),
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        **{("torch", name): dtype for name, dtype in DTYPES.items()},
    }

    def find_class(self, module, name):
        try:
            return self.KNOWN[module, name]
        except KeyError:
            raise BadModel(f"it asks for {module}.{name}, which holds no numbers") from None

    def persistent_load(self, described):
        kind, dtype, key, _, count, *_ = described
        if kind != "storage":
            raise BadModel(f"it describes a {kind!r}, expected a storage of numbers")
        return key, dtype, count


def read(path):
    """The tensors in a file of weights (a "state dict") that `torch.save` wrote.

    Returns:
        {name: numpy array}, of the tensors' own types.

    Raises:
        BadModel: the file is missing, damaged, or holds anything but tensors; the message is one line.
    """
    try:
        content = path.read_bytes()
        tensors, storages = (_from_archive if zipfile.is_zipfile(path) else _from_stream)(content)
        return {name: tensor.array(storages) for name, tensor in tensors.items()}
    except BadModel as error:
        reason = error
    except OSError as error:
        reason = error.strerror
    except Exception as error:  # a damaged pickle can raise anything
        reason = f"not weights that torch.save wrote, or damaged ({type(error).__name__})"
    raise BadModel(f"{path}: {reason}")


def _from_archive(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):  # torch compresses nothing
        raise BadModel("its archive is compressed")
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}  # below a folder of any name
    if archive.read(members.get("byteorder", members["data.pkl"])) == b"big":
        raise BadModel("its numbers are big-endian")
    tensors = _Unpickler(io.BytesIO(archive.read(members["data.pkl"]))).load()
    keys = {tensor.storage[0] for tensor in tensors.values()}
    return tensors, {key: archive.read(members[f"data/{key}"]) for key in keys}


def _from_stream(content):
    stream = io.BytesIO(content)
    if _Unpickler(stream).load() != MAGIC:
        raise BadModel("not weights that torch.save wrote")
    _version, _system = _Unpickler(stream).load(), _Unpickler(stream).load()
    tensors, keys = _Unpickler(stream).load(), _Unpickler(stream).load()
    described = {tensor.storage[0]: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in keys:
        _, dtype, count = described[key]
        stream.seek(8, io.SEEK_CUR)  # the count once more
        storages[key] = stream.read(count * np.dtype(dtype).itemsize)
    return tensors, storages
