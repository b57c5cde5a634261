"""Colours of a film from frame to frame: a network on small copies, then the optical flow."""

import contextlib
import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from data.preprocess import lightness_of, resize, to_float
from inference.line_art import is_line_art
from inference.scan import network_view

SMOOTH = 0.9  # share of the colours of the frame before, where the lightness agrees
BATCH = 8  # frames that the network sees at a time
SIDE = 160  # px of the longer side at which colours are followed
TOLERANCE = 6  # of L, by which a place may differ from where it came from
SAME_SCENE = 0.8  # correlation of L with that of the frame before, warped; below it is a cut


class Shot:
    """A frame on its way through the threads: its pixels, as `join` takes them; its picture for the
    network, gray, uint8 or uint16 (h, w), without borders; a frame of PyAV, which becomes the
    result; packets of other streams that come before it.
    """

    def __init__(self, pixels, picture, frame=None, packets=()):
        self.pixels, self.picture, self.frame, self.packets = pixels, picture, frame, packets
        scale = SIDE / max(picture.shape)
        small = resize(picture, *(max(16, round(scale * n)) for n in picture.shape))
        self.lightness, self.ab = lightness_of(small), None


class Smoother:
    """Carries ab along the optical flow from frame to frame, not over cuts.

    strength: share of the colours of the frame before, 0 to 1; 0: frame by frame.
    """

    def __init__(self, strength=SMOOTH):
        self.strength, self.before = strength, None
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def carried(self, lightness):
        """L and ab of the frame before, float32 (h, w, 3), warped to this one; None at a cut."""
        if self.before is None or self.before.shape[:2] != lightness.shape:
            return None
        now, before = (np.rint(2.55 * x).astype(np.uint8) for x in (lightness, self.before[..., 0]))
        grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in now.shape[::-1]))
        places = np.dstack(grid) + self.flow.calc(now, before, None)
        edge = cv2.BORDER_REPLICATE
        warped = cv2.remap(self.before, places, None, cv2.INTER_LINEAR, borderMode=edge)
        # fades and flashes do not lower a correlation
        x, y = (plane - plane.mean() for plane in (lightness, warped[..., 0]))
        alike = (x * y).sum() > SAME_SCENE * np.sqrt((x * x).sum() * (y * y).sum())
        return warped if alike else None

    def __call__(self, lightness, ab):
        """ab of the next frame, float32 (h, w, 2), smoothed. lightness: its L, (h, w)."""
        if self.strength and (carried := self.carried(lightness)) is not None:
            change = lightness - carried[..., 0]
            change -= np.median(change)  # of the light, as in a fade, a flash, an old film
            weight = np.float32(self.strength) * np.exp(-np.square(change / TOLERANCE))
            ab = ab + weight[..., None] * (carried[..., 1:] - ab)
        self.before = np.dstack([lightness, ab])
        return ab


def colored(shots, colorizer, settings, smooth=SMOOTH, turns=0):
    """Yield each `Shot` with its ab, saturated: float32 (h, w, 2), of the size of its lightness.

    Args:
        shots: an iterator.
        colorizer, settings: a Colorizer and its `settings`: saturation, mirror and force count.
        smooth: see `Smoother`.
        turns: quarter turns, counterclockwise, that make the frames upright.
    """

    def predicted():
        while group := list(itertools.islice(shots, BATCH)):
            pictures = [np.rot90(shot.picture, turns) for shot in group]
            for shot, picture, ab in zip(group, pictures, colorizer.small_ab(pictures, settings)):
                gray = not settings.force and is_line_art(picture)
                ab = np.rot90(ab * np.float32(0 if gray else settings.saturation), -turns)
                shot.ab = cv2.resize(np.ascontiguousarray(ab), shot.lightness.shape[::-1])
                yield shot

    smoother = Smoother(smooth)
    with contextlib.closing(ahead(predicted())) as found:
        for shot in found:
            shot.ab = smoother(shot.lightness, shot.ab)
            yield shot


def ahead(items):
    """Iterate over a generator in a thread of its own, at most `BATCH` items in advance."""
    end = object()
    with ThreadPoolExecutor(1) as worker:
        waiting = deque(worker.submit(next, items, end) for _ in range(BATCH))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(worker.submit(next, items, end))
                yield item
        finally:
            worker.shutdown(cancel_futures=True)
            items.close()


def borders(frames):
    """The area within the plain borders that all frames have: slices of rows and columns."""
    return network_view(np.mean([to_float(pixels) for pixels in frames], axis=0)).area
