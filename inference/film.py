"""Colorize films: a network on small copies of the frames, colours that follow the optical flow.

The luma of the source goes to the encoder as it was decoded; only Cb and Cr are new. Decoding, the
network, the flow with the chroma planes, and encoding each run in a thread of their own.
"""

import contextlib
import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from data.color import fit_gamut, lightness_from_gray, linear_from_lab, srgb_from_linear
from data.preprocess import lightness_of, resize
from inference.line_art import is_line_art
from inference.scan import join
from utils import atomic

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")  # that can be written
SMOOTH = 0.9  # share of the colours of the frame before, where the lightness agrees
BATCH = 8  # frames that the network sees at a time
SIDE = 160  # px of the longer side at which colours are followed
TOLERANCE = 6  # of L, by which a place may differ from where it came from
SAME_SCENE = 0.8  # correlation of L with that of the frame before, warped; below it is a cut
PROBES = 12  # frames, spread over the film, in which its borders are looked for
BLACK, WIDEST = 24, 0.3  # the highest 8-bit code of a border; its greatest width, of a side

# Containers of films. FFmpeg also opens pictures, texts, and play lists that name other files.
_OPEN = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,flv,ogg,dv,mxf,nut,ivf,rm,h264,"
    "hevc,m4v,wtv,vc1,obu",
}
# AVColorSpace: the weights of red and of blue in the luma (ITU-T H.273, table 4)
_LUMA = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
_LUMA |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_HDR = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic
_CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")
_SRGB = srgb_from_linear(np.arange(65536, dtype=np.float32) / 65535)


class BadFilm(ValueError):
    """A film that cannot be colorized. The message is one line."""


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
    gray: np.ndarray  # uint8, upright, without borders: what the network is given
    lightness: np.ndarray  # float32 (h, w), L of the same area at `SIDE`, as stored
    full: np.ndarray | None = None  # float32, L of the frame at the size of its chroma planes
    turns: int = 0  # quarter turns, counterclockwise, that made `gray` upright
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
            distance = (lightness - carried[..., 0]) / TOLERANCE
            weight = np.float32(self.strength) * np.exp(-distance * distance)
            ab = ab + weight[..., None] * (carried[..., 1:] - ab)
        self.before = np.dstack([lightness, ab])
        return ab


def coloured(items, colorizer, saturation, smooth, force):
    """Give each `Shot` among the items its ab, in two threads; other items pass.

    Args:
        colorizer: a `colorizer.Colorizer`.
        saturation: factor on ab, or a name; None: the model's default.
        smooth: see `Smoother`.
        force: colorize documents too.
    """
    factor = colorizer.saturation if saturation is None else saturation
    factor = np.float32(colorizer.saturations[factor] if isinstance(factor, str) else factor)
    smoother = Smoother(smooth)
    with contextlib.closing(ahead(_predicted(items, colorizer, force), 2)) as groups:
        for item in itertools.chain.from_iterable(groups):
            if isinstance(item, Shot):
                ab = np.ascontiguousarray(np.rot90(item.ab, -item.turns)) * factor
                item.ab = smoother(item.lightness, cv2.resize(ab, item.lightness.shape[::-1]))
            yield item


def _predicted(items, colorizer, force):
    """The items in groups of at most `BATCH` frames, which get the network's ab."""
    items = iter(items)
    while group := list(itertools.islice(items, BATCH)):
        shots = [item for item in group if isinstance(item, Shot)]
        for shot, ab in zip(shots, colorizer.small_ab([s.gray for s in shots]) if shots else ()):
            shot.ab = ab * np.float32(force or not is_line_art(shot.gray))
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


