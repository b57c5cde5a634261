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


def lit(gray, darkest):
    """Paper that is lit from a corner: its tones times 1 to `darkest`."""
    rows, columns = (np.linspace(0, 0.5, n) for n in gray.shape)
    return gray * (1 - (1 - darkest) * (rows[:, None] + columns))


PAPERS = {
    "light": lambda drawn, rng: drawn,
    "gray": lambda drawn, rng: drawn * 0.7,
    "dark": lambda drawn, rng: drawn * 0.45,
    "unevenly lit": lambda drawn, rng: lit(drawn, 0.6),
    "inverted": lambda drawn, rng: 255 - drawn,
    "inverted, unevenly lit": lambda drawn, rng: lit(255 - drawn * 0.8, 0.7),
    "blueprint": lambda drawn, rng: 60 + 0.6 * (255 - drawn),
    "pencil": lambda drawn, rng: np.maximum(drawn, 185),
    "grainy": lambda drawn, rng: drawn + rng.normal(0, 6, drawn.shape),
    "print shows through": lambda drawn, rng: drawn - 14 * (drawn[:, ::-1] < 140),
}


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("paper", PAPERS)
def test_paper_may_be_of_any_tone(paper, kind):
    for seed in range(3):
        drawn = page(seed, kind).astype(np.float64)
        drawn = PAPERS[paper](drawn, np.random.default_rng(seed))
        drawn = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
        assert is_line_art(drawn) and is_line_art(drawn.astype(np.uint16) * 257), seed
        assert is_line_art(cv2.resize(drawn, None, fx=3, fy=3)) or paper != "light"


def test_a_scanned_page_of_a_book_is_line_art():
    assert is_line_art(data.page())


@pytest.mark.parametrize("grain", [0, 2, 5])
@pytest.mark.parametrize("fall", [0, 60])
def test_silhouettes_are_not(grain, fall):
    """Birds, a mast and a wire against an even sky, which may grow lighter downwards."""
    sky = np.full((480, 640), 215.0) - np.linspace(fall, 0, 480)[:, None]
    for k in range(9):
        centre, angle = (60 + 65 * k, 90 + 30 * (k % 4)), 15 * (-1) ** k
        cv2.ellipse(sky, centre, (22, 6), angle, 0, 360, 30, -1)
    cv2.line(sky, (0, 300), (640, 260), 25, 2)
    cv2.rectangle(sky, (300, 280), (316, 480), 28, -1)
    sky += np.random.default_rng(0).normal(0, grain, sky.shape)
    assert not is_line_art(np.clip(sky, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "name", ["astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "moon", "clock"]
)
def test_photographs_are_not(name):
    picture = getattr(data, name)()
    gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    assert not is_line_art(gray.astype(np.uint8))
    faded = 200 + gray.astype(np.float32) / 255 * 55  # to near white; it is shaded still
    assert not is_line_art(faded.astype(np.uint8)) and not is_line_art(255 - gray.astype(np.uint8))


def test_a_photograph_on_paper_and_tiny_pictures_are_not():
    paper = np.full((700, 700), 245, np.uint8)
    paper[200:500, 200:500] = cv2.resize(data.camera(), (300, 300))
    for picture in (paper, np.full((1, 1), 255, np.uint8), np.full((20, 400), 255, np.uint8)):
        assert not is_line_art(picture)
