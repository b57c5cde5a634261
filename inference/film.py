"""Colorize films. The luma of the source goes to the encoder as decoded; Cb and Cr are new.

Decoding, the network, and the flow with encoding run in threads of their own.
"""

import contextlib
import itertools
import os
from dataclasses import replace

import av
import numpy as np
from tqdm import tqdm

from data.preprocess import lightness_of, shrink
from inference.flow import BATCH, SMOOTH, Shot, ahead, borders, colored
from inference.options import LOSSLESS
from inference.scan import join
from pictures.films import BadFilm, open_film, video_streams
from utils import atomic, printable

PROBES = 12  # frames, spread over the film, in which its borders are looked for


def colorize_frames(frames, colorizer, settings, smooth=SMOOTH):
    """Colorize the frames of a film one after another. See `Colorizer.film`."""
    frames = iter(frames)
    if not (first := list(itertools.islice(frames, BATCH))):
        return
    area = borders(first)

    def shot(pixels):
        gray, codes = lightness_of(shrink(pixels[area], 512)), np.arange(256, dtype=np.uint8)
        gray = np.interp(gray, lightness_of(codes), codes)  # of the same L
        return Shot(pixels, np.rint(gray).astype(np.uint8))

    shots = map(shot, itertools.chain(first, frames))
    with contextlib.closing(colored(shots, colorizer, settings, smooth)) as found:
        for shot in found:
            yield join(shot.pixels, area, shot.ab, gamut=settings.gamut)