def colorize_frames(frames, colorizer, saturation=None, smooth=SMOOTH, force=False):
    """Colorize the frames of a film one after another: a generator that holds few at a time.

    Args:
        frames: iterable of (H, W) gray or (H, W, 3) sRGB of one size: uint8, uint16 or float in
            0..1. Black borders are found in the first `BATCH` of them.
        others: see `coloured`.

    Yields:
        sRGB (H, W, 3) of each frame's type.
    """
    frames = iter(frames)
    first = list(itertools.islice(frames, BATCH))
    if not first:
        return
    codes = Codes(8, True, 1)

    def gray(pixels):  # the network and the flow need no more
        scale = min(1, 512 / max(pixels.shape))
        pixels = resize(pixels, *(max(1, round(scale * n)) for n in pixels.shape[:2]))
        lightness = lightness_of(pixels)
        return np.rint(np.interp(lightness, codes.lightness, np.arange(256))).astype(np.uint8)

    area = borders([gray(pixels) for pixels in first], first[0].shape)

    def shots():
        for pixels in itertools.chain(first, frames):
            small = gray(pixels[area])
            yield Shot(pixels, small, _at_side(codes.lightness.take(small)))

    for shot in coloured(shots(), colorizer, saturation, smooth, force):
        yield join(shot.frame, area, shot.ab)


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

    def chroma(self, lightness, ab):
        """Cb and Cr, (h, w, 2), of L (h, w) and of ab, which are enlarged to its size."""
        a, b = cv2.split(cv2.resize(ab, lightness.shape[::-1]))
        linear = linear_from_lab(lightness, *fit_gamut(lightness, a, b))
        codes = cv2.addWeighted(linear, 65535, linear, 0, 0, dtype=cv2.CV_16U)
        planes = cv2.transform(_SRGB.take(codes), self.matrix)
        return cv2.addWeighted(planes, 1, planes, 0, 0, dtype=self.depth)  # rounds and clips


# --- films


def is_film(path):
    """Whether a file is a film, by its content."""
    try:
        with _opened(path):
            return True
    except BadFilm as error:
        return "video streams" in str(error)


@contextlib.contextmanager
def _opened(path):
    """(container, its video stream). Raises BadFilm."""
    try:
        if not Path(path).is_file():
            raise BadFilm("no such file")
        with av.open(str(path), options=_OPEN, metadata_errors="replace") as container:
            films = [stream for stream in container.streams.video if not _is_cover(stream)]
            if not films or films[0].codec_context is None:
                raise BadFilm("not a film: no video stream that FFmpeg decodes")
            if len(films) > 1:
                raise BadFilm(f"{len(films)} video streams: choose one, with ffmpeg -map 0:v:0")
            films[0].thread_type = "AUTO"
            yield container, films[0]
    except av.FFmpegError as error:
        raise BadFilm(f"FFmpeg does not read it ({error.strerror})") from error


def _is_cover(stream):
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


