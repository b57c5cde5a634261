"""Measure colorizing on films that have colours: `evaluate.py --film FILM`.

A film's L is colorized, each frame by itself and smoothed, and compared with the film's own
colours, at the size at which colours are followed.
"""

import numpy as np

from data.color import codes_from_linear, fit_gamut, lab_from_srgb, linear_from_lab
from data.preprocess import resize, to_float
from evaluation import metrics
from inference.film import Film
from inference.flow import Smoother, colored
from pictures.films import open_film

NEAR = 4  # of L: only places whose L changes by less from frame to frame count for flicker
METRICS = ("flicker", "psnr", "ciede2000")
ROWS = ("frame by frame", "smoothed", "own colours")


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
        lab = shot.frame
        colors = shot.ab, smoother(shot.lightness, shot.ab), lab[..., 1:]
        for name, ab in zip(ROWS, colors):
            if (carried := before[name].carried(shot.lightness)) is not None:
                near = np.abs(shot.lightness - carried[..., 0]) < NEAR
                change = np.abs(ab - carried[..., 1:])[near]
                found[name]["flicker"].append(change.mean() if len(change) else 0)
            before[name](shot.lightness, ab)
        own = _rgb(lab[..., 0], colors[2])
        for name, ab in zip(ROWS[:2], colors):
            rgb = _rgb(lab[..., 0], ab)
            found[name]["psnr"].append(metrics.psnr(rgb, own))
            difference = metrics.ciede2000(lab_from_srgb(to_float(rgb)), lab)
            found[name]["ciede2000"].append(difference.mean())
    return {name: {key: np.mean(x or [np.nan]) for key, x in found[name].items()} for name in ROWS}


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
    """Print a table of each film."""
    print(f"{'':40}" + "".join(f"{metric:>12}" for metric in METRICS))
    for path in paths:
        for name, values in measure(path, colorizer).items():
            row = "".join(f"{values[metric]:12.3f}" for metric in METRICS)
            print(f"{f'{path.name}, {name}':40}{row}", flush=True)
