"""Colorize films: a network on small copies of the frames, colours that follow the optical flow.

The luma of the source goes to the encoder as it was decoded; only Cb and Cr are new. Decoding, the
network, the flow with the chroma planes, and encoding each run in a thread of their own.
"""

import contextlib
import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from tqdm import tqdm

from data.color import fit_gamut, lightness_from_gray, linear_from_lab, srgb_from_linear
from data.preprocess import lightness_of, resize, shrink
from inference.line_art import is_line_art
from inference.options import LOSSLESS
from inference.scan import join
from pictures.films import FILMS, BadFilm, open_film, video_streams
from utils import atomic, printable

SMOOTH = 0.9  # share of the colours of the frame before, where the lightness agrees
BATCH = 8  # frames that the network sees at a time
SIDE = 160  # px of the longer side at which colours are followed
TOLERANCE = 6  # of L, by which a place may differ from where it came from
SAME_SCENE = 0.8  # correlation of L with that of the frame before, warped; below it is a cut
PROBES = 12  # frames, spread over the film, in which its borders are looked for
BLACK, WIDEST = 24, 0.3  # the highest 8-bit code of a border; its greatest width, of a side

# AVColorSpace: the weights of red and of blue in the luma (ITU-T H.273, table 4)
_LUMA = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
_LUMA |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_HDR = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic
_OWN_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")
_SRGB = srgb_from_linear(np.arange(65536, dtype=np.float32) / 65535)


@dataclass
class Summary:
    """What became of a film: frames written, frames that could not be decoded, what was lost."""

    frames: int = 0
    missing: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass
class Shot:
    """A frame on its way through the threads."""

    frame: Any  # of PyAV, or an array
    picture: np.ndarray  # uint8, upright, without borders: what the network is given
    lightness: np.ndarray  # float32 (h, w), L of the same area at `SIDE`, as stored
    luma: np.ndarray | None = None  # codes of the frame at the size of its chroma planes
    turns: int = 0  # quarter turns, counterclockwise, that made `picture` upright
    ab: np.ndarray | None = None


# --- colours from frame to frame


class Smoother:
    """Carries ab along the optical flow from frame to frame. A cut starts anew."""

    def __init__(self, strength=SMOOTH):
        """strength: share of the colours of the frame before, 0 to 1; 0: frame by frame."""
        self.strength, self.before = strength, None
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def carried(self, lightness):
        """L and ab of the frame before, float32 (h, w, 3), warped to this one; None at a cut."""
        if self.before is None or self.before.shape[:2] != lightness.shape:
            return None
        now, before = (np.rint(2.55 * x).astype(np.uint8) for x in (lightness, self.before[..., 0]))
        grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in now.shape[::-1]))
        places = np.dstack(grid) + self.flow.calc(now, before, None)
        border = cv2.BORDER_REPLICATE
        warped = cv2.remap(self.before, places, None, cv2.INTER_LINEAR, borderMode=border)
        x, y = (plane - plane.mean() for plane in (lightness, warped[..., 0]))
        # a correlation, which fades and flashes do not lower
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


def colored(items, colorizer, settings, smooth):
    """Give each `Shot` among the items its ab, in two threads; other items pass.

    Args:
        colorizer, settings: a Colorizer and its `settings`: saturation, mirror and force count.
        smooth: see `Smoother`.
    """
    smoother = Smoother(smooth)
    with contextlib.closing(ahead(_predicted(items, colorizer, settings), 1)) as groups:
        for item in itertools.chain.from_iterable(groups):
            if isinstance(item, Shot):
                ab = np.ascontiguousarray(np.rot90(item.ab, -item.turns))
                item.ab = smoother(item.lightness, cv2.resize(ab, item.lightness.shape[::-1]))
            yield item


def _predicted(items, colorizer, settings):
    """The items in groups, whose frames have the network's ab, saturated."""
    items = iter(items)
    while group := list(itertools.islice(items, BATCH)):
        shots = [item for item in group if isinstance(item, Shot)]
        found = colorizer.small_ab([shot.picture for shot in shots], settings) if shots else []
        for shot, ab in zip(shots, found):
            gray = not settings.force and is_line_art(shot.picture)
            shot.ab = ab * np.float32(0 if gray else settings.saturation)
        yield group


