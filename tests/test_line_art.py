"""Pages and drawings made here are known as such; photographs are not."""

import cv2
import numpy as np
import pytest
from skimage import data

from inference.line_art import is_line_art


def page(seed, kind, height=900, width=640):
    """A page of letters or of lines on slightly noisy paper, uint8."""
    rng = np.random.default_rng(seed)
    paper = np.full((height, width), rng.integers(215, 256), np.uint8)
    if kind == "text":
        for y in range(60, height - 40, 24):
            words = "".join(rng.choice(list("abcdefghij klmnopq"), 40))
            cv2.putText(paper, words, (40, y), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 30, 1, cv2.LINE_AA)
    else:
        for _ in range(25):
            cv2.polylines(paper, [rng.integers(0, width, (4, 1, 2))], False, 20, 2, cv2.LINE_AA)
    return np.clip(paper + rng.normal(0, 2, paper.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("seed", range(4))
def test_pages_are_line_art(kind, seed):
    drawn = page(seed, kind)
    assert is_line_art(drawn) and is_line_art(drawn.astype(np.uint16) * 257)
    assert is_line_art(cv2.resize(drawn, None, fx=3, fy=3))


@pytest.mark.parametrize(
    "name", ["astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "moon", "clock"]
)
def test_photographs_are_not(name):
    picture = getattr(data, name)()
    gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    assert not is_line_art(gray.astype(np.uint8))
    bright = (200 + gray.astype(np.float32) / 255 * 55).astype(
        np.uint8
    )  # faded to near white, it is shaded still
    assert not is_line_art(bright)


def test_a_photograph_on_paper_is_not():
    paper = np.full((700, 700), 245, np.uint8)
    paper[200:500, 200:500] = cv2.resize(data.camera(), (300, 300))
    assert not is_line_art(paper)


@pytest.mark.parametrize("shape", [(1, 1), (20, 400)])
def test_tiny_pictures_are_not(shape):
    assert not is_line_art(np.full(shape, 255, np.uint8))
