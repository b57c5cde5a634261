"""Measure colorizing on films that have colours: `evaluate.py --film FILM`.

A film's L is colorized, each frame by itself and smoothed, and compared with the film's own
colours. All is measured at the size at which colours are followed, one frame after another.
"""

import numpy as np

from data.color import codes_from_linear, fit_gamut, lab_from_srgb, linear_from_lab
from data.preprocess import resize, to_float
from evaluation import metrics
from inference.film import SMOOTH, Film, Smoother, colored

NEAR = 4  # of L: only places whose L changes by less from frame to frame count for flicker
METRICS = ("flicker", "psnr", "ciede2000")
ROWS = ("frame by frame", "smoothed", "own colours")


def measure(path, colorizer, smooth=SMOOTH):
    """How much the colours of a film flicker, and how near they are to its own.

    Flicker is the mean |ab - ab of the frame before, warped along the optical flow of L|, in Lab
    units, where L agrees within `NEAR`; cuts do not count. PSNR and CIEDE2000 are means over the
    frames, of predicted ab with the film's own L.

    Args:
        path: of a film with colours.
        colorizer: a Colorizer; saturation and mirror images as it colorizes.
        smooth: share of the colours of the frame before, see `Smoother`.

    Returns:
        {name of ROWS: {name of METRICS: value}}.

    Raises:
        BadFilm: the film cannot be colorized.
    """
    smoother, trackers = Smoother(smooth), {name: Smoother(0) for name in ROWS}
    found = {name: {metric: [] for metric in METRICS} for name in ROWS}
    for shot in colored(_shots(path), colorizer, colorizer.settings(), 0):
        lab = shot.frame
        for name, ab in zip(ROWS, (shot.ab, smoother(shot.lightness, shot.ab), lab[..., 1:])):
            values, carried = found[name], trackers[name].carried(shot.lightness)
            if carried is not None:
                near = np.abs(shot.lightness - carried[..., 0]) < NEAR
                change = np.abs(ab - carried[..., 1:])[near]
                values["flicker"].append(change.mean() if len(change) else 0)
            trackers[name](shot.lightness, ab)
            if name != "own colours":
                rgb = _rgb(lab[..., 0], ab)
                values["psnr"].append(metrics.psnr(rgb, _rgb(lab[..., 0], lab[..., 1:])))
                difference = metrics.ciede2000(lab_from_srgb(to_float(rgb)), lab)
                values["ciede2000"].append(difference.mean())
    return {
        name: {metric: float(np.mean(x)) if x else np.nan for metric, x in values.items()}
        for name, values in found.items()
    }


def _shots(path):
    """The frames, with the film's own Lab, float32 (h, w, 3), in place of `frame`."""
    film = Film(path)
    for shot in film.read():
        rgb = resize(shot.frame.to_ndarray(format="rgb24"), *shot.luma.shape)[film.area]
        shot.frame = lab_from_srgb(to_float(resize(rgb, *shot.lightness.shape)))
        yield shot


def _rgb(lightness, ab):
    a, b = fit_gamut(lightness, *(np.ascontiguousarray(ab[..., i]) for i in (0, 1)))
    return codes_from_linear(linear_from_lab(lightness, a, b), np.uint8)


def show(paths, colorizer, smooth=SMOOTH):
    """Print a table of each film."""
    print(f"{'':40}" + "".join(f"{metric:>12}" for metric in METRICS))
    for path in paths:
        for name, values in measure(path, colorizer, smooth).items():
            row = "".join(f"{values[metric]:12.3f}" for metric in METRICS)
            print(f"{f'{path.name}, {name}':40}{row}", flush=True)