class Film:
    """A film to colorize, as `PROBES` frames spread over it show it."""

    def __init__(self, path):
        """Raises BadFilm: not a film, or of a kind that is refused."""
        self.path = path
        frames = self._probe()
        first = frames[0]
        self.width, self.height = first.width, first.height
        form = first.format
        bits = form.components[0].bits
        own = form.name.startswith(("yuv4", "yuvj", "yuva", "gray", "nv")) and bits in (8, 10, 12)
        own = own and not form.is_big_endian
        self.bits = bits if own else 8 if bits <= 8 else 10
        self.halved = not (self.width % 2 or self.height % 2)  # 4:2:0 has no odd sizes
        self.format = f"yuv{'420' if self.halved else '444'}p" + f"{self.bits}le" * (self.bits > 8)
        self.convert = not own
        self.interlaced = any(frame.interlaced_frame for frame in frames)
        if self.interlaced and form.name != "yuv420p":
            raise BadFilm(f"interlaced {form.name}: deinterlace it first, with ffmpeg -vf bwdif")
        if kind := _HDR.get(first.color_trc):
            raise BadFilm(f"HDR ({kind}): convert it to SDR first, with ffmpeg -vf tonemap")
        # what the file does not say is taken as players take it
        full = form.name.startswith(("yuvj", "gray")) if first.color_range == 0 else None
        full = own and (first.color_range == 2 if full is None else full)
        matrix = first.colorspace if first.colorspace in _LUMA else 1 if self.height > 576 else 6
        self.codes = Codes(self.bits, full, matrix)
        self.colour = {"color_range": 2 if full else 1, "colorspace": matrix}
        self.colour |= {name: getattr(first, name) for name in ("color_primaries", "color_trc")}
        self.turns = round(first.rotation / 90) % 4
        matrices = [data for data in first.side_data if data.type.name == "DISPLAYMATRIX"]
        self.display = np.frombuffer(matrices[0], np.int32).tolist() if matrices else None
        lumas = [self._luma(self._own(frame)) for frame in frames if self._fits(frame)]
        self.area = borders([self.codes.gray.take(luma) for luma in lumas], lumas[0].shape)

    def _probe(self):
        frames = []
        with _opened(self.path) as (container, video):
            self.rate = video.average_rate or video.guessed_rate or 25
            length = container.duration or 0
            self.total = video.frames or round(length / av.time_base * self.rate) or None
            for i in range(PROBES if length else 1):
                with contextlib.suppress(av.FFmpegError, StopIteration):
                    if i:
                        container.seek(length * i // PROBES)
                    frames.append(next(_decoded(container, video, {}, Summary())))
        if not frames:
            raise BadFilm("no frame of it can be decoded")
        return frames

    def _fits(self, frame):
        return (frame.width, frame.height) == (self.width, self.height)

    def _own(self, frame):
        """A decoded frame as one whose first plane is the luma to keep."""
        if not self._fits(frame):
            raise BadFilm(f"its size changes to {frame.width} x {frame.height}")
        if self.convert:
            form = "yuv420p" if self.bits == 8 else "yuv420p10le"
            frame = frame.reformat(format=form, dst_colorspace=self.colour["colorspace"])
        return frame

    def _luma(self, frame):
        """The luma at the size of the chroma planes, (h, w)."""
        luma = self._plane(frame, 0)
        if self.halved:
            size = self.width // 2, self.height // 2
            luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        return luma

    def _plane(self, frame, index):
        """A plane of a frame, (h, w), that shares its memory."""
        plane, dtype = frame.planes[index], np.dtype(np.uint8 if self.bits == 8 else np.uint16)
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        return rows[:, : plane.width]

    def shots(self, container, video, copies, summary):
        """Each frame as a `Shot`, and each packet to be copied."""
        for item in _decoded(container, video, copies, summary):
            if isinstance(item, av.Packet):
                yield item
                continue
            frame = self._own(item)
            luma = self._luma(frame)
            gray = np.rot90(self.codes.gray.take(luma[self.area]), self.turns)
            full = self.codes.lightness.take(luma)
            yield Shot(frame, gray, _at_side(full[self.area]), full, self.turns)

    def result(self, shot):
        """The frame to be encoded: the luma of the source, Cb and Cr of its L and ab."""
        frame = shot.frame
        if frame.format.name == self.format:
            frame.make_writable()
        else:
            frame = av.VideoFrame(self.width, self.height, self.format)
            self._plane(frame, 0)[:] = self._plane(shot.frame, 0)
            frame.pts, frame.time_base = shot.frame.pts, shot.frame.time_base
            frame.duration = shot.frame.duration
        planes = self.codes.chroma(shot.full[self.area], shot.ab)
        for i in (0, 1):
            target = self._plane(frame, i + 1)
            target[:] = 1 << (self.bits - 1)
            target[self.area] = planes[..., i]
        for name, value in self.colour.items():
            setattr(frame, name, value)
        frame.pict_type = 0  # the encoder chooses its own
        return frame

    def encoder(self, out, video, suffix, quality):
        """The video stream of the result."""
        crf = (
            {"crf": str(int(np.clip(17 + (95 - quality) / 2, 0, 51)))}
            if quality != LOSSLESS
            else None
        )
        if quality == LOSSLESS and suffix == ".mkv":
            codec, options = "ffv1", {}
        elif self.bits == 8:
            codec, options = "libx264", {"preset": "veryfast"} | (crf or {"qp": "0"})
        else:
            quiet = "log-level=error" + ":lossless=1" * (crf is None)
            codec, options = "libx265", {"preset": "veryfast", "x265-params": quiet} | (crf or {})
        if self.interlaced:
            options["flags"] = "+ildct+ilme"
        stream = out.add_stream(codec, self.rate, options=options, time_base=video.time_base)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = self.width, self.height, self.format
        context.thread_count = 0
        if codec == "libx265" and suffix != ".mkv":
            context.codec_tag = "hvc1"  # Apple's players want it
        for name, value in self.colour.items():
            setattr(context, name, value)
        if video.sample_aspect_ratio:
            context.sample_aspect_ratio = video.sample_aspect_ratio
        if self.display:
            stream.set_display_matrix(self.display)
        stream.metadata.update(_tags(video))
        return stream


LOSSLESS = "lossless"


def _tags(holder):
    return {k: v for k, v in holder.metadata.items() if k.lower() not in _CONTAINER_TAGS}


def _copies(container, out, suffix, notes):
    """{index of a stream that is copied: the stream of the result}."""
    copies = {}
    for stream in container.streams:
        if stream.type == "video" and not _is_cover(stream):
            continue
        try:
            if stream.type == "data" or suffix == ".mkv" and stream.type == "video":
                raise ValueError
            if stream.type == "attachment" and suffix != ".mkv":
                raise ValueError
            copy = copies[stream.index] = out.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(_tags(stream))
            copy.disposition = stream.disposition
        except ValueError:
            kind = "cover" if stream.type == "video" else stream.type
            notes.append(f"its stream {stream.index} ({kind}) is lost: {suffix} does not hold it")
    return copies


def _decoded(container, video, copies, summary):
    """The frames of the video stream, and the packets that are copied, in the file's order.

    What cannot be decoded is passed over and counted.
    """
    packets = frames = failures = 0
    last, times = None, {}
    step = max(1, round(1 / ((video.average_rate or 25) * video.time_base)))
    reading = container.demux([video, *(container.streams[i] for i in copies)])
    while True:
        try:
            packet = next(reading, None)
        except av.FFmpegError:  # the rest cannot be read
            packet, failures = None, failures + 1
        if packet is not None and packet.stream_index != video.index:
            if packet.size and packet.dts is not None:
                key, time = packet.stream_index, packet.dts
                if time > times.get(key, time - 1):
                    times[key] = time
                    packet.stream = copies[key]
                    yield packet
            continue
        packets += bool(packet and packet.size)
        try:
            found = video.decode(packet)
        except av.EOFError:  # the last packet has told so already
            found = []
        except av.FFmpegError:
            found, failures = [], failures + 1
        for frame in found:
            if frame.pts is None or last is not None and frame.pts <= last:
                frame.pts = 0 if last is None else last + step
            last = frame.pts
            frames += 1
            yield frame
        if packet is None:
            break
    if failures or packets < video.frames:
        summary.missing = max(failures, video.frames - frames)


def colorize_film(
    source,
    target,
    colorizer,
    *,
    saturation=None,
    smooth=SMOOTH,
    quality=95,
    force=False,
    keep=False,
    progress=lambda done, total: None,
):
    """Colorize a film.

    Args:
        source: path of a film.
        target: path of the result, which ends in one of `SUFFIXES`.
        colorizer: a `colorizer.Colorizer`.
        saturation, smooth, force: see `coloured`.
        quality: 1 to 100, 95 is CRF 17; or "lossless".
        keep: where it is interrupted, keep a film of the frames until then.
        progress: called with the frames done and those of the film, None where it is not known.

    Returns:
        Summary.

    Raises:
        BadFilm: the film cannot be colorized; OSError: the result cannot be written.
        KeyboardInterrupt, also with `keep`.
    """
    film, summary, stopped = Film(source), Summary(), None
    suffix = Path(target).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadFilm(f"{suffix or 'no suffix'}: known are {', '.join(SUFFIXES)}")
    flags = {} if suffix == ".mkv" else {"movflags": "+faststart"}
    with atomic(target) as temporary, _opened(source) as (container, video):
        with av.open(str(temporary), "w", container_options=flags) as out:
            out.metadata.update(_tags(container))
            out.set_chapters(container.chapters())
            encoder = film.encoder(out, video, suffix, quality)
            copies = _copies(container, out, suffix, summary.notes)
            shots = ahead(film.shots(container, video, copies, summary), 2 * BATCH)
            items = ahead(coloured(shots, colorizer, saturation, smooth, force), 4)
            try:
                with contextlib.closing(items):
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
        raise stopped
    return summary