def ahead(items, count):
    """Iterate in a thread of its own, at most `count` items in advance."""
    items, end = iter(items), object()
    with ThreadPoolExecutor(1) as worker:
        waiting = deque(worker.submit(next, items, end) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(worker.submit(next, items, end))
                yield item
        finally:
            worker.shutdown(cancel_futures=True)
            getattr(items, "close", int)()


def colorize_frames(frames, colorizer, settings, smooth=SMOOTH):
    """Colorize the frames of a film one after another. See `Colorizer.film`."""
    frames = iter(frames)
    first = list(itertools.islice(frames, BATCH))

    def shots():
        for pixels in itertools.chain(first, frames):
            small = _gray(pixels[area])
            yield Shot(pixels, small, _at_side(lightness_of(small)))

    if first:
        area = borders([_gray(pixels) for pixels in first], first[0].shape)
        with contextlib.closing(colored(shots(), colorizer, settings, smooth)) as found:
            for shot in found:
                how = {"gamut": settings.gamut, "guided": settings.guided}
                yield join(shot.frame, area, shot.ab, **how)


def _gray(pixels):
    """A small copy of a frame for the network and the flow, uint8 (h, w), of the same L."""
    lightness = lightness_of(shrink(pixels, 512))
    codes = np.arange(256, dtype=np.uint8)
    return np.rint(np.interp(lightness, lightness_of(codes), codes)).astype(np.uint8)


def borders(pictures, shape):
    """The area of frames of this shape within black borders that all of them have: two slices.

    pictures: uint8 gray (h, w), the same frames at any size; those that are black count for none.
    """
    dark = np.stack([p for p in pictures if np.ptp(p) > BLACK] or pictures[:1]) <= BLACK
    area = []
    for axis, size in ((2, shape[0]), (1, shape[1])):
        lit = dark.mean(axis=(0, axis)) < 0.98
        ends = [int(np.argmax(side)) for side in (lit, lit[::-1])]
        scale = size / len(lit)
        first, last = (round(scale * n) if n <= WIDEST * len(lit) else 0 for n in ends)
        area.append(slice(first, size - last))
    return tuple(area)


def _at_side(lightness):
    scale = SIDE / max(lightness.shape)
    return resize(lightness, *(max(16, round(scale * n)) for n in lightness.shape))


class Codes:
    """What the codes of a film's planes mean."""

    def __init__(self, bits, full, matrix):
        """
        Args:
            bits: of a code, 8 to 12.
            full: whether black and white are the lowest and the highest code.
            matrix: AVColorSpace, a key of `_LUMA`.
        """
        low, luma, chroma = (0, 2**bits - 1, 2**bits - 1) if full else (16, 219, 224)
        scale = 1 if full else 2 ** (bits - 8)
        gray = (np.arange(2**bits, dtype=np.float32) - low * scale) / (luma * scale)
        gray = np.clip(gray, 0, 1)
        self.lightness = lightness_from_gray(gray)  # L of each code
        self.gray = np.rint(255 * gray).astype(np.uint8)
        self.depth = cv2.CV_8U if bits == 8 else cv2.CV_16U
        red, blue = _LUMA[matrix]
        weights = np.array([red, 1 - red - blue, blue])
        rows = [(np.eye(3)[i] - weights) / (2 - 2 * k) for i, k in ((2, blue), (0, red))]
        self.matrix = np.column_stack([chroma * scale * np.array(rows), [2.0 ** (bits - 1)] * 2])

    def chroma(self, luma, ab):
        """Cb and Cr, (h, w, 2), of luma codes (h, w) and of ab, which are enlarged to its size."""
        lightness = self.lightness.take(luma)
        a, b = cv2.split(cv2.resize(ab, luma.shape[::-1]))
        linear = linear_from_lab(lightness, *fit_gamut(lightness, a, b))
        codes = cv2.addWeighted(linear, 65535, linear, 0, 0, dtype=cv2.CV_16U)
        planes = cv2.transform(_SRGB.take(codes), self.matrix)
        return cv2.addWeighted(planes, 1, planes, 0, 0, dtype=self.depth)  # rounds and clips


# --- files of films


class Film:
    """A film to colorize, as `PROBES` frames spread over it show it."""

    def __init__(self, path):
        """Raises BadFilm: not a film, or of a kind that is refused."""
        self.path = path
        with open_film(path) as container:
            films = video_streams(container)
            if not films or films[0].codec_context is None:
                raise BadFilm("no video that FFmpeg decodes")
            if len(films) > 1:
                raise BadFilm(f"{len(films)} video streams: choose one, with ffmpeg -map 0:v:0")
            self.rate = films[0].average_rate or films[0].guessed_rate or 25
            length = container.duration or 0
            self.total = films[0].frames or round(length / av.time_base * self.rate) or None
            probes = []
            for i in range(PROBES if length else 1):
                with contextlib.suppress(av.FFmpegError):
                    if i:
                        container.seek(length * i // PROBES)
                    probes += itertools.islice(_decoded(container, films[0], {}, Summary()), 1)
        if not probes:
            raise BadFilm("no frame of it can be decoded")
        first = probes[0]
        self.size, form = (first.width, first.height), first.format
        bits = form.components[0].bits
        # whether the first plane is the luma to keep; other formats are converted
        own = form.name.startswith(("yuv4", "yuvj", "yuva", "gray", "nv")) and bits in (8, 10, 12)
        self.convert = not own or form.is_big_endian
        self.bits = bits if not self.convert else 8 if bits <= 8 else 10
        self.halved = not any(n % 2 for n in self.size)  # 4:2:0 has no odd sizes
        self.format = f"yuv{'420' if self.halved else '444'}p" + f"{self.bits}le" * (self.bits > 8)
        self.interlaced = any(probe.interlaced_frame for probe in probes)
        if self.interlaced and form.name != "yuv420p":
            raise BadFilm(f"interlaced {form.name}: deinterlace it first, with ffmpeg -vf bwdif")
        if kind := _HDR.get(first.color_trc):
            raise BadFilm(f"HDR ({kind}): convert it to SDR first, with ffmpeg -vf tonemap")
        # what the file does not say is taken as players take it
        full = first.color_range == 2 or not first.color_range and form.name[:4] in ("yuvj", "gray")
        full = full and not self.convert
        matrix = first.colorspace if first.colorspace in _LUMA else 1 if self.size[1] > 576 else 6
        self.codes = Codes(self.bits, full, matrix)
        self.color = {"color_range": 2 if full else 1, "colorspace": matrix}
        self.color |= {name: getattr(first, name) for name in ("color_primaries", "color_trc")}
        self.turns = round(first.rotation / 90) % 4
        turned = [data for data in first.side_data if data.type.name == "DISPLAYMATRIX"]
        self.display = np.frombuffer(turned[0], np.int32).tolist() if turned else None
        lumas = [self._luma(self._own(probe)) for probe in probes]
        self.area = borders([self.codes.gray.take(luma) for luma in lumas], lumas[0].shape)

    def read(self):
        """The frames of the film, each a `Shot`."""
        with open_film(self.path) as container:
            yield from self.shots(_decoded(container, *video_streams(container), {}, Summary()))

    def _own(self, frame):
        """A decoded frame as one whose first plane is the luma to keep."""
        if (frame.width, frame.height) != self.size:
            raise BadFilm(f"its size changes to {frame.width} x {frame.height}")
        if not self.convert:
            return frame
        return frame.reformat(format=self.format, dst_colorspace=self.color["colorspace"])

    def _plane(self, frame, index):
        """A plane of a frame, (h, w), that shares its memory."""
        plane, dtype = frame.planes[index], np.uint8 if self.bits == 8 else np.uint16
        return np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]

    def _luma(self, frame):
        """The luma at the size of the chroma planes, (h, w)."""
        luma, (width, height) = self._plane(frame, 0), self.size
        return resize(luma, height // 2, width // 2) if self.halved else luma

    def shots(self, items):
        """What `_decoded` gives, with a `Shot` in place of each frame."""
        for item in items:
            if isinstance(item, av.VideoFrame):
                frame = self._own(item)
                luma = self._luma(frame)
                view = luma[self.area]
                picture = np.rot90(self.codes.gray.take(view), self.turns)
                lightness = _at_side(self.codes.lightness.take(view))
                item = Shot(frame, picture, lightness, luma, self.turns)
            yield item

    def result(self, shot):
        """The frame to be encoded: the luma of the source, Cb and Cr of its L and ab."""
        frame = shot.frame
        if frame.format.name == self.format:
            frame.make_writable()
        else:
            frame = av.VideoFrame(*self.size, self.format)
            self._plane(frame, 0)[:] = self._plane(shot.frame, 0)
            for name in ("pts", "time_base", "duration"):
                setattr(frame, name, getattr(shot.frame, name))
        chroma = self.codes.chroma(shot.luma[self.area], shot.ab)
        for i in (0, 1):
            plane = self._plane(frame, 1 + i)
            plane[:] = 1 << (self.bits - 1)
            plane[self.area] = chroma[..., i]
        for name, value in self.color.items():
            setattr(frame, name, value)
        frame.pict_type = 0  # the encoder chooses its own
        return frame

    def encoder(self, out, source, quality, suffix):
        """The video stream of the result, as that of the source is."""
        rate = {} if quality == LOSSLESS else {"crf": str(round(min(17 + (95 - quality) / 2, 51)))}
        codec, options = "libx264", {"preset": "veryfast"} | (rate or {"qp": "0"})
        if suffix == ".mkv" and not rate:
            codec, options = "ffv1", {}
        elif self.bits > 8:
            quiet = "log-level=error" + ":lossless=1" * (not rate)
            codec, options = "libx265", {"preset": "veryfast", "x265-params": quiet} | rate
        if self.interlaced and codec == "libx264":
            if not rate:  # luma came back one code off
                raise BadFilm("interlaced: without loss in .mkv only")
            options["flags"] = "+ildct+ilme"
        stream = out.add_stream(codec, self.rate, options=options, time_base=source.time_base)
        context, (context.width, context.height) = stream.codec_context, self.size
        context.pix_fmt, context.thread_count = self.format, 0
        if codec == "libx265" and suffix != ".mkv":
            context.codec_tag = "hvc1"  # without it Apple's players do not play it
        for name, value in self.color.items():
            setattr(context, name, value)
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        stream.set_display_matrix(self.display)
        stream.metadata.update(_tags(source))
        return stream


def _decoded(container, video, copies, summary):
    """The frames of a stream, and the packets of those that are copied, in the file's order.

    What cannot be decoded is passed over, and how many frames are missing is put in `summary`.

    Args:
        copies: {index of a stream: that of the result}.
    """
    last, times, packets, frames, failures = None, {}, 0, 0, 0
    step = max(1, round(1 / ((video.average_rate or 25) * video.time_base)))
    reading = container.demux([video, *(container.streams[i] for i in copies)])
    ended = False
    while not ended:
        try:
            packet = next(reading, None)
        except av.FFmpegError:
            packet, failures = None, failures + 1  # the rest cannot be read
        if packet and packet.stream_index in copies:
            key, time = packet.stream_index, packet.dts
            if packet.size and time is None:  # a cover
                packet.pts = packet.dts = time = packet.pts or 0
            if packet.size and time >= times.get(key, time):  # muxers take no other order
                times[key], packet.stream = time, copies[key]
                yield packet
            continue
        ended = not packet or not packet.size
        packets += not ended
        try:
            found = video.codec_context.decode(None if ended else packet)
        except av.FFmpegError:
            found, failures = [], failures + 1
        for frame in found:
            if frame.pts is None or last is not None and frame.pts <= last:
                frame.pts = 0 if last is None else last + step
            last, frames, frame.time_base = frame.pts, frames + 1, video.time_base
            yield frame
    if failures or packets < video.frames:
        summary.missing = max(failures, max(packets, video.frames) - frames)


def _copies(container, out, suffix, summary):
    """{index of a stream of the source that is not its film: the one that takes its packets}."""
    copies = {}
    for stream in container.streams:
        kind = "cover" if stream.type == "video" else stream.type
        if kind == "video" or stream in video_streams(container):
            continue
        try:
            if kind == "data" or kind == ("cover" if suffix == ".mkv" else "attachment"):
                raise ValueError
            copy = out.add_stream_from_template(stream, opaque=True)
        except ValueError:
            summary.notes.append(f"its {kind}, stream {stream.index}, is lost: not for {suffix}")
            continue
        copy.metadata.update(_tags(stream))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _tags(part):
    """The metadata of a container or stream, without what describes the container itself."""
    return {key: value for key, value in part.metadata.items() if key.lower() not in _OWN_TAGS}


def colorize_film(
    source,
    target,
    colorizer,
    settings,
    smooth=SMOOTH,
    quality=95,
    keep=False,
    progress=lambda done, total: None,
):
    """Colorize a film.

    Args:
        source: path of a film.
        target: path of the result, which ends in one of `FILMS`.
        colorizer, settings: see `colored`.
        smooth: see `Smoother`.
        quality: 1 to 100, 95 is CRF 17; or "lossless".
        keep: where it is interrupted, keep the frames until then, as NAME.stopped.mp4.
        progress: called with the frames done and their number, None if that is not known.

    Returns:
        Summary.

    Raises:
        BadFilm: the film cannot be colorized; OSError: the result cannot be written.
        KeyboardInterrupt, also with `keep`.
    """
    suffix, summary, stopped = Path(target).suffix.lower(), Summary(), None
    if suffix not in FILMS:
        raise BadFilm(f"a film cannot become {suffix or target}: known are {', '.join(FILMS)}")
    film = Film(source)
    flags = {} if suffix == ".mkv" else {"movflags": "+faststart"}
    with atomic(target) as temporary:
        with (
            open_film(source) as container,
            av.open(os.fspath(temporary), "w", container_options=flags) as out,
        ):
            (video,) = video_streams(container)
            video.thread_type = "AUTO"
            out.metadata.update(_tags(container))
            out.set_chapters(container.chapters())
            encoder = film.encoder(out, video, quality, suffix)
            copies = _copies(container, out, suffix, summary)
            shots = ahead(film.shots(_decoded(container, video, copies, summary)), BATCH)
            items = ahead(colored(shots, colorizer, settings, smooth), 2)
            try:
                # threads end before the container that they read is closed
                with contextlib.closing(shots), contextlib.closing(items):
                    for item in items:
                        if isinstance(item, av.Packet):
                            out.mux(item)
                            continue
                        out.mux(encoder.encode(film.result(item)))
                        summary.frames += 1
                        progress(summary.frames, film.total)
            except KeyboardInterrupt as error:
                if not keep or not summary.frames:
                    raise
                stopped = error
            out.mux(encoder.encode())
        if stopped:
            os.replace(temporary, Path(target).with_suffix(".stopped" + suffix))
            raise stopped
    return summary


def colorize_films(
    pairs, colorizer, settings, report, smooth=SMOOTH, quality=95, keep=False, begin=lambda: None
):
    """Colorize each (film, result), with a progress bar; `report` counts what becomes of it.

    begin: called before each result is written. The others: see `colorize_film`.
    """
    for source, target in pairs:
        bar = tqdm(desc=printable(source.name), unit=" frames", disable=None, leave=False)

        def progress(done, total, bar=bar):
            bar.total = total
            bar.update(done - bar.n)
            report.frames = done, total

        with report.failures_of(source), bar:
            begin()
            target.parent.mkdir(parents=True, exist_ok=True)
            how = smooth, quality, keep, progress
            summary = colorize_film(source, target, colorizer, settings, *how)
            missing = f"{summary.missing} frames could not be decoded" if summary.missing else ""
            report.count("done", source, missing, *summary.notes)
        report.frames = None
