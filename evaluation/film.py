"""Measure colorizing on films that have colours: `evaluate.py --film FILM`.

A film's L is colorized, each frame by itself and smoothed, and compared with the film's own
colours, at the size at which colours are followed.
"""

import numpy as np

from data.color import codes_from_linear, fit_gamut, lab_from_srgb, linear_from_lab
from data.preprocess import resize, to_float
from evaluation import Refused, metrics
from evaluation.statistics import markdown
from inference.film import Film
from inference.flow import Smoother, colored
from pictures.films import BadFilm, open_film
from utils import printable

NEAR = 4  # of L: only places whose L changes by less from frame to frame count for flicker
ROWS = ("frame by frame", "smoothed", "own colours")
METRICS = ("flicker", "psnr", "ciede2000")


def measure(path, colorizer):
    """How much the colours of a film flicker, and how near they are to its own.

    Flicker is the mean |ab - ab of the frame before, warped along the optical flow of L|, in Lab
    units, where L agrees within `NEAR`; cuts do not count. PSNR and CIEDE2000 are means over the
    frames, of predicted ab with the film's own L. Raises BadFilm.

    Returns:
        {name of ROWS: {name of METRICS: value}}.
    """
    film, smoother, before = Film(path), Smoother(), {name: Smoother(0) for name in ROWS}
    found = {name: {metric: [] for metric in METRICS} for name in ROWS}
    for shot in colored(_shots(film), colorizer, colorizer.settings(), 0, film.turns):
        lightness, own_ab = shot.frame[..., 0], shot.frame[..., 1:]
        own = _rgb(lightness, own_ab)
        for name, ab in zip(ROWS, (shot.ab, smoother(shot.lightness, shot.ab), own_ab)):
            if (carried := before[name].carried(shot.lightness)) is not None:
                near = np.abs(shot.lightness - carried[..., 0]) < NEAR
                change = np.abs(ab - carried[..., 1:])[near]
                found[name]["flicker"].append(change.mean() if len(change) else 0)
            before[name](shot.lightness, ab)
            rgb = _rgb(lightness, ab)
            lab = lab_from_srgb(to_float(rgb))
            found[name]["psnr"].append(metrics.psnr(rgb, own))
            found[name]["ciede2000"].append(metrics.ciede2000(lab, shot.frame))
    return {name: {key: np.mean(x or np.nan) for key, x in found[name].items()} for name in ROWS}


def _shots(film):
    """The frames, with the film's own Lab, float32 (h, w, 3), in place of `frame`."""
    with open_film(film.path) as container:
        for frame in container.decode(video=0):
            shot = film.shot(frame)
            rgb = resize(frame.to_ndarray(format="rgb24"), *shot.pixels.shape)[film.area]
            shot.frame = lab_from_srgb(to_float(resize(rgb, *shot.lightness.shape)))
            yield shot


def _rgb(lightness, ab):
    a, b = fit_gamut(lightness, *(np.ascontiguousarray(ab[..., i]) for i in (0, 1)))
    return codes_from_linear(linear_from_lab(lightness, a, b), np.uint8)


def show(paths, colorizer):
    """Print a table of each film. Raises Refused."""
    for path in paths:
        try:
            found = measure(path, colorizer)
        except BadFilm as error:
            raise Refused(f"{printable(path)}: {error}") from error
        print(f"\n{printable(path)}\n")
        print(
            markdown({name: {k: f"{x:.3f}" for k, x in own.items()} for name, own in found.items()})
        )
