import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from utils import import_keras_quietly

import_keras_quietly()  # before the modules of tests import it
# A shell's background job ignores Ctrl-C, and so would the commands that are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

COLOR = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")


@pytest.fixture(params=(*COLOR, "immunohistochemistry", "motorcycle"))
def color_photograph(request):
    """Each of scikit-image's colour photographs, of the large ones every other pixel, uint8."""
    name = request.param
    photograph = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    step = 2 if max(photograph.shape) > 800 else 1
    return photograph[::step, ::step]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder tree of 24 small colour photographs, cut out of those that scikit-image carries."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for i in range(24):
        source = getattr(data, ("astronaut", "chelsea", "coffee")[i % 3])()
        top, left = (rng.integers(0, n - 96) for n in source.shape[:2])
        path = folder / f"{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(source[top : top + 96, left : left + 80 + i]).save(path)
    return folder


@pytest.fixture(scope="module")
def broken_gives_no_numbers():
    """The network of a file broken.keras computes NaN, made so when it is loaded."""
    from models import file as model_file

    load = model_file.load

    def load_broken(path, *rest):
        network, metadata = load(path, *rest)
        if Path(path).stem == "broken":
            layer = network.get_layer("color_conv5")
            layer.set_weights([np.full_like(array, np.nan) for array in layer.get_weights()])
        return network, metadata

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_file, "load", load_broken)
        yield