class Film:
    """A film to colorize, as `PROBES` frames spread over it show it."""

    def __init__(self, path):
        """Raises BadFilm: not a film, or of a kind that is refused."""
        self.path, probes = path, []
        with open_film(path) as container:
            films = video_streams(container)
            if len(films) != 1 or films[0].codec_context is None:
                raise BadFilm(f"{len(films)} video streams: one that FFmpeg decodes is needed")
            length, self.rate = container.duration or 0, films[0].average_rate or 25
            self.total = films[0].frames or round(length / av.time_base * self.rate) or None
            for i in range(PROBES if length else 1):
                with contextlib.suppress(av.FFmpegError):
                    if i:
                        container.seek(length * i // PROBES)
                    found = _decoded(container, {}, [], [])
                    probes += [frame for frame, _ in itertools.islice(found, 1)]
        if not probes:
            raise BadFilm("no frame of it can be decoded")
        first, form = probes[0], probes[0].format
        if any(frame.interlaced_frame for frame in probes):
            raise BadFilm("interlaced: deinterlace it first, with ffmpeg -vf bwdif")
        if first.color_trc in (16, 18):  # PQ, HLG
            raise BadFilm("HDR: convert it to SDR first, with ffmpeg -vf tonemap")
        bits = form.components[0].bits
        # whether the first plane is the luma to keep; other formats are converted
        own = form.name.startswith(("yuv4", "yuvj", "yuva", "gray", "nv")) and bits in (8, 10)
        self.own = form.name if own and not form.is_big_endian else None
        # what the file does not say is taken as players take it
        full = first.color_range == 2 or not first.color_range and form.name[:4] in ("yuvj", "gray")
        self.color = {name: getattr(first, name) for name in ("color_primaries", "color_trc")}
        known = first.colorspace in (1, 4, 5, 6, 7, 9)
        self.color["colorspace"] = first.colorspace if known else 1 if first.height > 576 else 6
        self.color["color_range"] = 2 if full and self.own else 1
        self.space = {f"dst_{name}": self.color[name] for name in ("colorspace", "color_range")}
        self.size, self.deep = (first.width, first.height), "10le" * (bits > 8)
        odd = any(n % 2 for n in self.size)  # 4:2:0 has even sizes only
        self.format = f"yuv{'444' if odd else '420'}p{self.deep}"
        self.half = self.size if odd else tuple(n // 2 for n in self.size)  # of Cb and Cr
        self.turns = round(first.rotation / 90) % 4
        turned = [data for data in first.side_data if data.type.name == "DISPLAYMATRIX"]
        self.display = np.frombuffer(turned[0], np.int32).tolist() if turned else None
        # of the luma: at the size of Cb and Cr the line beside a border may be the photograph's own
        area = borders([self._gray(self._own(frame), self.size) for frame in probes])
        steps = (a // b for a, b in zip(self.size[::-1], self.half[::-1]))
        self.area = tuple(slice(s.start // n, -(-s.stop // n)) for s, n in zip(area, steps))

    def _own(self, frame):
        """A frame as the film is: of another size or format it is converted."""
        if (frame.width, frame.height, frame.format.name) == (*self.size, self.own):
            return frame
        return frame.reformat(*self.size, self.format, **self.space)

    def _gray(self, frame, size):
        """A frame as full-range gray, uint8 or uint16 (h, w)."""
        how = {"src_color_range": self.color["color_range"], "dst_color_range": 2}
        form = "gray16le" if self.deep else "gray"
        return frame.reformat(*size, form, interpolation="AREA", **how).to_ndarray()

    def shot(self, frame, packets=()):
        """The `Shot` of a frame. Its pixels are gray, at the size of Cb and Cr.

        The luma is copied: decoders conceal damage with what lies in frames that they have back, so
        frames that are held would change others.
        """
        frame = self._own(frame)
        gray = self._gray(frame, self.half)
        result = av.VideoFrame(*self.size, self.format)
        self._plane(result, 0)[:] = self._plane(frame, 0)
        result.pts, result.time_base, result.duration = frame.pts, frame.time_base, frame.duration
        for name, value in self.color.items():
            setattr(result, name, value)
        return Shot(gray, gray[self.area], result, packets)

    def result(self, shot):
        """The frame to be encoded: the luma of the source, Cb and Cr of its L and ab."""
        rgb = join(shot.pixels, self.area, shot.ab)
        rgb = av.VideoFrame.from_ndarray(rgb, "rgb48le" if self.deep else "rgb24")
        chroma = rgb.reformat(format=f"yuv444p{self.deep}", **self.space)
        for i in (1, 2):
            self._plane(shot.frame, i)[:] = self._plane(chroma, i)
        return shot.frame

    def _plane(self, frame, index):
        """A plane of a frame, (h, w), that shares its memory."""
        plane = frame.planes[index]
        rows = np.frombuffer(plane, np.uint16 if self.deep else np.uint8)
        return rows.reshape(plane.height, -1)[:, : plane.width]

    def encoder(self, out, source, quality, suffix):
        """The video stream of the result, as that of the source is."""
        lossless = quality == LOSSLESS
        rate = {"qp": "0"} if lossless else {"crf": f"{min(17 + (95 - quality) / 2, 51):.0f}"}
        codec, options = "libx264", {"preset": "veryfast"} | rate
        if lossless and suffix == ".mkv":
            codec, options = "ffv1", {}
        elif self.deep:
            codec = "libx265"
            options["x265-params"] = "log-level=error" + ":lossless=1" * lossless
        stream = out.add_stream(codec, self.rate, options=options, time_base=source.time_base)
        context, (context.width, context.height) = stream.codec_context, self.size
        context.pix_fmt, context.thread_count = self.format, 0
        if codec == "libx265" and suffix != ".mkv":
            context.codec_tag = "hvc1"  # without it Apple's players do not play it
        for name, value in self.color.items():
            setattr(context, name, value)
        context.sample_aspect_ratio = source.sample_aspect_ratio or 0
        stream.set_display_matrix(self.display)
        stream.metadata.update(source.metadata)
        return stream


def _decoded(container, copies, copied, notes):
    """Yield (frame, packets to copy that come before it), in the file's order.

    What cannot be decoded is passed over.

    copies: {index of a stream to copy: that of the result}. Two lists are filled: `copied`, at the
    end with the packets that come after the last frame; `notes`, with the number of missing frames.
    """
    (video,) = video_streams(container)
    last, times, packets, frames, failures, ended = None, {}, 0, 0, 0, False
    step = max(1, round(1 / ((video.average_rate or 25) * video.time_base)))
    reading = container.demux([video, *(container.streams[i] for i in copies)])
    while not ended:
        try:
            packet = next(reading, None)
        except av.FFmpegError:
            packet, failures = None, failures + 1  # the rest cannot be read
        if packet and packet.stream_index in copies:
            key, time = packet.stream_index, packet.dts
            if packet.size and time >= times.get(key, time):  # muxers take no other order
                times[key], packet.stream = time, copies[key]
                copied.append(packet)
            continue
        ended, found = not packet or not packet.size, []
        packets += not ended
        try:
            found = video.codec_context.decode(None if ended else packet)
        except av.FFmpegError:
            failures += 1
        for frame in found:
            if frame.pts is None or last is not None and frame.pts <= last:
                frame.pts = 0 if last is None else last + step
            last, frames, frame.time_base = frame.pts, frames + 1, video.time_base
            yield frame, copied[:]
            copied.clear()
    if failures or packets < video.frames:
        missing = max(failures, max(packets, video.frames) - frames)
        notes.append(f"{missing} frames could not be decoded")


def _copies(container, out, suffix, notes):
    """{index of a stream of the source that is not its film: the one that takes its packets}."""
    copies, kinds = {}, ("audio", "subtitle") + ("attachment",) * (suffix == ".mkv")
    for stream in container.streams:
        if stream in video_streams(container):
            continue
        kind = "cover" if stream.type == "video" else stream.type
        try:
            if kind not in kinds:
                raise ValueError
            copy = out.add_stream_from_template(stream, opaque=True)
        except ValueError:
            notes.append(f"its {kind}, stream {stream.index}, is lost")
            continue
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def colorize_film(source, target, colorizer, settings, progress, smooth, quality=95, keep=False):
    """Colorize a film -> notes of what was lost, a list of str.

    Args:
        target: path of the result, which ends in one of `FILMS`.
        colorizer, settings, smooth: see `colored`.
        progress: called with the frames done and their number, None if that is not known.
        quality: 1 to 100, 95 is CRF 17; or "lossless".
        keep: where it is interrupted, keep the frames until then, as NAME.stopped.mp4.

    Raises:
        BadFilm: the film cannot be colorized; OSError: the result cannot be written.
        KeyboardInterrupt, also with `keep`.
    """
    film, suffix, stopped, done, rest, notes = Film(source), target.suffix.lower(), None, 0, [], []
    flags = {} if suffix == ".mkv" else {"movflags": "+faststart"}
    with atomic(target) as temporary:
        with (
            open_film(source) as container,
            av.open(os.fspath(temporary), "w", container_options=flags) as out,
        ):
            out.metadata.update(container.metadata)
            out.set_chapters(container.chapters())
            encoder = film.encoder(out, *video_streams(container), quality, suffix)
            frames = _decoded(container, _copies(container, out, suffix, notes), rest, notes)
            shots = ahead(film.shot(*frame) for frame in frames)
            found = colored(shots, colorizer, settings, smooth, film.turns)
            try:
                # the threads end before the container that they read is closed
                with contextlib.closing(shots), contextlib.closing(found):
                    for done, shot in enumerate(found, 1):
                        out.mux([*shot.packets, *encoder.encode(film.result(shot))])
                        progress(done, film.total)
                out.mux(rest)
            except KeyboardInterrupt as error:
                if not keep or not done:
                    raise
                stopped = error
            out.mux(encoder.encode())
        if stopped:
            os.replace(temporary, target.with_suffix(".stopped" + suffix))
            raise stopped
    return notes


def colorize_films(
    pairs, colorizer, settings, report, smooth=SMOOTH, quality=95, keep=False, begin=lambda: None
):
    """Colorize each (film, result), paths; `report` counts what becomes of it, beside a bar.

    Mirror images are not averaged: along the film the flow does that, at half of the time.
    begin is called before each result is written; the others: see `colorize_film`.
    """
    settings = replace(settings, mirror=False)
    for source, target in pairs:
        bar = tqdm(desc=printable(source.name), unit=" frames", disable=None, leave=False)

        def progress(done, total, bar=bar):
            bar.total, report.frames = total, (done, total)
            bar.update(done - bar.n)
            report.check()

        with report.failures_of(source), bar:
            begin()
            target.parent.mkdir(parents=True, exist_ok=True)
            how = colorizer, settings, progress, smooth, quality, keep
            report.count("done", source, *colorize_film(source, target, *how))
        report.frames = None
